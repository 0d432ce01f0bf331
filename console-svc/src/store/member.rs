//! Members of workspaces.

use sea_orm::sea_query::{ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::page::Page;
use tandem_service_kit::db::StoreError;

use super::entity::member::{ActiveModel, Column, Entity, Model};
use super::{id, time};
use crate::domain::member::{Member, Role};

const TABLE: &str = "member";

/// Adds a member; `false` means that the account is one already.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    member: &Member,
) -> Result<bool, StoreError> {
    let row = ActiveModel {
        workspace_id: Set(workspace.to_string()),
        console_account_id: Set(member.account_id.to_string()),
        role: Set(member.role.number()),
        joined_at: Set(member.joined_at.as_microsecond()),
    };
    let there = OnConflict::columns([Column::WorkspaceId, Column::ConsoleAccountId]).do_nothing().to_owned();
    Ok(Entity::insert(row).on_conflict(there).exec_without_returning(tx).await? == 1)
}

/// An account's part in a workspace; `None` when it is no member.
pub async fn find(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    account: &ConsoleAccountId,
) -> Result<Option<Member>, StoreError> {
    let key = (workspace.to_string(), account.to_string());
    Entity::find_by_id(key).one(db).await?.map(from_row).transpose()
}

/// Gives a member another role.
pub async fn set_role(
    tx: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    account: &ConsoleAccountId,
    role: Role,
) -> Result<(), StoreError> {
    let row = ActiveModel { role: Set(role.number()), ..ActiveModel::default() };
    let done = Entity::update_many().set(row).filter(one(workspace, account)).exec(tx).await?;
    if done.rows_affected == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Removes a member.
pub async fn delete(
    tx: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    account: &ConsoleAccountId,
) -> Result<(), StoreError> {
    let done = Entity::delete_many().filter(one(workspace, account)).exec(tx).await?;
    if done.rows_affected == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// A page of a workspace's members, oldest first. The page's key is the time of joining and the account.
pub async fn list(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    page: &Page,
    after: Option<(i64, &str)>,
) -> Result<Vec<Member>, StoreError> {
    let mut wanted = Entity::find().filter(Column::WorkspaceId.eq(workspace.as_str()));
    if let Some((joined_at, account)) = after {
        let same = Column::JoinedAt.eq(joined_at).and(Column::ConsoleAccountId.gt(account));
        wanted = wanted.filter(Column::JoinedAt.gt(joined_at).or(same));
    }
    let ordered = wanted.order_by_asc(Column::JoinedAt).order_by_asc(Column::ConsoleAccountId);
    ordered.limit(page.limit()).all(db).await?.into_iter().map(from_row).collect()
}

fn one(workspace: &WorkspaceId, account: &ConsoleAccountId) -> Condition {
    Condition::all()
        .add(Column::WorkspaceId.eq(workspace.as_str()))
        .add(Column::ConsoleAccountId.eq(account.as_str()))
}

fn from_row(row: Model) -> Result<Member, StoreError> {
    Ok(Member {
        account_id: id(&row.console_account_id, TABLE, "console_account_id")?,
        role: Role::from_number(row.role).ok_or(StoreError::Corrupt { table: TABLE, column: "role" })?,
        joined_at: time(row.joined_at, TABLE, "joined_at")?,
    })
}
