//! Drops a change that waits for its purchase (D11).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::domain::binding::Period;
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding, settlement_change};

/// Drops it. Fails with `WORKSPACE_NOT_BOUND` and `CHANGE_NOT_REQUESTED`.
pub async fn run(
    tx: &Tx,
    account: &BillingAccountId,
    workspace: &WorkspaceId,
    now: Timestamp,
) -> Result<(Workspace, Period), Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let payer = account::lock(tx, account).await?.ok_or_else(not_bound)?;
    let found = workspace::find(tx, workspace).await?;
    let found = found.filter(|w| w.billing_account == payer.id).ok_or_else(not_bound)?;
    let period = binding::current(tx, workspace).await?.ok_or_else(not_bound)?;
    let place = (payer.id, workspace.clone());
    let waiting = settlement_change::find_all(tx, std::slice::from_ref(&place), now).await?;
    if waiting.is_empty() {
        return Err(Fault::new(Reason::ChangeNotRequested));
    }
    settlement_change::remove(tx, &[place]).await?;
    Ok((found, period))
}
