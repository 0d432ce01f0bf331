//! Marketplace subscriptions and what announced events do to them (`domain.md` 5.4, `vendors/*.md`).
//!
//! The end state depends on the set of events, not on their order, number or delay, as far as a vendor's events can be
//! told apart (I-21): ends are sticky, a purchase may become known after its own end, and what comes before the purchase
//! is known waits for it.

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, CloudAccountId, SubscriptionId};
use tandem_proto::names;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;

names! {
    /// Where a subscription stands.
    State: "pending_binding, active, suspended, cancelled, expired";
    /// Bought, no workspace yet.
    PendingBinding = "pending_binding";
    /// Bound.
    Active = "active";
    /// Frozen by the vendor.
    Suspended = "suspended";
    /// Ended by the customer or the vendor.
    Cancelled = "cancelled";
    /// Ended by its term.
    Expired = "expired";
}

impl State {
    /// Whether it has ended, for good.
    pub fn is_ended(self) -> bool {
        matches!(self, State::Cancelled | State::Expired)
    }

    /// Whether the vendor bills usage of it: nothing that is used while it is frozen (`vendors/alibaba.md` 7.4). Such
    /// usage is settled by the Billing Center.
    pub fn takes_usage(self) -> bool {
        self == State::Active
    }

    /// Whether workspaces may settle through it: rule R3 holds as long as this does.
    pub fn is_live(self) -> bool {
        matches!(self, State::Active | State::Suspended)
    }
}

names! {
    /// What kind an announced event is.
    EventKind: "subscribed, renewed, plan_changed, renewal_returned, suspended, cancelled, expired, notice";
    /// Bought.
    Subscribed = "subscribed";
    /// Renewed, or its overdue bill was paid: ends a suspension and sets the end.
    Renewed = "renewed";
    /// The plan was changed.
    PlanChanged = "plan_changed";
    /// A renewal was given back: sets an earlier end.
    RenewalReturned = "renewal_returned";
    /// Frozen, or out of term without being released.
    Suspended = "suspended";
    /// Ended for good by the customer or the vendor.
    Cancelled = "cancelled";
    /// Ended for good because its term ended.
    Expired = "expired";
    /// For information only.
    Notice = "notice";
}

/// An event as a vendor announced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// What happened.
    pub kind: EventKind,
    /// The purchase's number at the vendor.
    pub vendor_instance_id: String,
    /// The buyer's number there, where it is said.
    pub vendor_account_id: Option<String>,
    /// The vendor's product code, where it is said.
    pub product_code: Option<String>,
    /// The vendor's plan, where it is said.
    pub plan: Option<String>,
    /// Whether it is a trial.
    pub trial: bool,
    /// When the purchase ends, where it is said.
    pub expires_at: Option<Timestamp>,
}

/// One purchased instance of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Opaque.
    pub id: SubscriptionId,
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The purchase's number there.
    pub vendor_instance_id: String,
    /// The buyer's number there; `None` when the end was announced before the purchase.
    pub vendor_account_id: Option<String>,
    /// Whose it is, once bound.
    pub owner: Option<Owner>,
    /// The vendor's product code; empty when it is not known yet.
    pub product_code: String,
    /// The vendor's plan; may be empty.
    pub plan: String,
    /// Where it stands.
    pub state: State,
    /// Trials are never metered.
    pub trial: bool,
    /// When it ends; `None` for pay-as-you-go.
    pub expires_at: Option<Timestamp>,
    /// When it was first bound.
    pub activated_at: Option<Timestamp>,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// Grows with each change.
    pub revision: i64,
}

/// Whose a subscription is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The cloud account it was bought with.
    pub cloud_account: CloudAccountId,
    /// The billing account that owns the cloud account.
    pub billing_account: BillingAccountId,
}

/// What an event did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Nothing: it said what is already so.
    Unchanged,
    /// The subscription is now this.
    Changed(Box<Subscription>, Effect),
    /// The purchase is not known yet; the event waits for it.
    Waits,
}

/// What a change means for the workspaces that settle through the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A countdown starts.
    Suspended,
    /// The countdown ends.
    Reinstated,
    /// They are detached and fall back (`domain.md` 3.11).
    Ended,
}

