//! What accounts spent from one day to another: on daily bills, and used but not billed yet.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::Currency;
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::PriceZone;
use tandem_service_kit::db::{Kind, Rows, StoreError};

use super::monthly_roll::{IN_CLOUD, NEWEST_NAME};
use super::read::{self, Row};
use crate::domain::bill::Usage;
use crate::domain::monthly::Totals;

/// From one day to another, both included.
pub type Days = (UsageDay, UsageDay);

/// Whose bills.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The account's.
    pub account: BillingAccountId,
    /// In this currency.
    pub currency: Currency,
    /// Only of this workspace.
    pub workspace: Option<WorkspaceId>,
}

impl Scope {
    /// The condition on a daily bill `b`, and its values.
    fn bills(&self, days: Days) -> (String, Vec<Value>) {
        let mut text =
            String::from("b.billing_account_id = ? AND b.currency = ? AND b.usage_day BETWEEN ? AND ?");
        let mut values: Vec<Value> = vec![
            self.account.as_str().into(),
            self.currency.code().into(),
            days.0.number().into(),
            days.1.number().into(),
        ];
        if let Some(workspace) = &self.workspace {
            text.push_str(" AND b.workspace_id = ?");
            values.push(workspace.as_str().into());
        }
        (text, values)
    }
}

/// What an account's bills of one day come to.
#[derive(Debug, Clone, Copy)]
pub struct DayTotal {
    /// The day.
    pub day: UsageDay,
    /// How many bills.
    pub bill_count: i64,
    /// Minor units.
    pub payable: i64,
}

/// What bills come to, day by day; days without bills are left out.
pub async fn by_day(
    db: &impl ConnectionTrait,
    scope: &Scope,
    days: Days,
) -> Result<Vec<DayTotal>, StoreError> {
    let (filter, values) = scope.bills(days);
    let text = format!(
        "SELECT b.usage_day, COUNT(*) AS bill_count, CAST(SUM(b.payable) AS BIGINT) AS payable FROM daily_bill b \
         WHERE {filter} GROUP BY b.usage_day ORDER BY b.usage_day"
    );
    let total = |row: &QueryResult| {
        let row = Row(row, "daily_bill");
        let day = row.day("usage_day")?;
        Ok(DayTotal { day, bill_count: row.int("bill_count")?, payable: row.int("payable")? })
    };
    read::all(db, &text, values).await?.iter().map(total).collect()
}

/// What an item costs, in millionths; `None` is what rounding added.
pub type ItemAmount = (Option<BillingItem>, i64);

/// What the lines of bills come to, by item.
pub async fn by_item(
    db: &impl ConnectionTrait,
    scope: &Scope,
    days: Days,
) -> Result<Vec<ItemAmount>, StoreError> {
    let (filter, values) = scope.bills(days);
    let text = format!(
        "SELECT l.item, CAST(SUM(l.amount) AS BIGINT) AS amount FROM daily_bill b JOIN bill_line l \
         ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id WHERE {filter} GROUP BY l.item"
    );
    read::all(db, &text, values).await?.iter().map(item_amount).collect()
}

/// A workspace's bills of some days.
#[derive(Debug, Clone)]
pub struct WorkspaceTotals {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name on the newest of them.
    pub name: String,
    /// What they come to.
    pub totals: Totals,
}

/// What bills come to by workspace, after a workspace, in the order of ids.
pub async fn by_workspace(
    db: &impl ConnectionTrait,
    scope: &Scope,
    days: Days,
    after: &str,
    limit: u64,
) -> Result<Vec<WorkspaceTotals>, StoreError> {
    let (filter, mut values) = scope.bills(days);
    let text = format!(
        "SELECT b.workspace_id, {NEWEST_NAME} AS workspace_name, COUNT(*) AS bill_count, \
         CAST(SUM(b.payable) AS BIGINT) AS payable, CAST(SUM(b.paid) AS BIGINT) AS paid, \
         CAST(SUM({IN_CLOUD}) AS BIGINT) AS in_cloud FROM daily_bill b WHERE {filter} AND b.workspace_id > ? \
         GROUP BY b.workspace_id ORDER BY b.workspace_id LIMIT ?"
    );
    values.extend([Value::from(after), i64::try_from(limit).unwrap_or(i64::MAX).into()]);
    read::all(db, &text, values).await?.iter().map(|row| workspace_totals(Row(row, "daily_bill"))).collect()
}

/// Reads a workspace's totals.
pub(super) fn workspace_totals(row: Row<'_>) -> Result<WorkspaceTotals, StoreError> {
    Ok(WorkspaceTotals {
        workspace: row.parse("workspace_id")?,
        name: row.text("workspace_name")?,
        totals: Totals {
            bill_count: row.int("bill_count")?,
            payable: row.int("payable")?,
            paid: row.int("paid")?,
            in_cloud: row.int("in_cloud")?,
        },
    })
}

/// What the lines of workspaces' bills come to, by workspace and item.
pub async fn items_of(
    db: &impl ConnectionTrait,
    scope: &Scope,
    days: Days,
    workspaces: &[WorkspaceId],
) -> Result<HashMap<WorkspaceId, Vec<ItemAmount>>, StoreError> {
    let rel = ids(workspaces).relation(db.get_database_backend(), "r", 1)?;
    let (filter, values) = scope.bills(days);
    let text = format!(
        "SELECT b.workspace_id, l.item, CAST(SUM(l.amount) AS BIGINT) AS amount FROM {} \
         JOIN daily_bill b ON b.workspace_id = r.workspace_id JOIN bill_line l \
         ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id WHERE {filter} \
         GROUP BY b.workspace_id, l.item",
        rel.sql
    );
    items_by_workspace(read::all(db, &text, rel.values.into_iter().chain(values)).await?)
}

