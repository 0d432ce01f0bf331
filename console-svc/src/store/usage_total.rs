//! Daily quantities: rolled up from points, told to Billing as converging revisions (design section 5.2).

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use tandem_proto::page::Page;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx, get, statement};

use super::usage_point::{item, measure, small};
use crate::domain::aggregation::{Hours, day_quantity};
use crate::domain::item::{Item, Measure};
use crate::domain::usage_day::UsageDay;

const TABLE: &str = "usage_total";
/// Most marks read at once; a busy day has many.
const MARKS_MAX: usize = 10_000;

/// Which marks to roll up.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// Any.
    All,
    /// A workspace's.
    Workspace(&'a str),
    /// A site's, up to a day.
    Site(&'a str, UsageDay),
}

/// A change of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub workspace_id: String,
    /// The day, `yyyymmdd`.
    pub usage_day: i32,
    /// Tells it from other changes.
    pub token: i64,
}

/// Changes to be rolled up together.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    marks: Vec<Mark>,
    /// Whether there may be more.
    pub more: bool,
}

impl Marks {
    /// Whether there is nothing to roll up.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// The days, each once.
    pub(super) fn days(&self) -> Rows {
        let mut rows = Rows::new(&[("workspace_id", Kind::Text), ("usage_day", Kind::Int)]);
        for day in self.marks.chunk_by(same_day).filter_map(|marks| marks.first()) {
            rows.push([day.workspace_id.as_str().into(), day.usage_day.into()]);
        }
        rows
    }

    /// Keeps the first so many days.
    fn cut(&mut self, days: usize) {
        let kept: usize = self.marks.chunk_by(same_day).take(days).map(<[Mark]>::len).sum();
        self.more |= kept < self.marks.len();
        self.marks.truncate(kept);
    }
}

fn same_day(a: &Mark, b: &Mark) -> bool {
    a.workspace_id == b.workspace_id && a.usage_day == b.usage_day
}

/// What names a daily quantity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TotalKey {
    /// Whose.
    pub workspace_id: String,
    /// The day, `yyyymmdd`.
    pub usage_day: i32,
    /// What was used.
    pub item: Item,
    /// Days the data is kept; 0 when the item is not priced by it.
    pub retention_days: i16,
    /// May be empty.
    pub sub_key: String,
}

/// A daily quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Whose, when and what.
    pub key: TotalKey,
    /// How much.
    pub quantity: Quantity,
    /// Grows with each change; 0 on Free.
    pub revision: i64,
    /// What Billing has.
    pub delivered_revision: i64,
}

/// Marks of at most so many days, in the order of their key.
pub async fn marks(db: &impl ConnectionTrait, scope: Scope<'_>, days: usize) -> Result<Marks, StoreError> {
    let (filter, values): (&str, Vec<Value>) = match scope {
        Scope::All => ("", Vec::new()),
        Scope::Workspace(id) => ("WHERE d.workspace_id = ?", vec![id.into()]),
        Scope::Site(site, day) => (
            "JOIN workspace w ON w.id = d.workspace_id WHERE w.site = ? AND d.usage_day <= ?",
            vec![site.into(), day.number().into()],
        ),
    };
    let text = format!(
        "SELECT d.workspace_id, d.usage_day, d.token FROM usage_dirty d {filter} \
         ORDER BY d.workspace_id, d.usage_day, d.token LIMIT {MARKS_MAX}"
    );
    let rows = db.query_all_raw(statement(db.get_database_backend(), &text, values)).await?;
    let mark = |row: &QueryResult| {
        Ok(Mark {
            workspace_id: get(row, "usage_dirty", "workspace_id")?,
            usage_day: get(row, "usage_dirty", "usage_day")?,
            token: get(row, "usage_dirty", "token")?,
        })
    };
    let found = rows.iter().map(mark).collect::<Result<Vec<_>, StoreError>>()?;
    let mut marks = Marks { more: found.len() >= MARKS_MAX, marks: found };
    marks.cut(days);
    Ok(marks)
}

