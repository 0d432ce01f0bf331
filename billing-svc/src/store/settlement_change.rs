//! Changes to a cloud that wait for their purchase (D11).

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, micros};
use super::usage::{Place, place, places_relation};
use crate::domain::binding::PendingChange;

const TABLE: &str = "settlement_change";
const COLUMNS: &str =
    "c.billing_account_id, c.workspace_id, c.settlement_method, c.requested_at, c.expires_at";

/// Notes changes; each takes the place of an earlier one of its workspace.
pub async fn save(tx: &Tx, changes: &[PendingChange]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("settlement_method", Kind::Text),
        ("requested_at", Kind::Int),
        ("expires_at", Kind::Int),
    ]);
    for c in changes {
        rows.push([
            c.billing_account.as_str().into(),
            c.workspace.as_str().into(),
            c.method.name().into(),
            micros(c.requested_at),
            micros(c.expires_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, workspace_id, settlement_method, requested_at, expires_at";
    let text = format!(
        "INSERT INTO settlement_change ({columns}) SELECT {columns} FROM {} WHERE true \
         ON CONFLICT (billing_account_id, workspace_id) DO UPDATE SET settlement_method = excluded.settlement_method, \
         requested_at = excluded.requested_at, expires_at = excluded.expires_at",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// The changes that workspaces wait for at an instant.
pub async fn find_all(
    db: &impl ConnectionTrait,
    places: &[Place],
    now: Timestamp,
) -> Result<HashMap<WorkspaceId, PendingChange>, StoreError> {
    let rel = places_relation(places).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN settlement_change c ON c.billing_account_id = r.billing_account_id \
         AND c.workspace_id = r.workspace_id WHERE c.expires_at > ?",
        rel.sql
    );
    let rows = read::all(db, &text, rel.values.into_iter().chain([micros(now)])).await?;
    rows.iter().map(|row| change(row).map(|c| (c.workspace.clone(), c))).collect()
}

/// Takes the changes of workspaces away, whether they have expired or not. Returns how many there were.
pub async fn remove(tx: &Tx, places: &[Place]) -> Result<u64, StoreError> {
    let rel = places_relation(places).relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "DELETE FROM settlement_change WHERE EXISTS (SELECT 1 FROM {} \
         WHERE r.billing_account_id = settlement_change.billing_account_id \
         AND r.workspace_id = settlement_change.workspace_id)",
        rel.sql
    );
    tx.run(&text, rel.values).await
}

/// Takes those changes of workspaces away that wait for a cloud at an instant. Returns how many there were.
pub async fn take(
    tx: &Tx,
    places: &[Place],
    method: SettlementMethod,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let rel = places_relation(places).relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "DELETE FROM settlement_change WHERE EXISTS (SELECT 1 FROM {} \
         WHERE r.billing_account_id = settlement_change.billing_account_id \
         AND r.workspace_id = settlement_change.workspace_id) AND settlement_method = ? AND expires_at > ?",
        rel.sql
    );
    tx.run(&text, rel.values.into_iter().chain([method.name().into(), micros(now)])).await
}

/// Whose changes have expired: a bounded number of accounts, in the order of their ids.
pub async fn expired_accounts(
    db: &impl ConnectionTrait,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<BillingAccountId>, StoreError> {
    let text = "SELECT DISTINCT billing_account_id FROM settlement_change WHERE expires_at <= ? \
                ORDER BY billing_account_id LIMIT ?";
    let rows = read::all(db, text, [micros(now), limit.into()]).await?;
    rows.iter().map(|row| Row(row, TABLE).parse("billing_account_id")).collect()
}

/// Reads and locks the expired changes of accounts, in the order of account and workspace. The accounts must be locked.
pub async fn lock_expired(
    tx: &Tx,
    accounts: &[BillingAccountId],
    now: Timestamp,
) -> Result<Vec<PendingChange>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text)]);
    accounts.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF c" };
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN settlement_change c ON c.billing_account_id = r.billing_account_id \
         WHERE c.expires_at <= ? ORDER BY c.billing_account_id, c.workspace_id{lock}",
        rel.sql
    );
    let rows = read::all(tx, &text, rel.values.into_iter().chain([micros(now)])).await?;
    rows.iter().map(change).collect()
}

fn change(row: &QueryResult) -> Result<PendingChange, StoreError> {
    let (billing_account, workspace) = place(row, TABLE)?;
    let row = Row(row, TABLE);
    Ok(PendingChange {
        billing_account,
        workspace,
        method: row.parse("settlement_method")?,
        requested_at: row.time("requested_at")?,
        expires_at: row.time("expires_at")?,
    })
}
