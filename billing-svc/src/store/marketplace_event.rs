//! The inbox: what vendors announced, recorded once by the sender's key, then applied (`reliability.md` 3.2).

use std::collections::BTreeMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Value};
use serde::{Deserialize, Serialize};
use tandem_proto::ids::MarketplaceEventId;
use tandem_proto::names;
use tandem_proto::page::Page;
use tandem_proto::reason::Reason;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::telemetry::trace_context;

use super::binding::limit;
use super::read::{self, Row, for_update, micros};
use crate::domain::subscription::{Announced, EventKind};

const TABLE: &str = "marketplace_event";
/// Separates the sender's key from the count of changes, where the sender's key holds for one state only.
const PER_STATE: char = '#';

names! {
    /// Where an event stands.
    State: "pending, applied, refused, quarantined";
    /// Recorded, not yet applied.
    Pending = "pending";
    /// Applied.
    Applied = "applied";
    /// Contradicts what is recorded, or comes after the end.
    Refused = "refused";
    /// Could not be applied in ten tries; waits for an operator.
    Quarantined = "quarantined";
}

/// An event as it was announced. Stored as JSON: fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Name of the cloud.
    pub vendor: String,
    /// Name of its market.
    pub market: String,
    /// Name of the kind.
    pub kind: String,
    /// The sender's key.
    pub event_key: String,
    /// Whether the key holds only until the subscription's state has changed.
    pub key_per_state: bool,
    /// The purchase's number at the vendor.
    pub vendor_instance_id: String,
    /// May be empty.
    pub vendor_account_id: String,
    /// May be empty.
    pub vendor_order_id: String,
    /// May be empty.
    pub product_code: String,
    /// May be empty.
    pub plan: String,
    /// Whether it is a trial.
    pub trial: bool,
    /// Microseconds since 1970.
    pub expires_at: Option<i64>,
    /// What else was said.
    pub details: BTreeMap<String, String>,
}

impl Recorded {
    /// Reads it for the rules.
    pub fn announced(&self) -> Result<Announced, StoreError> {
        let corrupt = StoreError::Corrupt { table: TABLE, column: "announced" };
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let expires_at = self.expires_at.map(Timestamp::from_microsecond).transpose();
        Ok(Announced {
            vendor: self.vendor.parse().map_err(|_| corrupt.clone())?,
            market: self.market.parse().map_err(|_| corrupt.clone())?,
            kind: self.kind.parse().map_err(|_| corrupt.clone())?,
            vendor_instance_id: self.vendor_instance_id.clone(),
            vendor_account_id: some(&self.vendor_account_id),
            product_code: some(&self.product_code),
            plan: some(&self.plan),
            trial: self.trial,
            expires_at: expires_at.map_err(|_| corrupt)?,
        })
    }
}

/// An event in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Opaque; later ones sort after earlier ones.
    pub id: MarketplaceEventId,
    /// As it was announced.
    pub recorded: Recorded,
    /// Where it stands.
    pub state: State,
    /// Why it waits, was refused or failed; empty otherwise.
    pub reason: String,
    /// How often it came.
    pub delivery_count: i32,
    /// Tries to apply it.
    pub attempts: i32,
    /// When it came first.
    pub received_at: Timestamp,
    /// When it was applied or refused.
    pub decided_at: Option<Timestamp>,
    /// The trace it came with.
    pub traceparent: Option<String>,
}

/// What recording an event found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: MarketplaceEventId,
    /// Whether it had been recorded before.
    pub duplicate: bool,
}

