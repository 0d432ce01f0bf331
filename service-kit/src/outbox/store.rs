//! The outbox table: claiming, writing back, listing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, QueryResult, Value};

use super::{Claimed, DELIVERED, PENDING, QUARANTINED, TABLE};
use crate::db::{Database, Kind, Rows, StoreError, get, get_time, statement};
use crate::lease::{TRIES_MAX, after, until};

/// Delivered messages are kept at least this long, because their keys still refuse duplicates.
const KEPT_DAYS: i64 = 35;
/// Most rows one purge statement deletes.
const PURGE_ROWS: i64 = 5_000;
/// Longest kept text of a failure.
const ERROR_CHARS_MAX: usize = 500;

/// Claims up to `limit` messages that are due and the oldest of their aggregate, except those in `busy`.
///
/// The try is counted with the claim, so that a message that kills its worker comes to an end, too.
pub(super) async fn claim(
    db: &Database,
    topics: &[&'static str],
    busy: &[String],
    token: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    let backend = db.backend();
    let (topics, busy) =
        (texts("topic", topics.iter().copied()), texts("id", busy.iter().map(String::as_str)));
    let topics = topics.relation(backend, "mine", 2)?;
    let busy = busy.relation(backend, "busy", 2 + topics.values.len())?;
    // Several replicas claim at once: each passes over rows that another has locked this moment.
    let lock = if backend == DbBackend::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
    let text = format!(
        "WITH due AS MATERIALIZED (\
         SELECT o.id FROM outbox o WHERE o.state = {PENDING} AND o.available_at <= ? \
         AND o.topic IN (SELECT topic FROM {mine}) AND o.id NOT IN (SELECT id FROM {busy}) \
         AND (o.claimed_until IS NULL OR o.claimed_until <= ?) \
         AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.state = {PENDING} AND e.aggregate_id = o.aggregate_id \
         AND (e.seq < o.seq OR (e.seq = o.seq AND e.id < o.id))) \
         ORDER BY o.available_at, o.id LIMIT ? {lock}) \
         UPDATE outbox SET claimed_by = ?, claimed_until = ?, attempts = attempts + 1 \
         WHERE id IN (SELECT id FROM due) AND state = {PENDING} AND (claimed_until IS NULL OR claimed_until <= ?) \
         RETURNING id, topic, aggregate_id, seq, dedupe_key, payload, traceparent, attempts, created_at",
        mine = topics.sql,
        busy = busy.sql,
    );
    let now_micros = Value::from(now.as_microsecond());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = std::iter::once(now_micros.clone()).chain(topics.values).chain(busy.values).chain([
        now_micros.clone(),
        limit.into(),
        token.into(),
        until(now).as_microsecond().into(),
        now_micros,
    ]);
    let mut claimed = Vec::new();
    for row in db.write.query_all_raw(statement(backend, &text, values)).await? {
        claimed.push((get::<i64>(&row, TABLE, "seq")?, read(&row)?));
    }
    claimed.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
    Ok(claimed.into_iter().map(|(_, message)| message).collect())
}

fn texts<'a>(column: &'static str, values: impl Iterator<Item = &'a str>) -> Rows {
    let mut rows = Rows::new(&[(column, Kind::Text)]);
    values.for_each(|value| rows.push([value.into()]));
    rows
}

fn read(row: &QueryResult) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        id: get(row, TABLE, "id")?,
        topic: get(row, TABLE, "topic")?,
        aggregate_id: get(row, TABLE, "aggregate_id")?,
        dedupe_key: get(row, TABLE, "dedupe_key")?,
        payload: get(row, TABLE, "payload")?,
        traceparent: get(row, TABLE, "traceparent")?,
        attempts: get(row, TABLE, "attempts")?,
        created_at: get_time(row, TABLE, "created_at")?,
    })
}

/// Keeps one claim for another lease; `false` when it was lost.
pub(super) async fn renew(db: &Database, id: &str, token: &str, now: Timestamp) -> Result<bool, StoreError> {
    let text =
        format!("UPDATE outbox SET claimed_until = ? WHERE id = ? AND claimed_by = ? AND state = {PENDING}");
    let values = [until(now).as_microsecond().into(), id.into(), token.into()];
    Ok(db.write.execute_raw(statement(db.backend(), &text, values)).await?.rows_affected() == 1)
}

/// How a try ended.
pub(super) enum Ended {
    Delivered,
    Again(Duration, String),
    GivenUp(String),
}

