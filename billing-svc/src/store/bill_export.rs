//! Lines of daily bills in the order of an export: by usage day, bill and number, page by page.

use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId, WorkspaceId};
use tandem_proto::money::{Currency, LineAmount};
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::StoreError;

use super::read::{self, Row};
use super::spend::Days;
use crate::domain::bill::{BillKind, BillState, LineKind};

/// A line with what an export says of its bill.
#[derive(Debug, Clone)]
pub struct ExportedLine {
    /// The bill.
    pub bill: BillId,
    /// Its day.
    pub day: UsageDay,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name at that time.
    pub workspace_name: String,
    /// What part of the day the bill is for.
    pub bill_kind: BillKind,
    /// Who is charged.
    pub method: SettlementMethod,
    /// Where the bill stands.
    pub state: BillState,
    /// The currency of all amounts.
    pub currency: Currency,
    /// The line's place, from 1.
    pub number: i32,
    /// What the line is for.
    pub kind: LineKind,
    /// The item's name; empty on the rounding line.
    pub item: String,
    /// 0 for items that are not priced by retention.
    pub retention_days: i32,
    /// May be empty.
    pub sub_key: String,
    /// Negative on adjustments downwards.
    pub quantity: Quantity,
    /// Units that one price buys.
    pub unit_size: i64,
    /// The price.
    pub unit_price: LineAmount,
    /// What the line costs.
    pub amount: LineAmount,
    /// The day an adjustment is for.
    pub adjusted_day: Option<UsageDay>,
    /// The price list the price is from.
    pub price_list_version: String,
}

/// A place in the order; the default is before all.
#[derive(Debug, Clone, Default)]
pub struct Place {
    day: i32,
    bill: String,
    number: i32,
}

impl ExportedLine {
    /// Its place.
    pub fn place(&self) -> Place {
        Place { day: self.day.number(), bill: self.bill.as_str().to_owned(), number: self.number }
    }
}

/// An account's lines of some days after a place.
pub async fn lines(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspace: Option<&WorkspaceId>,
    days: Days,
    after: &Place,
    limit: i64,
) -> Result<Vec<ExportedLine>, StoreError> {
    // The condition on the bill alone is what the index on days serves.
    let mut text = String::from(
        "SELECT b.id, b.usage_day, b.workspace_id, b.workspace_name, b.kind AS bill_kind, b.settlement_method, \
         b.state, b.currency, l.number, l.kind, l.item, l.retention_days, l.sub_key, l.quantity, l.unit_size, \
         l.unit_price, l.amount, l.adjusted_day, l.price_list_version FROM daily_bill b JOIN bill_line l \
         ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id WHERE b.billing_account_id = ? \
         AND b.usage_day BETWEEN ? AND ? AND (b.usage_day, b.id) >= (?, ?) \
         AND (b.usage_day, b.id, l.number) > (?, ?, ?)",
    );
    let mut values: Vec<Value> = vec![
        account.as_str().into(),
        days.0.number().into(),
        days.1.number().into(),
        after.day.into(),
        after.bill.as_str().into(),
        after.day.into(),
        after.bill.as_str().into(),
        after.number.into(),
    ];
    if let Some(workspace) = workspace {
        text.push_str(" AND b.workspace_id = ?");
        values.push(workspace.as_str().into());
    }
    text.push_str(" ORDER BY b.usage_day, b.id, l.number LIMIT ?");
    values.push(limit.into());
    read::all(db, &text, values).await?.iter().map(line).collect()
}

fn line(row: &QueryResult) -> Result<ExportedLine, StoreError> {
    let row = Row(row, "bill_line");
    let currency = row.parse("currency")?;
    let adjusted_day = row.maybe_small("adjusted_day")?;
    let adjusted_day = adjusted_day
        .map(|n| UsageDay::from_number(n).map_err(|_| row.corrupt("adjusted_day")))
        .transpose()?;
    Ok(ExportedLine {
        bill: row.parse("id")?,
        day: row.day("usage_day")?,
        workspace: row.parse("workspace_id")?,
        workspace_name: row.text("workspace_name")?,
        bill_kind: row.parse("bill_kind")?,
        method: row.parse("settlement_method")?,
        state: row.parse("state")?,
        currency,
        number: row.small("number")?,
        kind: row.parse("kind")?,
        item: row.text("item")?,
        retention_days: row.small("retention_days")?,
        sub_key: row.text("sub_key")?,
        quantity: Quantity { hundredths: row.int("quantity")? },
        unit_size: row.int("unit_size")?,
        unit_price: LineAmount { micros: row.int("unit_price")?, currency },
        amount: LineAmount { micros: row.int("amount")?, currency },
        adjusted_day,
        price_list_version: row.text("price_list_version")?,
    })
}
