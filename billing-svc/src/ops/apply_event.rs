//! Applies recorded events to their purchases (`domain.md` 5.4; I-19 to I-23, I-27).
//!
//! A try is counted before it is made, so that an event that ends the process is quarantined like one that fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tandem_proto::ids::MarketplaceEventId;
use tandem_proto::reason::Reason;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::lease::{TRIES_MAX, after, backoff};
use tandem_service_kit::telemetry::trace_context;
use tracing::Instrument as _;

use super::{alarm, attach_purchase, end_subscription, suspend_subscription};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::subscription::{Applied, Effect, EventKind, Subscription, apply};
use crate::store::marketplace_event::{self, Event};
use crate::store::{account, feed, subscription};

/// How often a transaction that lost against another is repeated at once (`reliability.md` 4.4).
const REPEATS: usize = 3;
/// How long a call spends on applying what it has recorded; the loop does the rest.
const INLINE_MAX: Duration = Duration::from_secs(2);
/// How long an event waits for its purchase before it is looked at again; becoming known wakes it at once.
const WAIT: SignedDuration = SignedDuration::from_secs(60);

/// What a try did.
enum Done {
    /// Nothing more to do.
    Decided,
    /// Its purchase has become known: events that waited for it are due.
    Known(Vendor, String),
}

/// Applies events and what waited for them, for at most two seconds; failures are left to the loop.
pub async fn run_inline(ctx: &Context, ids: Vec<MarketplaceEventId>, now: Timestamp) {
    let started = Instant::now();
    let mut queue: VecDeque<MarketplaceEventId> = ids.into();
    while let Some(id) = queue.pop_front() {
        if started.elapsed() > INLINE_MAX {
            break;
        }
        match run(ctx, &id, now).await {
            Ok(woken) => woken.into_iter().rev().for_each(|id| queue.push_front(id)),
            Err(fault) => {
                tracing::warn!(event.id = %id, reason = fault.reason.name(), "an event is left to the inbox loop");
            }
        }
    }
    ctx.wakes.inbox.notify_one();
}

/// Tries to apply an event, once, and returns the events that its purchase has woken. An event that is not due changes
/// nothing.
///
/// Fails only when the try could not be counted or its failure not be noted.
pub async fn run(
    ctx: &Context,
    id: &MarketplaceEventId,
    now: Timestamp,
) -> Result<Vec<MarketplaceEventId>, Fault> {
    let Some(event) = marketplace_event::find_all(&ctx.db.read, std::slice::from_ref(id)).await?.pop() else {
        return Ok(Vec::new());
    };
    let span = tracing::info_span!("apply_event", event.id = %id, event.kind = event.recorded.kind);
    if let Some(parent) = &event.traceparent {
        trace_context::set_parent(&span, parent);
    }
    let next = after(now, backoff(event.attempts + 1));
    let counted = marketplace_event::begin_try(&ctx.db.write, id, now, next).await?;
    let Some(attempts) = counted else { return Ok(Vec::new()) };
    if attempts > TRIES_MAX {
        quarantine(ctx, &event, "it was tried ten times without an end").await?;
        return Ok(Vec::new());
    }
    match repeated(ctx, id, now).instrument(span).await {
        Ok(Done::Decided) => Ok(Vec::new()),
        Ok(Done::Known(vendor, instance)) => wake(ctx, vendor, &instance, now).await,
        Err(fault) if attempts == TRIES_MAX => {
            quarantine(ctx, &event, fault.reason.name()).await?;
            Ok(Vec::new())
        }
        Err(fault) => {
            tracing::warn!(event.id = %id, attempts, reason = fault.reason.name(), "an event could not be applied");
            marketplace_event::fail(&ctx.db.write, id, fault.reason.name(), false).await?;
            Ok(Vec::new())
        }
    }
}

/// Makes the events due that waited for a purchase, now that it is known; in the order of arrival.
pub async fn wake(
    ctx: &Context,
    vendor: Vendor,
    instance: &str,
    now: Timestamp,
) -> Result<Vec<MarketplaceEventId>, Fault> {
    Ok(marketplace_event::wake(&ctx.db.write, vendor, instance, now).await?)
}

async fn quarantine(ctx: &Context, event: &Event, reason: &str) -> Result<(), Fault> {
    alarm::raise("event_quarantined");
    tracing::error!(event.id = %event.id, reason, "quarantined {}: it waits for an operator", event.id);
    Ok(marketplace_event::fail(&ctx.db.write, &event.id, reason, true).await?)
}

async fn repeated(ctx: &Context, id: &MarketplaceEventId, now: Timestamp) -> Result<Done, Fault> {
    let mut left = REPEATS;
    loop {
        left -= 1;
        match once(ctx, id, now).await {
            Err(fault) if fault.reason == Reason::Conflict && left > 0 => {}
            other => return other,
        }
    }
}

