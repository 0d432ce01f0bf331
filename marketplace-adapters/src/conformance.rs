//! The suite every vendor must pass (feature `conformance`).
//!
//! It makes the forgeries itself from genuine samples, so that no vendor can leave a negative case out. A check that
//! fails panics with what was accepted or refused wrongly. Nothing here knows a vendor.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};

use crate::MarketplaceClient;
use crate::delivery::{Delivery, Outcome};
use crate::error::{AuthError, ClientError};
use crate::event::{EventKind, KeyScope, MarketplaceEvent, Parsed};
use crate::usage::{SubmitOutcome, UsageRecord};
use crate::{MarketplaceAdapter, capability::Capabilities};

/// Fewest genuine samples a vendor brings (`reliability.md` 6).
pub const GENUINE_MIN: usize = 5;
/// Fewest forgeries that must have been refused.
pub const FORGED_MIN: usize = 50;

/// Where a vendor puts its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// In a query parameter of this name; every other parameter is covered by it.
    QueryParameter(&'static str),
    /// In a header of this name; the body is covered by it.
    Header(&'static str),
}

/// A genuine delivery and what it means.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Names the sample in a failure.
    pub name: &'static str,
    /// The delivery.
    pub delivery: Delivery,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The vendor's time window; at more than twice this from `received_at` the delivery must be refused. `None` for
    /// deliveries without a time of their own.
    pub fresh_for: Option<SignedDuration>,
    /// The kinds of the events in it; empty for a landing.
    pub kinds: Vec<EventKind>,
}

/// What a vendor brings to the suite.
pub struct Subject<'a> {
    /// The adapter, holding the key the samples are signed with.
    pub adapter: &'a dyn MarketplaceAdapter,
    /// The adapter after a rotation: another current key, the samples' key as the previous one.
    pub rotated: &'a dyn MarketplaceAdapter,
    /// The adapter after a second rotation: it knows the samples' key no more.
    pub other: &'a dyn MarketplaceAdapter,
    /// Genuine deliveries, all of different events.
    pub genuine: Vec<Sample>,
    /// Where the proof stands.
    pub proof: Proof,
    /// Forgeries that only this vendor's scheme makes possible.
    pub forged: Vec<Delivery>,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Genuine deliveries accepted.
    pub genuine: usize,
    /// Forged ones refused.
    pub forged: usize,
}

/// Checks the inbound half.
///
/// # Panics
/// When the vendor fails the suite, or brings too little to prove anything.
pub fn check_adapter(subject: &Subject<'_>) -> Report {
    assert!(subject.genuine.len() >= GENUINE_MIN, "a verifier that refuses everything would pass");
    let mut forged = 0;
    let mut refuse = |delivery: &Delivery, at: Timestamp, what: &str| {
        let result = subject.adapter.authenticate(delivery, at);
        let error = result.err().unwrap_or_else(|| panic!("accepted a forgery: {what}"));
        check_refusal(subject, error);
        forged += 1;
    };
    for sample in &subject.genuine {
        let (at, delivery) = (sample.received_at, &sample.delivery);
        check_genuine(subject.adapter, sample, &subject.proof);
        check_genuine(subject.rotated, sample, &subject.proof);
        assert_eq!(
            subject.other.authenticate(delivery, at).err(),
            Some(AuthError::WrongProof),
            "{}: a key that was rotated out still opens",
            sample.name
        );
        for (what, forgery) in forgeries_of(delivery, &subject.proof) {
            refuse(&forgery, at, &format!("{} with {what}", sample.name));
        }
        if let Some(window) = sample.fresh_for {
            for (what, late) in [("too old", at + window * 2), ("from the future", at - window * 2)] {
                refuse(delivery, late, &format!("{} {what}", sample.name));
            }
        }
    }
    for (one, other) in pairs_of(&subject.genuine) {
        if let Some(mixed) = with_proof_of(&one.delivery, &other.delivery, &subject.proof) {
            refuse(&mixed, one.received_at, &format!("{} under the proof of {}", one.name, other.name));
        }
    }
    for (position, forgery) in subject.forged.iter().enumerate() {
        let at = subject.genuine.first().map(|s| s.received_at).unwrap_or_default();
        refuse(forgery, at, &format!("the vendor's own forgery {position}"));
    }
    check_keys(subject);
    assert!(forged >= FORGED_MIN, "only {forged} forgeries were tried");
    Report { genuine: subject.genuine.len(), forged }
}

