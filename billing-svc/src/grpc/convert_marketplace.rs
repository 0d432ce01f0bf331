//! Purchases, announced events and metering records to messages and back.

use tandem_proto::billing::v1 as pb;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use super::named;
use crate::domain::metering::State as MeteringState;
use crate::domain::subscription::{EventKind, State, Subscription};
use crate::store::marketplace_event::{Event, Recorded, State as EventState};
use crate::store::metering::MeteringRecord;
use crate::store::subscription::CloudAccount;

/// Most further facts with an event, and the longest of them in bytes.
const DETAILS_MAX: usize = 64;
const DETAIL_BYTES_MAX: usize = 2048;

/// Reads an announced event; `place` names it in what is wrong.
pub(super) fn recorded(place: &str, event: pb::AnnouncedEvent) -> Result<Recorded, Fault> {
    let field = |name: &str| format!("{place}.{name}");
    let optional = |name: &str, value: &str| {
        if value.is_empty() {
            Ok(String::new())
        } else {
            validate::text(&field(name), value, 128).map(str::to_owned)
        }
    };
    let vendor = named(&field("vendor"), Vendor::from_message(event.vendor))?;
    let market = named(&field("market"), Market::from_message(event.market))?;
    let kind = named(&field("kind"), kind(event.kind()))?;
    let expires_at = event.expire_time.map(|time| validate::timestamp(&field("expire_time"), Some(time)));
    let long = |text: &String| text.len() > DETAIL_BYTES_MAX;
    if event.details.len() > DETAILS_MAX
        || event.details.iter().any(|(name, value)| long(name) || long(value))
    {
        let right = format!("at most {DETAILS_MAX} entries of at most {DETAIL_BYTES_MAX} bytes");
        return Err(Fault::field(field("details"), right));
    }
    Ok(Recorded {
        vendor: vendor.name().to_owned(),
        market: market.name().to_owned(),
        kind: kind.name().to_owned(),
        event_key: validate::text(&field("event_key"), &event.event_key, 255)?.to_owned(),
        key_per_state: event.key_per_state,
        vendor_instance_id: validate::text(&field("vendor_instance_id"), &event.vendor_instance_id, 128)?
            .to_owned(),
        vendor_account_id: optional("vendor_account_id", &event.vendor_account_id)?,
        vendor_order_id: optional("vendor_order_id", &event.vendor_order_id)?,
        product_code: optional("product_code", &event.product_code)?,
        plan: optional("plan", &event.plan)?,
        trial: event.trial,
        expires_at: expires_at.transpose()?.map(jiff::Timestamp::as_microsecond),
        details: event.details,
    })
}

fn kind(message: pb::MarketplaceEventKind) -> Option<EventKind> {
    Some(match message {
        pb::MarketplaceEventKind::Subscribed => EventKind::Subscribed,
        pb::MarketplaceEventKind::Renewed => EventKind::Renewed,
        pb::MarketplaceEventKind::PlanChanged => EventKind::PlanChanged,
        pb::MarketplaceEventKind::RenewalReturned => EventKind::RenewalReturned,
        pb::MarketplaceEventKind::Suspended => EventKind::Suspended,
        pb::MarketplaceEventKind::Cancelled => EventKind::Cancelled,
        pb::MarketplaceEventKind::Expired => EventKind::Expired,
        pb::MarketplaceEventKind::Notice => EventKind::Notice,
        pb::MarketplaceEventKind::Unspecified => return None,
    })
}

fn kind_message(kind: EventKind) -> pb::MarketplaceEventKind {
    match kind {
        EventKind::Subscribed => pb::MarketplaceEventKind::Subscribed,
        EventKind::Renewed => pb::MarketplaceEventKind::Renewed,
        EventKind::PlanChanged => pb::MarketplaceEventKind::PlanChanged,
        EventKind::RenewalReturned => pb::MarketplaceEventKind::RenewalReturned,
        EventKind::Suspended => pb::MarketplaceEventKind::Suspended,
        EventKind::Cancelled => pb::MarketplaceEventKind::Cancelled,
        EventKind::Expired => pb::MarketplaceEventKind::Expired,
        EventKind::Notice => pb::MarketplaceEventKind::Notice,
    }
}

fn announced(event: &Recorded) -> pb::AnnouncedEvent {
    let kind = event.kind.parse().map_or(pb::MarketplaceEventKind::Unspecified, kind_message);
    let vendor = event.vendor.parse().map(|vendor: Vendor| vendor.to_message().into());
    let market = event.market.parse().map(|market: Market| market.to_message().into());
    let expires_at = event.expires_at.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    pb::AnnouncedEvent {
        vendor: vendor.unwrap_or_default(),
        market: market.unwrap_or_default(),
        kind: kind.into(),
        event_key: event.event_key.clone(),
        key_per_state: event.key_per_state,
        vendor_instance_id: event.vendor_instance_id.clone(),
        vendor_account_id: event.vendor_account_id.clone(),
        vendor_order_id: event.vendor_order_id.clone(),
        product_code: event.product_code.clone(),
        plan: event.plan.clone(),
        trial: event.trial,
        expire_time: expires_at.map(to_message),
        details: event.details.clone(),
    }
}

