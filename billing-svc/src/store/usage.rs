//! What workspaces used, day by day, and how much of it stands on bills.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row};
use crate::domain::bill::Usage;

const TABLE: &str = "usage_day";

/// A quantity as the Console delivered it.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The day.
    pub day: UsageDay,
    /// The item.
    pub item: BillingItem,
    /// 0 for items that are not priced by retention.
    pub retention_days: i32,
    /// May be empty.
    pub sub_key: String,
    /// The day's quantity so far.
    pub quantity: Quantity,
    /// Grows with each change.
    pub revision: i64,
}

/// A workspace of an account.
pub type Place = (BillingAccountId, WorkspaceId);

/// Takes quantities over; of each key the greatest revision stays. Keys must be different from each other.
pub async fn take(tx: &Tx, usage: &[(BillingAccountId, &Delivered)]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("item", Kind::Text),
        ("retention_days", Kind::Int),
        ("sub_key", Kind::Text),
        ("quantity", Kind::Int),
        ("revision", Kind::Int),
    ]);
    // In key order, so that two deliveries never wait for each other in a circle.
    let mut sorted: Vec<_> = usage.iter().collect();
    sorted.sort_by(|(a, x), (b, y)| {
        (a, &x.workspace, x.day, x.item, x.retention_days, &x.sub_key).cmp(&(
            b,
            &y.workspace,
            y.day,
            y.item,
            y.retention_days,
            &y.sub_key,
        ))
    });
    for (account, d) in sorted {
        rows.push([
            account.as_str().into(),
            d.workspace.as_str().into(),
            i64::from(d.day.number()).into(),
            d.item.name().into(),
            i64::from(d.retention_days).into(),
            d.sub_key.as_str().into(),
            d.quantity.hundredths.into(),
            d.revision.into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO usage_day (billing_account_id, workspace_id, usage_day, item, retention_days, sub_key, \
         quantity, revision) SELECT billing_account_id, workspace_id, usage_day, item, retention_days, sub_key, \
         quantity, revision FROM {} WHERE true \
         ON CONFLICT (billing_account_id, workspace_id, usage_day, item, retention_days, sub_key) \
         DO UPDATE SET quantity = excluded.quantity, revision = excluded.revision \
         WHERE usage_day.revision < excluded.revision",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// The next workspaces of a site, after a place, that used something up to a day that is not on a bill; those that have
/// left an account are there as well, for what came late.
pub async fn next_unbilled(
    db: &impl ConnectionTrait,
    site: &str,
    day: UsageDay,
    after: &str,
    limit: i64,
) -> Result<Vec<Place>, StoreError> {
    let (account, workspace) = after.split_once('/').unwrap_or(("", ""));
    let text = "SELECT w.billing_account_id, w.workspace_id FROM workspace w \
                WHERE w.site = ? AND (w.billing_account_id, w.workspace_id) > (?, ?) AND EXISTS (\
                    SELECT 1 FROM usage_day u WHERE u.billing_account_id = w.billing_account_id \
                    AND u.workspace_id = w.workspace_id AND u.usage_day <= ? AND u.quantity <> u.billed \
                    AND NOT u.set_aside) \
                ORDER BY w.billing_account_id, w.workspace_id LIMIT ?";
    let values = [site.into(), account.into(), workspace.into(), day.number().into(), limit.into()];
    read::all(db, text, values).await?.iter().map(|row| place(row, "workspace")).collect()
}

/// The account and workspace of a row.
pub(super) fn place(row: &QueryResult, table: &'static str) -> Result<Place, StoreError> {
    let row = Row(row, table);
    Ok((row.parse("billing_account_id")?, row.parse("workspace_id")?))
}

/// What workspaces used up to a day that is not on a bill.
pub async fn unbilled(
    db: &impl ConnectionTrait,
    places: &[Place],
    up_to: UsageDay,
) -> Result<HashMap<Place, Vec<Usage>>, StoreError> {
    let rel = places_relation(places).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT u.billing_account_id, u.workspace_id, u.usage_day, u.item, u.retention_days, u.sub_key, u.quantity, \
         u.billed FROM {} \
         JOIN usage_day u ON u.billing_account_id = r.billing_account_id AND u.workspace_id = r.workspace_id \
         WHERE u.quantity <> u.billed AND NOT u.set_aside AND u.usage_day <= ?",
        rel.sql
    );
    let mut usage: HashMap<Place, Vec<Usage>> = HashMap::new();
    for row in read::all(db, &text, rel.values.into_iter().chain([up_to.number().into()])).await? {
        usage.entry(place(&row, TABLE)?).or_default().push(read_usage(&row)?);
    }
    Ok(usage)
}

pub(super) fn places_relation(places: &[Place]) -> Rows {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("workspace_id", Kind::Text)]);
    places
        .iter()
        .for_each(|(account, workspace)| rows.push([account.as_str().into(), workspace.as_str().into()]));
    rows
}

