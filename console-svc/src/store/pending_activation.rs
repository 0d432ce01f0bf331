//! Activations and upgrades whose outcome at Billing is open.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::{StoreError, Tx, get, statement};

use super::id;

const TABLE: &str = "pending_activation";
const COLUMNS: &str = "workspace_id, principal, method, request_id, request, peer_request, attempts";

/// One of them.
#[derive(Debug, Clone)]
pub struct PendingActivation {
    /// The workspace that is made or upgraded.
    pub workspace_id: WorkspaceId,
    /// Who asked.
    pub principal: String,
    /// The gRPC path that was called.
    pub method: String,
    /// The caller's request id.
    pub request_id: String,
    /// The encoded request, as it came.
    pub request: Vec<u8>,
    /// The encoded request to Billing: the same bytes in every try.
    pub peer_request: Vec<u8>,
    /// Tries so far.
    pub attempts: i32,
}

/// Records a new one; `false` means that this request, or another one for the same workspace, is pending already.
pub async fn insert(tx: &Tx, pending: &PendingActivation, now: Timestamp) -> Result<bool, StoreError> {
    let text = "INSERT INTO pending_activation (workspace_id, principal, method, request_id, request, peer_request, \
                attempts, next_attempt_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let values = [
        pending.workspace_id.as_str().into(),
        pending.principal.as_str().into(),
        pending.method.as_str().into(),
        pending.request_id.as_str().into(),
        pending.request.clone().into(),
        pending.peer_request.clone().into(),
        pending.attempts.into(),
        now.as_microsecond().into(),
        now.as_microsecond().into(),
    ];
    Ok(tx.run(text, values).await? == 1)
}

/// The pending activation of a request.
pub async fn find(
    db: &impl ConnectionTrait,
    principal: &str,
    method: &str,
    request_id: &str,
) -> Result<Option<PendingActivation>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM {TABLE} WHERE principal = ? AND method = ? AND request_id = ?");
    let values = [principal.into(), method.into(), request_id.into()];
    let row = db.query_one_raw(statement(db.get_database_backend(), &text, values)).await?;
    row.as_ref().map(from_row).transpose()
}

/// Whether a workspace is being made or upgraded.
pub async fn any_of_workspace(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
) -> Result<bool, StoreError> {
    let text = "SELECT workspace_id FROM pending_activation WHERE workspace_id = ?";
    let row = statement(db.get_database_backend(), text, [workspace.as_str().into()]);
    Ok(db.query_one_raw(row).await?.is_some())
}

/// Those whose next try is due, oldest first.
pub async fn due(
    db: &impl ConnectionTrait,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<PendingActivation>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM {TABLE} WHERE next_attempt_at <= ? ORDER BY next_attempt_at LIMIT {limit}"
    );
    let rows =
        db.query_all_raw(statement(db.get_database_backend(), &text, [now.as_microsecond().into()])).await?;
    rows.iter().map(from_row).collect()
}

/// Says when to try again and why the last try settled nothing; `false` means that another worker was first.
///
/// The count of tries guards it: of two that start a try at the same time one goes on.
pub async fn postpone(
    db: &impl ConnectionTrait,
    pending: &PendingActivation,
    until: Timestamp,
    error: Option<&str>,
) -> Result<bool, StoreError> {
    let text = "UPDATE pending_activation SET attempts = attempts + 1, next_attempt_at = ?, last_error = ? \
                WHERE workspace_id = ? AND attempts = ?";
    let values = [
        until.as_microsecond().into(),
        Value::from(error.map(str::to_owned)),
        pending.workspace_id.as_str().into(),
        pending.attempts.into(),
    ];
    let done = db.execute_raw(statement(db.get_database_backend(), text, values)).await?;
    Ok(done.rows_affected() == 1)
}

/// Removes one that is settled; `false` means that somebody else settled it.
///
/// The request is named as well: the workspace may have another pending upgrade by now.
pub async fn delete(tx: &Tx, pending: &PendingActivation) -> Result<bool, StoreError> {
    let text = "DELETE FROM pending_activation \
                WHERE workspace_id = ? AND principal = ? AND method = ? AND request_id = ?";
    let values = [
        pending.workspace_id.as_str().into(),
        pending.principal.as_str().into(),
        pending.method.as_str().into(),
        pending.request_id.as_str().into(),
    ];
    Ok(tx.run(text, values).await? == 1)
}

fn from_row(row: &QueryResult) -> Result<PendingActivation, StoreError> {
    let workspace_id: String = get(row, TABLE, "workspace_id")?;
    Ok(PendingActivation {
        workspace_id: id(&workspace_id, TABLE, "workspace_id")?,
        principal: get(row, TABLE, "principal")?,
        method: get(row, TABLE, "method")?,
        request_id: get(row, TABLE, "request_id")?,
        request: get(row, TABLE, "request")?,
        peer_request: get(row, TABLE, "peer_request")?,
        attempts: get(row, TABLE, "attempts")?,
    })
}
