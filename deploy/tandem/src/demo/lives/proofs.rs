//! The end of the demo: what must be true, whatever happened.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tandem_proto::billing::v1::{BillLineKind, MeteringState, PaymentInstrument};
use tandem_proto::day::UsageDay;

use super::direct::Direct;
use super::market::Market;
use crate::commands::{bill, ledger, usage};
use crate::demo::proofs::Proofs;
use crate::demo::stage::Stage;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// More entries than the demo makes.
const ENTRIES_SHOWN_MAX: usize = 1_000;
/// More bills or daily quantities than a workspace of the demo has.
const ROWS_MAX: usize = 1_000;

/// Shows both ledgers, checks every proof and returns them for scripts. `days` are the first and the last of the demo.
///
/// Fails when any does not hold.
pub async fn check(
    stage: &Stage,
    days: (UsageDay, UsageDay),
    direct: &Direct,
    market: &Market,
) -> Result<Value> {
    for (name, account) in
        [("the direct customer", &direct.account), ("the market's customer", &market.account)]
    {
        stage.teller.step(&format!("The ledger of {name}"))?;
        let entries = ledger::list(&stage.portal, account, ENTRIES_SHOWN_MAX).await?;
        stage.teller.table(&ledger::entries_table(&entries.rows))?;
    }

    let mut proofs = Proofs::begin(stage)?;
    proofs.ledger().await?;
    proofs.bills().await?;

    let (mut quantities, mut unlike) = (0, 0);
    let workspaces = market.workspaces.iter().map(|workspace| (&market.account, workspace));
    for (account, workspace) in workspaces.chain([(&direct.account, &direct.workspace)]) {
        let (counted, billed) = quantities_of(stage, days, account, workspace).await?;
        quantities += counted.len();
        unlike +=
            counted.keys().chain(billed.keys()).filter(|key| counted.get(key) != billed.get(key)).count();
    }
    let same =
        format!("{quantities} daily quantities counted by the Console, {unlike} of them billed otherwise");
    proofs.note(quantities > 0 && unlike == 0, &same)?;
    proofs.keep("usage", json!({ "quantities": quantities, "different": unlike }));

    let metering = Metering::count(stage, market).await?;
    let equal =
        metering.billed == metering.sent && metering.sent == metering.remembered && metering.unfinished == 0;
    stage.teller.table(&metering.table())?;
    proofs.note(
        equal && metering.sent > 0,
        "metering sent = metering billed = metering remembered by the cloud",
    )?;
    proofs.keep("metering", metering.table().to_json());
    proofs.end()
}

/// Hundredths by day, item, retention and sub-key.
type Quantities = BTreeMap<(String, i32, i32, String), i64>;

/// What the Console counted for a workspace, and what stands on its bills.
async fn quantities_of(
    stage: &Stage,
    days: (UsageDay, UsageDay),
    account: &str,
    workspace: &str,
) -> Result<(Quantities, Quantities)> {
    let rows = usage::list(&stage.operator, workspace, days.0, days.1, ROWS_MAX).await?;
    let counted = rows
        .rows
        .into_iter()
        .map(|row| ((row.usage_day, row.item, row.retention_days, row.sub_key), row.quantity_hundredths));
    let mut billed = Quantities::new();
    for listed in bill::list(&stage.operator, account, workspace, ROWS_MAX).await?.0 {
        let shown = bill::show(&stage.operator, account, &listed.id).await?;
        for line in shown.lines.into_iter().filter(|line| line.kind() != BillLineKind::Rounding) {
            let day = if line.adjusted_day.is_empty() { shown.usage_day.clone() } else { line.adjusted_day };
            *billed.entry((day, line.item, line.retention_days, line.sub_key)).or_default() +=
                line.quantity_hundredths;
        }
    }
    Ok((counted.collect(), billed))
}

/// The three counts of what went to the cloud, in the currency's minor units.
struct Metering {
    billed: i64,
    sent: i64,
    remembered: i64,
    unfinished: usize,
}

impl Metering {
    async fn count(stage: &Stage, market: &Market) -> Result<Metering> {
        let out_of_range = || Failure::failed("the sum is out of range");
        let sum =
            |parts: Vec<i64>| parts.into_iter().try_fold(0_i64, i64::checked_add).ok_or_else(out_of_range);
        let taken = |state| matches!(state, MeteringState::Accepted | MeteringState::DuplicateSame);
        let records = market.metering(stage).await?;
        let sent = records.iter().filter(|record| taken(record.state())).map(|record| record.quantity);
        let bills = market.bills(stage).await?;
        let payments = bills.iter().flat_map(|bill| &bill.paid_by);
        let by_cloud = payments.filter(|payment| payment.instrument() == PaymentInstrument::Cloud);
        let billed = by_cloud.map(|payment| payment.amount.as_ref().map_or(0, |amount| amount.minor_units));
        let remembered = stage.sandbox.usage().await?;
        let remembered = remembered.iter().filter(|usage| usage.instance_id == market.instance);
        Ok(Metering {
            billed: sum(billed.collect())?,
            sent: sum(sent.collect())?,
            remembered: sum(remembered.map(|usage| usage.quantity).collect())?,
            unfinished: records.iter().filter(|record| !taken(record.state())).count(),
        })
    }

    fn table(&self) -> Table {
        let unfinished = i64::try_from(self.unfinished).unwrap_or(i64::MAX);
        let mut table = Table::new(&["sent", "billed", "remembered", "not_taken"]);
        table.row([self.sent, self.billed, self.remembered, unfinished].map(Cell::Number));
        table
    }
}
