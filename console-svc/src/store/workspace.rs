//! Workspaces, and the copy of what Billing says of them.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _, QueryResult,
    QuerySelect as _, Set, Value,
};
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::page::Page;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx, get, get_time, statement};

use super::entity::workspace::{ActiveModel, Column, Entity, Model};
use super::{ending, id, time};
use crate::domain::point::WorkspaceFacts;
use crate::domain::retention::Retention;
use crate::domain::site::Sites;
use crate::domain::workspace::{Language, Plan, SettlementMethod, Standing, StandingCopy, Workspace};

const TABLE: &str = "workspace";
const STANDING: &str = "workspace_standing";

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: TABLE, column }
}

/// Adds a workspace.
pub async fn insert(tx: &impl ConnectionTrait, workspace: &Workspace) -> Result<(), StoreError> {
    Entity::insert(to_row(workspace)).exec_without_returning(tx).await?;
    Ok(())
}

/// The workspace of an id.
pub async fn find(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
) -> Result<Option<Workspace>, StoreError> {
    Entity::find_by_id(workspace.as_str()).one(db).await?.map(from_row).transpose()
}

/// The workspace of an id, locked until the transaction ends.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: &WorkspaceId,
) -> Result<Option<Workspace>, StoreError> {
    let mut wanted = Entity::find_by_id(workspace.as_str());
    if tx.get_database_backend() == DbBackend::Postgres {
        wanted = wanted.lock(sea_orm::sea_query::LockType::NoKeyUpdate);
    }
    wanted.one(tx).await?.map(from_row).transpose()
}