/// Locks the marked workspaces until the transaction ends: two roll-ups of one day must not overtake each other, and an
/// upgrade must come before or after.
pub async fn lock_workspaces(tx: &Tx, marks: &Marks) -> Result<(), StoreError> {
    if tx.get_database_backend() != DbBackend::Postgres {
        return Ok(()); // SQLite has one writer.
    }
    let relation = marks.days().relation(DbBackend::Postgres, "r", 1)?;
    let text = format!(
        "SELECT w.id FROM workspace w WHERE w.id IN (SELECT workspace_id FROM {}) ORDER BY w.id FOR NO KEY UPDATE",
        relation.sql
    );
    tx.query_all_raw(statement(DbBackend::Postgres, &text, relation.values)).await?;
    Ok(())
}

/// Quantities of marked days, and whether each may be charged, in the order of their key.
///
/// Of a Commercial workspace only hours from its first charged hour on count (D9); of a Free one all do.
pub async fn quantities(tx: &Tx, marks: &Marks) -> Result<Vec<(TotalKey, Quantity, bool)>, StoreError> {
    let backend = tx.get_database_backend();
    let asked = marks.days().relation(backend, "r", 1)?;
    let text = format!(
        "SELECT p.workspace_id, p.usage_day, p.item, p.retention_days, p.sub_key, p.measure, \
         CAST(SUM(p.quantity) AS BIGINT) AS sum, MAX(p.quantity) AS max, \
         MAX(CASE WHEN w.charge_start_at IS NULL THEN 0 ELSE 1 END) AS charged \
         FROM {} JOIN workspace w ON w.id = r.workspace_id \
         JOIN usage_point p ON p.workspace_id = r.workspace_id AND p.usage_day = r.usage_day \
         WHERE w.charge_start_at IS NULL OR p.hour_start >= w.charge_start_at \
         GROUP BY p.workspace_id, p.usage_day, p.item, p.retention_days, p.sub_key, p.measure",
        asked.sql
    );
    let mut days: BTreeMap<TotalKey, (Hours, Hours, bool)> = BTreeMap::new();
    for row in tx.query_all_raw(statement(backend, &text, asked.values)).await? {
        let hours = Hours { sum: get(&row, "usage_point", "sum")?, max: get(&row, "usage_point", "max")? };
        let charged: i32 = get(&row, "usage_point", "charged")?;
        let day = days.entry(key_from(&row)?).or_default();
        match measure(&row)? {
            Measure::Own => day.0 = hours,
            Measure::Spans | Measure::UserEvents => day.1 = hours,
        }
        day.2 = charged == 1;
    }
    let quantity = |(key, (own, second, charged)): (TotalKey, (Hours, Hours, bool))| {
        let quantity = day_quantity(key.item, own, second);
        (key, quantity, charged)
    };
    Ok(days.into_iter().map(quantity).collect())
}

/// Writes quantities. The revision of a charged one grows when it changed; a Free one's stays 0.
pub async fn save(tx: &Tx, totals: &[(TotalKey, Quantity, bool)]) -> Result<(), StoreError> {
    if totals.is_empty() {
        return Ok(());
    }
    let mut rows = keyed(&[("quantity", Kind::Int), ("step", Kind::Int)]);
    for (key, quantity, charged) in totals {
        let [workspace, day, item, retention, sub_key] = key_values(key);
        rows.push([
            workspace,
            day,
            item,
            retention,
            sub_key,
            quantity.hundredths.into(),
            i64::from(*charged).into(),
        ]);
    }
    let relation = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO usage_total (workspace_id, usage_day, item, retention_days, sub_key, quantity_hundredths, revision, \
         delivered_revision) \
         SELECT workspace_id, usage_day, item, retention_days, sub_key, quantity, step, 0 FROM {} WHERE true \
         ON CONFLICT (workspace_id, usage_day, item, retention_days, sub_key) DO UPDATE SET \
         quantity_hundredths = excluded.quantity_hundredths, revision = usage_total.revision + excluded.revision, \
         refused_reason = NULL, retry_at = NULL \
         WHERE usage_total.quantity_hundredths <> excluded.quantity_hundredths \
         OR (usage_total.revision = 0 AND excluded.revision = 1)",
        relation.sql
    );
    tx.run(&text, relation.values).await?;
    Ok(())
}