/// Where an event stands.
pub(super) fn event_state(state: EventState) -> pb::MarketplaceEventState {
    match state {
        EventState::Pending => pb::MarketplaceEventState::Pending,
        EventState::Applied => pb::MarketplaceEventState::Applied,
        EventState::Refused => pb::MarketplaceEventState::Refused,
        EventState::Quarantined => pb::MarketplaceEventState::Quarantined,
    }
}

/// A wish for events of one state; `None` wishes for all.
pub(super) fn wished_event_state(number: i32) -> Result<Option<EventState>, Fault> {
    let wrong = || Fault::field("state", "must be a state of MarketplaceEventState");
    Ok(match pb::MarketplaceEventState::try_from(number).map_err(|_| wrong())? {
        pb::MarketplaceEventState::Unspecified => None,
        pb::MarketplaceEventState::Pending => Some(EventState::Pending),
        pb::MarketplaceEventState::Applied => Some(EventState::Applied),
        pb::MarketplaceEventState::Refused => Some(EventState::Refused),
        pb::MarketplaceEventState::Quarantined => Some(EventState::Quarantined),
    })
}

/// An event of the inbox.
pub(super) fn event(e: &Event) -> pb::MarketplaceEvent {
    pb::MarketplaceEvent {
        id: e.id.as_str().to_owned(),
        announced: Some(announced(&e.recorded)),
        receive_time: Some(to_message(e.received_at)),
        delivery_count: e.delivery_count,
        state: event_state(e.state).into(),
        reason: e.reason.clone(),
        decide_time: e.decided_at.map(to_message),
    }
}

/// Where a subscription stands.
pub(super) fn subscription_state(state: State) -> pb::SubscriptionState {
    match state {
        State::PendingBinding => pb::SubscriptionState::PendingBinding,
        State::Active => pb::SubscriptionState::Active,
        State::Suspended => pb::SubscriptionState::Suspended,
        State::Cancelled => pb::SubscriptionState::Cancelled,
        State::Expired => pb::SubscriptionState::Expired,
    }
}

/// A subscription.
pub(super) fn subscription(s: &Subscription) -> pb::MarketplaceSubscription {
    let owner = s.owner.as_ref();
    pb::MarketplaceSubscription {
        id: s.id.as_str().to_owned(),
        vendor: s.vendor.to_message().into(),
        market: s.market.to_message().into(),
        vendor_instance_id: s.vendor_instance_id.clone(),
        vendor_account_id: s.vendor_account_id.clone().unwrap_or_default(),
        cloud_account_id: owner.map(|o| o.cloud_account.as_str().to_owned()).unwrap_or_default(),
        billing_account_id: owner.map(|o| o.billing_account.as_str().to_owned()).unwrap_or_default(),
        product_code: s.product_code.clone(),
        plan: s.plan.clone(),
        state: subscription_state(s.state).into(),
        trial: s.trial,
        expire_time: s.expires_at.map(to_message),
        activate_time: s.activated_at.map(to_message),
        close_time: s.closed_at.map(to_message),
    }
}

/// A cloud account.
pub(super) fn cloud_account(c: &CloudAccount) -> pb::CloudAccount {
    pb::CloudAccount {
        id: c.id.as_str().to_owned(),
        vendor: c.vendor.to_message().into(),
        vendor_account_id: c.vendor_account_id.clone(),
        billing_account_id: c.billing_account.as_str().to_owned(),
        create_time: Some(to_message(c.created_at)),
    }
}

/// A wish for metering records of one state; `None` wishes for all.
pub(super) fn wished_metering_state(number: i32) -> Result<Option<MeteringState>, Fault> {
    let wrong = || Fault::field("state", "must be a state of MeteringState");
    let wished = pb::MeteringState::try_from(number).map_err(|_| wrong())?;
    Ok(MeteringState::ALL.iter().copied().find(|state| metering_state(*state) == wished))
}

fn metering_state(state: MeteringState) -> pb::MeteringState {
    match state {
        MeteringState::Pending => pb::MeteringState::Pending,
        MeteringState::Sending => pb::MeteringState::Sending,
        MeteringState::Accepted => pb::MeteringState::Accepted,
        MeteringState::DuplicateSame => pb::MeteringState::DuplicateSame,
        MeteringState::Refused => pb::MeteringState::Refused,
        MeteringState::Expired => pb::MeteringState::Expired,
        MeteringState::Unknown => pb::MeteringState::Unknown,
        MeteringState::Moved => pb::MeteringState::Moved,
    }
}

/// A metering record and the bills it settles.
pub(super) fn metering_record(r: &MeteringRecord, bill_ids: Vec<String>) -> pb::MeteringRecord {
    pb::MeteringRecord {
        id: r.id.as_str().to_owned(),
        subscription_id: r.subscription.as_str().to_owned(),
        billing_account_id: r.billing_account.as_str().to_owned(),
        dimension: r.dimension.clone(),
        start_time: Some(to_message(r.window.start)),
        end_time: Some(to_message(r.window.end)),
        quantity: r.quantity,
        amount: Some(r.amount.to_message()),
        bill_ids,
        state: metering_state(r.state).into(),
        deadline_time: Some(to_message(r.window.deadline)),
        attempts: r.attempts,
        vendor_code: r.vendor_code.clone(),
        create_time: Some(to_message(r.created_at)),
        decide_time: r.decided_at.map(to_message),
    }
}
