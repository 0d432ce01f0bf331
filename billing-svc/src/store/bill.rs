//! Daily bills, their lines and what paid them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId, CloudAccountId, SubscriptionId, WorkspaceId};
use tandem_proto::money::{Currency, LineAmount};
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::{PriceZone, SettlementMethod};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::monthly_bill;
use super::read::{self, Row, for_update, maybe_micros, micros};
use super::usage::{Place, places_relation};
use crate::domain::bill::{BillKind, BillState, Line, LineKind};
use crate::domain::deduction::Instrument;
use crate::domain::price::Price;

const TABLE: &str = "daily_bill";

/// What a workspace consumed on one day, and how it stands.
#[derive(Debug, Clone)]
pub struct Bill {
    /// Opaque.
    pub id: BillId,
    /// Who receives it.
    pub billing_account: BillingAccountId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name at that time.
    pub workspace_name: String,
    /// The day.
    pub day: UsageDay,
    /// What part of the day.
    pub kind: BillKind,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// Which prices applied.
    pub price_zone: PriceZone,
    /// The list its own day was rated by.
    pub price_list_version: String,
    /// Who is charged.
    pub method: SettlementMethod,
    /// Through which cloud account.
    pub cloud_account: Option<CloudAccountId>,
    /// Through which purchase.
    pub subscription: Option<SubscriptionId>,
    /// Minor units to be paid.
    pub payable: i64,
    /// How much of the payable is for items that vouchers never pay (D31).
    pub restricted: i64,
    /// Minor units that are paid.
    pub paid: i64,
    /// Where it stands.
    pub state: BillState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it was paid in full.
    pub paid_at: Option<Timestamp>,
}

/// A part of a bill's payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The bill.
    pub bill: BillId,
    /// Whose.
    pub billing_account: BillingAccountId,
    /// The ledger transfer behind it.
    pub transfer_id: String,
    /// The lot that paid; empty for a cloud.
    pub lot: String,
    /// What paid.
    pub instrument: Instrument,
    /// Minor units.
    pub amount: i64,
    /// How much of it was for restricted items; of a cloud's part it is not known.
    pub restricted: i64,
    /// When.
    pub paid_at: Timestamp,
}

