//! Workspaces that were locked or dissolved: what Billing has to be told, and the points that are to be deleted.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx, get, statement};

use super::workspace::StandingChange;
use super::{id, time};
use crate::domain::workspace::Standing;

const TABLE: &str = "workspace_standing";

/// Marks the points of workspaces to be deleted whose lock or end is among new changes. What was marked before and has
/// not been deleted yet stays marked.
///
/// An older change was dealt with before: the feed may be read again, and then the workspace may have been unlocked and
/// filled again long ago.
pub(super) async fn mark_lost(tx: &Tx, changes: &[StandingChange], now: Timestamp) -> Result<(), StoreError> {
    let mut lost: HashMap<&str, i64> = HashMap::new();
    for change in changes {
        if matches!(change.copy.standing, Standing::Locked | Standing::Dissolved) {
            let revision = lost.entry(change.workspace_id.as_str()).or_insert(change.revision);
            *revision = change.revision.max(*revision);
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let mut lost: Vec<_> = lost.into_iter().collect();
    lost.sort_unstable();
    let mut rows = Rows::new(&[("workspace_id", Kind::Text), ("revision", Kind::Int)]);
    lost.iter().for_each(|(workspace, revision)| rows.push([(*workspace).into(), (*revision).into()]));
    // The instant stands before the relation, whose parameters therefore start at the third place.
    let relation = rows.relation(tx.get_database_backend(), "r", 3)?;
    let text = format!(
        "UPDATE workspace_standing SET purge_before = ?, purge_at = ? FROM {} \
         WHERE workspace_standing.workspace_id = r.workspace_id AND workspace_standing.revision < r.revision \
         AND workspace_standing.dissolved_at IS NULL",
        relation.sql
    );
    let at = now.as_microsecond();
    tx.run(&text, [at.into(), at.into()].into_iter().chain(relation.values)).await?;
    Ok(())
}

/// Dissolves a workspace for ever, and marks its points to be deleted. `bound` says that Billing has to be told.
pub async fn dissolve(
    tx: &Tx,
    workspace: &WorkspaceId,
    bound: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.outdate();
    let at = now.as_microsecond();
    let text = "INSERT INTO workspace_standing (workspace_id, revision, standing, dissolved_at, tell_at, purge_before, \
                purge_at) VALUES (?, 0, ?, ?, ?, ?, ?) \
                ON CONFLICT (workspace_id) DO UPDATE SET standing = excluded.standing, lock_at = NULL, \
                dissolved_at = excluded.dissolved_at, tell_at = excluded.tell_at, \
                purge_before = excluded.purge_before, purge_at = excluded.purge_at \
                WHERE workspace_standing.dissolved_at IS NULL";
    let values: [Value; 6] = [
        workspace.as_str().into(),
        Standing::Dissolved.number().into(),
        at.into(),
        Value::BigInt(bound.then_some(at)),
        at.into(),
        at.into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Dissolved workspaces of which Billing is to be told now, the longest waiting first.
pub async fn untold(
    db: &impl ConnectionTrait,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let text = format!(
        "SELECT workspace_id FROM workspace_standing WHERE tell_at IS NOT NULL AND tell_at <= ? \
         ORDER BY tell_at, workspace_id LIMIT {limit}"
    );
    let rows = db.query_all_raw(statement(db.get_database_backend(), &text, [now.as_microsecond().into()]));
    let read = |row: &QueryResult| id(&get::<String>(row, TABLE, "workspace_id")?, TABLE, "workspace_id");
    rows.await?.iter().map(read).collect()
}

/// Says when Billing is to be told again; never, when it has been told.
pub async fn set_tell_at(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let text = "UPDATE workspace_standing SET tell_at = ? WHERE workspace_id = ? AND tell_at IS NOT NULL";
    let values = [Value::BigInt(at.map(Timestamp::as_microsecond)), workspace.as_str().into()];
    db.execute_raw(statement(db.get_database_backend(), text, values)).await?;
    Ok(())
}

/// A workspace whose points are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its site's code.
    pub site: String,
    /// Points of hours before this instant.
    pub before: Timestamp,
    /// It was dissolved: nothing of it can be corrected any more.
    pub dissolved: bool,
}

/// Workspaces whose points are to be looked for now, the longest waiting first.
pub async fn due(db: &impl ConnectionTrait, now: Timestamp, limit: u32) -> Result<Vec<Purge>, StoreError> {
    let text = format!(
        "SELECT s.workspace_id, w.site, s.purge_before, s.dissolved_at FROM workspace_standing s \
         JOIN workspace w ON w.id = s.workspace_id \
         WHERE s.purge_at IS NOT NULL AND s.purge_at <= ? ORDER BY s.purge_at, s.workspace_id LIMIT {limit}"
    );
    let rows = db.query_all_raw(statement(db.get_database_backend(), &text, [now.as_microsecond().into()]));
    let read = |row: &QueryResult| {
        Ok(Purge {
            workspace: id(&get::<String>(row, TABLE, "workspace_id")?, TABLE, "workspace_id")?,
            site: get(row, TABLE, "site")?,
            before: time(get(row, TABLE, "purge_before")?, TABLE, "purge_before")?,
            dissolved: get::<Option<i64>>(row, TABLE, "dissolved_at")?.is_some(),
        })
    };
    rows.await?.iter().map(read).collect()
}

/// Deletes at most `limit` points of a workspace's days up to `last_day`, and returns how many.
///
/// A day whose changes were not rolled up, or not delivered to Billing, keeps its points: what was acknowledged is
/// billed first.
pub async fn delete_points(tx: &Tx, purge: &Purge, last_day: i32, limit: u32) -> Result<u64, StoreError> {
    let key = "workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start";
    let text = format!(
        "DELETE FROM usage_point WHERE ({key}) IN (SELECT {key} FROM usage_point p \
         WHERE p.workspace_id = ? AND p.usage_day <= ? AND p.hour_start < ? \
         AND NOT EXISTS (SELECT 1 FROM usage_dirty d WHERE d.workspace_id = p.workspace_id \
         AND d.usage_day = p.usage_day) \
         AND NOT EXISTS (SELECT 1 FROM usage_total t WHERE t.workspace_id = p.workspace_id \
         AND t.usage_day = p.usage_day AND t.delivered_revision < t.revision) LIMIT {limit})"
    );
    let values = [purge.workspace.as_str().into(), last_day.into(), purge.before.as_microsecond().into()];
    tx.run(&text, values).await
}

/// Notes when to look for a workspace's points again; with none left to delete, never.
///
/// A mark that was set anew meanwhile, because the workspace was locked again, stays as it is.
pub async fn settle(tx: &Tx, purge: &Purge, again_at: Timestamp) -> Result<(), StoreError> {
    let text = "UPDATE workspace_standing SET \
                purge_at = CASE WHEN EXISTS (SELECT 1 FROM usage_point p \
                WHERE p.workspace_id = workspace_standing.workspace_id AND p.hour_start < ?) THEN ? END \
                WHERE workspace_id = ? AND purge_before = ?";
    let before = purge.before.as_microsecond();
    let values: [Value; 4] =
        [before.into(), again_at.as_microsecond().into(), purge.workspace.as_str().into(), before.into()];
    tx.run(text, values).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tandem_service_kit::db::Database;
    use tandem_service_kit::db::testing::both_with;
    use tandem_service_kit::fresh::fresh;

    use super::*;
    use crate::domain::workspace::StandingCopy;
    use crate::store::workspace::{apply_standings, standing};

    fn now() -> Timestamp {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    async fn tell(db: &Database, workspace: &WorkspaceId, told: &[(i64, Standing)]) {
        let change = |(revision, standing): &(i64, Standing)| StandingChange {
            workspace_id: workspace.clone(),
            revision: *revision,
            copy: StandingCopy { standing: *standing, ..StandingCopy::UNBOUND },
        };
        let changes: Vec<_> = told.iter().map(change).collect();
        let tx = db.begin().await.unwrap();
        apply_standings(&tx, &changes, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn is_marked(db: &Database) -> bool {
        let text = "SELECT COUNT(*) AS count FROM workspace_standing WHERE purge_at IS NOT NULL";
        let row = db.write.query_one_raw(statement(db.backend(), text, [])).await.unwrap().unwrap();
        get::<i64>(&row, TABLE, "count").unwrap() == 1
    }

    #[tokio::test]
    async fn a_lock_counts_even_when_its_unlock_comes_with_it_and_an_old_one_never() {
        for db in both_with("console_ending", crate::migration::all).await {
            let workspace: WorkspaceId = fresh();
            tell(&db, &workspace, &[(1, Standing::Active)]).await;
            assert!(!is_marked(&db).await);
            tell(&db, &workspace, &[(2, Standing::Locked), (3, Standing::Active)]).await;
            assert_eq!(standing(&db.write, &workspace).await.unwrap().standing, Standing::Active);
            assert!(is_marked(&db).await, "what the lock has taken stays taken");
            let (site, before) = ("cn1".to_owned(), now());
            let purge = Purge { workspace: workspace.clone(), site, before, dissolved: false };
            let tx = db.begin().await.unwrap();
            settle(&tx, &purge, now()).await.unwrap();
            tx.commit().await.unwrap();
            assert!(!is_marked(&db).await);
            // The feed is read again from an older place.
            tell(&db, &workspace, &[(2, Standing::Locked), (3, Standing::Active)]).await;
            tell(&db, &workspace, &[(2, Standing::Locked), (4, Standing::LockCountdown)]).await;
            assert!(!is_marked(&db).await, "it was unlocked and filled again long ago");
            // The owner's word is final, whatever the feed says.
            let tx = db.begin().await.unwrap();
            dissolve(&tx, &workspace, true, now()).await.unwrap();
            tx.commit().await.unwrap();
            tell(&db, &workspace, &[(9, Standing::Active)]).await;
            assert_eq!(standing(&db.write, &workspace).await.unwrap().standing, Standing::Dissolved);
            assert_eq!(untold(&db.write, now(), 9).await.unwrap(), [workspace]);
        }
    }
}
