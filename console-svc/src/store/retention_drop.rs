//! Days on which a change of retention dropped what was there, so that the whole day counts by the new policy
//! (`domain.md` 3.19).

use sea_orm::{ConnectionTrait as _, QueryResult};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx, get, statement};

use super::usage_point::{item, small};
use super::usage_total::Marks;
use crate::domain::item::Item;

const TABLE: &str = "retention_drop";

/// What counts by which policy on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedDay {
    /// Whose.
    pub workspace_id: String,
    /// The day, `yyyymmdd`.
    pub usage_day: i32,
    /// The item.
    pub item: Item,
    /// The policy that was dropped.
    pub old_days: i16,
    /// The policy that the day counts by.
    pub new_days: i16,
}

/// Says anew what is dropped of an item from a day on.
pub async fn save(
    tx: &Tx,
    workspace: &WorkspaceId,
    item: Item,
    first_day: i32,
    drops: &[DroppedDay],
) -> Result<(), StoreError> {
    let text = "DELETE FROM retention_drop WHERE workspace_id = ? AND item = ? AND usage_day >= ?";
    tx.run(text, [workspace.as_str().into(), i32::from(item.number()).into(), first_day.into()]).await?;
    let mut rows = Rows::new(&[
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("item", Kind::Int),
        ("old_days", Kind::Int),
        ("new_days", Kind::Int),
    ]);
    for drop in drops {
        rows.push([
            drop.workspace_id.as_str().into(),
            drop.usage_day.into(),
            i32::from(drop.item.number()).into(),
            i32::from(drop.old_days).into(),
            i32::from(drop.new_days).into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "workspace_id, usage_day, item, old_days, new_days";
    let text = format!("INSERT INTO retention_drop ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// What is dropped on marked days. The marked workspaces must be locked.
pub async fn of_marked(tx: &Tx, marks: &Marks) -> Result<Vec<DroppedDay>, StoreError> {
    let backend = tx.get_database_backend();
    let asked = marks.days().relation(backend, "r", 1)?;
    let text = format!(
        "SELECT d.workspace_id, d.usage_day, d.item, d.old_days, d.new_days FROM {} \
         JOIN retention_drop d ON d.workspace_id = r.workspace_id AND d.usage_day = r.usage_day",
        asked.sql
    );
    let rows = tx.query_all_raw(statement(backend, &text, asked.values)).await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &QueryResult) -> Result<DroppedDay, StoreError> {
    Ok(DroppedDay {
        workspace_id: get(row, TABLE, "workspace_id")?,
        usage_day: get(row, TABLE, "usage_day")?,
        item: item(row, TABLE)?,
        old_days: small(row, "old_days")?,
        new_days: small(row, "new_days")?,
    })
}
