//! Sets how long one item's data is kept (`domain.md` 3.19).

use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::access;
use crate::domain::item::Item;
use crate::domain::member::Role;
use crate::domain::workspace::{StandingCopy, Workspace};
use crate::store;

/// Changes the setting; points that state no retention use it from now on.
///
/// Fails with `NOT_OWNER` and `RETENTION_FIXED`.
pub async fn run(
    tx: &Tx,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
    item: Item,
    days: i32,
) -> Result<(Workspace, StandingCopy), Fault> {
    let (mut workspace, member) = access::as_member_locked(tx, workspace, acting).await?;
    if member.role != Role::Owner {
        return Err(Fault::new(Reason::NotOwner));
    }
    workspace.retention.set(workspace.plan, item, days)?;
    store::workspace::save(tx, &workspace).await?;
    let standing = store::workspace::standing(tx, &workspace.id).await?;
    Ok((workspace, standing))
}
