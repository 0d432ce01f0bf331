//! Adds a Console account of the same site to a workspace.

use jiff::Timestamp;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::access;
use crate::domain::member::{Member, Role, may_manage};
use crate::store;

/// Adds the member. `role` must not be the owner's.
///
/// Fails with `NOT_ADMINISTRATOR`, `ALREADY_MEMBER` and, when it can no longer be used, `WORKSPACE_LOCKED`; an account of another site is `OBJECT_NOT_FOUND`.
pub async fn run(
    tx: &Tx,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
    account: ConsoleAccountId,
    role: Role,
    now: Timestamp,
) -> Result<Member, Fault> {
    let (workspace, acting) = access::as_member_locked(tx, workspace, acting).await?;
    may_manage(acting.role)?;
    access::usable(tx, &workspace.id).await?;
    let known = store::account::find(tx, &account).await?;
    if known.is_none_or(|known| known.site != workspace.site) {
        return Err(Fault::new(Reason::ObjectNotFound));
    }
    let member = Member { account_id: account, role, joined_at: now };
    if store::member::insert(tx, &workspace.id, &member).await? {
        Ok(member)
    } else {
        Err(Fault::new(Reason::AlreadyMember))
    }
}
