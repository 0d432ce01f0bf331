//! Verification codes: 6 digits, 10 minutes, 5 tries, again after 60 s, single use, bound to purpose and address
//! (`domain.md` D18).
//!
//! How to use it, so that a wrong try counts even when the operation around it is rolled back: [`check`] first, on its
//! own; then, in the operation's transaction, [`redeem`]. Only a hash of the code is stored.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ConnectionTrait as _, QueryResult};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tandem_proto::reason::Reason;

use crate::db::{Database, StoreError, Tx, get, get_time, statement};
use crate::fault::Fault;
use crate::fresh::{random_bytes, random_digits};
use crate::lease::after;

/// Digits of a code.
pub const DIGITS: usize = 6;
/// How long a code is good.
pub const GOOD_FOR: Duration = Duration::from_secs(600);
/// Tries before a code is used up.
pub const TRIES_MAX: i32 = 5;
/// How long to wait before another code is sent to the same address.
pub const RESEND_AFTER: SignedDuration = SignedDuration::from_secs(60);
const TABLE: &str = "verification_code";

/// A new code, for the mail that brings it. Shows nothing in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// The digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

/// Decides whether another code may be sent.
pub fn may_issue(last_issued_at: Option<Timestamp>, now: Timestamp) -> bool {
    last_issued_at.is_none_or(|last| now.duration_since(last) >= RESEND_AFTER)
}

/// Makes a code for an address; an older one of the same purpose stops working. The caller brings the address in the
/// spelling it compares by.
///
/// Fails with `CODE_TOO_SOON` within a minute of the last one.
pub async fn issue(tx: &Tx, purpose: &str, address: &str, now: Timestamp) -> Result<Code, Fault> {
    let text = "SELECT issued_at FROM verification_code WHERE purpose = ? AND address = ?";
    let row =
        tx.query_one_raw(statement(tx.get_database_backend(), text, [purpose.into(), address.into()])).await;
    let last = row.map_err(StoreError::from)?.map(|row| get_time(&row, TABLE, "issued_at")).transpose()?;
    if !may_issue(last, now) {
        return Err(Fault::new(Reason::CodeTooSoon));
    }
    let (code, salt) = (random_digits(DIGITS), random_bytes::<16>());
    // The condition repeats the rule: of two that ask at once, one gets nothing.
    let text = "INSERT INTO verification_code \
                (purpose, address, salt, digest, tries, issued_at, expires_at, redeemed_at) \
                VALUES (?, ?, ?, ?, 0, ?, ?, NULL) \
                ON CONFLICT (purpose, address) DO UPDATE SET salt = excluded.salt, digest = excluded.digest, \
                tries = 0, issued_at = excluded.issued_at, expires_at = excluded.expires_at, redeemed_at = NULL \
                WHERE verification_code.issued_at <= ?";
    let values = [
        purpose.into(),
        address.into(),
        salt.to_vec().into(),
        digest(purpose, address, &salt, &code).into(),
        now.as_microsecond().into(),
        after(now, GOOD_FOR).as_microsecond().into(),
        now.saturating_sub(RESEND_AFTER).unwrap_or(Timestamp::MIN).as_microsecond().into(),
    ];
    if tx.run(text, values).await? == 0 {
        return Err(Fault::new(Reason::CodeTooSoon));
    }
    Ok(Code(code))
}

/// Checks a code without using it up. A wrong one counts as a try, whatever the caller does afterwards.
///
/// Fails with `CODE_INVALID` when it is wrong, used, expired or tried too often; which of these is not told.
pub async fn check(
    db: &Database,
    purpose: &str,
    address: &str,
    code: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    // The try is counted before it is judged, so that guesses made at once cannot be more than five.
    let count = "UPDATE verification_code SET tries = tries + 1 \
                 WHERE purpose = ? AND address = ? AND tries < ? AND expires_at > ? AND redeemed_at IS NULL \
                 RETURNING salt, digest";
    let values = [purpose.into(), address.into(), TRIES_MAX.into(), now.as_microsecond().into()];
    let row =
        db.write.query_one_raw(statement(db.backend(), count, values)).await.map_err(StoreError::from)?;
    let row = row.ok_or(Fault::new(Reason::CodeInvalid))?;
    if !matches(&row, purpose, address, code)? {
        return Err(Fault::new(Reason::CodeInvalid));
    }
    // A right try costs nothing; a crash before this costs one of five.
    let give_back =
        "UPDATE verification_code SET tries = tries - 1 WHERE purpose = ? AND address = ? AND digest = ?";
    let values = [purpose.into(), address.into(), get::<Vec<u8>>(&row, TABLE, "digest")?.into()];
    db.write.execute_raw(statement(db.backend(), give_back, values)).await.map_err(StoreError::from)?;
    Ok(())
}

