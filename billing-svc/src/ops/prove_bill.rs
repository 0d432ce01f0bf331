//! Recomputes one bill from the usage as it was then and the price lists it used, and says what differs (I-14).
//!
//! What was known when the bill was made follows from the bills themselves: of each quantity, the bills before it hold
//! what was billed before, and its own line what was added. The same rule that made the bill is run over that again.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillId;
use tandem_proto::item::BillingItem;
use tandem_proto::money::Money;
use tandem_proto::page::Page;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Database, StoreError};
use tandem_service_kit::fault::Fault;

use super::prove_bills::{Difference, prove_bills};
use crate::domain::bill::{BillState, Draft, Line, LineKind, Usage, draft};
use crate::domain::price::PriceList;
use crate::store::bill::{self, Bill, Payment};
use crate::store::price;
use crate::store::read::{self, Row};

/// A proved bill.
#[derive(Debug)]
pub struct Proved {
    /// The bill.
    pub bill: Bill,
    /// Its lines.
    pub lines: Vec<Line>,
    /// What paid it.
    pub payments: Vec<Payment>,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// Proves one bill. Fails with `OBJECT_NOT_FOUND` when there is none with this id.
pub async fn prove_bill(db: &Database, id: &BillId) -> Result<Proved, Fault> {
    let one = Page { size: 1, after: Vec::new() };
    let mut differences = prove_bills(db, None, Some(id), &one).await?.differences;
    let db = db.snapshot().await?;
    let found = bill::list_all(&db, None, Some(id), &[], 1).await?.pop();
    let found = [found.ok_or(Fault::not_found("bill_id"))?];
    let lines = bill::lines(&db, &found).await?.remove(id).unwrap_or_default();
    let payments = bill::payments(&db, &found).await?.remove(id).unwrap_or_default();
    let [b] = found;
    let mut report = |what: String, stored: String, recomputed: String| {
        if stored != recomputed && !differences.iter().any(|d| d.what == what) {
            differences.push(Difference { bill: b.id.clone(), what, stored, recomputed });
        }
    };
    let usage = usage_then(&db, &b, &lines).await?;
    let lists = used_lists(price::all(&db).await?, &b, &lines);
    // What packages leave to be charged depends on all that drew on them; `prove_bills` has recomputed that.
    if lines.iter().all(|line| line.package.is_none()) {
        compare(&b, &lines, &usage, &lists, &mut report);
    }
    let posted = posted(&db, &b).await?;
    let money = |minor| Money { minor, currency: b.currency }.to_string();
    // What is still with a cloud is earned when the cloud takes it over.
    let earned = match b.state {
        BillState::Submitted | BillState::Rejected => b.paid,
        BillState::Issued | BillState::Paid | BillState::InArrears | BillState::Overdue => b.payable,
    };
    report("ledger".into(), money(posted), money(earned));
    Ok(Proved { bill: b, lines, payments, differences })
}

type Key = (UsageDay, BillingItem, i32, String);

fn key(b: &Bill, line: &Line) -> Option<Key> {
    Some((line.adjusted_day.unwrap_or(b.day), line.item?, line.retention_days, line.sub_key.clone()))
}

/// The quantities of the bill's lines as they were when it was made: what stood on bills before, and what was counted.
async fn usage_then(db: &impl ConnectionTrait, b: &Bill, lines: &[Line]) -> Result<Vec<Usage>, StoreError> {
    let before = billed_before(db, b).await?;
    let mut usage = Vec::new();
    for line in lines {
        let Some((day, item, retention_days, sub_key)) = key(b, line) else { continue };
        let known = before.get(&(day, item, retention_days, sub_key.clone())).copied().unwrap_or(0);
        let quantity = known.checked_add(line.quantity.hundredths);
        let quantity = quantity.ok_or(StoreError::Corrupt { table: "bill_line", column: "quantity" })?;
        let (quantity, billed) = (Quantity { hundredths: quantity }, Quantity { hundredths: known });
        usage.push(Usage { day, item, retention_days, sub_key, quantity, billed });
    }
    Ok(usage)
}

/// What the workspace's earlier bills hold of the quantities that this bill has lines for.
async fn billed_before(db: &impl ConnectionTrait, b: &Bill) -> Result<HashMap<Key, i64>, StoreError> {
    let text = "SELECT COALESCE(m.adjusted_day, e.usage_day) AS day, m.item, m.retention_days, m.sub_key, \
                CAST(SUM(m.quantity) AS BIGINT) AS quantity FROM daily_bill b \
                JOIN bill_line l ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
                JOIN daily_bill e ON e.billing_account_id = b.billing_account_id AND e.workspace_id = b.workspace_id \
                AND (e.issued_at, e.id) < (b.issued_at, b.id) \
                AND e.usage_day >= COALESCE(l.adjusted_day, b.usage_day) \
                JOIN bill_line m ON m.billing_account_id = e.billing_account_id AND m.bill_id = e.id \
                AND m.item = l.item AND m.retention_days = l.retention_days AND m.sub_key = l.sub_key \
                AND COALESCE(m.adjusted_day, e.usage_day) = COALESCE(l.adjusted_day, b.usage_day) \
                WHERE b.billing_account_id = ? AND b.id = ? AND l.kind <> 'rounding' \
                GROUP BY COALESCE(m.adjusted_day, e.usage_day), m.item, m.retention_days, m.sub_key";
    let rows = read::all(db, text, [b.billing_account.as_str().into(), b.id.as_str().into()]).await?;
    let known = |row| {
        let row = Row(row, "bill_line");
        let key = (row.day("day")?, row.parse("item")?, row.small("retention_days")?, row.text("sub_key")?);
        Ok((key, row.int("quantity")?))
    };
    rows.iter().map(known).collect()
}

/// Only the lists that the bill names: one published since must not change what it was.
fn used_lists(lists: Vec<PriceList>, b: &Bill, lines: &[Line]) -> Vec<PriceList> {
    let used = |list: &PriceList| {
        list.version == b.price_list_version
            || lines.iter().any(|line| line.price_list_version == list.version)
    };
    lists.into_iter().filter(used).collect()
}

/// Compares the bill with what the rule makes of the usage as it was then.
fn compare(
    b: &Bill,
    lines: &[Line],
    usage: &[Usage],
    lists: &[PriceList],
    report: &mut impl FnMut(String, String, String),
) {
    let money = |minor| Money { minor, currency: b.currency }.to_string();
    for used in usage.iter().filter(|used| used.quantity < Quantity::ZERO) {
        let what = format!("usage {}/{} of {}", used.item, used.retention_days, used.day);
        report(what, used.quantity.to_string(), "0 or more".to_owned());
    }
    let again = match draft(b.day, b.price_zone, b.currency, usage, lists) {
        Ok(Some(again)) => again,
        Ok(None) => return report("payable".into(), money(b.payable), "nothing to pay".to_owned()),
        Err(error) => return report("payable".into(), money(b.payable), error.to_string()),
    };
    report("payable".into(), money(b.payable), money(again.payable.minor));
    report("restricted".into(), money(b.restricted), money(again.restricted));
    report("price list".into(), b.price_list_version.clone(), again.price_list_version.clone());
    report("lines".into(), lines.len().to_string(), again.lines.len().to_string());
    compare_lines(lines, &again, report);
}

fn compare_lines(lines: &[Line], again: &Draft, report: &mut impl FnMut(String, String, String)) {
    let say = |line: &Line| {
        let price = format!("{} for {}", line.price.unit_price, line.price.unit_size);
        let adjusted = line.adjusted_day.map(|day| format!(" adjusting {day}")).unwrap_or_default();
        let kind = line.kind.name();
        format!(
            "{kind} {} at {price} by {}: {}{adjusted}",
            line.quantity, line.price_list_version, line.amount
        )
    };
    for (number, (stored, made)) in (1..).zip(lines.iter().zip(&again.lines)) {
        // The rounding line's price list is nothing that was used.
        if stored.kind == LineKind::Rounding && made.kind == LineKind::Rounding {
            report("rounding".to_owned(), stored.amount.to_string(), made.amount.to_string());
            continue;
        }
        let name = |line: &Line| line.item.map_or("rounding", |item| item.name());
        let what = format!("line {number} {}/{} {}", name(stored), stored.retention_days, stored.sub_key);
        report(what.trim_end().to_owned(), say(stored), say(made));
        let what = format!("line {number} is for");
        report(
            what,
            format!("{} {}", name(stored), stored.sub_key),
            format!("{} {}", name(made), made.sub_key),
        );
    }
}

/// What the ledger says was earned with the bill.
async fn posted(db: &impl ConnectionTrait, b: &Bill) -> Result<i64, StoreError> {
    let text = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS earned FROM ledger_entry \
                WHERE billing_account_id = ? AND (account = 'revenue' OR account LIKE 'revenue:%') \
                AND transfer_id IN (?, ?, ?)";
    use crate::domain::ledger::{Cause, CauseKind};
    let id = |kind| Cause::new(kind, b.id.as_str()).transfer_id().into();
    let values = [
        b.billing_account.as_str().into(),
        id(CauseKind::Bill),
        id(CauseKind::BillMoved),
        id(CauseKind::CloudBill),
    ];
    let row = read::one(db, text, values).await?;
    row.map_or(Ok(0), |row| Row(&row, "ledger_entry").int("earned"))
}
