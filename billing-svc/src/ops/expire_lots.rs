//! Takes away what vouchers and prepaid cards have left after their last day (`domain.md` 3.14, D26, D32).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::domain::{card, deduction};
use crate::store::account;
use crate::store::ledger::{self, Posting};
use crate::store::lot;

/// Lots of one batch.
const BATCH: i64 = 200;
/// How far a zone can be ahead of UTC.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(14);

/// Expires a bounded number of lots whose last day is over and billed on every site the account has workspaces on.
/// Returns how many.
///
/// `due` is the moment that decides, no later than now. A lot that pays the bill of its last day can only be taken away
/// after that bill.
pub async fn run(ctx: &Context, due: Timestamp) -> Result<usize, Fault> {
    let (latest, now) = (due.saturating_add(AHEAD_MAX).unwrap_or(due), ctx.clock.now());
    let latest = UsageDay::of(latest, &jiff::tz::TimeZone::UTC);
    let late = lot::due(&ctx.db.read, latest, BATCH).await?;
    if late.is_empty() {
        return Ok(0);
    }
    let tx = ctx.db.begin().await?;
    let accounts: Vec<BillingAccountId> = late.iter().map(|(account, _)| account.clone()).collect();
    let payers = account::lock_all(&tx, &accounts).await?;
    let wallets = lot::wallets(&tx, &accounts).await?;
    let (mut postings, mut expired) = (Vec::new(), Vec::new());
    for (account, id) in late {
        let Some(payer) = payers.iter().find(|payer| payer.id == account) else { continue };
        let lots = wallets.get(&account).map(|wallet| wallet.lots()).unwrap_or_default();
        // Gone meanwhile, or its account's day still lasts.
        let Some(found) = lots.iter().find(|lot| lot.id == id) else { continue };
        if found.last_day.is_none_or(|last| last >= card::today(payer.region, due)) {
            continue;
        }
        let transfer = deduction::expiry(found.kind, &found.id, found.balance)
            .map_err(|_| StoreError::Corrupt { table: "ledger_account", column: "balance" })?;
        postings.push(Posting { billing_account: account.clone(), currency: payer.currency, transfer });
        expired.push((account, id));
    }
    if expired.is_empty() {
        tx.rollback().await;
        return Ok(0);
    }
    ledger::post(&tx, &postings, now).await?;
    lot::set_expired(&tx, &expired, now).await?;
    tx.commit().await?;
    let count = expired.len();
    tracing::info!(lots = count, "took away what {count} expired vouchers and cards had left");
    Ok(count)
}
