//! Jobs that one replica at a time should do, by a lease in the database.
//!
//! A lease is a courtesy that saves work, not a lock that guards money: a paused holder may still run when its lease has
//! passed on. What a job does must be harmless when done twice.

use jiff::Timestamp;
use sea_orm::ConnectionTrait as _;

use crate::db::{Database, StoreError, statement};

/// Takes or keeps the lease of a job for `secs` seconds from `now`; `false` while another holds it.
///
/// A lease that reaches further than any can was taken by a clock that has jumped back since, and is void.
pub async fn try_hold(
    db: &Database,
    job_name: &str,
    holder: &str,
    now: Timestamp,
    secs: u32,
) -> Result<bool, StoreError> {
    let until = now.as_microsecond().saturating_add(i64::from(secs) * 1_000_000);
    let text = "INSERT INTO lease (name, holder, held_until) VALUES (?, ?, ?) \
                ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
                WHERE lease.holder = excluded.holder OR lease.held_until <= ? OR lease.held_until > excluded.held_until";
    let values = [job_name.into(), holder.into(), until.into(), now.as_microsecond().into()];
    let done = db.write.execute_raw(statement(db.backend(), text, values)).await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the lease up early, so that another replica need not wait for its end.
pub async fn release(db: &Database, job_name: &str, holder: &str) -> Result<(), StoreError> {
    let text = "DELETE FROM lease WHERE name = ? AND holder = ?";
    db.write.execute_raw(statement(db.backend(), text, [job_name.into(), holder.into()])).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::both;

    #[tokio::test]
    async fn one_replica_holds_a_job_until_its_lease_ends() {
        for db in both("singleton").await {
            let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
            let later = now + jiff::SignedDuration::from_secs(30);
            assert!(try_hold(&db, "bills", "a", now, 30).await.unwrap());
            assert!(!try_hold(&db, "bills", "b", now, 30).await.unwrap());
            assert!(try_hold(&db, "bills", "a", now, 30).await.unwrap());
            assert!(try_hold(&db, "bills", "b", later, 30).await.unwrap());
            release(&db, "bills", "a").await.unwrap();
            assert!(!try_hold(&db, "bills", "a", later, 30).await.unwrap());
            release(&db, "bills", "b").await.unwrap();
            assert!(try_hold(&db, "bills", "a", later, 30).await.unwrap());
        }
    }
}
