//! Hands metering records to the clouds (`design.md` 5.4, I-17; `vendors/alibaba.md` 7.4).
//!
//! What is sent is fixed; that it is being sent is committed before the call. So after a crash it is known which
//! outcomes are not known, and a vendor that cannot tell a repeat is never sent one.

use std::collections::HashMap;
use std::error::Error as _;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tandem_proto::ids::SubscriptionId;
use tandem_proto::marketplace::v1 as pb;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::lease;
use tandem_service_kit::telemetry::trace_context;
use tandem_service_kit::validate::{timestamp, to_message};
use tracing::Instrument as _;

use super::{alarm, settle_bills, verify_purchase};
use crate::context::Context;
use crate::domain::metering::{Policy, State};
use crate::domain::subscription::Subscription;
use crate::store::metering::{self, MeteringRecord};
use crate::store::{account, metering_queue, subscription};

/// How long to wait after a look-up that failed: as long as the slowest vendor's own pace.
const LOOK_UP_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Records handled in one go where each is its own transaction.
const BATCH: i64 = 20;

/// What became of a record.
#[derive(Debug, Clone)]
struct Outcome {
    state: State,
    vendor_code: String,
    vendor_reference: String,
    /// For one that is to be sent again.
    again_at: Timestamp,
}

/// Sends the records of the subscription that is next. Returns how many records were handled, 0 when none is due.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let Some(id) = metering_queue::next(&ctx.db.read, now).await? else { return Ok(0) };
    let purchase = subscription::find(&ctx.db.read, &id).await?.ok_or(StoreError::Conflict)?;
    let Some(policy) = ctx.vendors.get(&purchase.vendor).and_then(|rules| rules.metering.clone()) else {
        // A vendor whose settings were taken away: nothing can be sent, and the deadline will decide.
        tracing::error!(
            vendor = purchase.vendor.name(),
            "there are records for a vendor that takes no usage"
        );
        return put_off(ctx, &id, now).await;
    };
    let token = lease::claim_token();
    let most = i64::try_from(policy.batch_max).unwrap_or(i64::MAX);
    let claimed = metering_queue::claim(&ctx.db.write, &id, &token, now, lease::until(now), most).await?;
    let Some(first) = claimed.first() else { return Ok(0) };
    let span = tracing::info_span!("submit_usage", subscription.id = %id, records = claimed.len());
    if let Some(parent) = &first.traceparent {
        trace_context::set_parent(&span, parent);
    }
    send(ctx, &purchase, &policy, &token, now).instrument(span).await?;
    Ok(claimed.len())
}

async fn put_off(ctx: &Context, id: &SubscriptionId, now: Timestamp) -> Result<usize, Fault> {
    let token = lease::claim_token();
    metering_queue::claim(&ctx.db.write, id, &token, now, lease::until(now), BATCH).await?;
    metering_queue::give_back(&ctx.db.write, &token, now + LOOK_UP_AGAIN).await?;
    Ok(0)
}

async fn send(
    ctx: &Context,
    purchase: &Subscription,
    policy: &Policy,
    token: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    if !is_ours(ctx, purchase).await {
        return Ok(metering_queue::give_back(&ctx.db.write, token, now + LOOK_UP_AGAIN).await?);
    }
    // The look-up took its time: lease and pace count from here.
    let now = ctx.clock.now();
    let tx = ctx.db.begin().await?;
    if !subscription::take_turn(&tx, &purchase.id, now, now + policy.spacing).await? {
        tx.rollback().await;
        return Ok(metering_queue::give_back(&ctx.db.write, token, now).await?);
    }
    let records = metering_queue::mark_sending(&tx, token, lease::until(now)).await?;
    tx.commit().await?;
    if records.is_empty() {
        return Ok(());
    }
    let answer = ctx.gateway.clone().submit_usage(request(purchase, &records)).await;
    // Whoever called may be gone meanwhile, but this runs in a loop of its own, which lets a batch finish.
    let outcomes = outcomes(&records, answer, policy, now);
    write_back(ctx, purchase, token, &records, outcomes, now).await
}

/// Whether the vendor knows the purchase as the one we mean. An ended one still takes its last usage.
async fn is_ours(ctx: &Context, purchase: &Subscription) -> bool {
    let account = purchase.vendor_account_id.as_deref().unwrap_or_default();
    let instance = purchase.vendor_instance_id.as_str();
    match verify_purchase::look_up(ctx, purchase.vendor, purchase.market, instance, account).await {
        Ok(Some(found)) if found.product_is_ours && found.vendor_account_id == account => true,
        Ok(_) => {
            alarm::raise("purchase_unknown_to_vendor");
            let id = &purchase.id;
            tracing::error!(subscription.id = %id, "usage of {id} is held back: its vendor knows another purchase");
            false
        }
        // Nothing was sent, so nothing is lost but time.
        Err(_) => false,
    }
}

