//! Spend alerts, and what workspaces cost so far.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, SpendAlertId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, MICROS_PER_MINOR};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, micros};
use super::usage::{Place, places_relation};
use crate::domain::alert::{Spend, Watched};

const TABLE: &str = "spend_alert";
const COLUMNS: &str = "a.billing_account_id, a.id, a.workspace_id, a.item, a.currency, a.threshold, a.notify";

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendAlert {
    /// Who pays for the workspace.
    pub billing_account: BillingAccountId,
    /// Opaque.
    pub id: SpendAlertId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What is watched.
    pub watched: Watched,
    /// The currency of the threshold.
    pub currency: Currency,
    /// Minor units; above zero.
    pub threshold: i64,
    /// Addresses that are told beside the owner's.
    pub notify: Vec<String>,
}

/// What a rule told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The month or day.
    pub period: i32,
    /// Minor units of the threshold that was exceeded.
    pub threshold: i64,
    /// What was spent then, in micros.
    pub spent: i64,
    /// When.
    pub sent_at: Timestamp,
}

/// Adds a rule, or replaces the one that watches the same; it is looked at soon. Returns its id, which stays.
pub async fn set(tx: &Tx, alert: &SpendAlert, now: Timestamp) -> Result<SpendAlertId, StoreError> {
    let text = "INSERT INTO spend_alert (billing_account_id, id, workspace_id, item, currency, threshold, notify, \
                due, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, true, ?) \
                ON CONFLICT (billing_account_id, workspace_id, item) DO UPDATE SET currency = excluded.currency, \
                threshold = excluded.threshold, notify = excluded.notify, due = true";
    let values = [
        alert.billing_account.as_str().into(),
        alert.id.as_str().into(),
        alert.workspace.as_str().into(),
        alert.watched.name().into(),
        alert.currency.code().into(),
        alert.threshold.into(),
        alert.notify.join("\n").into(),
        micros(now),
    ];
    tx.run(text, values).await?;
    let text = "SELECT id FROM spend_alert WHERE billing_account_id = ? AND workspace_id = ? AND item = ?";
    let key =
        [alert.billing_account.as_str().into(), alert.workspace.as_str().into(), alert.watched.name().into()];
    let row = read::one(tx, text, key).await?;
    Row(&row.ok_or(StoreError::Corrupt { table: TABLE, column: "id" })?, TABLE).parse("id")
}

/// Deletes a rule and what it told; `false` when there is none.
pub async fn delete(tx: &Tx, account: &BillingAccountId, id: &SpendAlertId) -> Result<bool, StoreError> {
    let key = || [account.as_str().into(), id.as_str().into()];
    tx.run("DELETE FROM spend_alert_sent WHERE billing_account_id = ? AND alert_id = ?", key()).await?;
    Ok(tx.run("DELETE FROM spend_alert WHERE billing_account_id = ? AND id = ?", key()).await? > 0)
}

/// Deletes every rule of a workspace: another account pays for it from now on, or nobody.
pub async fn delete_of(tx: &Tx, place: &Place) -> Result<(), StoreError> {
    let key = || [place.0.as_str().into(), place.1.as_str().into()];
    let text = "DELETE FROM spend_alert_sent WHERE billing_account_id = ? AND alert_id IN (\
                SELECT id FROM spend_alert WHERE billing_account_id = ? AND workspace_id = ?)";
    let [account, workspace]: [sea_orm::Value; 2] = key();
    tx.run(text, [account.clone(), account, workspace]).await?;
    tx.run("DELETE FROM spend_alert WHERE billing_account_id = ? AND workspace_id = ?", key()).await?;
    Ok(())
}

/// An account's rules after a place in the list, those of one workspace if it is given, each with what it told last.
pub async fn list(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspace: Option<&WorkspaceId>,
    after: &[String],
    limit: u64,
) -> Result<Vec<(SpendAlert, Option<Sent>)>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS}, s.period, s.threshold AS sent_threshold, s.spent, s.sent_at FROM spend_alert a \
         LEFT JOIN spend_alert_sent s ON s.billing_account_id = a.billing_account_id AND s.alert_id = a.id \
         AND NOT EXISTS (SELECT 1 FROM spend_alert_sent l WHERE l.billing_account_id = s.billing_account_id \
         AND l.alert_id = s.alert_id AND (l.sent_at, l.period, l.threshold) > (s.sent_at, s.period, s.threshold)) \
         WHERE a.billing_account_id = ? AND a.id > ? AND (? = '' OR a.workspace_id = ?) ORDER BY a.id LIMIT ?"
    );
    let wanted = workspace.map_or("", WorkspaceId::as_str);
    let values = [
        account.as_str().into(),
        after.first().map_or("", String::as_str).into(),
        wanted.into(),
        wanted.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let listed = |row: &QueryResult| {
        let (alert, row) = (alert(row)?, Row(row, "spend_alert_sent"));
        let sent = row.maybe_time("sent_at")?.map(|sent_at| {
            Ok::<_, StoreError>(Sent {
                period: row.small("period")?,
                threshold: row.int("sent_threshold")?,
                spent: row.int("spent")?,
                sent_at,
            })
        });
        Ok((alert, sent.transpose()?))
    };
    read::all(db, &text, values).await?.iter().map(listed).collect()
}

