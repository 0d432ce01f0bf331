//! Messages to the adapters' vocabulary and back.

use std::collections::BTreeMap;

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tandem_adapters::delivery::Outcome;
use tandem_adapters::event::{EventKind, KeyScope, Landing, Market, MarketplaceEvent};
use tandem_adapters::payment::Payment;
use tandem_adapters::usage::{
    Purchase, PurchaseState, RecordedUsage, SubmitOutcome, SubmittedRecord, UsageRecord,
};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1 as common;
use tandem_proto::ids::MeteringRecordId;
use tandem_proto::marketplace::v1 as marketplace;
use tandem_proto::payment::PaymentChannel;
use tandem_proto::settlement;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;

/// Most details that Billing keeps of an event (`billing/v1/marketplace.proto`).
const DETAILS_MAX: usize = 64;

/// The message's value of a market.
pub(crate) fn market_to_message(market: Market) -> common::Market {
    match market {
        Market::China => settlement::Market::China,
        Market::International => settlement::Market::International,
    }
    .to_message()
}

/// Reads which market a call is about. Fails with the field that names none.
pub(crate) fn market_from_message(vendor: i32, market: i32) -> Result<(Vendor, Market), Fault> {
    let vendor = Vendor::from_message(vendor).ok_or_else(|| Fault::field("vendor", "is required"))?;
    let market = match settlement::Market::from_message(market) {
        Some(settlement::Market::China) => Market::China,
        Some(settlement::Market::International) => Market::International,
        None => return Err(Fault::field("market", "is required")),
    };
    Ok((vendor, market))
}

/// What Billing is told of an event. A word that no adapter knows is for its information only.
pub(crate) fn event_to_message(event: &MarketplaceEvent) -> billing::AnnouncedEvent {
    use billing::MarketplaceEventKind as Kind;
    let kind = match event.kind {
        EventKind::Subscribed => Kind::Subscribed,
        // Both end a suspension; the second brings no new end, so Billing keeps the one it has.
        EventKind::Renewed | EventKind::Reinstated => Kind::Renewed,
        EventKind::RenewalReturned => Kind::RenewalReturned,
        EventKind::PlanChanged => Kind::PlanChanged,
        EventKind::Suspended => Kind::Suspended,
        EventKind::Cancelled => Kind::Cancelled,
        EventKind::Expired => Kind::Expired,
        EventKind::Paid | EventKind::Unknown => Kind::Notice,
    };
    billing::AnnouncedEvent {
        vendor: event.vendor.to_message().into(),
        market: market_to_message(event.market).into(),
        kind: kind.into(),
        event_key: event.event_key.clone(),
        key_per_state: event.key_scope == KeyScope::PerState,
        vendor_instance_id: event.vendor_instance_id.clone(),
        vendor_account_id: event.vendor_account_id.clone().unwrap_or_default(),
        vendor_order_id: event.vendor_order_id.clone().unwrap_or_default(),
        product_code: event.product_code.clone().unwrap_or_default(),
        plan: event.plan.clone().unwrap_or_default(),
        trial: event.is_trial,
        expire_time: event.expires_at.map(validate::to_message),
        details: first_details(&event.details),
    }
}

