//! Moves of workspaces between billing accounts, and which account pays for which of their days (D8, D10).

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, micros};

const TABLE: &str = "workspace_move";

/// A move of a workspace to another billing account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Whose it was.
    pub from: BillingAccountId,
    /// Whose it is.
    pub to: BillingAccountId,
    /// First instant at the new account.
    pub moved_at: Timestamp,
    /// First usage day that the new account pays for.
    pub first_day: UsageDay,
}

/// What a workspace's bills say about whether it can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bills {
    /// Whether one is not paid.
    pub unpaid: bool,
    /// Whether there is one of the day of the move or later.
    pub of_the_day: bool,
}

/// Which account pays for each workspace's day; those of workspaces that are not bound are left out.
///
/// No workspace of these can be moved until the transaction ends: a quantity must not be written to an account that the
/// day is being taken away from.
pub async fn payers_of(
    tx: &Tx,
    days: &BTreeSet<(&WorkspaceId, UsageDay)>,
) -> Result<HashMap<(WorkspaceId, UsageDay), BillingAccountId>, StoreError> {
    let backend = tx.get_database_backend();
    if !for_update(tx).is_empty() {
        let mut rows = Rows::new(&[("workspace_id", Kind::Text)]);
        let workspaces: BTreeSet<&WorkspaceId> = days.iter().map(|(workspace, _)| *workspace).collect();
        workspaces.into_iter().for_each(|id| rows.push([id.as_str().into()]));
        let rel = rows.relation(backend, "r", 1)?;
        let text = format!(
            "SELECT d.workspace_id FROM {} JOIN workspace_directory d ON d.workspace_id = r.workspace_id \
             ORDER BY d.workspace_id FOR SHARE OF d",
            rel.sql
        );
        read::all(tx, &text, rel.values).await?;
    }
    // A statement of its own: it sees what was committed while the locks were waited for.
    let mut rows = Rows::new(&[("workspace_id", Kind::Text), ("usage_day", Kind::Int)]);
    days.iter().for_each(|(id, day)| rows.push([id.as_str().into(), i64::from(day.number()).into()]));
    let rel = rows.relation(backend, "r", 1)?;
    let text = format!(
        "SELECT r.workspace_id, CAST(r.usage_day AS INTEGER) AS usage_day, COALESCE(\
            (SELECT m.from_account_id FROM workspace_move m WHERE m.workspace_id = r.workspace_id \
             AND m.first_day > r.usage_day ORDER BY m.first_day, m.moved_at LIMIT 1), \
            d.billing_account_id) AS billing_account_id \
         FROM {} JOIN workspace_directory d ON d.workspace_id = r.workspace_id",
        rel.sql
    );
    let found = read::all(tx, &text, rel.values).await?;
    let payer = |row| {
        let row = Row(row, TABLE);
        Ok(((row.parse("workspace_id")?, row.day("usage_day")?), row.parse("billing_account_id")?))
    };
    found.iter().map(payer).collect()
}

/// What the bills of a workspace at an account say. The account must be locked.
pub async fn bills(
    tx: &Tx,
    account: &BillingAccountId,
    workspace: &WorkspaceId,
    day: UsageDay,
) -> Result<Bills, StoreError> {
    let text = "SELECT CASE WHEN EXISTS (SELECT 1 FROM daily_bill b WHERE b.billing_account_id = ? \
                AND b.workspace_id = ? AND b.state <> 'paid') THEN 1 ELSE 0 END AS unpaid, \
                CASE WHEN EXISTS (SELECT 1 FROM daily_bill b WHERE b.billing_account_id = ? \
                AND b.workspace_id = ? AND b.usage_day >= ?) THEN 1 ELSE 0 END AS of_the_day";
    let (account, workspace) = (account.as_str(), workspace.as_str());
    let values = [account.into(), workspace.into(), account.into(), workspace.into(), day.number().into()];
    let row = read::one(tx, text, values).await?.ok_or(StoreError::Conflict)?;
    let row = Row(&row, "daily_bill");
    Ok(Bills { unpaid: row.small("unpaid")? == 1, of_the_day: row.small("of_the_day")? == 1 })
}

/// Makes the workspace the new account's: its row, its place in the directory, and what it used from the first day on.
///
/// Its row at the old account stays, because what comes late for earlier days is rated by it there. Both accounts and
/// the workspace must be locked, and nothing of the first day or later may be on a bill. Fails with a conflict when the
/// workspace is not the old account's.
pub async fn run(tx: &Tx, m: &Move) -> Result<(), StoreError> {
    let (workspace, from, to) = (m.workspace.as_str(), m.from.as_str(), m.to.as_str());
    let text = "UPDATE workspace_directory SET billing_account_id = ? WHERE workspace_id = ? \
                AND billing_account_id = ?";
    if tx.run(text, [to.into(), workspace.into(), from.into()]).await? != 1 {
        return Err(StoreError::Conflict);
    }
    let kept = "name, site, time_zone, price_zone, billing_region, default_methods, language, owner_email, \
                profile_revision, method_changed_month, revision";
    let taken: Vec<String> = kept.split(", ").map(|column| format!("{column} = excluded.{column}")).collect();
    // It may come back to an account that it has left before.
    let text = format!(
        "INSERT INTO workspace (billing_account_id, workspace_id, bound_at, standing, {kept}) \
         SELECT CAST(? AS TEXT), workspace_id, CAST(? AS BIGINT), 'active', {kept} FROM workspace \
         WHERE billing_account_id = ? AND workspace_id = ? \
         ON CONFLICT (billing_account_id, workspace_id) DO UPDATE SET bound_at = excluded.bound_at, \
         standing = excluded.standing, lock_at = NULL, lock_cause = NULL, lock_warned_days = NULL, left_at = NULL, {}",
        taken.join(", ")
    );
    tx.run(&text, [to.into(), micros(m.moved_at), from.into(), workspace.into()]).await?;
    let text = "UPDATE workspace SET left_at = ?, standing = 'active', lock_at = NULL, lock_cause = NULL, \
                lock_warned_days = NULL WHERE billing_account_id = ? AND workspace_id = ?";
    tx.run(text, [micros(m.moved_at), from.into(), workspace.into()]).await?;
    let text = "UPDATE usage_day SET billing_account_id = ? WHERE billing_account_id = ? AND workspace_id = ? \
                AND usage_day >= ?";
    tx.run(text, [to.into(), from.into(), workspace.into(), m.first_day.number().into()]).await?;
    let text = "INSERT INTO workspace_move (workspace_id, moved_at, first_day, from_account_id, to_account_id) \
                VALUES (?, ?, ?, ?, ?)";
    let values = [workspace.into(), micros(m.moved_at), m.first_day.number().into(), from.into(), to.into()];
    tx.run(text, values).await?;
    Ok(())
}