/// Applies an announced event to what is recorded of its purchase.
///
/// `fresh` becomes the id of a purchase that is not recorded yet. Fails with `EVENT_CONTRADICTS` when the event names
/// another buyer, product or plan than the one recorded, and with `SUBSCRIPTION_ENDED` when it wants to go on with an
/// ended one.
pub fn apply(
    recorded: Option<&Subscription>,
    event: &Announced,
    fresh: SubscriptionId,
    now: Timestamp,
) -> Result<Applied, Reason> {
    let Some(current) = recorded else {
        return Ok(first(event, fresh, now));
    };
    let mut next = current.clone();
    let effect = match event.kind {
        EventKind::Notice => return Ok(Applied::Unchanged),
        EventKind::Subscribed => return subscribed_again(current, event),
        EventKind::Renewed | EventKind::PlanChanged if current.state.is_ended() => {
            return Err(Reason::SubscriptionEnded);
        }
        // Ends are sticky: whatever else comes late says nothing new.
        _ if current.state.is_ended() => return Ok(Applied::Unchanged),
        EventKind::Renewed => {
            next.expires_at = event.expires_at.or(current.expires_at);
            // A trial that is paid for is announced as a renewal (`vendors/alibaba.md` section 2).
            next.trial = false;
            if current.state == State::Suspended {
                next.state = if current.owner.is_some() { State::Active } else { State::PendingBinding };
                Effect::Reinstated
            } else {
                Effect::None
            }
        }
        EventKind::PlanChanged => {
            next.plan = event.plan.clone().unwrap_or(next.plan);
            Effect::None
        }
        EventKind::RenewalReturned => {
            // Only ever an earlier end; freezing waits for the vendor's own word.
            if let (Some(new), Some(old)) = (event.expires_at, current.expires_at)
                && new < old
            {
                next.expires_at = Some(new);
            }
            Effect::None
        }
        EventKind::Suspended => {
            next.state = State::Suspended;
            Effect::Suspended
        }
        EventKind::Cancelled | EventKind::Expired => {
            next.state = ended(event.kind);
            next.closed_at = Some(now);
            Effect::Ended
        }
    };
    if next == *current {
        return Ok(Applied::Unchanged);
    }
    next.revision += 1;
    Ok(Applied::Changed(Box::new(next), effect))
}

fn ended(kind: EventKind) -> State {
    if kind == EventKind::Expired { State::Expired } else { State::Cancelled }
}

/// The first event of a purchase. A purchase is recorded; an end is recorded so that the purchase cannot come to life
/// after it; everything else waits.
fn first(event: &Announced, fresh: SubscriptionId, now: Timestamp) -> Applied {
    let (state, closed_at) = match event.kind {
        EventKind::Subscribed => (State::PendingBinding, None),
        EventKind::Cancelled | EventKind::Expired => (ended(event.kind), Some(now)),
        EventKind::Notice => return Applied::Unchanged,
        EventKind::Renewed | EventKind::PlanChanged | EventKind::RenewalReturned | EventKind::Suspended => {
            return Applied::Waits;
        }
    };
    let subscription = Subscription {
        id: fresh,
        vendor: event.vendor,
        market: event.market,
        vendor_instance_id: event.vendor_instance_id.clone(),
        vendor_account_id: event.vendor_account_id.clone(),
        owner: None,
        product_code: event.product_code.clone().unwrap_or_default(),
        plan: event.plan.clone().unwrap_or_default(),
        state,
        trial: event.trial,
        expires_at: event.expires_at,
        activated_at: None,
        closed_at,
        revision: 1,
    };
    Applied::Changed(Box::new(subscription), Effect::None)
}

fn subscribed_again(current: &Subscription, event: &Announced) -> Result<Applied, Reason> {
    if current.vendor_account_id.is_none() {
        // Its end came first: learn what it was, and leave it ended.
        let mut next = current.clone();
        next.vendor_account_id = event.vendor_account_id.clone();
        next.product_code = event.product_code.clone().unwrap_or_default();
        next.plan = event.plan.clone().unwrap_or_default();
        next.trial = event.trial;
        next.revision += 1;
        return Ok(Applied::Changed(Box::new(next), Effect::None));
    }
    let same = current.vendor_account_id == event.vendor_account_id
        && event.product_code.as_ref().is_none_or(|code| *code == current.product_code)
        && event.plan.as_ref().is_none_or(|plan| *plan == current.plan || current.plan.is_empty());
    if !same {
        return Err(Reason::EventContradicts);
    }
    let (Some(plan), true) = (&event.plan, current.plan.is_empty()) else { return Ok(Applied::Unchanged) };
    // It became known by asking the vendor, who does not tell the plan nor whether it is a trial.
    let mut next = current.clone();
    next.plan = plan.clone();
    next.trial = event.trial;
    next.revision += 1;
    Ok(Applied::Changed(Box::new(next), Effect::None))
}

