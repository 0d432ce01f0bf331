//! Changes the method of workspaces as it was requested, through the purchase that was made since (D11).

use jiff::Timestamp;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::attach_purchase::Claim;
use super::change_settlement::{self, Changed};
use super::request_change::Wish;
use crate::context::Context;
use crate::domain::binding::Settlement;
use crate::store::{account, settlement_change};

/// Changes them all or none. Locks the account, then the purchase, then the workspaces.
///
/// Fails with `CHANGE_NOT_REQUESTED` when one of them does not wait for this cloud, and as a change does; then they all
/// wait on.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    wish: &Wish,
    claim: &Claim,
    now: Timestamp,
) -> Result<Vec<Changed>, Fault> {
    account::lock(tx, &wish.account).await?.ok_or(Fault::new(Reason::WorkspaceNotBound))?;
    let mut workspaces = wish.workspaces.clone();
    workspaces.sort();
    let places: Vec<_> = workspaces.iter().map(|id| (wish.account.clone(), id.clone())).collect();
    let taken = settlement_change::take(tx, &places, wish.method, now).await?;
    if usize::try_from(taken) != Ok(places.len()) {
        return Err(Fault::new(Reason::ChangeNotRequested));
    }
    let mut claim = claim.clone();
    let mut changed: Vec<Changed> = Vec::new();
    for workspace in workspaces {
        let one = change_settlement::Wish {
            account: wish.account.clone(),
            workspace,
            method: wish.method,
            claim: Some(claim.clone()),
        };
        let done = change_settlement::run(tx, ctx, &one, now).await?;
        // A ticket works once; from the first workspace on the cloud account is the billing account's own.
        match &done.period.settlement {
            Settlement::Cloud { cloud_account, .. } => claim = Claim::CloudAccount(cloud_account.clone()),
            Settlement::BillingCenter => return Err(StoreError::Conflict.into()),
        }
        changed.push(done);
    }
    Ok(changed)
}