/// Accepts, and says the same thing twice.
fn check_genuine(adapter: &dyn MarketplaceAdapter, sample: &Sample, proof: &Proof) {
    let name = sample.name;
    let once = adapter.authenticate(&sample.delivery, sample.received_at);
    let once = once.unwrap_or_else(|error| panic!("refused a genuine delivery, {name}: {error}"));
    let parsed = adapter.parse(&once).unwrap_or_else(|error| panic!("did not understand {name}: {error}"));
    let again = adapter.authenticate(&sample.delivery, sample.received_at).map(|d| adapter.parse(&d));
    assert_eq!(again, Ok(Ok(parsed.clone())), "a redelivery of {name} means something else");
    match &parsed {
        Parsed::Events(events) => {
            assert!(!sample.kinds.is_empty(), "{name} is no landing");
            let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, sample.kinds, "{name}");
            events.iter().for_each(|event| check_event(adapter.capabilities(), event, name));
        }
        Parsed::Landing(landing) => {
            assert!(sample.kinds.is_empty(), "{name} is a landing");
            assert!(adapter.capabilities().lands_buyers, "{name}: landings are not among the capabilities");
            assert!(landing.proof_digest.len() == 64, "{name}: the proof's digest is no SHA-256");
            assert!(landing.expires_at >= sample.received_at, "{name}: arrives after its end");
        }
    }
    let leaks = format!("{:?} {parsed:?}", sample.delivery);
    let secret =
        proof_of(&sample.delivery, proof).unwrap_or_else(|| panic!("{name}: no proof where it should be"));
    assert!(!leaks.contains(&secret), "{name}: the proof shows in a debug form");
    check_replies(adapter, sample, &secret);
}

fn check_event(capabilities: &Capabilities, event: &MarketplaceEvent, name: &str) {
    assert_eq!((event.vendor, event.market), (capabilities.vendor, capabilities.market), "{name}");
    assert!((1..=255).contains(&event.event_key.len()), "{name}: the key's length");
    assert!(
        event.kind == EventKind::Unknown || !event.vendor_instance_id.is_empty(),
        "{name}: an event of no purchase"
    );
    if event.kind == EventKind::Subscribed {
        assert!(event.vendor_account_id.is_some() && event.plan.is_some(), "{name}: who bought what");
        assert_eq!(event.key_scope, KeyScope::Unique, "{name}: a purchase happens once");
    }
    if matches!(event.kind, EventKind::Renewed | EventKind::RenewalReturned) {
        assert!(event.expires_at.is_some(), "{name}: sets no expiry");
    }
    if event.key_scope == KeyScope::PerState {
        assert!(!capabilities.callbacks_are_dated, "{name}: dated callbacks have keys of their own");
    }
}

fn check_replies(adapter: &dyn MarketplaceAdapter, sample: &Sample, secret: &str) {
    let outcomes = [
        Outcome::Applied,
        Outcome::Duplicate,
        Outcome::Pending,
        Outcome::Parked,
        Outcome::Refused { reason: "REASON_OF_OURS".to_owned() },
        Outcome::Unavailable,
    ];
    let proved = adapter.authenticate(&sample.delivery, sample.received_at);
    let proved = proved.unwrap_or_else(|error| panic!("refused a genuine delivery: {error}"));
    let replies: Vec<_> = outcomes.iter().map(|outcome| adapter.reply(&proved, outcome)).collect();
    let name = sample.name;
    for reply in &replies {
        assert!(!reply.content_type.is_empty(), "{name}: a reply without content type");
        let text = String::from_utf8_lossy(&reply.body);
        assert!(!text.contains("REASON_OF_OURS"), "{name}: the vendor is told our reason");
        assert!(!text.contains(secret), "{name}: the reply repeats the proof");
        if reply.content_type.starts_with("application/json") {
            assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_ok(), "{name}: no JSON");
        }
    }
    let done = &replies[0];
    assert_eq!(done, &replies[1], "{name}: a repeat is answered otherwise than the first");
    if !sample.kinds.is_empty() {
        for unsettled in &replies[3..] {
            assert_ne!(done, unsettled, "{name}: the vendor would not call again");
        }
    }
}

