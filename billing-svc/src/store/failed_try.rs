//! Failed proofs, counted by what was tried, so that nobody guesses on.
//!
//! A try is counted before it is judged, so that tries made at once cannot be more than allowed; one that was right, or
//! that could not be judged, is taken back.

use jiff::{SignedDuration, Timestamp};
use sea_orm::ConnectionTrait as _;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{Database, StoreError, Tx, statement};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh_uuid;

use super::read::{self, Row, micros};

/// How long failures count.
const COUNTED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A try that has been counted.
#[derive(Debug)]
pub struct Try {
    subject: String,
    id: String,
}

/// Counts a try at a subject, such as a purchase or a login.
///
/// Fails with `TOO_MANY_TRIES`, counting nothing, after `most` failures within an hour.
pub async fn begin(db: &Database, subject: &str, most: i64, now: Timestamp) -> Result<Try, Fault> {
    let since = now - COUNTED_FOR;
    run(db, "DELETE FROM failed_try WHERE subject = ? AND tried_at <= ?", [subject.into(), micros(since)])
        .await?;
    let id = fresh_uuid().simple().to_string();
    let text = "INSERT INTO failed_try (subject, tried_at, id) VALUES (?, ?, ?)";
    run(db, text, [subject.into(), micros(now), id.as_str().into()]).await?;
    let this = Try { subject: subject.to_owned(), id };
    let text = "SELECT COUNT(*) AS tries FROM failed_try WHERE subject = ? AND tried_at > ?";
    let row = read::one(&db.write, text, [subject.into(), micros(since)]).await?;
    let tries = row.as_ref().map(|row| Row(row, "failed_try").int("tries")).transpose()?.unwrap_or(0);
    if tries > most {
        this.take_back(db).await?;
        return Err(Fault::new(Reason::TooManyTries));
    }
    Ok(this)
}

/// Deletes failures that no longer count.
pub async fn purge(db: &Database, now: Timestamp) -> Result<(), StoreError> {
    run(db, "DELETE FROM failed_try WHERE tried_at <= ?", [micros(now - COUNTED_FOR)]).await
}

/// Forgets the failures at a subject, in the transaction of what proves that they were not its holder's.
pub async fn forget(tx: &Tx, subject: &str) -> Result<(), StoreError> {
    tx.run("DELETE FROM failed_try WHERE subject = ?", [subject.into()]).await?;
    Ok(())
}

impl Try {
    /// It was no failure: it does not count.
    pub async fn take_back(self, db: &Database) -> Result<(), StoreError> {
        let text = "DELETE FROM failed_try WHERE subject = ? AND id = ?";
        run(db, text, [self.subject.into(), self.id.into()]).await
    }

    /// It was right: earlier failures do not count any more.
    pub async fn succeed(self, db: &Database) -> Result<(), StoreError> {
        run(db, "DELETE FROM failed_try WHERE subject = ?", [self.subject.into()]).await
    }
}

async fn run<const N: usize>(
    db: &Database,
    text: &str,
    values: [sea_orm::Value; N],
) -> Result<(), StoreError> {
    db.write.execute_raw(statement(db.backend(), text, values)).await?;
    Ok(())
}
