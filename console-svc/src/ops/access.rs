//! Who may see a workspace: its members. To everybody else it does not exist (I-31).

use sea_orm::ConnectionTrait;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_service_kit::fault::Fault;

use crate::domain::member::Member;
use crate::domain::workspace::Workspace;
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

/// Like [`as_member`], with the workspace locked until the transaction ends.
pub async fn as_member_locked(
    tx: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
) -> Result<(Workspace, Member), Fault> {
    let found = store::workspace::lock(tx, workspace).await?.ok_or(Fault::not_found("workspace_id"))?;
    Ok((found, member(tx, workspace, acting).await?))
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
