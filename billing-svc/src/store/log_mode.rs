//! By which item workspaces' logs are charged, and since when. A workspace's history goes with it, whoever pays for it.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, micros};
use crate::domain::log_mode::{LogMode, LogModes};

const TABLE: &str = "workspace_log_mode";

/// From when on logs are charged in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogModePeriod {
    /// First usage day.
    pub effective_day: UsageDay,
    /// By what.
    pub mode: LogMode,
    /// When it was set.
    pub set_at: Timestamp,
    /// Who set it.
    pub set_by: String,
}

/// The modes of workspaces; one that is not there was never changed.
pub async fn of<'a>(
    db: &impl ConnectionTrait,
    workspaces: impl IntoIterator<Item = &'a WorkspaceId>,
) -> Result<HashMap<WorkspaceId, LogModes>, StoreError> {
    let mut rows = Rows::new(&[("workspace_id", Kind::Text)]);
    workspaces.into_iter().for_each(|id| rows.push([id.as_str().into()]));
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT m.workspace_id, m.effective_day, m.mode FROM {} \
         JOIN workspace_log_mode m ON m.workspace_id = r.workspace_id",
        rel.sql
    );
    let mut changes: HashMap<WorkspaceId, Vec<(UsageDay, LogMode)>> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, TABLE);
        let change = (row.day("effective_day")?, row.parse("mode")?);
        changes.entry(row.parse("workspace_id")?).or_default().push(change);
    }
    Ok(changes.into_iter().map(|(id, changes)| (id, LogModes::new(changes))).collect())
}

/// Sets the mode from a day on; one that was set for the same day is replaced. The workspace must be locked.
pub async fn put(tx: &Tx, workspace: &WorkspaceId, period: &LogModePeriod) -> Result<(), StoreError> {
    let text = "INSERT INTO workspace_log_mode (workspace_id, effective_day, mode, set_at, set_by) \
                VALUES (?, ?, ?, ?, ?) ON CONFLICT (workspace_id, effective_day) \
                DO UPDATE SET mode = excluded.mode, set_at = excluded.set_at, set_by = excluded.set_by";
    let values = [
        workspace.as_str().into(),
        period.effective_day.number().into(),
        period.mode.name().into(),
        micros(period.set_at),
        period.set_by.as_str().into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// A workspace's changes after a day (`yyyymmdd`), oldest first.
pub async fn list(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    after: i32,
    limit: u64,
) -> Result<Vec<LogModePeriod>, StoreError> {
    let text = "SELECT effective_day, mode, set_at, set_by FROM workspace_log_mode \
                WHERE workspace_id = ? AND effective_day > ? ORDER BY effective_day LIMIT ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let period = |row| {
        let row = Row(row, TABLE);
        Ok(LogModePeriod {
            effective_day: row.day("effective_day")?,
            mode: row.parse("mode")?,
            set_at: row.time("set_at")?,
            set_by: row.text("set_by")?,
        })
    };
    let values = [workspace.as_str().into(), after.into(), limit.into()];
    read::all(db, text, values).await?.iter().map(period).collect()
}
