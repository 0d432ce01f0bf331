//! Announces a recharge that is paid online (`domain.md` 3.13).
//!
//! The recharge is committed before the provider is asked, so that whatever happens in between, a payment finds it.
//! A repetition goes on where the first try ended: the same recharge, the same order, the same page.

use jiff::Timestamp;
use prost::Message;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Money;
use tandem_proto::payment::PaymentChannel;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};

use super::{ask_provider, create_recharge};
use crate::context::Context;
use crate::store::recharge::{self, Recharge, RechargeChannel, RechargeState};
use crate::store::recharge_call::{self, Begun};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose balance.
    pub account: BillingAccountId,
    /// How much.
    pub amount: Money,
    /// How it is paid.
    pub channel: PaymentChannel,
    /// Whether the money becomes a prepaid card.
    pub buys_card: bool,
}

/// Announces the recharge, has its order opened, and stores the answer that `encode` makes.
///
/// Fails as `create_recharge` does, and as `ask_provider::open_order` does: a refusal leaves nothing behind, anything
/// unclear leaves the recharge waiting for a repetition with the same key, or for its end.
pub async fn create_online_recharge<R: Message + Default>(
    ctx: &Context,
    key: RequestKey,
    wanted: &Wanted,
    encode: impl Fn(&Recharge) -> R,
) -> Result<R, Fault> {
    if let Some(answer) = request_log::replay(&ctx.db, &key).await? {
        return Ok(answer);
    }
    let mut saved = begin(ctx, &key, wanted, ctx.clock.now()).await?;
    // One that was closed meanwhile gets no order any more.
    if saved.state == RechargeState::Created && saved.payment_url.is_none() {
        match ask_provider::open_order(ctx, wanted.channel, &saved).await {
            Ok(page) => saved.payment_url = Some(page),
            Err(fault) => {
                if matches!(fault.reason, Reason::PaymentChannelNotConfigured | Reason::PaymentRefused) {
                    take_back(ctx, &key, &saved).await?;
                }
                return Err(fault);
            }
        }
    }
    let pending = match request_log::open(&ctx.db, key).await? {
        Open::Answered(answer) => return Ok(answer),
        Open::Fresh(pending) => pending,
    };
    if let Some(page) = &saved.payment_url {
        recharge::set_page(&pending.tx, &saved, page).await?;
    }
    recharge_call::delete(&pending.tx, pending.key()).await?;
    pending.finish(encode(&saved), ctx.clock.now()).await
}

/// Saves the recharge, unless a try before did.
async fn begin(ctx: &Context, key: &RequestKey, wanted: &Wanted, now: Timestamp) -> Result<Recharge, Fault> {
    let digest = hex::encode(key.digest());
    let tx = ctx.db.begin().await?;
    if let Some(begun) = recharge_call::find(&tx, key).await? {
        if begun.digest != digest {
            return Err(Reason::RequestIdReused.into());
        }
        let found = recharge::lock_all(&tx, &begun.billing_account, &[begun.recharge]).await?.pop();
        tx.rollback().await;
        return found.ok_or(Fault::new(Reason::Conflict));
    }
    let channel = RechargeChannel::of_payment(wanted.channel);
    let made =
        create_recharge::create_recharge(&tx, &wanted.account, wanted.amount, channel, wanted.buys_card, now);
    let made = made.await?;
    let (billing_account, recharge) = (made.billing_account.clone(), made.id.clone());
    recharge_call::insert(&tx, key, &Begun { digest, billing_account, recharge }).await?;
    tx.commit().await?;
    Ok(made)
}

async fn take_back(ctx: &Context, key: &RequestKey, saved: &Recharge) -> Result<(), Fault> {
    let tx = ctx.db.begin().await?;
    recharge::take_back(&tx, saved).await?;
    recharge_call::delete(&tx, key).await?;
    Ok(tx.commit().await?)
}