/// Everything that carries meaning is in fields of its own, so what lies beyond the limit may go.
fn first_details(details: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    details.iter().take(DETAILS_MAX).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A name for this very announcement: the same events with the same content have the same one.
pub(crate) fn content_id(events: &[billing::AnnouncedEvent]) -> String {
    let mut digest = Sha256::new();
    for event in events {
        digest.update(event.encode_length_delimited_to_vec());
    }
    format!("mkt_{}", hex::encode(digest.finalize()))
}

/// Has Billing record a payment. Its content names the request, so that the same announcement is the same request.
pub(crate) fn payment_to_message(
    channel: PaymentChannel,
    payment: &Payment,
) -> billing::RecordPaymentRequest {
    let mut message = billing::RecordPaymentRequest {
        request_id: String::new(),
        channel: channel.to_message().into(),
        payment_id: payment.payment_id.clone(),
        order_id: payment.order_id.clone(),
        amount: Some(common::Money { currency_code: payment.currency.clone(), minor_units: payment.minor }),
        pay_time: Some(validate::to_message(payment.paid_at)),
    };
    message.request_id = format!("pay_{}", hex::encode(Sha256::digest(message.encode_to_vec())));
    message
}

/// What became of an event, for the vendor's answer.
pub(crate) fn outcome_from_message(kind: EventKind, outcome: &billing::EventOutcome) -> Outcome {
    use billing::MarketplaceEventState as State;
    match State::try_from(outcome.state) {
        // Kept, but nobody has understood it: an operator decides.
        Ok(State::Applied | State::Pending) if kind == EventKind::Unknown => Outcome::Parked,
        Ok(State::Applied) if outcome.duplicate => Outcome::Duplicate,
        Ok(State::Applied) => Outcome::Applied,
        // A quarantined event is as durable as a waiting one; more calls of the vendor would not help it.
        Ok(State::Pending | State::Quarantined) => Outcome::Pending,
        Ok(State::Refused) => Outcome::Refused { reason: outcome.reason.clone() },
        Ok(State::Unspecified) | Err(_) => Outcome::Unavailable,
    }
}

/// The one answer to a delivery of several events: the worst of theirs, so that nothing is lost by being told done.
pub(crate) fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Duplicate => 0,
        Outcome::Applied => 1,
        Outcome::Pending => 2,
        Outcome::Parked => 3,
        Outcome::Refused { .. } => 4,
        Outcome::Unavailable => 5,
    };
    outcomes.into_iter().max_by_key(rank).unwrap_or(Outcome::Unavailable)
}

/// Asks Billing for a landing ticket.
pub(crate) fn landing_to_message(landing: &Landing, request_id: String) -> billing::OpenLandingRequest {
    billing::OpenLandingRequest {
        request_id,
        vendor: landing.vendor.to_message().into(),
        market: market_to_message(landing.market).into(),
        vendor_instance_id: landing.vendor_instance_id.clone(),
        vendor_account_id: landing.vendor_account_id.clone().unwrap_or_default(),
        proof_digest: landing.proof_digest.clone(),
    }
}

/// What the vendor says of a purchase.
pub(crate) fn purchase_to_message(purchase: Option<Purchase>) -> marketplace::LookUpPurchaseResponse {
    let Some(purchase) = purchase else { return marketplace::LookUpPurchaseResponse::default() };
    let state = match purchase.state {
        PurchaseState::Pending => marketplace::PurchaseState::Pending,
        PurchaseState::Active => marketplace::PurchaseState::Active,
        PurchaseState::Suspended => marketplace::PurchaseState::Suspended,
        PurchaseState::Ended => marketplace::PurchaseState::Ended,
    };
    marketplace::LookUpPurchaseResponse {
        found: true,
        vendor_instance_id: purchase.vendor_instance_id,
        vendor_account_id: purchase.vendor_account_id,
        vendor_order_id: purchase.vendor_order_id,
        product_code: purchase.product_code,
        product_is_ours: purchase.product_is_ours,
        state: state.into(),
        expire_time: purchase.expires_at.map(validate::to_message),
    }
}

/// Reads a usage record. Fails with the field that is wrong and its place in the list.
pub(crate) fn record_from_message(
    place: usize,
    record: marketplace::UsageRecord,
) -> Result<UsageRecord, Fault> {
    let name = |field: &str| format!("records[{place}].{field}");
    let start = validate::timestamp(&name("start_time"), record.start_time)?;
    let end = validate::timestamp(&name("end_time"), record.end_time)?;
    if record.quantity < 0 {
        return Err(Fault::field(name("quantity"), "must be at least 0"));
    }
    validate::required(&name("vendor_instance_id"), &record.vendor_instance_id)?;
    validate::required(&name("product_code"), &record.product_code)?;
    validate::required(&name("dimension"), &record.dimension)?;
    Ok(UsageRecord {
        id: validate::parse::<MeteringRecordId>(&name("id"), &record.id)?.into(),
        vendor_instance_id: record.vendor_instance_id,
        vendor_account_id: record.vendor_account_id,
        product_code: record.product_code,
        dimension: record.dimension,
        start,
        end,
        quantity: record.quantity,
    })
}