/// Writes a locked workspace back.
pub async fn save(tx: &Tx, workspace: &Workspace) -> Result<(), StoreError> {
    tx.outdate();
    let filter = Column::Id.eq(workspace.id.as_str());
    let done = Entity::update_many().set(to_row(workspace)).filter(filter).exec(tx).await?;
    if done.rows_affected == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// A page of the workspaces an account is a member of, oldest first, each with Billing's word on it.
pub async fn list_of_member(
    db: &impl ConnectionTrait,
    account: &ConsoleAccountId,
    page: &Page,
) -> Result<Vec<(Workspace, StandingCopy)>, StoreError> {
    let text = format!(
        "SELECT w.*, s.standing, s.lock_at, s.settlement_method, s.billing_account_id FROM member m \
         JOIN workspace w ON w.id = m.workspace_id \
         LEFT JOIN workspace_standing s ON s.workspace_id = w.id \
         WHERE m.console_account_id = ? AND m.workspace_id > ? ORDER BY m.workspace_id LIMIT {}",
        page.limit()
    );
    let after = page.after.first().cloned().unwrap_or_default();
    let rows = db.query_all_raw(statement(
        db.get_database_backend(),
        &text,
        [account.as_str().into(), after.into()],
    ));
    rows.await?.iter().map(|row| Ok((from_result(row)?, standing_from(row)?))).collect()
}

/// What Billing last said of a workspace.
pub async fn standing(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
) -> Result<StandingCopy, StoreError> {
    let text = "SELECT standing, lock_at, settlement_method, billing_account_id FROM workspace_standing \
                WHERE workspace_id = ?";
    let row =
        db.query_one_raw(statement(db.get_database_backend(), text, [workspace.as_str().into()])).await?;
    row.map_or(Ok(StandingCopy::UNBOUND), |row| standing_from(&row))
}

/// A change of standing, as the feed tells it.
#[derive(Debug, Clone)]
pub struct StandingChange {
    /// Whose.
    pub workspace_id: WorkspaceId,
    /// Grows with each change; 0 stands for the answer to a binding, which any event is newer than.
    pub revision: i64,
    /// What holds from now on.
    pub copy: StandingCopy,
}

/// Takes changes over; of each workspace the greatest revision stays, and one that was dissolved stays dissolved.
///
/// Where the lock or the end of a workspace is among what is new, its points are marked to be deleted, also when it was
/// unlocked again meanwhile.
pub async fn apply_standings(tx: &Tx, changes: &[StandingChange], now: Timestamp) -> Result<(), StoreError> {
    tx.outdate();
    ending::mark_lost(tx, changes, now).await?;
    // One statement may touch a row once only, so of each workspace the newest change is taken.
    let mut newest: HashMap<&str, &StandingChange> = HashMap::new();
    for change in changes {
        let kept = newest.entry(change.workspace_id.as_str()).or_insert(change);
        if change.revision >= kept.revision {
            *kept = change;
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_by(|a, b| a.workspace_id.cmp(&b.workspace_id));
    let mut rows = Rows::new(&[
        ("workspace_id", Kind::Text),
        ("revision", Kind::Int),
        ("standing", Kind::Int),
        ("lock_at", Kind::Int),
        ("settlement_method", Kind::Int),
        ("billing_account_id", Kind::Text),
        ("dissolved_at", Kind::Int),
    ]);
    for change in &newest {
        let dissolved = change.copy.standing == Standing::Dissolved;
        rows.push([
            change.workspace_id.as_str().into(),
            change.revision.into(),
            change.copy.standing.number().into(),
            Value::BigInt(change.copy.lock_at.map(Timestamp::as_microsecond)),
            Value::Int(change.copy.settlement_method.map(SettlementMethod::number)),
            change.copy.billing_account_id.clone().into(),
            Value::BigInt(dissolved.then(|| now.as_microsecond())),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let relation = rows.relation(backend, "r", 1)?;
    let text = format!(
        "INSERT INTO workspace_standing (workspace_id, revision, standing, lock_at, settlement_method, \
         billing_account_id, dissolved_at) \
         SELECT workspace_id, revision, standing, lock_at, settlement_method, billing_account_id, dissolved_at \
         FROM {} WHERE true \
         ON CONFLICT (workspace_id) DO UPDATE SET revision = excluded.revision, \
         standing = CASE WHEN workspace_standing.dissolved_at IS NULL THEN excluded.standing \
         ELSE workspace_standing.standing END, \
         lock_at = CASE WHEN workspace_standing.dissolved_at IS NULL THEN excluded.lock_at END, \
         settlement_method = excluded.settlement_method, billing_account_id = excluded.billing_account_id, \
         dissolved_at = COALESCE(workspace_standing.dissolved_at, excluded.dissolved_at) \
         WHERE workspace_standing.revision < excluded.revision",
        relation.sql
    );
    tx.execute_raw(statement(backend, &text, relation.values)).await?;
    Ok(())
}

/// What has to be known of workspaces to judge their points; unknown ones are left out.
///
/// `locked` keeps the workspaces from being upgraded, and their days from being rolled up, until the transaction ends.
pub async fn facts(
    db: &impl ConnectionTrait,
    sites: &Sites,
    ids: &[&str],
    locked: bool,
) -> Result<HashMap<Arc<str>, WorkspaceFacts>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().for_each(|id| rows.push([Value::from(*id)]));
    let backend = db.get_database_backend();
    let asked = rows.relation(backend, "asked", 1)?;
    let lock =
        if locked && backend == DbBackend::Postgres { "ORDER BY w.id FOR NO KEY UPDATE OF w" } else { "" };
    let text = format!(
        "SELECT w.id, w.site, w.plan, w.retention, w.retention_changes, w.created_at, s.standing, s.lock_at, \
         s.settlement_method, s.billing_account_id \
         FROM {} JOIN workspace w ON w.id = asked.id LEFT JOIN workspace_standing s ON s.workspace_id = w.id {lock}",
        asked.sql
    );
    let mut facts = HashMap::new();
    for row in db.query_all_raw(statement(backend, &text, asked.values)).await? {
        let id: Arc<str> = get::<String>(&row, TABLE, "id")?.into();
        let site: String = get(&row, TABLE, "site")?;
        let plan: i32 = get(&row, TABLE, "plan")?;
        let retention: String = get(&row, TABLE, "retention")?;
        let changes: String = get(&row, TABLE, "retention_changes")?;
        let Some(site) = sites.get(&site) else {
            // One such workspace must not keep all others from being recorded.
            tracing::error!(workspace.id = %id, site, "a workspace lies on a site that is not configured");
            continue;
        };
        let known = WorkspaceFacts {
            id: Arc::clone(&id),
            plan: Plan::from_number(plan).ok_or(corrupt("plan"))?,
            standing: standing_from(&row)?.standing,
            zone: site.zone.clone(),
            retention: Retention::from_columns(&retention, &changes).ok_or(corrupt("retention"))?,
            created_at: get_time(&row, TABLE, "created_at")?,
        };
        facts.insert(id, known);
    }
    Ok(facts)
}

fn standing_from(row: &QueryResult) -> Result<StandingCopy, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: STANDING, column };
    let Some(standing) = get::<Option<i32>>(row, STANDING, "standing")? else {
        return Ok(StandingCopy::UNBOUND);
    };
    let lock_at: Option<i64> = get(row, STANDING, "lock_at")?;
    let method: Option<i32> = get(row, STANDING, "settlement_method")?;
    let billing_account_id = get(row, STANDING, "billing_account_id")?;
    Ok(StandingCopy {
        standing: Standing::from_number(standing).ok_or(corrupt("standing"))?,
        lock_at: lock_at.map(|at| time(at, STANDING, "lock_at")).transpose()?,
        settlement_method: method
            .map(|method| SettlementMethod::from_number(method).ok_or(corrupt("settlement_method")))
            .transpose()?,
        billing_account_id,
    })
}

fn to_row(workspace: &Workspace) -> ActiveModel {
    ActiveModel {
        id: Set(workspace.id.to_string()),
        site: Set(workspace.site.clone()),
        name: Set(workspace.name.clone()),
        language: Set(workspace.language.number()),
        plan: Set(workspace.plan.number()),
        owner_account_id: Set(workspace.owner.to_string()),
        retention: Set(workspace.retention.base_column()),
        retention_changes: Set(workspace.retention.changes_column()),
        charge_start_at: Set(workspace.charge_start_at.map(Timestamp::as_microsecond)),
        profile_revision: Set(workspace.profile_revision),
        created_at: Set(workspace.created_at.as_microsecond()),
    }
}

fn from_result(row: &QueryResult) -> Result<Workspace, StoreError> {
    use sea_orm::FromQueryResult as _;
    from_row(Model::from_query_result(row, "")?)
}

fn from_row(row: Model) -> Result<Workspace, StoreError> {
    Ok(Workspace {
        id: id(&row.id, TABLE, "id")?,
        name: row.name,
        site: row.site,
        language: Language::from_number(row.language).ok_or(corrupt("language"))?,
        plan: Plan::from_number(row.plan).ok_or(corrupt("plan"))?,
        owner: id(&row.owner_account_id, TABLE, "owner_account_id")?,
        retention: Retention::from_columns(&row.retention, &row.retention_changes)
            .ok_or(corrupt("retention"))?,
        charge_start_at: row.charge_start_at.map(|at| time(at, TABLE, "charge_start_at")).transpose()?,
        profile_revision: row.profile_revision,
        created_at: time(row.created_at, TABLE, "created_at")?,
    })
}