/// Marks the rules of workspaces whose usage has changed.
pub async fn mark_due(tx: &Tx, places: &[Place]) -> Result<(), StoreError> {
    if places.is_empty() {
        return Ok(());
    }
    let rel = places_relation(places).relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE spend_alert SET due = true FROM {} WHERE spend_alert.billing_account_id = r.billing_account_id \
         AND spend_alert.workspace_id = r.workspace_id AND NOT spend_alert.due",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Takes a bounded number of rules that are to be looked at: they are marked again by the next change.
pub async fn take_due(tx: &Tx, limit: i64) -> Result<Vec<SpendAlert>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM spend_alert a WHERE a.due ORDER BY a.billing_account_id, a.id LIMIT ?{}",
        for_update(tx)
    );
    let found: Vec<SpendAlert> =
        read::all(tx, &text, [limit.into()]).await?.iter().map(alert).collect::<Result<_, _>>()?;
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("id", Kind::Text)]);
    found.iter().for_each(|a| rows.push([a.billing_account.as_str().into(), a.id.as_str().into()]));
    if !rows.is_empty() {
        let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
        let text = format!(
            "UPDATE spend_alert SET due = false FROM {} WHERE spend_alert.billing_account_id = r.billing_account_id \
             AND spend_alert.id = r.id",
            rel.sql
        );
        tx.run(&text, rel.values).await?;
    }
    Ok(found)
}

/// Notes what rules tell. Returns those that had not told it before, as places in `sent`.
pub async fn note_sent(
    tx: &Tx,
    sent: &[(&SpendAlert, i32, i64)],
    now: Timestamp,
) -> Result<HashSet<usize>, StoreError> {
    let mut fresh = HashSet::new();
    if sent.is_empty() {
        return Ok(fresh);
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("alert_id", Kind::Text),
        ("period", Kind::Int),
        ("threshold", Kind::Int),
        ("spent", Kind::Int),
    ]);
    for (alert, period, spent) in sent {
        let (account, id) = (alert.billing_account.as_str(), alert.id.as_str());
        rows.push([account.into(), id.into(), (*period).into(), alert.threshold.into(), (*spent).into()]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 2)?;
    let text = format!(
        "INSERT INTO spend_alert_sent (billing_account_id, alert_id, period, threshold, spent, sent_at) \
         SELECT billing_account_id, alert_id, period, threshold, spent, ? FROM {} WHERE true \
         ON CONFLICT (billing_account_id, alert_id, period, threshold) DO NOTHING \
         RETURNING alert_id, period",
        rel.sql
    );
    for row in read::all(tx, &text, std::iter::once(micros(now)).chain(rel.values)).await? {
        let row = Row(&row, "spend_alert_sent");
        let (id, period) = (row.text("alert_id")?, row.small("period")?);
        fresh.extend(sent.iter().position(|(alert, p, _)| alert.id.as_str() == id && *p == period));
    }
    Ok(fresh)
}

/// What stands on bills of workspaces in their accounts' currency, by month from the first day on and by day and item
/// since `since`. Bills of a currency that was changed since are another sum.
pub async fn billed(
    db: &impl ConnectionTrait,
    places: &[Place],
    first: UsageDay,
    since: UsageDay,
) -> Result<HashMap<WorkspaceId, Spend>, StoreError> {
    let mut spends: HashMap<WorkspaceId, Spend> = HashMap::new();
    let rel = || places_relation(places).relation(db.get_database_backend(), "r", 1);
    let asked = rel()?;
    let text = format!(
        "SELECT b.workspace_id, b.usage_day / 100 AS month, CAST(SUM(b.payable) AS BIGINT) AS payable FROM {} \
         JOIN billing_account a ON a.id = r.billing_account_id \
         JOIN daily_bill b ON b.billing_account_id = r.billing_account_id AND b.workspace_id = r.workspace_id \
         AND b.currency = a.currency \
         WHERE b.usage_day >= ? GROUP BY b.workspace_id, b.usage_day / 100",
        asked.sql
    );
    for row in read::all(db, &text, asked.values.into_iter().chain([first.number().into()])).await? {
        let row = Row(&row, "daily_bill");
        let micros = row.int("payable")?.checked_mul(MICROS_PER_MINOR).ok_or(row.corrupt("payable"))?;
        let spend = spends.entry(row.parse("workspace_id")?).or_default();
        *spend.months.entry(row.small("month")?).or_default() += micros;
    }
    let asked = rel()?;
    let text = format!(
        "SELECT b.workspace_id, COALESCE(l.adjusted_day, b.usage_day) AS day, l.item, \
         CAST(SUM(l.amount) AS BIGINT) AS amount FROM {} \
         JOIN billing_account a ON a.id = r.billing_account_id \
         JOIN daily_bill b ON b.billing_account_id = r.billing_account_id AND b.workspace_id = r.workspace_id \
         AND b.currency = a.currency \
         JOIN bill_line l ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
         WHERE b.usage_day >= ? AND l.item <> '' GROUP BY b.workspace_id, COALESCE(l.adjusted_day, b.usage_day), l.item",
        asked.sql
    );
    for row in read::all(db, &text, asked.values.into_iter().chain([since.number().into()])).await? {
        let row = Row(&row, "bill_line");
        let item: BillingItem = row.parse("item")?;
        let spend = spends.entry(row.parse("workspace_id")?).or_default();
        *spend.days.entry((row.day("day")?, item)).or_default() += row.int("amount")?;
    }
    Ok(spends)
}

fn alert(row: &QueryResult) -> Result<SpendAlert, StoreError> {
    let row = Row(row, TABLE);
    let notify = row.text("notify")?;
    Ok(SpendAlert {
        billing_account: row.parse("billing_account_id")?,
        id: row.parse("id")?,
        workspace: row.parse("workspace_id")?,
        watched: row.parse("item")?,
        currency: row.parse("currency")?,
        threshold: row.int("threshold")?,
        notify: notify.lines().map(str::to_owned).collect(),
    })
}
