//! Changes a member's role, the owner's included.

use jiff::Timestamp;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::tell_profile::tell_profile;
use super::{Context, access};
use crate::domain::member::{Member, Role, RoleChange, set_role};
use crate::domain::workspace::{Plan, Workspace};
use crate::store;

/// Gives the member the role. Making somebody the owner makes the old owner an administrator, and Billing is told the
/// new owner's address.
///
/// Fails with `NOT_ADMINISTRATOR`, `NOT_OWNER` and `OWNER_REQUIRED`.
pub async fn run(
    tx: &Tx,
    context: &Context,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
    account: &ConsoleAccountId,
    role: Role,
    now: Timestamp,
) -> Result<Member, Fault> {
    let (workspace, acting) = access::as_member_locked(tx, workspace, acting).await?;
    let member = store::member::find(tx, &workspace.id, account).await?;
    let member = member.ok_or(Fault::new(Reason::ObjectNotFound))?;
    match set_role(acting.role, member.role, role)? {
        RoleChange::Nothing => {}
        RoleChange::Role => store::member::set_role(tx, &workspace.id, account, role).await?,
        RoleChange::HandOver => {
            store::member::set_role(tx, &workspace.id, &workspace.owner, Role::Administrator).await?;
            store::member::set_role(tx, &workspace.id, account, Role::Owner).await?;
            hand_over(tx, context, workspace, account, now).await?;
        }
    }
    Ok(Member { role, ..member })
}

async fn hand_over(
    tx: &Tx,
    context: &Context,
    workspace: Workspace,
    account: &ConsoleAccountId,
    now: Timestamp,
) -> Result<(), Fault> {
    let revision = workspace.profile_revision.saturating_add(1);
    let workspace = Workspace { owner: account.clone(), profile_revision: revision, ..workspace };
    store::workspace::save(tx, &workspace).await?;
    if workspace.plan == Plan::Free {
        return Ok(()); // Billing does not know it; an upgrade will bring the whole profile.
    }
    tell_profile(tx, context, &workspace, now).await
}
