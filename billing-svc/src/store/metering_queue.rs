//! The queue of metering records: which are due, who sends them, which were left behind (`reliability.md` 3.3).

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, Value};
use tandem_proto::ids::{MeteringRecordId, SubscriptionId};
use tandem_proto::page::Page;
use tandem_service_kit::db::{StoreError, Tx, statement};

use super::binding::limit;
use super::metering::{MeteringRecord, record};
use super::read::{self, Row, for_update, micros};
use crate::domain::metering::State;

const TABLE: &str = "metering_record";

/// The subscription whose records are to be sent next: final ones first, then by deadline.
pub async fn next(db: &impl ConnectionTrait, now: Timestamp) -> Result<Option<SubscriptionId>, StoreError> {
    let text = "SELECT m.subscription_id FROM metering_record m JOIN subscription s ON s.id = m.subscription_id \
                WHERE m.state = 'pending' AND m.available_at <= ? AND m.deadline > ? \
                AND (m.claimed_until IS NULL OR m.claimed_until <= ?) AND s.next_submit_at <= ? AND s.trial = ? \
                ORDER BY m.final DESC, m.deadline, m.id LIMIT 1";
    let now = micros(now);
    let row = read::one(db, text, [now.clone(), now.clone(), now.clone(), now, false.into()]).await?;
    row.map(|row| Row(&row, TABLE).parse("subscription_id")).transpose()
}

/// Claims due records of a subscription, at most `most`, until an instant.
pub async fn claim(
    db: &DatabaseConnection,
    subscription: &SubscriptionId,
    token: &str,
    now: Timestamp,
    until: Timestamp,
    most: i64,
) -> Result<Vec<MeteringRecord>, StoreError> {
    let skip = if for_update(db).is_empty() { "" } else { " FOR UPDATE SKIP LOCKED" };
    let text = format!(
        "UPDATE metering_record SET claimed_by = ?, claimed_until = ? WHERE id IN (\
         SELECT id FROM metering_record WHERE subscription_id = ? AND state = 'pending' AND available_at <= ? \
         AND deadline > ? AND (claimed_until IS NULL OR claimed_until <= ?) \
         ORDER BY final DESC, window_start LIMIT ?{skip}) RETURNING *"
    );
    let at = micros(now);
    let values =
        [token.into(), micros(until), subscription.as_str().into(), at.clone(), at.clone(), at, most.into()];
    read::all(db, &text, values).await?.iter().map(record).collect()
}

/// Gives claimed records back, to be tried again from an instant on.
pub async fn give_back(
    db: &DatabaseConnection,
    token: &str,
    available_at: Timestamp,
) -> Result<(), StoreError> {
    let text = "UPDATE metering_record SET claimed_by = NULL, claimed_until = NULL, available_at = ? \
                WHERE claimed_by = ? AND state = 'pending'";
    db.execute_raw(statement(db.get_database_backend(), text, [micros(available_at), token.into()])).await?;
    Ok(())
}

/// Marks the claimed records as being sent, and returns them; a crash from now on leaves their outcome unknown.
pub async fn mark_sending(tx: &Tx, token: &str, until: Timestamp) -> Result<Vec<MeteringRecord>, StoreError> {
    let text = "UPDATE metering_record SET state = 'sending', attempts = attempts + 1, claimed_until = ? \
                WHERE claimed_by = ? AND state = 'pending' RETURNING *";
    read::all(tx, text, [micros(until), token.into()]).await?.iter().map(record).collect()
}

/// Reads the records that are still being sent under a claim and locks them; one whose claim ran out is left out.
pub async fn lock_sending(tx: &Tx, token: &str) -> Result<Vec<MeteringRecord>, StoreError> {
    let lock = for_update(tx);
    let text =
        format!("SELECT * FROM metering_record WHERE claimed_by = ? AND state = 'sending' ORDER BY id{lock}");
    read::all(tx, &text, [token.into()]).await?.iter().map(record).collect()
}

/// Ends the claim of records whose outcome has been saved.
pub async fn end_claim(tx: &Tx, token: &str) -> Result<(), StoreError> {
    let text = "UPDATE metering_record SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = ?";
    tx.run(text, [token.into()]).await?;
    Ok(())
}

/// Frees a record whose sender is gone; `false` when it is not being sent any more, or its claim still holds.
pub async fn take_over(
    db: &DatabaseConnection,
    id: &MeteringRecordId,
    state: State,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let text = "UPDATE metering_record SET state = ?, available_at = ?, claimed_by = NULL, claimed_until = NULL \
                WHERE id = ? AND state = 'sending' AND claimed_until <= ?";
    let values = [state.name().into(), micros(now), id.as_str().into(), micros(now)];
    let done = db.execute_raw(statement(db.get_database_backend(), text, values)).await?;
    Ok(done.rows_affected() == 1)
}

/// Records whose sender is gone.
pub async fn abandoned(
    db: &impl ConnectionTrait,
    now: Timestamp,
    most: i64,
) -> Result<Vec<MeteringRecord>, StoreError> {
    let text =
        "SELECT * FROM metering_record WHERE state = 'sending' AND claimed_until <= ? ORDER BY id LIMIT ?";
    read::all(db, text, [micros(now), most.into()]).await?.iter().map(record).collect()
}

/// Records that no vendor takes any more and that were never sent.
pub async fn overdue(
    db: &impl ConnectionTrait,
    now: Timestamp,
    most: i64,
) -> Result<Vec<MeteringRecord>, StoreError> {
    let text = "SELECT * FROM metering_record WHERE state = 'pending' AND deadline <= ? \
                AND (claimed_until IS NULL OR claimed_until <= ?) ORDER BY deadline, id LIMIT ?";
    read::all(db, text, [micros(now), micros(now), most.into()]).await?.iter().map(record).collect()
}

/// Marks records that have used up half of their time, each once, and returns them.
pub async fn mark_late(db: &DatabaseConnection, now: Timestamp) -> Result<Vec<MeteringRecord>, StoreError> {
    let text = "UPDATE metering_record SET note = 'late' WHERE state = 'pending' AND note = '' \
                AND available_at < deadline AND created_at + (deadline - created_at) / 2 <= ? RETURNING *";
    read::all(db, text, [micros(now)]).await?.iter().map(record).collect()
}

/// Reads a record.
pub async fn find(
    db: &impl ConnectionTrait,
    id: &MeteringRecordId,
) -> Result<Option<MeteringRecord>, StoreError> {
    let text = "SELECT * FROM metering_record WHERE id = ?";
    read::one(db, text, [id.as_str().into()]).await?.as_ref().map(record).transpose()
}

/// Records before a page's key, newest first; of one state or subscription, or all.
pub async fn list(
    db: &impl ConnectionTrait,
    state: Option<State>,
    subscription: Option<&SubscriptionId>,
    page: &Page,
) -> Result<Vec<MeteringRecord>, StoreError> {
    let mut text = String::from("SELECT * FROM metering_record WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(state) = state {
        text.push_str(" AND state = ?");
        values.push(state.name().into());
    }
    if let Some(subscription) = subscription {
        text.push_str(" AND subscription_id = ?");
        values.push(subscription.as_str().into());
    }
    if let Some(before) = page.after.first() {
        text.push_str(" AND id < ?");
        values.push(before.as_str().into());
    }
    text.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(limit(page));
    read::all(db, &text, values).await?.iter().map(record).collect()
}