fn check_refusal(subject: &Subject<'_>, error: AuthError) {
    let reply = subject.adapter.refuse(&error);
    assert!(
        reply.status.is_client_error() || reply.status == StatusCode::OK,
        "a refusal is no fault of ours"
    );
    assert_eq!(
        reply.body,
        subject.adapter.refuse(&AuthError::MissingProof).body,
        "refusals tell a scanner what was wrong"
    );
}

/// Different events have different keys, within a delivery and between deliveries.
fn check_keys(subject: &Subject<'_>) {
    let mut seen = BTreeSet::new();
    for sample in &subject.genuine {
        let proved = subject.adapter.authenticate(&sample.delivery, sample.received_at);
        let Ok(Ok(Parsed::Events(events))) = proved.map(|d| subject.adapter.parse(&d)) else { continue };
        for event in events {
            assert!(seen.insert(event.event_key.clone()), "{}: key {} twice", sample.name, event.event_key);
        }
    }
}

/// Checks that the outbound half keeps its declared capabilities, against a vendor that cannot be reached.
///
/// # Panics
/// When the client claims an effect it cannot know of, or a capability it does not have.
pub async fn check_unreachable_client(
    capabilities: &Capabilities,
    client: &dyn MarketplaceClient,
    record: &UsageRecord,
) {
    let purchase = client.look_up_purchase(&record.vendor_instance_id, &record.vendor_account_id).await;
    if capabilities.looks_up_purchases {
        assert!(
            matches!(purchase, Err(ClientError::Unavailable { .. })),
            "an outage says nothing of a purchase"
        );
    }
    let said = client.submit_usage("conformance", std::slice::from_ref(record)).await;
    assert_eq!(said.len(), 1, "one answer for each record");
    assert_eq!(said[0].id, record.id);
    assert!(
        matches!(said[0].outcome, SubmitOutcome::RetryLater(_)),
        "what did not leave may be sent again: {:?}",
        said[0].outcome
    );
    let recorded = client.get_submitted_usage(&record.vendor_instance_id, record.start, record.end).await;
    match recorded {
        Ok(None) => assert!(!capabilities.looks_up_usage, "says it can be asked, and cannot"),
        Ok(Some(_)) | Err(_) => assert!(capabilities.looks_up_usage, "says it cannot be asked, and was"),
    }
    assert!(client.submit_usage("conformance", &[]).await.is_empty(), "an answer to nothing");
}

/// Every forgery that can be made from a genuine delivery without knowing the key.
pub fn forgeries_of(delivery: &Delivery, proof: &Proof) -> Vec<(String, Delivery)> {
    let mut forged = Vec::new();
    match proof {
        Proof::QueryParameter(name) => forge_query(delivery, name, &mut forged),
        Proof::Header(name) => forge_header(delivery, name, &mut forged),
    }
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        forged.push((format!("the method {method}"), Delivery { method, ..delivery.clone() }));
    }
    forged
}

fn forge_query(delivery: &Delivery, proof: &str, forged: &mut Vec<(String, Delivery)>) {
    let pairs: Vec<(&str, &str)> =
        delivery.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    let build = |pairs: &[(&str, &str)]| {
        let query = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        Delivery { query, ..delivery.clone() }
    };
    let mut push = |what: String, pairs: &[(&str, &str)]| forged.push((what, build(pairs)));
    for at in 0..pairs.len() {
        let (name, value) = pairs[at];
        let mut without = pairs.clone();
        without.remove(at);
        push(format!("{name} taken away"), &without);
        let mut twice = pairs.clone();
        twice.push((name, value));
        push(format!("{name} twice"), &twice);
        let values = if name == proof { bent_proofs(value) } else { bent_values(value) };
        for bent in &values {
            let mut changed = pairs.clone();
            changed[at] = (name, bent);
            push(format!("{name} changed to {bent:?}"), &changed);
        }
        let renamed = format!("{name}x");
        let mut other = pairs.clone();
        other[at] = (&renamed, value);
        push(format!("{name} renamed"), &other);
        let capitals = name.to_ascii_uppercase();
        if capitals != name {
            let mut other = pairs.clone();
            other[at] = (&capitals, value);
            push(format!("{name} in capitals"), &other);
        }
        // Two fields folded into one: the text that many schemes hash stays the same.
        if let Some((next, next_value)) =
            pairs.get(at + 1).filter(|(next, _)| *next != proof && name != proof)
        {
            let folded = format!("{value}%26{next}%3D{next_value}");
            let mut fewer = pairs.clone();
            fewer[at] = (name, &folded);
            fewer.remove(at + 1);
            push(format!("{next} folded into {name}"), &fewer);
        }
    }
    let mut more = pairs.clone();
    more.push(("isRefund", "true"));
    push("a further field".to_owned(), &more);
    let mut long = pairs.clone();
    let much = "x".repeat(9_000);
    long.push(("filler", &much));
    push("an overlong query".to_owned(), &long);
    push("nothing at all".to_owned(), &[]);
}

