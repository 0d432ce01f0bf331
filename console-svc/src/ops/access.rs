//! Who may see a workspace: its members. To everybody else it does not exist (I-31).

use sea_orm::ConnectionTrait;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use crate::domain::member::Member;
use crate::domain::workspace::{Standing, Workspace};
use crate::store;

/// The workspace and the acting account's part in it. Fails with `OBJECT_NOT_FOUND`.
pub async fn as_member(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
) -> Result<(Workspace, Member), Fault> {
    let found = store::workspace::find(db, workspace).await?.ok_or(Fault::not_found("workspace_id"))?;
    Ok((found, member(db, workspace, acting).await?))
}

/// Like [`as_member`], for changing the workspace: it is locked until the transaction ends. Fails with
/// `WORKSPACE_DISSOLVED` as well, because nothing of a dissolved workspace changes any more.
pub async fn as_member_locked(
    tx: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
) -> Result<(Workspace, Member), Fault> {
    let found = store::workspace::lock(tx, workspace).await?.ok_or(Fault::not_found("workspace_id"))?;
    let member = member(tx, workspace, acting).await?;
    alive(tx, workspace).await?;
    Ok((found, member))
}

/// Fails with `WORKSPACE_DISSOLVED` when the workspace has ended.
pub async fn alive(db: &impl ConnectionTrait, workspace: &WorkspaceId) -> Result<(), Fault> {
    match store::workspace::standing(db, workspace).await?.standing {
        Standing::Active | Standing::LockCountdown | Standing::Locked => Ok(()),
        Standing::Dissolved => Err(Fault::new(Reason::WorkspaceDissolved)),
    }
}

/// Fails with `WORKSPACE_LOCKED` or `WORKSPACE_DISSOLVED` when the workspace can no longer be used (`domain.md` 3.12).
/// During a countdown it can.
pub async fn usable(db: &impl ConnectionTrait, workspace: &WorkspaceId) -> Result<(), Fault> {
    match store::workspace::standing(db, workspace).await?.standing {
        Standing::Active | Standing::LockCountdown => Ok(()),
        Standing::Locked => Err(Fault::new(Reason::WorkspaceLocked)),
        Standing::Dissolved => Err(Fault::new(Reason::WorkspaceDissolved)),
    }
}

/// The workspace, for a member or, without an acting account, for the calling service itself.
pub async fn visible(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    acting: Option<&ConsoleAccountId>,
) -> Result<Workspace, Fault> {
    match acting {
        Some(acting) => as_member(db, workspace, acting).await.map(|(workspace, _)| workspace),
        None => store::workspace::find(db, workspace).await?.ok_or(Fault::not_found("workspace_id")),
    }
}

async fn member(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
) -> Result<Member, Fault> {
    store::member::find(db, workspace, acting).await?.ok_or(Fault::not_found("workspace_id"))
}
