//! Compares purchases with the vendors' own record and converges them through the same rules as announced events
//! (`reliability.md` 3.5). What differed is an alarm: a callback was lost, or forged.

use jiff::{SignedDuration, Timestamp};
use tandem_proto::ids::SubscriptionId;
use tandem_proto::marketplace::v1::PurchaseState;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use super::verify_purchase::{self, Found};
use super::{alarm, apply_event};
use crate::context::Context;
use crate::domain::subscription::{EventKind, State, Subscription};
use crate::store::subscription;

/// How soon a vendor that did not answer is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Purchases compared.
    pub compared: i32,
    /// Purchases whose vendor did not answer.
    pub unanswered: i32,
    /// Purchases that stood elsewhere: what we held and what the vendor says. They have been converged.
    pub differences: Vec<(SubscriptionId, State, State)>,
}

/// Compares one purchase with its vendor and adds what was found. A vendor that does not answer changes nothing.
///
/// `interval` is the time between two comparisons.
pub async fn run(
    ctx: &Context,
    ours: &Subscription,
    interval: SignedDuration,
    now: Timestamp,
    found: &mut Comparison,
) -> Result<(), Fault> {
    let account = ours.vendor_account_id.as_deref().unwrap_or_default();
    let answer =
        verify_purchase::look_up(ctx, ours.vendor, ours.market, &ours.vendor_instance_id, account).await;
    let theirs = match answer {
        Ok(Some(theirs)) if theirs.vendor_account_id == account && theirs.product_is_ours => theirs,
        Ok(_) => {
            alarm::raise("purchase_unknown_to_vendor");
            let vendor = ours.vendor.name();
            tracing::error!(subscription.id = %ours.id, vendor, "{} is not what its vendor knows", ours.id);
            found.unanswered += 1;
            return again(ctx, ours, interval, now).await;
        }
        Err(fault) => {
            tracing::warn!(subscription.id = %ours.id, reason = fault.reason.name(), "{} could not be compared", ours.id);
            found.unanswered += 1;
            return again(ctx, ours, interval, now).await;
        }
    };
    found.compared += 1;
    // Before converging: a suspension found by it may make the next comparison due at once.
    subscription::save_reconciled(&ctx.db.write, &ours.id, Some(now)).await?;
    let Some((kind, state)) = difference(ours, &theirs, now) else { return Ok(()) };
    if state != ours.state {
        alarm::raise("subscription_differed");
        let (held, said) = (ours.state.name(), state.name());
        tracing::error!(subscription.id = %ours.id, held, said, "{} was {held}, its vendor says {said}", ours.id);
        found.differences.push((ours.id.clone(), ours.state, state));
    }
    let key = format!("reconcile:{}:{}:{}", ours.id, ours.revision, state.name());
    let event = apply_event::synthetic(ours, kind, key, theirs.expires_at);
    apply_event::record_and_run(ctx, &[event], now).await?;
    Ok(())
}

async fn again(
    ctx: &Context,
    ours: &Subscription,
    interval: SignedDuration,
    now: Timestamp,
) -> Result<(), Fault> {
    let soon = ASK_AGAIN.min(interval);
    Ok(subscription::save_reconciled(&ctx.db.write, &ours.id, Some(now - interval + soon)).await?)
}