fn request(purchase: &Subscription, records: &[MeteringRecord]) -> pb::SubmitUsageRequest {
    let mut ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    ids.sort_unstable();
    // The same records have the same id, so that a vendor that takes one can tell a repeat.
    let request_id = hex::encode(Sha256::digest(ids.join(" ")));
    let record = |r: &MeteringRecord| pb::UsageRecord {
        id: r.id.as_str().to_owned(),
        vendor_instance_id: r.vendor_instance_id.clone(),
        vendor_account_id: r.vendor_account_id.clone(),
        product_code: r.product_code.clone(),
        dimension: r.dimension.clone(),
        start_time: Some(to_message(r.window.start)),
        end_time: Some(to_message(r.window.end)),
        quantity: r.quantity,
    };
    pb::SubmitUsageRequest {
        request_id,
        vendor: purchase.vendor.to_message().into(),
        market: purchase.market.to_message().into(),
        records: records.iter().map(record).collect(),
    }
}

/// What the answer means for each record; one that the answer does not name is not known.
fn outcomes(
    records: &[MeteringRecord],
    answer: Result<tonic::Response<pb::SubmitUsageResponse>, tonic::Status>,
    policy: &Policy,
    now: Timestamp,
) -> HashMap<String, Outcome> {
    let again_at = |r: &MeteringRecord| lease::after(now, lease::backoff(r.attempts));
    let unclear = |r: &MeteringRecord, code: &str| Outcome {
        state: if policy.detects_duplicates { State::Pending } else { State::Unknown },
        vendor_code: code.to_owned(),
        vendor_reference: String::new(),
        again_at: again_at(r),
    };
    let answer = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let not_sent = surely_not_sent(&status);
            let code = tandem_service_kit::fault::reason_of(&status).map_or("no answer", Reason::name);
            tracing::warn!(status = ?status.code(), not_sent, code, "usage could not be handed to the gateway");
            let outcome = |r: &MeteringRecord| match not_sent {
                true => Outcome { state: State::Pending, ..unclear(r, code) },
                false => unclear(r, code),
            };
            return records.iter().map(|r| (r.id.as_str().to_owned(), outcome(r))).collect();
        }
    };
    let said: HashMap<&str, &pb::SubmittedRecord> =
        answer.results.iter().map(|s| (s.id.as_str(), s)).collect();
    let outcome = |r: &MeteringRecord| {
        let Some(said) = said.get(r.id.as_str()) else { return unclear(r, "not answered") };
        let base =
            Outcome { vendor_reference: said.vendor_reference.clone(), ..unclear(r, &said.vendor_code) };
        let state = match said.outcome() {
            pb::SubmitOutcome::Accepted => State::Accepted,
            pb::SubmitOutcome::DuplicateSame => State::DuplicateSame,
            pb::SubmitOutcome::Refused => State::Refused,
            pb::SubmitOutcome::Expired => State::Expired,
            pb::SubmitOutcome::RetryLater => {
                let asked = timestamp("retry_time", said.retry_time).unwrap_or(base.again_at);
                return Outcome { state: State::Pending, again_at: asked.max(now), ..base };
            }
            pb::SubmitOutcome::Unknown | pb::SubmitOutcome::Unspecified => return base,
        };
        Outcome { state, ..base }
    };
    records.iter().map(|r| (r.id.as_str().to_owned(), outcome(r))).collect()
}

