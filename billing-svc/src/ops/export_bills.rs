//! Exports as comma-separated values, part by part, in constant memory: each part is read from where the last one ended
//! (`domain.md` 3.20).
//!
//! A long export is no view of one moment: every row that was there when it began is in it once, with what it says when
//! its part is read.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::money::LineAmount;
use tandem_proto::month::Month;
use tandem_service_kit::db::StoreError;

use super::read_month;
use crate::domain::csv::Csv;
use crate::domain::monthly::{self, Progress};
use crate::store::bill_export::{self, ExportedLine};
use crate::store::ledger::{self, Entry, Range};
use crate::store::monthly_bill::{self, MonthlyBill};
use crate::store::spend::Days;

/// Lines of daily bills read at once: some 500 KB.
const LINES: i64 = 2_000;
/// Ledger entries read at once.
const ENTRIES: u64 = 1_000;
/// Workspaces of a monthly bill read at once.
const WORKSPACES: u64 = 200;

const LINE_COLUMNS: [&str; 19] = [
    "usage_day",
    "workspace_id",
    "workspace_name",
    "bill_id",
    "bill_kind",
    "settlement_method",
    "bill_state",
    "line",
    "line_kind",
    "item",
    "retention_days",
    "sub_key",
    "quantity",
    "unit_size",
    "unit_price",
    "amount",
    "currency",
    "adjusted_day",
    "price_list",
];
const MONTH_COLUMNS: [&str; 7] =
    ["month", "currency", "state", "workspace_id", "workspace_name", "item", "amount"];
const LEDGER_COLUMNS: [&str; 10] = [
    "entered_at",
    "account_kind",
    "account",
    "amount",
    "balance_after",
    "currency",
    "cause",
    "cause_id",
    "transfer_id",
    "number",
];

/// What is exported.
#[derive(Debug, Clone)]
pub enum What {
    /// Lines of daily bills.
    DailyLines {
        /// Of these days.
        days: Days,
        /// Only of this workspace.
        workspace: Option<WorkspaceId>,
    },
    /// Totals of monthly bills.
    MonthlyTotals {
        /// From this month to that one.
        months: (Month, Month),
    },
    /// Ledger entries.
    Ledger {
        /// Which.
        range: Range,
    },
}

/// Where an export stands.
#[derive(Debug)]
enum Place {
    Lines(bill_export::Place),
    /// The monthly bill that is being written, and its last workspace; before the first bill, `after`.
    Months {
        bill: Option<MonthlyBill>,
        workspace: String,
        after: (i32, String),
    },
    Ledger(Vec<String>),
    End,
}

/// An export that is under way.
#[derive(Debug)]
pub struct Export {
    account: BillingAccountId,
    what: What,
    place: Place,
    csv: Csv,
}

impl Export {
    /// Begins an export; nothing is read yet.
    pub fn new(account: BillingAccountId, what: What) -> Export {
        let (place, csv) = match &what {
            What::DailyLines { .. } => (Place::Lines(Default::default()), Csv::with_columns(&LINE_COLUMNS)),
            What::MonthlyTotals { .. } => {
                let place = Place::Months { bill: None, workspace: String::new(), after: (0, String::new()) };
                (place, Csv::with_columns(&MONTH_COLUMNS))
            }
            What::Ledger { .. } => (Place::Ledger(Vec::new()), Csv::with_columns(&LEDGER_COLUMNS)),
        };
        Export { account, what, place, csv }
    }

    /// The next part of the file; `None` at its end. The first one always holds the names of the columns.
    pub async fn next(&mut self, db: &impl ConnectionTrait) -> Result<Option<String>, StoreError> {
        while !matches!(self.place, Place::End) {
            self.read(db).await?;
            if !self.csv.is_empty() {
                return Ok(Some(self.csv.take()));
            }
        }
        Ok(None)
    }

