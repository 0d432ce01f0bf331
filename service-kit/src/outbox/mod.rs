//! What leaves the service: written in the transaction of its cause, delivered afterwards, in order for each aggregate,
//! at least once, and given up visibly (`reliability.md` section 3).

mod api;
mod relay;
mod store;

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait as _, Value};
use tandem_proto::ids::OutboxId;
use tokio::sync::Notify;

pub use api::OutboxService;
pub use relay::Relay;
pub use store::purge;

use crate::db::{Kind, Rows, StoreError, Tx};
use crate::fresh::fresh;
use crate::telemetry::trace_context;

const TABLE: &str = "outbox";
const PENDING: i32 = 1;
const DELIVERED: i32 = 2;
const QUARANTINED: i32 = 3;

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Which handler delivers it.
    pub topic: &'static str,
    /// Messages of one aggregate leave in the order in which they were added.
    pub aggregate_id: String,
    /// A second message with the same key is not added.
    pub dedupe_key: Option<String>,
    /// What the handler reads.
    pub payload: Vec<u8>,
}

/// A message claimed for delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// `obx_…`; the same at every try, so receivers can tell repetitions by it.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// Its aggregate.
    pub aggregate_id: String,
    /// Its key against being added twice.
    pub dedupe_key: Option<String>,
    /// What to deliver.
    pub payload: Vec<u8>,
    /// The trace of its cause.
    pub traceparent: Option<String>,
    /// Which try this is, from 1.
    pub attempts: i32,
    /// When it was added, by the business clock.
    pub created_at: Timestamp,
}

/// Why a message could not be delivered. The text is kept with the message for the operator: no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may work later.
    Retry(String),
    /// It will never work: quarantine it at once.
    Refused(String),
}

/// Delivers the messages of a topic. A message may come twice: the receiver must not mind.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Delivers one message.
    async fn deliver(&self, message: &Claimed) -> Result<(), Failure>;
}

/// Wakes this process's relay as soon as added messages are committed.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    notify: Arc<Notify>,
}

impl Wake {
    /// Wakes the relay.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// What the relay waits on.
    pub fn notify(&self) -> &Arc<Notify> {
        &self.notify
    }
}

/// Adds messages in the transaction of their cause, in this order, with the current trace.
///
/// One whose `dedupe_key` is there already is left out.
pub async fn add(tx: &Tx, messages: &[Outgoing], now: Timestamp) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("id", Kind::Text),
        ("topic", Kind::Text),
        ("aggregate_id", Kind::Text),
        ("place", Kind::Int),
        ("dedupe_key", Kind::Text),
        ("payload", Kind::Bytes),
        ("traceparent", Kind::Text),
        ("created_at", Kind::Int),
    ]);
    let traceparent = trace_context::current();
    for (place, message) in (1_i64..).zip(messages) {
        rows.push([
            fresh::<OutboxId>().as_str().into(),
            message.topic.into(),
            message.aggregate_id.clone().into(),
            place.into(),
            Value::from(message.dedupe_key.clone()),
            message.payload.clone().into(),
            Value::from(traceparent.clone()),
            now.as_microsecond().into(),
        ]);
    }
    // The sequence goes on from the aggregate's last message: ids of several processes do not sort by time exactly.
    let relation = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO outbox (id, topic, aggregate_id, seq, dedupe_key, payload, traceparent, state, attempts, \
         available_at, created_at) \
         SELECT r.id, r.topic, r.aggregate_id, \
         r.place + COALESCE((SELECT MAX(o.seq) FROM outbox o WHERE o.aggregate_id = r.aggregate_id), 0), \
         r.dedupe_key, r.payload, r.traceparent, {PENDING}, 0, r.created_at, r.created_at \
         FROM {} WHERE true ON CONFLICT (dedupe_key) DO NOTHING",
        relation.sql
    );
    tx.run(&text, relation.values).await?;
    tx.wake_on_commit();
    Ok(())
}

#[cfg(test)]
mod tests;