/// Whether a billing account may settle through a purchase, by our own record of it.
///
/// Fails with the reason that the customer is told.
pub fn usable_by(
    subscription: &Subscription,
    vendor_account_id: &str,
    payer: Option<&BillingAccountId>,
) -> Result<(), Reason> {
    // Unknown and mismatching are told alike, so that foreign numbers cannot be probed.
    if subscription.vendor_account_id.as_deref().is_some_and(|known| known != vendor_account_id) {
        return Err(Reason::PurchaseNotFound);
    }
    if let Some(owner) = &subscription.owner
        && payer != Some(&owner.billing_account)
    {
        return Err(Reason::PurchaseOwnedByOther);
    }
    match subscription.state {
        State::PendingBinding | State::Active => Ok(()),
        State::Suspended => Err(Reason::PurchaseSuspended),
        State::Cancelled | State::Expired => Err(Reason::PurchaseEnded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tandem_proto::ids::Id;

    fn event(kind: EventKind) -> Announced {
        Announced {
            vendor: Vendor::Alibaba,
            market: Market::China,
            kind,
            vendor_instance_id: "1551234567".into(),
            vendor_account_id: (kind == EventKind::Subscribed).then(|| "1744500000000021".into()),
            product_code: (kind == EventKind::Subscribed).then(|| "cmgj00099001".into()),
            plan: None,
            trial: false,
            expires_at: None,
        }
    }

    fn id() -> SubscriptionId {
        SubscriptionId::from_uuid(uuid::Uuid::from_u128(1))
    }

    /// Applies events as the inbox does: those that wait are tried again after each change.
    fn run(events: &[EventKind]) -> Option<Subscription> {
        let now = Timestamp::UNIX_EPOCH;
        let (mut state, mut waiting) = (None, Vec::new());
        for kind in events {
            let mut queue = vec![*kind];
            while let Some(kind) = queue.pop() {
                match apply(state.as_ref(), &event(kind), id(), now) {
                    Ok(Applied::Changed(next, _)) => {
                        state = Some(*next);
                        queue.extend(waiting.drain(..).rev());
                    }
                    Ok(Applied::Waits) => waiting.push(kind),
                    Ok(Applied::Unchanged) | Err(_) => {}
                }
            }
        }
        state
    }

    #[test]
    fn renewing_an_ended_purchase_is_refused() {
        let ended = run(&[EventKind::Subscribed, EventKind::Cancelled]);
        let renewed = apply(ended.as_ref(), &event(EventKind::Renewed), id(), Timestamp::UNIX_EPOCH);
        assert_eq!(renewed, Err(Reason::SubscriptionEnded));
    }

    #[test]
    fn another_buyer_of_the_same_instance_is_a_contradiction() {
        let bought = run(&[EventKind::Subscribed]);
        let mut other = event(EventKind::Subscribed);
        other.vendor_account_id = Some("1744500000000022".into());
        assert_eq!(
            apply(bought.as_ref(), &other, id(), Timestamp::UNIX_EPOCH),
            Err(Reason::EventContradicts)
        );
    }

    #[test]
    fn a_late_announcement_completes_a_purchase_that_was_asked_for() {
        let asked = run(&[EventKind::Subscribed]);
        let mut announced = event(EventKind::Subscribed);
        (announced.plan, announced.trial) = (Some("cmgj00099001-prepay".into()), true);
        let Ok(Applied::Changed(known, Effect::None)) =
            apply(asked.as_ref(), &announced, id(), Timestamp::UNIX_EPOCH)
        else {
            panic!("the plan is learnt");
        };
        assert_eq!((known.plan.as_str(), known.trial), ("cmgj00099001-prepay", true));
        announced.plan = Some("cmgj00099001-postpay".into());
        let contradicted = apply(Some(&known), &announced, id(), Timestamp::UNIX_EPOCH);
        assert_eq!(contradicted, Err(Reason::EventContradicts));
    }

    #[test]
    fn a_suspension_before_the_purchase_is_remembered() {
        assert_eq!(run(&[EventKind::Suspended, EventKind::Subscribed]).unwrap().state, State::Suspended);
    }

    #[test]
    fn a_renewal_sets_the_end_and_never_adds_to_it() {
        let bought = run(&[EventKind::Subscribed]).unwrap();
        let mut renewal = event(EventKind::Renewed);
        renewal.expires_at = Some(Timestamp::from_second(500).unwrap());
        let Ok(Applied::Changed(once, _)) = apply(Some(&bought), &renewal, id(), Timestamp::UNIX_EPOCH)
        else {
            panic!("a renewal changes the end");
        };
        assert_eq!(apply(Some(&once), &renewal, id(), Timestamp::UNIX_EPOCH), Ok(Applied::Unchanged));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// I-21: with an end in the set, order, number and delay of all events do not matter.
        #[test]
        fn an_ended_purchase_is_ended_in_every_order(
            mut events in prop::collection::vec(prop::sample::select(vec![
                EventKind::Renewed, EventKind::Suspended, EventKind::PlanChanged, EventKind::Cancelled,
            ]), 0..8),
            places in (0usize..9, 0usize..9),
        ) {
            events.insert(places.0.min(events.len()), EventKind::Subscribed);
            events.insert(places.1.min(events.len()), EventKind::Cancelled);
            let end = run(&events).unwrap();
            prop_assert_eq!(end.state, State::Cancelled);
            prop_assert_eq!(end.vendor_account_id.as_deref(), Some("1744500000000021"));
        }
    }
}