    async fn read(&mut self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let place = std::mem::replace(&mut self.place, Place::End);
        let csv = &mut self.csv;
        self.place = match (&self.what, place) {
            (What::DailyLines { days, workspace }, Place::Lines(after)) => {
                let found =
                    bill_export::lines(db, &self.account, workspace.as_ref(), *days, &after, LINES).await?;
                found.iter().for_each(|line| write_line(csv, line));
                match found.last() {
                    Some(last) if i64::try_from(found.len()) == Ok(LINES) => Place::Lines(last.place()),
                    _ => Place::End,
                }
            }
            (What::MonthlyTotals { months }, Place::Months { bill: None, after, .. }) => {
                let after = (after.0, after.1.as_str());
                let found = monthly_bill::of_months(db, &self.account, *months, after, 1).await?.pop();
                found.map_or(Place::End, |bill| Place::Months {
                    after: (bill.key.month.number(), bill.key.currency.code().to_owned()),
                    bill: Some(bill),
                    workspace: String::new(),
                })
            }
            (What::MonthlyTotals { .. }, Place::Months { bill: Some(bill), workspace, after }) => {
                let parts = read_month::parts(db, &bill, &workspace, WORKSPACES).await?;
                parts.iter().for_each(|part| write_part(csv, &bill, part));
                match parts.last() {
                    Some(last) if u64::try_from(parts.len()) == Ok(WORKSPACES) => {
                        let workspace = last.totals.workspace.as_str().to_owned();
                        Place::Months { bill: Some(bill), workspace, after }
                    }
                    _ => Place::Months { bill: None, workspace: String::new(), after },
                }
            }
            (What::Ledger { range }, Place::Ledger(after)) => {
                let found = ledger::entries(db, &self.account, *range, &after, ENTRIES).await?;
                found.iter().for_each(|entry| write_entry(csv, entry));
                match found.last() {
                    Some(last) if u64::try_from(found.len()) == Ok(ENTRIES) => Place::Ledger(vec![
                        last.entered_at.as_microsecond().to_string(),
                        last.transfer_id.clone(),
                        last.account.clone(),
                    ]),
                    _ => Place::End,
                }
            }
            _ => Place::End,
        };
        Ok(())
    }
}

fn write_line(csv: &mut Csv, line: &ExportedLine) {
    csv.exact(line.day);
    csv.exact(&line.workspace);
    csv.text(&line.workspace_name);
    csv.exact(&line.bill);
    csv.exact(line.bill_kind.name());
    csv.exact(line.method.name());
    csv.exact(line.state.name());
    csv.exact(line.number);
    csv.exact(line.kind.name());
    csv.exact(&line.item);
    // A rounding line has an amount, but nothing it is for.
    let rounding = line.item.is_empty();
    csv.maybe((line.retention_days != 0).then_some(line.retention_days));
    csv.text(&line.sub_key);
    csv.maybe((!rounding).then_some(line.quantity));
    csv.maybe((!rounding).then_some(line.unit_size));
    if rounding {
        csv.maybe(None::<i64>)
    } else {
        csv.amount(line.unit_price)
    }
    csv.amount(line.amount);
    csv.exact(line.currency);
    csv.maybe(line.adjusted_day);
    csv.text(&line.price_list_version);
    csv.end_line();
}

fn write_part(csv: &mut Csv, bill: &MonthlyBill, part: &read_month::Part) {
    let state = match bill.progress {
        Progress::Open | Progress::Closing => monthly::MonthlyState::Open,
        Progress::Generated => monthly::MonthlyState::Generated,
    };
    for (item, micros) in &part.items {
        csv.exact(bill.key.month);
        csv.exact(bill.key.currency);
        csv.exact(state.name());
        csv.exact(&part.totals.workspace);
        csv.text(&part.totals.name);
        csv.exact(item.map_or("ROUNDING", |item| item.name()));
        csv.amount(LineAmount { micros: *micros, currency: bill.key.currency });
        csv.end_line();
    }
}

fn write_entry(csv: &mut Csv, entry: &Entry) {
    csv.exact(entry.entered_at);
    csv.exact(entry.kind.name());
    csv.text(&entry.account);
    csv.money(entry.amount);
    csv.money(entry.balance_after);
    csv.exact(entry.amount.currency);
    csv.exact(entry.cause.name());
    csv.text(&entry.cause_id);
    csv.text(&entry.transfer_id);
    csv.exact(entry.number);
    csv.end_line();
}

/// The whole time until an instant: what is entered while an export runs must not keep it running.
pub fn until(now: Timestamp) -> Timestamp {
    now.saturating_add(jiff::SignedDuration::from_micros(1)).unwrap_or(Timestamp::MAX)
}
