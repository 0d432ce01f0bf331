//! Changes a member's role, the owner's included.

use jiff::Timestamp;
use prost::Message as _;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::{self, Outgoing};

use super::activation::profile;
use super::{Context, access};
use crate::domain::member::{Member, Role, RoleChange, set_role};
use crate::domain::workspace::{Plan, Workspace};
use crate::store;

/// The topic of messages that tell Billing a workspace's new profile.
pub const PROFILE_TOPIC: &str = "workspace-profile";

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
    let owner = store::account::find(tx, account).await?.ok_or(Fault::new(Reason::ObjectNotFound))?;
    let profile = profile(&workspace, context.site(&workspace.site)?, &owner.email);
    let message = Outgoing {
        topic: PROFILE_TOPIC,
        aggregate_id: workspace.id.to_string(),
        dedupe_key: Some(format!("profile.{}.{revision}", workspace.id)),
        payload: profile.encode_to_vec(),
    };
    outbox::add(tx, &[message], now).await?;
    Ok(())
}