/// Reads items of workspaces.
pub(super) fn items_by_workspace(
    rows: Vec<QueryResult>,
) -> Result<HashMap<WorkspaceId, Vec<ItemAmount>>, StoreError> {
    let mut found: HashMap<WorkspaceId, Vec<ItemAmount>> = HashMap::new();
    for row in &rows {
        found.entry(Row(row, "bill_line").parse("workspace_id")?).or_default().push(item_amount(row)?);
    }
    found.values_mut().for_each(|items| sort_items(items));
    Ok(found)
}

/// Puts items into the order of bills, the rounding last.
pub fn sort_items(items: &mut [ItemAmount]) {
    items.sort_by_key(|(item, _)| (item.is_none(), *item));
}

/// Reads what an item costs.
pub(super) fn item_amount(row: &QueryResult) -> Result<ItemAmount, StoreError> {
    let row = Row(row, "bill_line");
    let item = row.text("item")?;
    let item = if item.is_empty() { None } else { Some(row.parse("item")?) };
    Ok((item, row.int("amount")?))
}

/// Workspaces as rows of a relation.
pub(super) fn ids(workspaces: &[WorkspaceId]) -> Rows {
    let mut rows = Rows::new(&[("workspace_id", Kind::Text)]);
    workspaces.iter().for_each(|id| rows.push([id.as_str().into()]));
    rows
}

/// A quantity that is not billed yet.
#[derive(Debug, Clone)]
pub struct Running {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Which prices apply to it.
    pub zone: PriceZone,
    /// The usage.
    pub usage: Usage,
}

impl Running {
    /// Its place in the list.
    pub fn place(&self) -> Place {
        Place {
            workspace: self.workspace.as_str().to_owned(),
            day: self.usage.day.number(),
            item: self.usage.item.name().to_owned(),
            retention_days: self.usage.retention_days,
            sub_key: self.usage.sub_key.clone(),
        }
    }
}

/// A place in the list of quantities that are not billed yet; the default is before all.
#[derive(Debug, Clone, Default)]
pub struct Place {
    workspace: String,
    day: i32,
    item: String,
    retention_days: i32,
    sub_key: String,
}

/// Quantities that are not billed yet, after a place; of one workspace, of some or of all.
pub async fn running(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspaces: Option<&[WorkspaceId]>,
    days: Days,
    after: &Place,
    limit: i64,
) -> Result<Vec<Running>, StoreError> {
    let (from, mut values) = match workspaces {
        Some(some) => {
            let rel = ids(some).relation(db.get_database_backend(), "r", 1)?;
            (format!("{} JOIN usage_day u ON u.workspace_id = r.workspace_id", rel.sql), rel.values)
        }
        None => (String::from("usage_day u"), Vec::new()),
    };
    let text = format!(
        "SELECT u.workspace_id, w.price_zone, u.usage_day, u.item, u.retention_days, u.sub_key, u.quantity, u.billed \
         FROM {from} JOIN workspace w ON w.billing_account_id = u.billing_account_id \
         AND w.workspace_id = u.workspace_id WHERE u.billing_account_id = ? AND u.quantity <> u.billed \
         AND u.usage_day BETWEEN ? AND ? AND u.workspace_id >= ? \
         AND (u.workspace_id, u.usage_day, u.item, u.retention_days, u.sub_key) > (?, ?, ?, ?, ?) \
         ORDER BY u.workspace_id, u.usage_day, u.item, u.retention_days, u.sub_key LIMIT ?"
    );
    values.extend([
        Value::from(account.as_str()),
        days.0.number().into(),
        days.1.number().into(),
        after.workspace.as_str().into(),
        after.workspace.as_str().into(),
        after.day.into(),
        after.item.as_str().into(),
        after.retention_days.into(),
        after.sub_key.as_str().into(),
        limit.into(),
    ]);
    let running = |row: &QueryResult| {
        let row = Row(row, "usage_day");
        Ok(Running {
            workspace: row.parse("workspace_id")?,
            zone: row.parse("price_zone")?,
            usage: Usage {
                day: row.day("usage_day")?,
                item: row.parse("item")?,
                retention_days: row.small("retention_days")?,
                sub_key: row.text("sub_key")?,
                quantity: Quantity { hundredths: row.int("quantity")? },
                billed: Quantity { hundredths: row.int("billed")? },
            },
        })
    };
    read::all(db, &text, values).await?.iter().map(running).collect()
}

/// Workspaces with something that is not billed yet, and their names, after a workspace.
pub async fn running_workspaces(
    db: &impl ConnectionTrait,
    scope: &Scope,
    days: Days,
    after: &str,
    limit: u64,
) -> Result<Vec<(WorkspaceId, String)>, StoreError> {
    let mut text = String::from(
        "SELECT w.workspace_id, w.name FROM workspace w WHERE w.billing_account_id = ? AND w.workspace_id > ? \
         AND EXISTS (SELECT 1 FROM usage_day u WHERE u.billing_account_id = w.billing_account_id \
         AND u.workspace_id = w.workspace_id AND u.quantity <> u.billed AND u.usage_day BETWEEN ? AND ?)",
    );
    let mut values: Vec<Value> =
        vec![scope.account.as_str().into(), after.into(), days.0.number().into(), days.1.number().into()];
    if let Some(workspace) = &scope.workspace {
        text.push_str(" AND w.workspace_id = ?");
        values.push(workspace.as_str().into());
    }
    text.push_str(" ORDER BY w.workspace_id LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let named = |row: &QueryResult| {
        let row = Row(row, "workspace");
        Ok((row.parse("workspace_id")?, row.text("name")?))
    };
    read::all(db, &text, values).await?.iter().map(named).collect()
}
