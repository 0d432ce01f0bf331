//! The repayment run: accounts that owe although they hold cash or cards pay what they can (`domain.md` 3.13).
//!
//! Every inflow repays at once, so there is nothing to be found as a rule; what came in by another way must not lie beside
//! a debt until workspaces are locked.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;

use super::repay::{self, Inflow};
use crate::context::Context;
use crate::domain::card;
use crate::domain::deduction::{self, Instrument};
use crate::domain::wallet::REPAYS;
use crate::store::ledger::{self, Posting};
use crate::store::{account, debt, lot};

/// Accounts looked at in one step.
const BATCH: i64 = 100;

/// Repays the debts of a bounded number of accounts as far as their money goes. Returns how many it paid something of.
pub async fn run(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    // A day before that of UTC has ended in every account's zone.
    let earliest = UsageDay::of(now, &TimeZone::UTC).previous();
    let mut paid = 0;
    // Each account has its own transaction: they are few, and one must not hold up the others.
    for id in debt::payable(&ctx.db.read, earliest, now, BATCH).await? {
        paid += usize::from(pay(ctx, &id, now).await?);
    }
    Ok(paid)
}

async fn pay(ctx: &Context, id: &BillingAccountId, now: Timestamp) -> Result<bool, Fault> {
    let overflow = || Fault::from(StoreError::Corrupt { table: "ledger_account", column: "balance" });
    let tx = ctx.db.begin().await?;
    let payer = account::lock(&tx, id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let mut wallet = lot::wallet_of(&tx, id, REPAYS).await?;
    let parts = wallet.repay(card::today(payer.region, now), now).map_err(|_| overflow())?;
    if parts.is_empty() {
        tx.rollback().await;
        return Ok(false);
    }
    let (mut postings, mut inflows) = (Vec::new(), Vec::new());
    for part in parts {
        let transfer = deduction::late_repayment(part.kind, &part.lot, part.amount, now);
        let transfer = transfer.map_err(|_| overflow())?;
        inflows.push(Inflow {
            transfer_id: transfer.cause.transfer_id(),
            instrument: Instrument::from(part.kind),
            lot: part.lot,
            repaid: part.amount,
        });
        postings.push(Posting { billing_account: id.clone(), currency: payer.currency, transfer });
    }
    ledger::post(&tx, &postings, now).await?;
    repay::repay_bills(&tx, id, inflows, now).await?;
    repay::end_arrears(&tx, ctx, payer, wallet.overdraft(), now).await?;
    tx.commit().await?;
    ctx.wakes.feed.notify_one();
    Ok(true)
}
