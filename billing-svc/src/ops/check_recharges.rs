//! Looks after recharges whose money has not come (`domain.md` 5.5): a notice may have been lost, so the provider is
//! asked (`reliability.md` 3.5); one that was never paid is closed after its time.

use jiff::Timestamp;
use tandem_service_kit::fault::Fault;

use super::{ask_provider, record_payment};
use crate::context::Context;
use crate::domain::recharge::{CHECK_EVERY, closes_at, next_check};
use crate::store::account;
use crate::store::recharge::{self, Recharge, RechargeState};

/// Recharges of one batch: few, because each may be a call to a provider.
const BATCH: i64 = 8;

/// Looks at a bounded number of recharges that were to be looked at by `until`. Returns how many.
///
/// One that cannot be looked at is put off and delays no other (I-27).
pub async fn run(ctx: &Context, until: Timestamp) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    let due = recharge::due(&ctx.db.read, until, BATCH).await?;
    let mut failed = None;
    for waiting in &due {
        if let Err(fault) = look(ctx, waiting, now).await {
            let (id, reason) = (&waiting.id, fault.reason.name());
            tracing::warn!(recharge.id = %id, reason, "the recharge {id} could not be looked at");
            failed = put_off(ctx, waiting, now).await.err().or(failed);
        }
    }
    failed.map_or(Ok(due.len()), Err)
}

async fn look(ctx: &Context, waiting: &Recharge, now: Timestamp) -> Result<(), Fault> {
    if let Some(channel) = waiting.channel.online()
        && let Some(announced) = ask_provider::look_up(ctx, channel, waiting).await?
    {
        let tx = ctx.db.begin().await?;
        let recorded = record_payment::record_payment(&tx, ctx, &announced, now).await?;
        tx.commit().await?;
        recorded.tell(ctx);
    }
    settle(ctx, waiting, now).await
}

/// Closes a recharge that still waits after its time, or notes when to look again.
async fn settle(ctx: &Context, waiting: &Recharge, now: Timestamp) -> Result<(), Fault> {
    let online = waiting.channel.online().is_some();
    let tx = ctx.db.begin().await?;
    account::lock(&tx, &waiting.billing_account).await?;
    let id = std::slice::from_ref(&waiting.id);
    let found = recharge::lock_all(&tx, &waiting.billing_account, id).await?.pop();
    let Some(found) = found.filter(|found| found.state == RechargeState::Created) else {
        tx.rollback().await;
        return Ok(());
    };
    // The provider has said after its page's end that nothing was paid, or no provider is behind it.
    if now >= closes_at(online, found.ends_at()) {
        recharge::close(&tx, &found, now).await?;
        tracing::info!(recharge.id = %found.id, "closed the recharge {}, which nobody paid", found.id);
    } else {
        recharge::check_again(&tx, &found, next_check(online, found.ends_at(), now)).await?;
    }
    Ok(tx.commit().await?)
}

async fn put_off(ctx: &Context, waiting: &Recharge, now: Timestamp) -> Result<(), Fault> {
    let tx = ctx.db.begin().await?;
    recharge::check_again(&tx, waiting, now.saturating_add(CHECK_EVERY).unwrap_or(now)).await?;
    Ok(tx.commit().await?)
}