/// Uses a code up in the caller's transaction, after [`check`].
///
/// Fails with `CODE_INVALID` when it is no longer good.
pub async fn redeem(tx: &Tx, purpose: &str, address: &str, code: &str, now: Timestamp) -> Result<(), Fault> {
    let backend = tx.get_database_backend();
    let text = "SELECT salt, digest FROM verification_code WHERE purpose = ? AND address = ?";
    let row = tx.query_one_raw(statement(backend, text, [purpose.into(), address.into()])).await;
    let row = row.map_err(StoreError::from)?.ok_or(Fault::new(Reason::CodeInvalid))?;
    if !matches(&row, purpose, address, code)? {
        return Err(Fault::new(Reason::CodeInvalid));
    }
    let text = "UPDATE verification_code SET redeemed_at = ? WHERE purpose = ? AND address = ? AND digest = ? \
                AND tries < ? AND expires_at > ? AND redeemed_at IS NULL";
    let now = now.as_microsecond();
    let stored = get::<Vec<u8>>(&row, TABLE, "digest")?;
    let values = [now.into(), purpose.into(), address.into(), stored.into(), TRIES_MAX.into(), now.into()];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(Fault::new(Reason::CodeInvalid)) }
}

/// Deletes codes that expired before `before`; returns how many.
pub async fn purge(db: &Database, before: Timestamp) -> Result<u64, StoreError> {
    let text = "DELETE FROM verification_code WHERE expires_at < ?";
    let done = db.write.execute_raw(statement(db.backend(), text, [before.as_microsecond().into()])).await?;
    Ok(done.rows_affected())
}

fn matches(row: &QueryResult, purpose: &str, address: &str, code: &str) -> Result<bool, StoreError> {
    let (salt, stored): (Vec<u8>, Vec<u8>) = (get(row, TABLE, "salt")?, get(row, TABLE, "digest")?);
    Ok(digest(purpose, address, &salt, code.trim()).ct_eq(&stored).into())
}

/// Length before each part, so that no two different codes are hashed from the same bytes.
fn digest(purpose: &str, address: &str, salt: &[u8], code: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [purpose.as_bytes(), address.as_bytes(), salt, code.as_bytes()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::both;

    fn now() -> Timestamp {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    fn later(secs: i64) -> Timestamp {
        now() + SignedDuration::from_secs(secs)
    }

    async fn issue_at(db: &Database, at: Timestamp) -> Result<Code, Fault> {
        let tx = db.begin().await.unwrap();
        let code = issue(&tx, "register", "a@b.c", at).await?;
        tx.commit().await.unwrap();
        Ok(code)
    }

    async fn redeem_at(db: &Database, address: &str, code: &str, at: Timestamp) -> Result<(), Fault> {
        let tx = db.begin().await.unwrap();
        redeem(&tx, "register", address, code, at).await?;
        tx.commit().await.unwrap();
        Ok(())
    }

    const INVALID: Reason = Reason::CodeInvalid;

    #[tokio::test]
    async fn a_code_works_once_for_its_purpose_and_address() {
        for db in both("code_once").await {
            let code = issue_at(&db, now()).await.unwrap();
            assert_eq!(code.digits().len(), 6);
            assert_eq!(
                check(&db, "sign_in", "a@b.c", code.digits(), now()).await.unwrap_err().reason,
                INVALID
            );
            assert_eq!(
                check(&db, "register", "x@b.c", code.digits(), now()).await.unwrap_err().reason,
                INVALID
            );
            for _ in 0..10 {
                check(&db, "register", "a@b.c", code.digits(), now()).await.unwrap();
            }
            redeem_at(&db, "a@b.c", code.digits(), now()).await.unwrap();
            assert_eq!(redeem_at(&db, "a@b.c", code.digits(), now()).await.unwrap_err().reason, INVALID);
            assert_eq!(
                check(&db, "register", "a@b.c", code.digits(), now()).await.unwrap_err().reason,
                INVALID
            );
        }
    }

    #[tokio::test]
    async fn a_code_expires_and_five_wrong_tries_use_it_up() {
        for db in both("code_tries").await {
            let code = issue_at(&db, now()).await.unwrap();
            check(&db, "register", "a@b.c", code.digits(), later(599)).await.unwrap();
            assert_eq!(
                check(&db, "register", "a@b.c", code.digits(), later(600)).await.unwrap_err().reason,
                INVALID
            );
            let wrong = if code.digits() == "000000" { "000001" } else { "000000" };
            for _ in 0..5 {
                assert_eq!(check(&db, "register", "a@b.c", wrong, now()).await.unwrap_err().reason, INVALID);
            }
            assert_eq!(
                check(&db, "register", "a@b.c", code.digits(), now()).await.unwrap_err().reason,
                INVALID
            );
        }
    }

    #[tokio::test]
    async fn another_code_has_to_wait_and_replaces_the_first() {
        for db in both("code_resend").await {
            let first = issue_at(&db, now()).await.unwrap();
            assert_eq!(issue_at(&db, later(59)).await.unwrap_err().reason, Reason::CodeTooSoon);
            let second = issue_at(&db, later(60)).await.unwrap();
            if first != second {
                let old = check(&db, "register", "a@b.c", first.digits(), later(60)).await;
                assert_eq!(old.unwrap_err().reason, INVALID);
            }
            redeem_at(&db, "a@b.c", second.digits(), later(60)).await.unwrap();
            assert_eq!(purge(&db, later(10_000)).await.unwrap(), 1);
        }
    }
}