/// Removes exactly these marks: a change that came later has its own.
pub async fn unmark(tx: &Tx, marks: &Marks) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[("workspace_id", Kind::Text), ("usage_day", Kind::Int), ("token", Kind::Int)]);
    for mark in &marks.marks {
        rows.push([mark.workspace_id.as_str().into(), mark.usage_day.into(), mark.token.into()]);
    }
    let relation = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "DELETE FROM usage_dirty WHERE EXISTS (SELECT 1 FROM {} WHERE r.workspace_id = usage_dirty.workspace_id \
         AND r.usage_day = usage_dirty.usage_day AND r.token = usage_dirty.token)",
        relation.sql
    );
    tx.run(&text, relation.values).await?;
    Ok(())
}

/// What Billing has not been told, oldest day first; `site` limits it to a site's days up to one.
///
/// What was refused waits until its time to be tried again.
pub async fn undelivered(
    db: &impl ConnectionTrait,
    site: Option<(&str, UsageDay)>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Total>, StoreError> {
    let mut values: Vec<Value> = vec![now.as_microsecond().into()];
    let (join, filter) = match site {
        None => ("", ""),
        Some((site, day)) => {
            values.extend([site.into(), day.number().into()]);
            ("JOIN workspace w ON w.id = t.workspace_id", "AND w.site = ? AND t.usage_day <= ?")
        }
    };
    let text = format!(
        "SELECT t.* FROM usage_total t {join} WHERE t.delivered_revision < t.revision \
         AND (t.refused_reason IS NULL OR t.retry_at <= ?) {filter} \
         ORDER BY t.usage_day, t.workspace_id, t.item, t.retention_days, t.sub_key LIMIT {limit}"
    );
    let rows = db.query_all_raw(statement(db.get_database_backend(), &text, values)).await?;
    rows.iter().map(total_from).collect()
}

/// A quantity that Billing refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// Billing's reason.
    pub reason: &'a str,
    /// When to try again; never, unless the quantity changes, when `None`.
    pub retry_at: Option<Timestamp>,
}