/// Records events, each once by its key; a repeat is counted. Answers in the order of the events.
///
/// Keys that hold for one state only are completed with the count of changes of their purchase.
pub async fn record(tx: &Tx, events: &[Recorded], now: Timestamp) -> Result<Vec<Taken>, StoreError> {
    let keys = full_keys(tx, events).await?;
    let traceparent = trace_context::current();
    let mut rows = Rows::new(&[
        ("id", Kind::Text),
        ("vendor", Kind::Text),
        ("event_key", Kind::Text),
        ("kind", Kind::Text),
        ("vendor_instance_id", Kind::Text),
        ("announced", Kind::Text),
        ("deliveries", Kind::Int),
        ("received_at", Kind::Int),
        ("traceparent", Kind::Text),
    ]);
    // The same event twice in one call is one row: a statement cannot meet a row twice.
    let mut first: BTreeMap<(String, String), (MarketplaceEventId, usize, i64)> = BTreeMap::new();
    let mut places = Vec::with_capacity(events.len());
    for (index, (event, key)) in events.iter().zip(keys).enumerate() {
        let place = (event.vendor.clone(), key);
        let entry = first.entry(place.clone()).or_insert_with(|| (fresh(), index, 0));
        entry.2 += 1;
        places.push(place);
    }
    // In the order of the keys, so that two calls with the same events cannot wait for each other.
    for ((vendor, key), (id, index, deliveries)) in &first {
        let Some(event) = events.get(*index) else { continue };
        let announced = serde_json::to_string(event)
            .map_err(|_| StoreError::Corrupt { table: TABLE, column: "announced" })?;
        rows.push([
            id.as_str().into(),
            vendor.as_str().into(),
            key.as_str().into(),
            event.kind.as_str().into(),
            event.vendor_instance_id.as_str().into(),
            announced.into(),
            (*deliveries).into(),
            micros(now),
            traceparent.clone().into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO marketplace_event (id, vendor, event_key, kind, vendor_instance_id, announced, state, reason, \
         delivery_count, attempts, available_at, received_at, decided_at, traceparent) \
         SELECT id, vendor, event_key, kind, vendor_instance_id, announced, 'pending', '', deliveries, 0, \
         received_at, received_at, NULL, traceparent FROM {} WHERE true \
         ON CONFLICT (vendor, event_key) DO UPDATE \
         SET delivery_count = marketplace_event.delivery_count + excluded.delivery_count \
         RETURNING id, vendor, event_key",
        rel.sql
    );
    let mut stored = BTreeMap::new();
    for row in read::all(tx, &text, rel.values).await? {
        let row = Row(&row, TABLE);
        stored.insert((row.text("vendor")?, row.text("event_key")?), row.parse::<MarketplaceEventId>("id")?);
    }
    let mut seen = std::collections::BTreeSet::new();
    let answers = places.into_iter().map(|place| {
        let id = stored.get(&place).cloned().ok_or(StoreError::Conflict)?;
        let ours = first.get(&place).is_some_and(|(fresh, _, _)| *fresh == id);
        let duplicate = !ours || !seen.insert(place);
        Ok(Taken { id, duplicate })
    });
    answers.collect()
}

/// Completes keys that hold for one state only, so that a genuine second suspension after a renewal is a new event
/// while repeats of the first are not.
async fn full_keys(tx: &Tx, events: &[Recorded]) -> Result<Vec<String>, StoreError> {
    let mut asked = Rows::new(&[("vendor", Kind::Text), ("instance", Kind::Text)]);
    for event in events.iter().filter(|event| event.key_per_state) {
        asked.push([event.vendor.as_str().into(), event.vendor_instance_id.as_str().into()]);
    }
    let mut changes = BTreeMap::new();
    if !asked.is_empty() {
        let rel = asked.relation(tx.get_database_backend(), "r", 1)?;
        let text = format!(
            "SELECT s.vendor, s.vendor_instance_id, s.state, s.revision FROM {} JOIN subscription s \
             ON s.vendor = r.vendor AND s.vendor_instance_id = r.instance",
            rel.sql
        );
        for row in read::all(tx, &text, rel.values).await? {
            let row = Row(&row, "subscription");
            let state = (row.text("state")?, row.int("revision")?);
            changes.insert((row.text("vendor")?, row.text("vendor_instance_id")?), state);
        }
    }
    let key = |event: &Recorded| {
        if !event.key_per_state {
            return event.event_key.clone();
        }
        let place = (event.vendor.clone(), event.vendor_instance_id.clone());
        let count = match changes.get(&place) {
            // The change that it announces has been made already: it has the key from before that change.
            Some((state, revision)) if *state == event.kind => revision - 1,
            Some((_, revision)) => *revision,
            None => 0,
        };
        format!("{}{PER_STATE}{count}", event.event_key)
    };
    Ok(events.iter().map(key).collect())
}

/// Reads events, in the order of their ids.
pub async fn find_all(
    db: &impl ConnectionTrait,
    ids: &[MarketplaceEventId],
) -> Result<Vec<Event>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT e.* FROM marketplace_event e WHERE e.id IN (SELECT id FROM {}) ORDER BY e.id",
        rel.sql
    );
    read::all(db, &text, rel.values).await?.iter().map(event).collect()
}

/// Counts a try to apply an event before it is made, and keeps others from trying meanwhile; `None` when the event is
/// not pending or not due.
pub async fn begin_try(
    db: &DatabaseConnection,
    id: &MarketplaceEventId,
    now: Timestamp,
    next: Timestamp,
) -> Result<Option<i32>, StoreError> {
    let text = "UPDATE marketplace_event SET attempts = attempts + 1, available_at = ? \
                WHERE id = ? AND state = 'pending' AND available_at <= ? RETURNING attempts";
    let row = read::one(db, text, [micros(next), id.as_str().into(), micros(now)]).await?;
    row.map(|row| Row(&row, TABLE).small("attempts")).transpose()
}

/// Reads a pending event and locks it; `None` when it has been decided.
pub async fn lock_pending(tx: &Tx, id: &MarketplaceEventId) -> Result<Option<Event>, StoreError> {
    let text =
        format!("SELECT * FROM marketplace_event WHERE id = ? AND state = 'pending'{}", for_update(tx));
    read::one(tx, &text, [id.as_str().into()]).await?.as_ref().map(event).transpose()
}