/// Adds bills with their lines.
///
/// Fails with a conflict when an account, workspace, day and kind has a bill already (I-13), and when the bill's month
/// is fixed.
pub async fn insert(tx: &Tx, bills: &[(Bill, Vec<Line>)]) -> Result<(), StoreError> {
    if bills.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("workspace_name", Kind::Text),
        ("usage_day", Kind::Int),
        ("kind", Kind::Text),
        ("currency", Kind::Text),
        ("price_zone", Kind::Text),
        ("price_list_version", Kind::Text),
        ("settlement_method", Kind::Text),
        ("cloud_account_id", Kind::Text),
        ("subscription_id", Kind::Text),
        ("payable", Kind::Int),
        ("restricted", Kind::Int),
        ("paid", Kind::Int),
        ("state", Kind::Text),
        ("issued_at", Kind::Int),
        ("paid_at", Kind::Int),
    ]);
    for (b, _) in bills {
        rows.push([
            b.billing_account.as_str().into(),
            b.id.as_str().into(),
            b.workspace.as_str().into(),
            b.workspace_name.as_str().into(),
            i64::from(b.day.number()).into(),
            b.kind.name().into(),
            b.currency.code().into(),
            b.price_zone.name().into(),
            b.price_list_version.as_str().into(),
            b.method.name().into(),
            b.cloud_account.as_ref().map(|id| id.as_str()).into(),
            b.subscription.as_ref().map(|id| id.as_str()).into(),
            b.payable.into(),
            b.restricted.into(),
            b.paid.into(),
            b.state.name().into(),
            micros(b.issued_at),
            maybe_micros(b.paid_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, id, workspace_id, workspace_name, usage_day, kind, currency, price_zone, \
                   price_list_version, settlement_method, cloud_account_id, subscription_id, payable, restricted, \
                   paid, state, issued_at, paid_at";
    let text = format!("INSERT INTO daily_bill ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    insert_lines(tx, bills).await?;
    monthly_bill::count_in(tx, bills.iter().map(|(bill, _)| bill)).await
}

async fn insert_lines(tx: &Tx, bills: &[(Bill, Vec<Line>)]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("bill_id", Kind::Text),
        ("number", Kind::Int),
        ("kind", Kind::Text),
        ("item", Kind::Text),
        ("retention_days", Kind::Int),
        ("sub_key", Kind::Text),
        ("quantity", Kind::Int),
        ("unit_size", Kind::Int),
        ("unit_price", Kind::Int),
        ("amount", Kind::Int),
        ("adjusted_day", Kind::Int),
        ("price_list_version", Kind::Text),
        ("package_id", Kind::Text),
    ]);
    for (bill, lines) in bills {
        for (number, line) in (1_i64..).zip(lines) {
            rows.push([
                bill.billing_account.as_str().into(),
                bill.id.as_str().into(),
                number.into(),
                line.kind.name().into(),
                line.item.map_or("", |item| item.name()).into(),
                i64::from(line.retention_days).into(),
                line.sub_key.as_str().into(),
                line.quantity.hundredths.into(),
                line.price.unit_size.into(),
                line.price.unit_price.micros.into(),
                line.amount.micros.into(),
                line.adjusted_day.map(|day| i64::from(day.number())).into(),
                line.price_list_version.as_str().into(),
                line.package.as_ref().map(|id| id.as_str()).into(),
            ]);
        }
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, bill_id, number, kind, item, retention_days, sub_key, quantity, unit_size, \
                   unit_price, amount, adjusted_day, price_list_version, package_id";
    let text = format!("INSERT INTO bill_line ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Which days from one on have a bill of these workspaces, and of which kind.
pub async fn billed_days(
    db: &impl ConnectionTrait,
    places: &[Place],
    from: UsageDay,
) -> Result<HashSet<(WorkspaceId, UsageDay, BillKind)>, StoreError> {
    let rel = places_relation(places).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT b.workspace_id, b.usage_day, b.kind FROM {} JOIN daily_bill b \
         ON b.billing_account_id = r.billing_account_id AND b.workspace_id = r.workspace_id WHERE b.usage_day >= ?",
        rel.sql
    );
    let found = read::all(db, &text, rel.values.into_iter().chain([from.number().into()])).await?;
    let key = |row| {
        let row = Row(row, TABLE);
        Ok((row.parse("workspace_id")?, row.day("usage_day")?, row.parse("kind")?))
    };
    found.iter().map(key).collect()
}

/// The greatest day that a workspace has a bill of with an account.
pub async fn last_day(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspace: &WorkspaceId,
) -> Result<Option<UsageDay>, StoreError> {
    let text = "SELECT MAX(usage_day) AS usage_day FROM daily_bill WHERE billing_account_id = ? AND workspace_id = ?";
    let row = read::one(db, text, [account.as_str().into(), workspace.as_str().into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let row = Row(&row, TABLE);
    let day = row.maybe_small("usage_day")?;
    day.map(|n| UsageDay::from_number(n).map_err(|_| row.corrupt("usage_day"))).transpose()
}

/// Adds payments.
pub async fn insert_payments(tx: &Tx, payments: &[Payment]) -> Result<(), StoreError> {
    if payments.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("bill_id", Kind::Text),
        ("transfer_id", Kind::Text),
        ("lot", Kind::Text),
        ("instrument", Kind::Text),
        ("amount", Kind::Int),
        ("restricted", Kind::Int),
        ("paid_at", Kind::Int),
    ]);
    for p in payments {
        rows.push([
            p.billing_account.as_str().into(),
            p.bill.as_str().into(),
            p.transfer_id.as_str().into(),
            p.lot.as_str().into(),
            p.instrument.name().into(),
            p.amount.into(),
            p.restricted.into(),
            micros(p.paid_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, bill_id, transfer_id, lot, instrument, amount, restricted, paid_at";
    let text = format!("INSERT INTO bill_payment ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Saves where bills stand: method, purchase, paid part, state.
pub async fn save(tx: &Tx, bills: &[Bill]) -> Result<(), StoreError> {
    if bills.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("id", Kind::Text),
        ("settlement_method", Kind::Text),
        ("cloud_account_id", Kind::Text),
        ("subscription_id", Kind::Text),
        ("paid", Kind::Int),
        ("state", Kind::Text),
        ("paid_at", Kind::Int),
    ]);
    for b in bills {
        rows.push([
            b.billing_account.as_str().into(),
            b.id.as_str().into(),
            b.method.name().into(),
            b.cloud_account.as_ref().map(|id| id.as_str()).into(),
            b.subscription.as_ref().map(|id| id.as_str()).into(),
            b.paid.into(),
            b.state.name().into(),
            maybe_micros(b.paid_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE daily_bill SET settlement_method = r.settlement_method, cloud_account_id = r.cloud_account_id, \
         subscription_id = r.subscription_id, paid = r.paid, state = r.state, paid_at = r.paid_at FROM {} \
         WHERE daily_bill.billing_account_id = r.billing_account_id AND daily_bill.id = r.id",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Reads an account's bills by id and locks them, in the order of ids.
pub async fn lock(tx: &Tx, account: &BillingAccountId, ids: &[BillId]) -> Result<Vec<Bill>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF b" };
    let text = format!(
        "SELECT b.* FROM {} JOIN daily_bill b ON b.id = r.id WHERE b.billing_account_id = ? ORDER BY b.id{lock}",
        rel.sql
    );
    let values = rel.values.into_iter().chain([account.as_str().into()]);
    read::all(tx, &text, values).await?.iter().map(bill).collect()
}

/// Reads an account's bills whose rest is overdraft, oldest first, and locks them.
///
/// Bounded: a repayment goes over at most this many bills in one transaction.
pub async fn lock_owed(tx: &Tx, account: &BillingAccountId, limit: i64) -> Result<Vec<Bill>, StoreError> {
    let text = format!(
        "SELECT * FROM daily_bill WHERE billing_account_id = ? AND state IN ('in_arrears', 'overdue') \
         ORDER BY issued_at, id LIMIT ?{}",
        for_update(tx)
    );
    read::all(tx, &text, [account.as_str().into(), limit.into()]).await?.iter().map(bill).collect()
}

/// Marks bills as overdue that have been in arrears since before an instant (`domain.md` 5.5). Returns how many.
pub async fn set_overdue(tx: &Tx, issued_before: Timestamp) -> Result<u64, StoreError> {
    let text = "UPDATE daily_bill SET state = 'overdue' WHERE state = 'in_arrears' AND issued_at <= ?";
    tx.run(text, [micros(issued_before)]).await
}

/// An account's bills, newest day first, after a place: day and id.
pub async fn list(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspace: Option<&WorkspaceId>,
    after: &[String],
    limit: u64,
) -> Result<Vec<Bill>, StoreError> {
    let mut text = String::from("SELECT * FROM daily_bill WHERE billing_account_id = ?");
    let mut values: Vec<Value> = vec![account.as_str().into()];
    if let Some(workspace) = workspace {
        text.push_str(" AND workspace_id = ?");
        values.push(workspace.as_str().into());
    }
    if let [day, id] = after {
        text.push_str(" AND (usage_day, id) < (?, ?)");
        values.extend([Value::from(day.parse().unwrap_or(i32::MIN)), id.as_str().into()]);
    }
    text.push_str(" ORDER BY usage_day DESC, id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(bill).collect()
}

/// All bills in the order of account and id, after a place, for proofs.
pub async fn list_all(
    db: &impl ConnectionTrait,
    account: Option<&BillingAccountId>,
    id: Option<&BillId>,
    after: &[String],
    limit: u64,
) -> Result<Vec<Bill>, StoreError> {
    let mut text = String::from("SELECT * FROM daily_bill WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(account) = account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    if let Some(id) = id {
        text.push_str(" AND id = ?");
        values.push(id.as_str().into());
    }
    if let [account, id] = after {
        text.push_str(" AND (billing_account_id, id) > (?, ?)");
        values.extend([Value::from(account.as_str()), id.as_str().into()]);
    }
    text.push_str(" ORDER BY billing_account_id, id LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(bill).collect()
}

/// Finds an account's bills by id.
pub async fn find_all(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    ids: &[BillId],
) -> Result<Vec<Bill>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT b.* FROM {} JOIN daily_bill b ON b.id = r.id WHERE b.billing_account_id = ?",
        rel.sql
    );
    let values = rel.values.into_iter().chain([account.as_str().into()]);
    read::all(db, &text, values).await?.iter().map(bill).collect()
}

/// Finds an account's bill.
pub async fn find(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    id: &BillId,
) -> Result<Option<Bill>, StoreError> {
    let text = "SELECT * FROM daily_bill WHERE billing_account_id = ? AND id = ?";
    read::one(db, text, [account.as_str().into(), id.as_str().into()]).await?.as_ref().map(bill).transpose()
}

fn by_bill<'a>(bills: impl IntoIterator<Item = &'a Bill>) -> Rows {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("bill_id", Kind::Text)]);
    bills.into_iter().for_each(|b| rows.push([b.billing_account.as_str().into(), b.id.as_str().into()]));
    rows
}

/// The lines of bills, in order.
pub async fn lines(
    db: &impl ConnectionTrait,
    bills: &[Bill],
) -> Result<HashMap<BillId, Vec<Line>>, StoreError> {
    let rel = by_bill(bills).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT l.*, b.currency FROM {} JOIN bill_line l ON l.billing_account_id = r.billing_account_id \
         AND l.bill_id = r.bill_id JOIN daily_bill b ON b.billing_account_id = r.billing_account_id \
         AND b.id = r.bill_id ORDER BY l.bill_id, l.number",
        rel.sql
    );
    let mut found: HashMap<BillId, Vec<Line>> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let bill = Row(&row, "bill_line").parse("bill_id")?;
        found.entry(bill).or_default().push(line(&row)?);
    }
    Ok(found)
}

/// The payments of bills, oldest first.
pub async fn payments(
    db: &impl ConnectionTrait,
    bills: &[Bill],
) -> Result<HashMap<BillId, Vec<Payment>>, StoreError> {
    let rel = by_bill(bills).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT p.* FROM {} JOIN bill_payment p ON p.billing_account_id = r.billing_account_id \
         AND p.bill_id = r.bill_id ORDER BY p.bill_id, p.paid_at, p.transfer_id, p.lot",
        rel.sql
    );
    let mut found: HashMap<BillId, Vec<Payment>> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "bill_payment");
        let payment = Payment {
            bill: row.parse("bill_id")?,
            billing_account: row.parse("billing_account_id")?,
            transfer_id: row.text("transfer_id")?,
            lot: row.text("lot")?,
            instrument: row.parse("instrument")?,
            amount: row.int("amount")?,
            restricted: row.int("restricted")?,
            paid_at: row.time("paid_at")?,
        };
        found.entry(payment.bill.clone()).or_default().push(payment);
    }
    Ok(found)
}

fn bill(row: &QueryResult) -> Result<Bill, StoreError> {
    let row = Row(row, TABLE);
    Ok(Bill {
        id: row.parse("id")?,
        billing_account: row.parse("billing_account_id")?,
        workspace: row.parse("workspace_id")?,
        workspace_name: row.text("workspace_name")?,
        day: row.day("usage_day")?,
        kind: row.parse("kind")?,
        currency: row.parse("currency")?,
        price_zone: row.parse("price_zone")?,
        price_list_version: row.text("price_list_version")?,
        method: row.parse("settlement_method")?,
        cloud_account: row.maybe_parse("cloud_account_id")?,
        subscription: row.maybe_parse("subscription_id")?,
        payable: row.int("payable")?,
        restricted: row.int("restricted")?,
        paid: row.int("paid")?,
        state: row.parse("state")?,
        issued_at: row.time("issued_at")?,
        paid_at: row.maybe_time("paid_at")?,
    })
}

fn line(row: &QueryResult) -> Result<Line, StoreError> {
    let row = Row(row, "bill_line");
    let currency = row.parse("currency")?;
    let kind = row.parse("kind")?;
    let item = if kind == LineKind::Rounding { None } else { Some(row.parse("item")?) };
    let adjusted_day = row.maybe_small("adjusted_day")?;
    let adjusted_day = adjusted_day
        .map(|n| UsageDay::from_number(n).map_err(|_| row.corrupt("adjusted_day")))
        .transpose()?;
    Ok(Line {
        kind,
        item,
        retention_days: row.small("retention_days")?,
        sub_key: row.text("sub_key")?,
        quantity: Quantity { hundredths: row.int("quantity")? },
        price: Price {
            unit_size: row.int("unit_size")?,
            unit_price: LineAmount { micros: row.int("unit_price")?, currency },
        },
        amount: LineAmount { micros: row.int("amount")?, currency },
        adjusted_day,
        price_list_version: row.text("price_list_version")?,
        package: row.maybe_parse("package_id")?,
    })
}