/// What the vendor said to a record.
pub(crate) fn submitted_to_message(record: SubmittedRecord) -> marketplace::SubmittedRecord {
    let retry_time = match record.outcome {
        SubmitOutcome::RetryLater(at) => Some(validate::to_message(at)),
        _ => None,
    };
    marketplace::SubmittedRecord {
        id: record.id,
        outcome: submit_outcome(record.outcome).into(),
        vendor_code: record.vendor_code,
        vendor_reference: record.vendor_reference.unwrap_or_default(),
        retry_time,
    }
}

fn submit_outcome(outcome: SubmitOutcome) -> marketplace::SubmitOutcome {
    match outcome {
        SubmitOutcome::Accepted => marketplace::SubmitOutcome::Accepted,
        SubmitOutcome::DuplicateSame => marketplace::SubmitOutcome::DuplicateSame,
        SubmitOutcome::Refused => marketplace::SubmitOutcome::Refused,
        SubmitOutcome::RetryLater(_) => marketplace::SubmitOutcome::RetryLater,
        SubmitOutcome::Unknown => marketplace::SubmitOutcome::Unknown,
        SubmitOutcome::Expired => marketplace::SubmitOutcome::Expired,
    }
}

/// One word for metric labels.
pub(crate) fn submit_outcome_name(outcome: SubmitOutcome) -> &'static str {
    match outcome {
        SubmitOutcome::Accepted => "accepted",
        SubmitOutcome::DuplicateSame => "duplicate_same",
        SubmitOutcome::Refused => "refused",
        SubmitOutcome::RetryLater(_) => "retry_later",
        SubmitOutcome::Unknown => "unknown",
        SubmitOutcome::Expired => "expired",
    }
}

/// What the vendor has recorded; `None` when it cannot be asked.
pub(crate) fn recorded_to_message(
    records: Option<Vec<RecordedUsage>>,
) -> marketplace::GetSubmittedUsageResponse {
    let supported = records.is_some();
    let one = |record: RecordedUsage| marketplace::RecordedUsage {
        dimension: record.dimension,
        start_time: Some(validate::to_message(record.start)),
        end_time: Some(validate::to_message(record.end)),
        quantity: record.quantity,
    };
    let records = records.unwrap_or_default().into_iter().map(one).collect();
    marketplace::GetSubmittedUsageResponse { supported, records }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> MarketplaceEvent {
        MarketplaceEvent {
            vendor: Vendor::Azure,
            market: Market::International,
            kind,
            event_key: "key".to_owned(),
            key_scope: KeyScope::PerState,
            vendor_instance_id: "i".to_owned(),
            vendor_account_id: None,
            vendor_order_id: None,
            product_code: None,
            plan: None,
            is_trial: false,
            expires_at: None,
            details: (0..100).map(|n| (format!("d{n:03}"), String::new())).collect(),
        }
    }

    #[test]
    fn every_kind_has_a_word_and_details_are_bounded() {
        for kind in EventKind::ALL {
            let message = event_to_message(&event(kind));
            assert_ne!(message.kind(), billing::MarketplaceEventKind::Unspecified);
            assert_eq!(message.details.len(), DETAILS_MAX);
            assert!(message.key_per_state);
        }
    }

    #[test]
    fn the_same_announcement_has_the_same_id_and_another_has_another() {
        let one = [event_to_message(&event(EventKind::Paid))];
        let other = [event_to_message(&event(EventKind::Renewed))];
        assert_eq!(content_id(&one), content_id(&one.clone()));
        assert_ne!(content_id(&one), content_id(&other));
        assert!(validate::request_id(&content_id(&one)).is_ok());
    }

    #[test]
    fn the_worst_outcome_is_the_delivery_s() {
        assert_eq!(worst([Outcome::Duplicate, Outcome::Duplicate]), Outcome::Duplicate);
        assert_eq!(worst([Outcome::Duplicate, Outcome::Applied]), Outcome::Applied);
        assert_eq!(worst([Outcome::Unavailable, Outcome::Applied]), Outcome::Unavailable);
        assert_eq!(worst([]), Outcome::Unavailable);
    }

    #[test]
    fn an_event_nobody_understands_is_parked_however_it_was_kept() {
        let applied = billing::EventOutcome {
            state: billing::MarketplaceEventState::Applied.into(),
            ..billing::EventOutcome::default()
        };
        assert_eq!(outcome_from_message(EventKind::Unknown, &applied), Outcome::Parked);
        assert_eq!(outcome_from_message(EventKind::Paid, &applied), Outcome::Applied);
    }
}