async fn once(ctx: &Context, id: &MarketplaceEventId, now: Timestamp) -> Result<Done, Fault> {
    let tx = ctx.db.begin().await?;
    let Some(event) = marketplace_event::lock_pending(&tx, id).await? else { return Ok(Done::Decided) };
    let announced = event.recorded.announced()?;
    let instance = announced.vendor_instance_id.as_str();
    // The account is locked before the purchase, so whose it is has to be read first and checked again after.
    let seen = subscription::find_instance(&tx, announced.vendor, instance).await?;
    let payer = payer(&tx, seen.as_ref()).await?;
    let current = subscription::lock_instance(&tx, announced.vendor, instance).await?;
    if current.as_ref().and_then(|s| s.owner.as_ref()) != seen.as_ref().and_then(|s| s.owner.as_ref()) {
        return Err(StoreError::Conflict.into());
    }
    let applied = match apply(current.as_ref(), &announced, fresh(), now) {
        Ok(applied) => applied,
        Err(reason) => {
            marketplace_event::decide(&tx, id, Some(reason), now).await?;
            tx.commit().await?;
            alarm::raise("event_refused");
            tracing::error!(event.id = %id, reason = reason.name(), "refused {id}: {}", reason.meaning());
            return Ok(Done::Decided);
        }
    };
    match applied {
        Applied::Unchanged => marketplace_event::decide(&tx, id, None, now).await?,
        Applied::Waits => marketplace_event::wait(&tx, id, now + WAIT).await?,
        Applied::Changed(next, effect) => {
            let change = Change { before: current.as_ref(), after: &next, effect, payer: payer.as_ref() };
            save(&tx, ctx, &change, now).await?;
            if effect == Effect::Suspended && marketplace_event::can_be_replayed(&event.recorded) {
                // Such calls can be repeated by anybody who saw one, so the vendor is asked whether it is so.
                subscription::save_reconciled(&tx, &next.id, None).await?;
            }
            marketplace_event::decide(&tx, id, None, now).await?;
            tx.commit().await?;
            return Ok(committed(ctx, &change));
        }
    }
    tx.commit().await?;
    Ok(Done::Decided)
}

async fn payer(tx: &Tx, purchase: Option<&Subscription>) -> Result<Option<BillingAccount>, Fault> {
    match purchase.and_then(|s| s.owner.as_ref()) {
        Some(owner) => {
            Ok(Some(account::lock(tx, &owner.billing_account).await?.ok_or(StoreError::Conflict)?))
        }
        None => Ok(None),
    }
}

struct Change<'a> {
    before: Option<&'a Subscription>,
    after: &'a Subscription,
    effect: Effect,
    payer: Option<&'a BillingAccount>,
}

async fn save(tx: &Tx, ctx: &Context, change: &Change<'_>, now: Timestamp) -> Result<(), Fault> {
    let (Some(before), after) = (change.before, change.after) else {
        // A twin may have recorded the purchase in this moment.
        let new = subscription::insert(tx, change.after, now).await?;
        return if new { Ok(()) } else { Err(StoreError::Conflict.into()) };
    };
    if let Some(payer) = change.payer {
        match change.effect {
            Effect::None => {}
            Effect::Suspended => suspend_subscription::suspend(tx, ctx, after, payer, now).await?,
            Effect::Reinstated => suspend_subscription::reinstate(tx, ctx, after, payer, now).await?,
            Effect::Ended => end_subscription::run(tx, ctx, before, payer, now).await?,
        }
        if before.state != after.state {
            feed::add(tx, &[attach_purchase::changed(after, payer)], now).await?;
        }
    }
    Ok(subscription::save(tx, after).await?)
}

fn committed(ctx: &Context, change: &Change<'_>) -> Done {
    let after = change.after;
    ctx.wakes.feed.notify_one();
    if change.effect == Effect::Ended {
        ctx.wakes.metering.notify_one();
    }
    let state = after.state.name();
    tracing::info!(subscription.id = %after.id, state, "{} is {state}", after.id);
    if change.before.is_some() {
        return Done::Decided;
    }
    if after.state.is_ended() {
        alarm::raise("end_of_unknown_purchase");
        let instance = after.vendor_instance_id.as_str();
        tracing::error!(
            vendor = after.vendor.name(),
            instance,
            "the end of a purchase came that was never announced"
        );
    }
    Done::Known(after.vendor, after.vendor_instance_id.clone())
}

/// An event of our own making: what a comparison or a passed time says about a purchase.
pub(super) fn synthetic(
    purchase: &Subscription,
    kind: EventKind,
    key: String,
    expires_at: Option<Timestamp>,
) -> marketplace_event::Recorded {
    marketplace_event::Recorded {
        vendor: purchase.vendor.name().to_owned(),
        market: purchase.market.name().to_owned(),
        kind: kind.name().to_owned(),
        event_key: key,
        key_per_state: false,
        vendor_instance_id: purchase.vendor_instance_id.clone(),
        vendor_account_id: purchase.vendor_account_id.clone().unwrap_or_default(),
        vendor_order_id: String::new(),
        product_code: purchase.product_code.clone(),
        plan: purchase.plan.clone(),
        trial: purchase.trial,
        expires_at: expires_at.map(Timestamp::as_microsecond),
        details: std::collections::BTreeMap::new(),
    }
}

/// Records events of our own making and applies them; returns how many had not been recorded before.
pub(super) async fn record_and_run(
    ctx: &Context,
    events: &[marketplace_event::Recorded],
    now: Timestamp,
) -> Result<usize, Fault> {
    let tx = ctx.db.begin().await?;
    let taken = super::record_events::run(&tx, events, now).await?;
    tx.commit().await?;
    let new = taken.iter().filter(|t| !t.duplicate).count();
    run_inline(ctx, taken.into_iter().map(|t| t.id).collect(), now).await;
    Ok(new)
}