/// Writes back how a try ended; `false` when the claim was lost meanwhile, and then nothing changes.
pub(super) async fn write_back(
    db: &Database,
    id: &str,
    token: &str,
    now: Timestamp,
    ended: &Ended,
) -> Result<bool, StoreError> {
    let (state, available_at, error) = match ended {
        Ended::Delivered => (DELIVERED, now, None),
        Ended::Again(wait, error) => (PENDING, after(now, *wait), Some(error)),
        Ended::GivenUp(error) => (QUARANTINED, now, Some(error)),
    };
    let error: Option<String> = error.map(|error| error.chars().take(ERROR_CHARS_MAX).collect());
    let text = format!(
        "UPDATE outbox SET state = ?, available_at = ?, last_error = ?, claimed_by = NULL, claimed_until = NULL \
         WHERE id = ? AND claimed_by = ? AND state = {PENDING}"
    );
    let values = [state.into(), available_at.as_microsecond().into(), error.into(), id.into(), token.into()];
    Ok(db.write.execute_raw(statement(db.backend(), &text, values)).await?.rows_affected() == 1)
}

/// How many wait and how many were given up.
pub(super) async fn counts(db: &Database) -> Result<(u64, u64), StoreError> {
    let text = format!(
        "SELECT (SELECT COUNT(*) FROM outbox WHERE state = {PENDING}) AS pending, \
         (SELECT COUNT(*) FROM outbox WHERE state = {QUARANTINED}) AS quarantined"
    );
    let row = db.read.query_one_raw(statement(db.backend(), &text, [])).await?;
    let row = row.ok_or(StoreError::Corrupt { table: TABLE, column: "count" })?;
    let count = |column| get::<i64>(&row, TABLE, column).map(|n| u64::try_from(n).unwrap_or(0));
    Ok((count("pending")?, count("quarantined")?))
}

/// A message as the operator sees it.
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) aggregate_id: String,
    pub(super) state: i32,
    pub(super) attempts: i32,
    pub(super) available_at: Timestamp,
    pub(super) last_error: Option<String>,
    pub(super) created_at: Timestamp,
}

const LISTED: &str = "id, topic, aggregate_id, state, attempts, available_at, last_error, created_at";

fn read_listed(row: &QueryResult) -> Result<Listed, StoreError> {
    Ok(Listed {
        id: get(row, TABLE, "id")?,
        topic: get(row, TABLE, "topic")?,
        aggregate_id: get(row, TABLE, "aggregate_id")?,
        state: get(row, TABLE, "state")?,
        attempts: get(row, TABLE, "attempts")?,
        available_at: get_time(row, TABLE, "available_at")?,
        last_error: get(row, TABLE, "last_error")?,
        created_at: get_time(row, TABLE, "created_at")?,
    })
}

/// Lists messages by id, which is the order in which they were added. No state lists all that are not delivered.
pub(super) async fn list(
    db: &Database,
    state: Option<i32>,
    after_id: &str,
    limit: u64,
) -> Result<Vec<Listed>, StoreError> {
    let states = match state {
        Some(state) => format!("state = {state}"),
        None => format!("state IN ({PENDING}, {QUARANTINED})"),
    };
    let text = format!("SELECT {LISTED} FROM outbox WHERE {states} AND id > ? ORDER BY id LIMIT {limit}");
    let rows = db.read.query_all_raw(statement(db.backend(), &text, [after_id.into()])).await?;
    rows.iter().map(read_listed).collect()
}

/// Lets a quarantined message be tried again from the first try; `None` when no such message is quarantined.
pub(super) async fn redrive(
    db: &impl sea_orm::ConnectionTrait,
    id: &str,
    now: Timestamp,
) -> Result<Option<Listed>, StoreError> {
    let text = format!(
        "UPDATE outbox SET state = {PENDING}, attempts = 0, available_at = ? \
         WHERE id = ? AND state = {QUARANTINED} RETURNING {LISTED}"
    );
    let values = [now.as_microsecond().into(), id.into()];
    let row = db.query_one_raw(statement(db.get_database_backend(), &text, values)).await?;
    row.as_ref().map(read_listed).transpose()
}

/// Quarantines what was claimed more often than allowed without ever being written back: it kills its worker.
pub(super) fn spent(message: &Claimed) -> bool {
    message.attempts > TRIES_MAX
}

/// Deletes delivered messages added before `before`, but none younger than 35 days, a bounded number at a time; returns
/// how many.
pub async fn purge(db: &DatabaseConnection, before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    let oldest_kept =
        now.saturating_sub(SignedDuration::from_hours(KEPT_DAYS * 24)).unwrap_or(Timestamp::MIN);
    let before = before.min(oldest_kept).as_microsecond();
    let text = format!(
        "DELETE FROM outbox WHERE id IN (\
         SELECT id FROM outbox WHERE state = {DELIVERED} AND created_at < ? LIMIT {PURGE_ROWS})"
    );
    Ok(db.execute_raw(statement(db.get_database_backend(), &text, [before.into()])).await?.rows_affected())
}
