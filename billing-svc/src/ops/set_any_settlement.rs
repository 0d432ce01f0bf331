//! Allows or forbids an account any settlement method (rule R2).

use tandem_proto::ids::BillingAccountId;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::domain::account::BillingAccount;
use crate::store::account;

/// Sets the switch. What is settled in a way that is forbidden now goes on.
///
/// Fails with `OBJECT_NOT_FOUND`.
pub async fn run(tx: &Tx, id: &BillingAccountId, allowed: bool) -> Result<BillingAccount, Fault> {
    let found = account::lock(tx, id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    account::save_any_settlement(tx, id, allowed).await?;
    Ok(BillingAccount { any_settlement_allowed: allowed, ..found })
}