/// Notes that an event was applied, or why it was refused.
pub async fn decide(
    tx: &Tx,
    id: &MarketplaceEventId,
    refused: Option<Reason>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let state = if refused.is_some() { State::Refused } else { State::Applied };
    let text = "UPDATE marketplace_event SET state = ?, reason = ?, decided_at = ? WHERE id = ?";
    let reason = refused.map(Reason::name).unwrap_or_default();
    tx.run(text, [state.name().into(), reason.into(), micros(now), id.as_str().into()]).await?;
    Ok(())
}

/// Notes that an event waits for its purchase to become known. Waiting is no failed try.
pub async fn wait(tx: &Tx, id: &MarketplaceEventId, until: Timestamp) -> Result<(), StoreError> {
    let text = "UPDATE marketplace_event SET attempts = 0, available_at = ?, reason = ? WHERE id = ?";
    let reason = Reason::PurchaseNotFound.name();
    tx.run(text, [micros(until), reason.into(), id.as_str().into()]).await?;
    Ok(())
}

/// Makes the waiting events of a purchase due; returns them in the order of arrival.
pub async fn wake(
    db: &DatabaseConnection,
    vendor: Vendor,
    instance: &str,
    now: Timestamp,
) -> Result<Vec<MarketplaceEventId>, StoreError> {
    let text = "UPDATE marketplace_event SET available_at = ?, reason = '' \
                WHERE vendor = ? AND vendor_instance_id = ? AND state = 'pending' AND reason = ? RETURNING id";
    let waiting = Reason::PurchaseNotFound.name();
    let rows =
        read::all(db, text, [micros(now), vendor.name().into(), instance.into(), waiting.into()]).await?;
    let mut ids = rows.iter().map(|row| Row(row, TABLE).parse("id")).collect::<Result<Vec<_>, _>>()?;
    ids.sort();
    Ok(ids)
}

/// Notes why a try failed; after the last one the event waits for an operator.
pub async fn fail(
    db: &DatabaseConnection,
    id: &MarketplaceEventId,
    reason: &str,
    quarantine: bool,
) -> Result<(), StoreError> {
    let text = "UPDATE marketplace_event SET state = ?, reason = ? WHERE id = ? AND state = 'pending'";
    let state = if quarantine { State::Quarantined } else { State::Pending };
    let values = [state.name().into(), reason.into(), id.as_str().into()];
    db.execute_raw(tandem_service_kit::db::statement(db.get_database_backend(), text, values)).await?;
    Ok(())
}

/// Makes an event that was quarantined, or that waits, due again with all its tries; `false` in any other state.
pub async fn revive(tx: &Tx, id: &MarketplaceEventId, now: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE marketplace_event SET state = 'pending', reason = '', attempts = 0, available_at = ?, \
                decided_at = NULL WHERE id = ? AND state IN ('pending', 'quarantined')";
    Ok(tx.run(text, [micros(now), id.as_str().into()]).await? == 1)
}

/// The pending events that are due, in the order they became due and arrived.
pub async fn due(
    db: &impl ConnectionTrait,
    now: Timestamp,
    most: i64,
) -> Result<Vec<MarketplaceEventId>, StoreError> {
    let text = "SELECT id FROM marketplace_event WHERE state = 'pending' AND available_at <= ? \
                ORDER BY available_at, id LIMIT ?";
    read::all(db, text, [micros(now), most.into()])
        .await?
        .iter()
        .map(|row| Row(row, TABLE).parse("id"))
        .collect()
}

/// Events before a page's key, newest first; of one state or purchase, or all.
pub async fn list(
    db: &impl ConnectionTrait,
    state: Option<State>,
    instance: &str,
    page: &Page,
) -> Result<Vec<Event>, StoreError> {
    let mut text = String::from("SELECT * FROM marketplace_event WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(state) = state {
        text.push_str(" AND state = ?");
        values.push(state.name().into());
    }
    if !instance.is_empty() {
        text.push_str(" AND vendor_instance_id = ?");
        values.push(instance.into());
    }
    if let Some(before) = page.after.first() {
        text.push_str(" AND id < ?");
        values.push(before.as_str().into());
    }
    text.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(limit(page));
    read::all(db, &text, values).await?.iter().map(event).collect()
}

/// The kind of an event whose purchase gives such events no identity of their own.
pub fn can_be_replayed(event: &Recorded) -> bool {
    event.key_per_state && event.kind == EventKind::Suspended.name()
}

fn event(row: &QueryResult) -> Result<Event, StoreError> {
    let row = Row(row, TABLE);
    let recorded = serde_json::from_str(&row.text("announced")?).map_err(|_| row.corrupt("announced"))?;
    Ok(Event {
        id: row.parse("id")?,
        recorded,
        state: row.parse("state")?,
        reason: row.text("reason")?,
        delivery_count: row.small("delivery_count")?,
        attempts: row.small("attempts")?,
        received_at: row.time("received_at")?,
        decided_at: row.maybe_time("decided_at")?,
        traceparent: row.maybe_text("traceparent")?,
    })
}