/// Notes that quantities stand on bills now.
pub async fn mark_billed(tx: &Tx, usage: &[(Place, &Usage)]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("item", Kind::Text),
        ("retention_days", Kind::Int),
        ("sub_key", Kind::Text),
        ("old", Kind::Int),
        ("billed", Kind::Int),
    ]);
    for ((account, workspace), used) in usage {
        rows.push([
            account.as_str().into(),
            workspace.as_str().into(),
            i64::from(used.day.number()).into(),
            used.item.name().into(),
            i64::from(used.retention_days).into(),
            used.sub_key.as_str().into(),
            used.billed.hundredths.into(),
            used.quantity.hundredths.into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE usage_day SET billed = r.billed FROM {} WHERE usage_day.billing_account_id = r.billing_account_id \
         AND usage_day.workspace_id = r.workspace_id AND usage_day.usage_day = r.usage_day \
         AND usage_day.item = r.item AND usage_day.retention_days = r.retention_days \
         AND usage_day.sub_key = r.sub_key AND usage_day.billed = r.old",
        rel.sql
    );
    let marked = tx.run(&text, rel.values).await?;
    // Fewer means that somebody billed the same usage meanwhile: nothing of this may stand.
    if usize::try_from(marked) == Ok(usage.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Sets usage aside that its day's log mode leaves uncharged: it is never billed and not looked at again. Of what
/// stands on a bill nothing is set aside.
pub async fn set_aside(tx: &Tx, usage: &[(Place, Usage)]) -> Result<(), StoreError> {
    if usage.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("item", Kind::Text),
        ("retention_days", Kind::Int),
        ("sub_key", Kind::Text),
    ]);
    for ((account, workspace), used) in usage {
        rows.push([
            account.as_str().into(),
            workspace.as_str().into(),
            i64::from(used.day.number()).into(),
            used.item.name().into(),
            i64::from(used.retention_days).into(),
            used.sub_key.as_str().into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE usage_day SET set_aside = true FROM {} WHERE usage_day.billing_account_id = r.billing_account_id \
         AND usage_day.workspace_id = r.workspace_id AND usage_day.usage_day = r.usage_day \
         AND usage_day.item = r.item AND usage_day.retention_days = r.retention_days \
         AND usage_day.sub_key = r.sub_key AND usage_day.billed = 0",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// A row of a workspace's list of days.
#[derive(Debug, Clone)]
pub struct ListedUsage {
    /// The usage.
    pub usage: Usage,
    /// The Console's revision.
    pub revision: i64,
}

/// A workspace's quantities from one day to another, after a place in the order of the list: those that an account pays
/// for, by default the one that the workspace belongs to now.
pub async fn list(
    db: &impl ConnectionTrait,
    account: Option<&BillingAccountId>,
    workspace: &WorkspaceId,
    days: (UsageDay, UsageDay),
    after: &[String],
    limit: u64,
) -> Result<Vec<ListedUsage>, StoreError> {
    let (day, item, retention, sub_key) = match after {
        [day, item, retention, sub_key] => (
            day.parse().unwrap_or(i32::MAX),
            item.as_str(),
            retention.parse().unwrap_or(i32::MAX),
            sub_key.as_str(),
        ),
        _ => (i32::MIN, "", i32::MIN, ""),
    };
    let text = "SELECT u.usage_day, u.item, u.retention_days, u.sub_key, u.quantity, u.billed, u.revision \
                FROM workspace_directory d JOIN usage_day u ON u.billing_account_id = COALESCE(?, d.billing_account_id) \
                AND u.workspace_id = d.workspace_id WHERE d.workspace_id = ? AND u.usage_day BETWEEN ? AND ? \
                AND (u.usage_day, u.item, u.retention_days, u.sub_key) > (?, ?, ?, ?) \
                ORDER BY u.usage_day, u.item, u.retention_days, u.sub_key LIMIT ?";
    let values = [
        account.map(|id| id.as_str().to_owned()).into(),
        workspace.as_str().into(),
        days.0.number().into(),
        days.1.number().into(),
        day.into(),
        item.into(),
        retention.into(),
        sub_key.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let rows = read::all(db, text, values).await?;
    rows.iter()
        .map(|row| Ok(ListedUsage { usage: read_usage(row)?, revision: Row(row, TABLE).int("revision")? }))
        .collect()
}

fn read_usage(row: &QueryResult) -> Result<Usage, StoreError> {
    let row = Row(row, TABLE);
    Ok(Usage {
        day: row.day("usage_day")?,
        item: row.parse("item")?,
        retention_days: row.small("retention_days")?,
        sub_key: row.text("sub_key")?,
        quantity: Quantity { hundredths: row.int("quantity")? },
        billed: Quantity { hundredths: row.int("billed")? },
    })
}