/// Whether a failed call certainly did not reach a vendor: refused at the gateway's door, or no connection at all.
fn surely_not_sent(status: &tonic::Status) -> bool {
    if let Some(reason) = tandem_service_kit::fault::reason_of(status) {
        return matches!(
            reason,
            Reason::InvalidField
                | Reason::TokenInvalid
                | Reason::RoleNotAllowed
                | Reason::Overloaded
                | Reason::VendorNotConfigured
        );
    }
    let mut cause = status.source();
    while let Some(error) = cause {
        let refused = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if refused == Some(std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn write_back(
    ctx: &Context,
    purchase: &Subscription,
    token: &str,
    sent: &[MeteringRecord],
    mut outcomes: HashMap<String, Outcome>,
    now: Timestamp,
) -> Result<(), Fault> {
    let tx = ctx.db.begin().await?;
    if let Some(first) = sent.first() {
        account::lock(&tx, &first.billing_account).await?;
    }
    let held = metering_queue::lock_sending(&tx, token).await?;
    for record in held {
        let Some(outcome) = outcomes.remove(record.id.as_str()) else { continue };
        save(&tx, ctx, record, outcome, now).await?;
    }
    metering_queue::end_claim(&tx, token).await?;
    tx.commit().await?;
    ctx.wakes.feed.notify_one();
    for (id, outcome) in outcomes {
        // Our claim had run out, and somebody has decided without us.
        alarm::raise("metering_outcome_late");
        tracing::error!(
            record.id = id,
            outcome = outcome.state.name(),
            "the outcome of {id} came too late to be saved"
        );
    }
    tracing::info!(subscription.id = %purchase.id, records = sent.len(), "sent usage of {}", purchase.id);
    Ok(())
}

async fn save(
    tx: &tandem_service_kit::db::Tx,
    ctx: &Context,
    record: MeteringRecord,
    outcome: Outcome,
    now: Timestamp,
) -> Result<(), Fault> {
    let open = matches!(outcome.state, State::Pending | State::Unknown);
    let after = MeteringRecord {
        state: outcome.state,
        vendor_code: outcome.vendor_code.chars().take(128).collect(),
        vendor_reference: outcome.vendor_reference.chars().take(256).collect(),
        available_at: outcome.again_at,
        decided_at: (!open).then_some(now),
        ..record
    };
    metering::save_state(tx, &after).await?;
    let (id, code) = (&after.id, after.vendor_code.as_str());
    match after.state {
        State::Accepted | State::DuplicateSame => settle_bills::accepted(tx, &after, now).await,
        State::Refused => {
            alarm::raise("metering_refused");
            tracing::error!(record.id = %id, code, "{id} was refused: its bills wait for an operator");
            settle_bills::rejected(tx, &after).await
        }
        State::Expired => {
            alarm::raise("metering_expired");
            tracing::error!(record.id = %id, code, "{id} came too late: its bills go to the Billing Center");
            settle_bills::move_to_billing_center(tx, ctx, &after, now).await
        }
        State::Unknown => {
            alarm::raise("metering_unknown");
            tracing::error!(record.id = %id, code, "it is not known whether {id} was taken: an operator has to look");
            Ok(())
        }
        State::Pending | State::Sending | State::Moved => Ok(()),
    }
}

/// Takes records over whose sender is gone: sent again where the vendor can tell a repeat, else unknown.
pub async fn take_over(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let abandoned = metering_queue::abandoned(&ctx.db.read, now, BATCH).await?;
    for record in &abandoned {
        let policy = ctx.vendors.get(&record.vendor).and_then(|rules| rules.metering.as_ref());
        let detects = policy.is_some_and(|policy| policy.detects_duplicates);
        let state = if detects { State::Pending } else { State::Unknown };
        if metering_queue::take_over(&ctx.db.write, &record.id, state, now).await? && !detects {
            alarm::raise("metering_unknown");
            let id = &record.id;
            tracing::error!(record.id = %id, "{id} was being sent when its sender ended: an operator has to look");
        }
    }
    Ok(abandoned.len())
}

/// Moves records that no vendor takes any more to the Billing Center (I-17: never nowhere).
pub async fn expire(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let overdue = metering_queue::overdue(&ctx.db.read, now, BATCH).await?;
    for found in &overdue {
        let tx = ctx.db.begin().await?;
        account::lock(&tx, &found.billing_account).await?;
        let locked = metering::lock(&tx, std::slice::from_ref(&found.id)).await?.pop();
        let Some(record) = locked.filter(|r| r.state == State::Pending && r.window.deadline <= now) else {
            continue;
        };
        let code = record.vendor_code.clone();
        let outcome = Outcome {
            state: State::Expired,
            vendor_code: code,
            vendor_reference: String::new(),
            again_at: now,
        };
        save(&tx, ctx, record, outcome, now).await?;
        tx.commit().await?;
        ctx.wakes.feed.notify_one();
    }
    Ok(overdue.len())
}

/// Raises an alarm for records that have used up half of their time, once each.
pub async fn warn_late(ctx: &Context, now: Timestamp) -> Result<(), Fault> {
    for record in metering_queue::mark_late(&ctx.db.write, now).await? {
        alarm::raise("metering_late");
        let (id, deadline) = (&record.id, record.window.deadline);
        tracing::error!(record.id = %id, deadline = %deadline, "{id} has used up half of its time until {deadline}");
    }
    Ok(())
}
