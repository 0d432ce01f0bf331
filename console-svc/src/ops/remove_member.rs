//! Removes a member of a workspace.

use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::access;
use crate::domain::member;
use crate::store;

/// Removes the member. Fails with `NOT_ADMINISTRATOR` and `OWNER_REQUIRED`.
pub async fn run(
    tx: &Tx,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
    account: &ConsoleAccountId,
) -> Result<(), Fault> {
    let (workspace, acting) = access::as_member_locked(tx, workspace, acting).await?;
    let found = store::member::find(tx, &workspace.id, account).await?;
    let found = found.ok_or(Fault::not_found("console_account_id"))?;
    member::remove(acting.role, found.role, acting.account_id == *account)?;
    store::member::delete(tx, &workspace.id, account).await?;
    Ok(())
}