/// Records what became of delivered quantities. One that changed meanwhile stays undelivered.
pub async fn settle(tx: &Tx, results: &[(&Total, Option<Refused<'_>>)]) -> Result<(), StoreError> {
    let mut rows = keyed(&[
        ("revision", Kind::Int),
        ("taken", Kind::Int),
        ("reason", Kind::Text),
        ("retry_at", Kind::Int),
    ]);
    for (total, refused) in results {
        let [workspace, day, item, retention, sub_key] = key_values(&total.key);
        let taken = i64::from(refused.is_none());
        let reason: Option<String> = refused.map(|refused| refused.reason.to_owned());
        let retry_at = refused.and_then(|refused| refused.retry_at).map(Timestamp::as_microsecond);
        let (revision, retry_at) = (total.revision.into(), Value::BigInt(retry_at));
        rows.push([
            workspace,
            day,
            item,
            retention,
            sub_key,
            revision,
            taken.into(),
            Value::from(reason),
            retry_at,
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let relation = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE usage_total SET \
         delivered_revision = CASE WHEN r.taken = 1 THEN r.revision ELSE delivered_revision END, \
         refused_reason = r.reason, retry_at = r.retry_at FROM {} \
         WHERE usage_total.workspace_id = r.workspace_id AND usage_total.usage_day = r.usage_day \
         AND usage_total.item = r.item AND usage_total.retention_days = r.retention_days \
         AND usage_total.sub_key = r.sub_key AND usage_total.delivered_revision < r.revision \
         AND (r.taken = 1 OR usage_total.revision = r.revision)",
        relation.sql
    );
    tx.run(&text, relation.values).await?;
    Ok(())
}

/// A page of a workspace's quantities between two days, both included.
///
/// The page's key is day, item, retention and sub key.
pub async fn list(
    db: &impl ConnectionTrait,
    workspace_id: &str,
    days: (UsageDay, UsageDay),
    page: &Page,
    after: Option<&TotalKey>,
) -> Result<Vec<Total>, StoreError> {
    let mut values: Vec<Value> = vec![workspace_id.into(), days.0.number().into(), days.1.number().into()];
    let mut filter = "";
    if let Some(key) = after {
        filter = "AND (usage_day, item, retention_days, sub_key) > (?, ?, ?, ?)";
        let [_, day, item, retention, sub_key] = key_values(key);
        values.extend([day, item, retention, sub_key]);
    }
    let text = format!(
        "SELECT * FROM usage_total WHERE workspace_id = ? AND usage_day BETWEEN ? AND ? {filter} \
         ORDER BY usage_day, item, retention_days, sub_key LIMIT {}",
        page.limit()
    );
    let rows = db.query_all_raw(statement(db.get_database_backend(), &text, values)).await?;
    rows.iter().map(total_from).collect()
}

/// A workspace's sums by day and item, between two days, both included, in hundredths.
pub async fn sums(
    db: &impl ConnectionTrait,
    workspace_id: &str,
    days: (UsageDay, UsageDay),
) -> Result<HashMap<(i32, Item), Quantity>, StoreError> {
    // Halves are summed apart: many great quantities together may exceed 64 bits.
    let text = "SELECT usage_day, item, CAST(SUM(quantity_hundredths / 1000000000) AS BIGINT) AS high, \
                CAST(SUM(quantity_hundredths % 1000000000) AS BIGINT) AS low FROM usage_total \
                WHERE workspace_id = ? AND usage_day BETWEEN ? AND ? GROUP BY usage_day, item";
    let values = [workspace_id.into(), days.0.number().into(), days.1.number().into()];
    let mut sums = HashMap::new();
    for row in db.query_all_raw(statement(db.get_database_backend(), text, values)).await? {
        let (high, low): (i64, i64) = (get(&row, TABLE, "high")?, get(&row, TABLE, "low")?);
        let hundredths = high.saturating_mul(1_000_000_000).saturating_add(low);
        sums.insert((get(&row, TABLE, "usage_day")?, item(&row, TABLE)?), Quantity { hundredths });
    }
    Ok(sums)
}

fn keyed(more: &[(&'static str, Kind)]) -> Rows {
    let mut columns = vec![
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("item", Kind::Int),
        ("retention_days", Kind::Int),
        ("sub_key", Kind::Text),
    ];
    columns.extend_from_slice(more);
    Rows::new(&columns)
}

fn key_values(key: &TotalKey) -> [Value; 5] {
    [
        key.workspace_id.as_str().into(),
        key.usage_day.into(),
        i32::from(key.item.number()).into(),
        i32::from(key.retention_days).into(),
        key.sub_key.as_str().into(),
    ]
}

fn key_from(row: &QueryResult) -> Result<TotalKey, StoreError> {
    Ok(TotalKey {
        workspace_id: get(row, TABLE, "workspace_id")?,
        usage_day: get(row, TABLE, "usage_day")?,
        item: item(row, TABLE)?,
        retention_days: small(row, "retention_days")?,
        sub_key: get(row, TABLE, "sub_key")?,
    })
}

fn total_from(row: &QueryResult) -> Result<Total, StoreError> {
    Ok(Total {
        key: key_from(row)?,
        quantity: Quantity { hundredths: get(row, TABLE, "quantity_hundredths")? },
        revision: get(row, TABLE, "revision")?,
        delivered_revision: get(row, TABLE, "delivered_revision")?,
    })
}
