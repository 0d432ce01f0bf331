//! Counts failed sign-ins, so that passwords cannot be tried at will.

use jiff::{SignedDuration, Timestamp};
use sea_orm::ConnectionTrait as _;
use tandem_service_kit::db::{Database, StoreError, get, statement};

/// Failures within [`WINDOW`] after which an address is refused.
pub const FAILURES_MAX: i32 = 10;
/// How long failures count, from the first one on.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Most rows one purge statement deletes.
const PURGE_ROWS: i64 = 5_000;

/// Counts a try as failed before the password is looked at; `false` means that there were too many.
///
/// One statement counts and reads, so that tries at the same time cannot slip past each other. A try that turns out
/// right clears the count with [`clear`].
pub async fn begin(db: &Database, site: &str, email_key: &str, now: Timestamp) -> Result<bool, StoreError> {
    let text = "INSERT INTO sign_in_tries (site, email_key, window_started_at, failures) VALUES (?, ?, ?, 1) \
                ON CONFLICT (site, email_key) DO UPDATE SET \
                failures = CASE WHEN sign_in_tries.window_started_at <= ? THEN 1 ELSE sign_in_tries.failures + 1 END, \
                window_started_at = CASE WHEN sign_in_tries.window_started_at <= ? \
                THEN excluded.window_started_at ELSE sign_in_tries.window_started_at END \
                RETURNING failures";
    let values = [
        site.into(),
        email_key.into(),
        now.as_microsecond().into(),
        expired(now).into(),
        expired(now).into(),
    ];
    let row = db.write.query_one_raw(statement(db.backend(), text, values)).await?;
    let row = row.ok_or(StoreError::Corrupt { table: "sign_in_tries", column: "failures" })?;
    let failures: i32 = get(&row, "sign_in_tries", "failures")?;
    Ok(failures <= FAILURES_MAX)
}

/// Forgets the failures of an address whose password was right.
pub async fn clear(db: &Database, site: &str, email_key: &str) -> Result<(), StoreError> {
    let text = "DELETE FROM sign_in_tries WHERE site = ? AND email_key = ?";
    db.write.execute_raw(statement(db.backend(), text, [site.into(), email_key.into()])).await?;
    Ok(())
}

/// Deletes counts whose window is over, a bounded number; returns how many.
pub async fn purge(db: &Database, now: Timestamp) -> Result<u64, StoreError> {
    let text = format!(
        "DELETE FROM sign_in_tries WHERE (site, email_key) IN (\
         SELECT site, email_key FROM sign_in_tries WHERE window_started_at <= ? LIMIT {PURGE_ROWS})"
    );
    let done = db.write.execute_raw(statement(db.backend(), &text, [expired(now).into()])).await?;
    Ok(done.rows_affected())
}

fn expired(now: Timestamp) -> i64 {
    now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN).as_microsecond()
}