fn forge_header(delivery: &Delivery, proof: &'static str, forged: &mut Vec<(String, Delivery)>) {
    let value = delivery.headers.get(proof).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut without = delivery.clone();
    without.headers.remove(proof);
    forged.push(("no proof".to_owned(), without));
    for bent in bent_proofs(&value) {
        let mut changed = delivery.clone();
        if let Ok(header) = HeaderValue::from_str(&bent) {
            changed.headers.insert(proof, header);
            forged.push((format!("the proof changed to {bent:?}"), changed));
        }
    }
    for at in 0..delivery.body.len() {
        let mut body = delivery.body.to_vec();
        body[at] ^= 1;
        forged.push((
            format!("byte {at} of the body changed"),
            Delivery { body: Bytes::from(body), ..delivery.clone() },
        ));
    }
    forged.push(("no body".to_owned(), Delivery { body: Bytes::new(), ..delivery.clone() }));
}

/// A proof bent in every way that keeps it looking like one.
fn bent_proofs(proof: &str) -> Vec<String> {
    let mut bent = vec![String::new(), " ".to_owned(), format!("{proof}0"), "0".repeat(proof.len())];
    bent.push(proof.chars().skip(1).collect());
    bent.push(proof.chars().rev().collect());
    for at in 0..proof.len() {
        let mut bytes = proof.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        bent.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    bent.retain(|text| text != proof);
    bent
}

/// A value bent so that it says something else.
fn bent_values(value: &str) -> Vec<String> {
    let mut bent = vec![String::new(), format!("{value}0"), format!("{value}%20"), format!("%20{value}")];
    bent.push(value.chars().skip(1).collect());
    bent.push(format!("{value}%00"));
    bent.push(format!("{value}%0A"));
    bent.push("%ff".to_owned());
    bent.push("%".to_owned());
    bent.retain(|text| text != value);
    bent
}

fn pairs_of(samples: &[Sample]) -> impl Iterator<Item = (&Sample, &Sample)> {
    samples.iter().flat_map(move |one| {
        samples.iter().filter(move |other| !std::ptr::eq(one, *other)).map(move |other| (one, other))
    })
}

/// The proof as it stands in a delivery.
fn proof_of(delivery: &Delivery, proof: &Proof) -> Option<String> {
    match proof {
        Proof::QueryParameter(name) => {
            let found = delivery.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned)
        }
        Proof::Header(name) => delivery.headers.get(*name)?.to_str().ok().map(str::to_owned),
    }
}

/// The one delivery under the other's proof.
fn with_proof_of(one: &Delivery, other: &Delivery, proof: &Proof) -> Option<Delivery> {
    let foreign = proof_of(other, proof)?;
    let mut mixed = one.clone();
    match proof {
        Proof::QueryParameter(name) => {
            let swapped = one.query.split('&').map(|pair| match pair.split_once('=') {
                Some((n, _)) if n == *name => format!("{n}={foreign}"),
                _ => pair.to_owned(),
            });
            mixed.query = swapped.collect::<Vec<_>>().join("&");
        }
        Proof::Header(name) => {
            mixed.headers.insert(*name, HeaderValue::from_str(&foreign).ok()?);
        }
    }
    Some(mixed)
}
