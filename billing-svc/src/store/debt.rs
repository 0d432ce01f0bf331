//! What hangs on a debt: bills that are owed, and workspaces that are locked or about to be.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::StoreError;

use super::read::{self, Row};
use super::workspace::{self, Workspace};

const HELD: &str = "w.billing_account_id = ? AND w.standing IN ('lock_countdown', 'locked')";

/// An account's workspaces that are locked or about to be, and how each is settled: the earliest deadline first, then
/// those that are locked.
pub async fn held_workspaces(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    limit: i64,
) -> Result<Vec<(Workspace, SettlementMethod)>, StoreError> {
    let text = format!(
        "SELECT w.workspace_id, b.settlement_method FROM workspace w \
         JOIN workspace_binding b ON b.billing_account_id = w.billing_account_id \
         AND b.workspace_id = w.workspace_id AND b.effective_to IS NULL \
         WHERE {HELD} ORDER BY w.standing, w.lock_at, w.workspace_id LIMIT ?"
    );
    let mut places: Vec<(WorkspaceId, SettlementMethod)> = Vec::new();
    for row in read::all(db, &text, [account.as_str().into(), limit.into()]).await? {
        let row = Row(&row, "workspace");
        places.push((row.parse("workspace_id")?, row.parse("settlement_method")?));
    }
    let ids: Vec<WorkspaceId> = places.iter().map(|(id, _)| id.clone()).collect();
    let found = workspace::find_all(db, &ids).await?;
    let of = |id: &WorkspaceId| found.iter().find(|w| w.id == *id).cloned();
    Ok(places.into_iter().filter_map(|(id, method)| Some((of(&id)?, method))).collect())
}

/// How many of an account's workspaces are locked or about to be.
pub async fn count_held(db: &impl ConnectionTrait, account: &BillingAccountId) -> Result<i64, StoreError> {
    count(db, &format!("SELECT COUNT(*) AS count FROM workspace w WHERE {HELD}"), account).await
}

/// How many of an account's bills are owed.
pub async fn count_owed_bills(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
) -> Result<i64, StoreError> {
    let text = "SELECT COUNT(*) AS count FROM daily_bill WHERE billing_account_id = ? \
                AND state IN ('in_arrears', 'overdue')";
    count(db, text, account).await
}

/// Accounts in arrears that hold cash or cards which could pay, in the order of ids.
///
/// `day` is compared with lots' last days, `now` with when they begin to pay.
pub async fn payable(
    db: &impl ConnectionTrait,
    day: UsageDay,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<BillingAccountId>, StoreError> {
    let text = "SELECT a.id FROM billing_account a WHERE a.arrears_since IS NOT NULL AND EXISTS (\
                SELECT 1 FROM lot l WHERE l.billing_account_id = a.id AND l.is_open \
                AND l.kind IN ('prepaid_card', 'cash') AND l.valid_from <= ? \
                AND (l.last_day IS NULL OR l.last_day >= ?)) ORDER BY a.id LIMIT ?";
    let values = [read::micros(now), day.number().into(), limit.into()];
    let rows = read::all(db, text, values).await?;
    rows.iter().map(|row| Row(row, "billing_account").parse("id")).collect()
}

async fn count(db: &impl ConnectionTrait, text: &str, account: &BillingAccountId) -> Result<i64, StoreError> {
    match read::one(db, text, [account.as_str().into()]).await? {
        Some(row) => Row(&row, "workspace").int("count"),
        None => Ok(0),
    }
}
