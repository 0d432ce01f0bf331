//! A month of an account's bills, summed for its document.

use sea_orm::{ConnectionTrait, Value};
use tandem_proto::item::BillingItem;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{StoreError, get};

use super::read::{self, Row};
use crate::domain::account::BillingAccount;
use crate::domain::deduction::Instrument;
use crate::domain::invoice::Month;

/// The bills of a month: an account, a currency, the first day and the one after the last.
const BILLS: &str = "b.billing_account_id = ? AND b.currency = ? AND b.usage_day >= ? AND b.usage_day < ?";

/// What a month comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthSums {
    /// How many bills there are.
    pub bills: i64,
    /// How many workspaces have bills.
    pub workspaces: i64,
    /// Minor units to be paid.
    pub payable: i64,
    /// Minor units that clouds still have to collect.
    pub with_clouds: i64,
}

/// What was used of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemSum {
    /// The item; `None` is what rounding added.
    pub item: Option<BillingItem>,
    /// How much.
    pub quantity: Quantity,
    /// Millionths of the major unit.
    pub micros: i64,
}

/// A workspace's month.
#[derive(Debug, Clone)]
pub struct WorkspaceMonth {
    /// `wks_…`.
    pub id: String,
    /// Its last name in the month.
    pub name: String,
    /// What was used of each item; empty where only the sum is shown.
    pub items: Vec<ItemSum>,
    /// Minor units to be paid.
    pub payable: i64,
}

fn of(payer: &BillingAccount, month: Month) -> [Value; 4] {
    [
        payer.id.as_str().into(),
        payer.currency.code().into(),
        month.first_day().number().into(),
        month.end_day().number().into(),
    ]
}

/// What an account's month comes to.
pub async fn sums(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    month: Month,
) -> Result<MonthSums, StoreError> {
    let text = format!(
        "SELECT COUNT(*) AS bills, COUNT(DISTINCT b.workspace_id) AS workspaces, \
         CAST(COALESCE(SUM(b.payable), 0) AS BIGINT) AS payable, \
         CAST(COALESCE(SUM(CASE WHEN b.state IN ('submitted', 'rejected') THEN b.payable - b.paid ELSE 0 END), 0) \
         AS BIGINT) AS with_clouds FROM daily_bill b WHERE {BILLS}"
    );
    let row = read::one(db, &text, of(payer, month)).await?.ok_or(StoreError::Conflict)?;
    let sum = |column| get(&row, "daily_bill", column);
    Ok(MonthSums {
        bills: sum("bills")?,
        workspaces: sum("workspaces")?,
        payable: sum("payable")?,
        with_clouds: sum("with_clouds")?,
    })
}

/// What was used of each item over all workspaces, dearest first; what rounding added comes last.
pub async fn items(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    month: Month,
) -> Result<Vec<ItemSum>, StoreError> {
    let text = format!(
        "SELECT l.item, CAST(SUM(l.quantity) AS BIGINT) AS quantity, CAST(SUM(l.amount) AS BIGINT) AS amount \
         FROM daily_bill b JOIN bill_line l ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
         WHERE {BILLS} GROUP BY l.item ORDER BY l.item = '', amount DESC, l.item"
    );
    read::all(db, &text, of(payer, month)).await?.iter().map(|row| item(Row(row, "bill_line"))).collect()
}

/// Minor units paid by each instrument, in the order of deduction.
pub async fn payments(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    month: Month,
) -> Result<Vec<(Instrument, i64)>, StoreError> {
    let text = format!(
        "SELECT p.instrument, CAST(SUM(p.amount) AS BIGINT) AS amount FROM daily_bill b \
         JOIN bill_payment p ON p.billing_account_id = b.billing_account_id AND p.bill_id = b.id \
         WHERE {BILLS} GROUP BY p.instrument"
    );
    let mut paid = Vec::new();
    for row in read::all(db, &text, of(payer, month)).await? {
        let row = Row(&row, "bill_payment");
        paid.push((row.parse("instrument")?, row.int("amount")?));
    }
    paid.sort();
    Ok(paid)
}

/// The dearest workspaces of a month, without their items.
pub async fn workspaces(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    month: Month,
    limit: i64,
) -> Result<Vec<WorkspaceMonth>, StoreError> {
    let text = format!(
        "SELECT b.workspace_id, MAX(b.workspace_name) AS name, CAST(SUM(b.payable) AS BIGINT) AS payable \
         FROM daily_bill b WHERE {BILLS} GROUP BY b.workspace_id ORDER BY payable DESC, b.workspace_id LIMIT ?"
    );
    let values = of(payer, month).into_iter().chain([limit.into()]);
    let found = read::all(db, &text, values).await?;
    let workspace = |row| {
        let row = Row(row, "daily_bill");
        Ok(WorkspaceMonth {
            id: row.text("workspace_id")?,
            name: row.text("name")?,
            items: Vec::new(),
            payable: row.int("payable")?,
        })
    };
    found.iter().map(workspace).collect()
}

/// Adds what each workspace used of each item.
pub async fn fill_items(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    month: Month,
    workspaces: &mut [WorkspaceMonth],
) -> Result<(), StoreError> {
    let text = format!(
        "SELECT b.workspace_id, l.item, CAST(SUM(l.quantity) AS BIGINT) AS quantity, \
         CAST(SUM(l.amount) AS BIGINT) AS amount FROM daily_bill b \
         JOIN bill_line l ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
         WHERE {BILLS} GROUP BY b.workspace_id, l.item ORDER BY b.workspace_id, l.item = '', amount DESC, l.item"
    );
    let mut items: std::collections::HashMap<String, Vec<ItemSum>> = Default::default();
    for row in read::all(db, &text, of(payer, month)).await? {
        let row = Row(&row, "bill_line");
        items.entry(row.text("workspace_id")?).or_default().push(item(row)?);
    }
    for workspace in workspaces {
        workspace.items = items.remove(&workspace.id).unwrap_or_default();
    }
    Ok(())
}

fn item(row: Row<'_>) -> Result<ItemSum, StoreError> {
    let name = row.text("item")?;
    // Only the rounding line has no item.
    let item = if name.is_empty() { None } else { Some(row.parse("item")?) };
    Ok(ItemSum { item, quantity: Quantity { hundredths: row.int("quantity")? }, micros: row.int("amount")? })
}
