//! Calls whose recharge is saved while their order is still to be opened at the payment provider.

use sea_orm::ConnectionTrait;
use tandem_proto::ids::{BillingAccountId, RechargeId};
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::request_log::RequestKey;

use super::read::{self, Row};

const TABLE: &str = "recharge_call";

/// The recharge that a call has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The digest of the call's body.
    pub digest: String,
    /// Whose recharge.
    pub billing_account: BillingAccountId,
    /// Which.
    pub recharge: RechargeId,
}

/// Finds the recharge that a call has made.
pub async fn find(db: &impl ConnectionTrait, key: &RequestKey) -> Result<Option<Begun>, StoreError> {
    let text = "SELECT * FROM recharge_call WHERE principal = ? AND request_id = ?";
    let Some(row) = read::one(db, text, [key.principal().into(), key.request_id().into()]).await? else {
        return Ok(None);
    };
    let row = Row(&row, TABLE);
    Ok(Some(Begun {
        digest: row.text("digest")?,
        billing_account: row.parse("billing_account_id")?,
        recharge: row.parse("recharge_id")?,
    }))
}

/// Notes the recharge that a call has made.
///
/// Fails with a conflict when a twin was faster.
pub async fn insert(tx: &Tx, key: &RequestKey, begun: &Begun) -> Result<(), StoreError> {
    let text = "INSERT INTO recharge_call (principal, request_id, digest, billing_account_id, recharge_id) \
                VALUES (?, ?, ?, ?, ?)";
    let values = [
        key.principal().into(),
        key.request_id().into(),
        begun.digest.as_str().into(),
        begun.billing_account.as_str().into(),
        begun.recharge.as_str().into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Forgets a call: it has its answer, or came to nothing.
pub async fn delete(tx: &Tx, key: &RequestKey) -> Result<(), StoreError> {
    let text = "DELETE FROM recharge_call WHERE principal = ? AND request_id = ?";
    tx.run(text, [key.principal().into(), key.request_id().into()]).await?;
    Ok(())
}
