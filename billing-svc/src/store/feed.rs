//! The event feed: written without a position in the transaction of its cause, numbered after it has committed.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::EventId;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::telemetry::trace_context;

use super::read::{self, Row, for_update, micros};
use crate::domain::event::FeedEvent;

const TABLE: &str = "feed_event";

/// An event to be told.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// `bac_…`.
    pub billing_account: String,
    /// `wks_…`, when it is about a workspace.
    pub workspace: Option<String>,
    /// What was decided.
    pub event: FeedEvent,
}

/// An event of the feed.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its place in the feed.
    pub position: i64,
    /// `evt_…`.
    pub id: String,
    /// `bac_…`.
    pub billing_account: String,
    /// `wks_…`, or empty.
    pub workspace: String,
    /// What was decided.
    pub event: FeedEvent,
    /// The trace of its cause.
    pub traceparent: Option<String>,
    /// When it was decided.
    pub happened_at: Timestamp,
}

/// Adds events, in this order, in the transaction of their cause.
pub async fn add(tx: &Tx, events: &[NewEvent], now: Timestamp) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let traceparent = trace_context::current();
    let mut rows = Rows::new(&[
        ("id", Kind::Text),
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("payload", Kind::Text),
        ("traceparent", Kind::Text),
        ("happened_at", Kind::Int),
    ]);
    for event in events {
        let payload = serde_json::to_string(&event.event)
            .map_err(|_| StoreError::Corrupt { table: TABLE, column: "payload" })?;
        rows.push([
            fresh::<EventId>().as_str().into(),
            event.billing_account.as_str().into(),
            event.workspace.clone().unwrap_or_default().into(),
            payload.into(),
            traceparent.clone().into(),
            micros(now),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO feed_event (id, billing_account_id, workspace_id, payload, traceparent, happened_at) \
         SELECT id, billing_account_id, workspace_id, payload, traceparent, happened_at FROM {} WHERE true",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Numbers at most `limit` committed events, oldest first, and returns how many.
///
/// Only one transaction numbers at a time, because it holds the head's row, so positions become visible in order.
pub async fn number(tx: &Tx, limit: i64) -> Result<u64, StoreError> {
    let head = format!("SELECT position FROM feed_head WHERE name = 'feed'{}", for_update(tx));
    let head =
        read::one(tx, &head, []).await?.ok_or(StoreError::Corrupt { table: "feed_head", column: "name" })?;
    let head = Row(&head, "feed_head").int("position")?;
    let text = "UPDATE feed_event SET position = r.place + ? FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place \
                FROM (SELECT id FROM feed_event WHERE position IS NULL ORDER BY id LIMIT ?) AS s) AS r \
                WHERE feed_event.id = r.id";
    let numbered = tx.run(text, [head.into(), limit.into()]).await?;
    if numbered > 0 {
        let next = head.saturating_add(i64::try_from(numbered).unwrap_or(i64::MAX));
        tx.run("UPDATE feed_head SET position = ? WHERE name = 'feed'", [next.into()]).await?;
    }
    Ok(numbered)
}

/// The events after a position, in order.
pub async fn after(
    db: &impl ConnectionTrait,
    position: i64,
    limit: u64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let text = "SELECT position, id, billing_account_id, workspace_id, payload, traceparent, happened_at \
                FROM feed_event WHERE position > ? ORDER BY position LIMIT ?";
    let limit = Value::from(i64::try_from(limit).unwrap_or(i64::MAX));
    read::all(db, text, [position.into(), limit]).await?.iter().map(event).collect()
}

fn event(row: &QueryResult) -> Result<StoredEvent, StoreError> {
    let row = Row(row, TABLE);
    let event = serde_json::from_str(&row.text("payload")?).map_err(|_| row.corrupt("payload"))?;
    Ok(StoredEvent {
        position: row.int("position")?,
        id: row.text("id")?,
        billing_account: row.text("billing_account_id")?,
        workspace: row.text("workspace_id")?,
        event,
        traceparent: row.maybe_text("traceparent")?,
        happened_at: row.time("happened_at")?,
    })
}

/// Whether there are events without a position: spares an idle feed the lock of its head.
pub async fn any_new(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(read::one(db, "SELECT id FROM feed_event WHERE position IS NULL LIMIT 1", []).await?.is_some())
}
