//! Companies that were handed in for verification.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::BillingAccountId;
use tandem_service_kit::db::{StoreError, Tx};

use super::read::{self, Row, maybe_micros, micros};
use crate::domain::verification::{Verification, VerificationState};

const TABLE: &str = "company_verification";

/// Adds one. Fails with a conflict when one of this number, or an open one, came meanwhile.
pub async fn insert(tx: &Tx, v: &Verification) -> Result<(), StoreError> {
    let text = "INSERT INTO company_verification (billing_account_id, number, state, company_name, taxpayer_id, \
                submitted_at, decided_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let values: [Value; 8] = [
        v.billing_account.as_str().into(),
        v.number.into(),
        v.state.name().into(),
        v.company_name.as_str().into(),
        v.taxpayer_id.as_str().into(),
        micros(v.submitted_at),
        maybe_micros(v.decided_at),
        v.reason.as_str().into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Saves a decision. Fails with a conflict when the state was not `before` any more.
pub async fn save(tx: &Tx, v: &Verification, before: VerificationState) -> Result<(), StoreError> {
    let text = "UPDATE company_verification SET state = ?, decided_at = ?, reason = ? \
                WHERE billing_account_id = ? AND number = ? AND state = ?";
    let values: [Value; 6] = [
        v.state.name().into(),
        maybe_micros(v.decided_at),
        v.reason.as_str().into(),
        v.billing_account.as_str().into(),
        v.number.into(),
        before.name().into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// What an account handed in last.
pub async fn last(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
) -> Result<Option<Verification>, StoreError> {
    let text = "SELECT * FROM company_verification WHERE billing_account_id = ? ORDER BY number DESC LIMIT 1";
    read::one(db, text, [account.as_str().into()]).await?.as_ref().map(verification).transpose()
}

/// What all accounts handed in, oldest first, after a place: time, account and number.
pub async fn list(
    db: &impl ConnectionTrait,
    state: Option<VerificationState>,
    after: &[String],
    limit: u64,
) -> Result<Vec<Verification>, StoreError> {
    let mut text = String::from("SELECT * FROM company_verification WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(state) = state {
        text.push_str(" AND state = ?");
        values.push(state.name().into());
    }
    if let [at, account, number] = after {
        text.push_str(" AND (submitted_at, billing_account_id, number) > (?, ?, ?)");
        let at: i64 = at.parse().unwrap_or(i64::MAX);
        values.extend([at.into(), account.as_str().into(), number.parse().unwrap_or(i32::MAX).into()]);
    }
    text.push_str(" ORDER BY submitted_at, billing_account_id, number LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(verification).collect()
}

/// The place of one in [`list`].
pub fn place(v: &Verification) -> Vec<String> {
    let at = Timestamp::as_microsecond(v.submitted_at).to_string();
    vec![at, v.billing_account.as_str().to_owned(), v.number.to_string()]
}

fn verification(row: &QueryResult) -> Result<Verification, StoreError> {
    let row = Row(row, TABLE);
    Ok(Verification {
        billing_account: row.parse("billing_account_id")?,
        number: row.small("number")?,
        state: row.parse("state")?,
        company_name: row.text("company_name")?,
        taxpayer_id: row.text("taxpayer_id")?,
        submitted_at: row.time("submitted_at")?,
        decided_at: row.maybe_time("decided_at")?,
        reason: row.text("reason")?,
    })
}