/// The event that would bring us to where the vendor stands, and that state; `None` when nothing differs.
fn difference(ours: &Subscription, theirs: &Found, now: Timestamp) -> Option<(EventKind, State)> {
    match theirs.state {
        PurchaseState::Ended => {
            let term_over = ours.expires_at.is_some_and(|at| at <= now);
            let end = if term_over {
                (EventKind::Expired, State::Expired)
            } else {
                (EventKind::Cancelled, State::Cancelled)
            };
            (!ours.state.is_ended()).then_some(end)
        }
        PurchaseState::Suspended => matches!(ours.state, State::Active | State::PendingBinding)
            .then_some((EventKind::Suspended, State::Suspended)),
        PurchaseState::Active if ours.state == State::Suspended => {
            let state = if ours.owner.is_some() { State::Active } else { State::PendingBinding };
            Some((EventKind::Renewed, state))
        }
        PurchaseState::Active if !ours.state.is_ended() => match (theirs.expires_at, ours.expires_at) {
            (Some(new), Some(old)) if new < old => Some((EventKind::RenewalReturned, ours.state)),
            (Some(new), old) if old.is_none_or(|old| new > old) => Some((EventKind::Renewed, ours.state)),
            _ => None,
        },
        PurchaseState::Active | PurchaseState::Pending | PurchaseState::Unspecified => None,
    }
}

/// Compares the purchase of an id.
///
/// Fails with `OBJECT_NOT_FOUND`; one that has ended is not compared.
pub async fn one(
    ctx: &Context,
    id: &SubscriptionId,
    interval: SignedDuration,
    now: Timestamp,
) -> Result<Comparison, Fault> {
    let ours = subscription::find(&ctx.db.read, id).await?.ok_or(Fault::new(Reason::ObjectNotFound))?;
    let mut found = Comparison::default();
    if !ours.state.is_ended() {
        run(ctx, &ours, interval, now, &mut found).await?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_proto::ids::Id as _;
    use tandem_proto::settlement::Market;
    use tandem_proto::vendor::Vendor;

    fn ours(state: State, expires_at: Option<Timestamp>) -> Subscription {
        Subscription {
            id: SubscriptionId::from_uuid(uuid::Uuid::from_u128(1)),
            vendor: Vendor::Alibaba,
            market: Market::China,
            vendor_instance_id: "1551234567".into(),
            vendor_account_id: Some("1744500000000021".into()),
            owner: None,
            product_code: "cmgj00099001".into(),
            plan: String::new(),
            state,
            trial: false,
            expires_at,
            activated_at: None,
            closed_at: None,
            revision: 1,
        }
    }

    fn theirs(state: PurchaseState, expires_at: Option<Timestamp>) -> Found {
        Found {
            vendor_instance_id: "1551234567".into(),
            vendor_account_id: "1744500000000021".into(),
            product_code: "cmgj00099001".into(),
            product_is_ours: true,
            state,
            expires_at,
        }
    }

    #[test]
    fn the_vendors_word_becomes_the_event_that_was_lost() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let now = at(1000).unwrap();
        let cases = [
            (State::Active, None, PurchaseState::Ended, None, Some((EventKind::Cancelled, State::Cancelled))),
            (State::Active, at(999), PurchaseState::Ended, None, Some((EventKind::Expired, State::Expired))),
            (
                State::Suspended,
                None,
                PurchaseState::Ended,
                None,
                Some((EventKind::Cancelled, State::Cancelled)),
            ),
            (
                State::Active,
                None,
                PurchaseState::Suspended,
                None,
                Some((EventKind::Suspended, State::Suspended)),
            ),
            (State::Suspended, None, PurchaseState::Suspended, None, None),
            (
                State::Suspended,
                None,
                PurchaseState::Active,
                None,
                Some((EventKind::Renewed, State::PendingBinding)),
            ),
            (State::Active, None, PurchaseState::Active, None, None),
            (State::Active, at(5), PurchaseState::Active, at(9), Some((EventKind::Renewed, State::Active))),
            (
                State::Active,
                at(9),
                PurchaseState::Active,
                at(5),
                Some((EventKind::RenewalReturned, State::Active)),
            ),
            (State::Active, at(9), PurchaseState::Active, None, None),
            (State::Active, None, PurchaseState::Pending, None, None),
            (State::Cancelled, None, PurchaseState::Active, None, None),
        ];
        for (state, ends, said, said_ends, wanted) in cases {
            assert_eq!(
                difference(&ours(state, ends), &theirs(said, said_ends), now),
                wanted,
                "{state:?} {said:?}"
            );
        }
    }
}
