//! Notes that workspaces are to be settled through a cloud whose purchase is still to be made (`domain.md` 5.3, D11).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::change_settlement;
use crate::domain::binding::{CHANGE_WAITS, PendingChange, Period};
use crate::store::workspace::{self, Workspace};
use crate::store::{account, settlement_change};

/// Most workspaces that are changed together: what a customer picks on a page. Each is judged by itself.
pub const WORKSPACES_MAX: usize = 20;

/// What the customer wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Who pays.
    pub account: BillingAccountId,
    /// The workspaces, each once.
    pub workspaces: Vec<WorkspaceId>,
    /// The cloud.
    pub method: SettlementMethod,
}

/// A workspace as it is settled until the change is completed.
#[derive(Debug)]
pub struct Requested {
    /// The workspace.
    pub workspace: Workspace,
    /// The period that lasts now.
    pub period: Period,
    /// The change that waits.
    pub pending: PendingChange,
}

/// Notes the changes. Locks the account, then the workspaces.
///
/// Fails as a change itself would (R3, R1, R2, R4), so that nobody buys what could not be used. Changes nothing, and
/// does not use the month's change up.
pub async fn run(tx: &Tx, wish: &Wish, now: Timestamp) -> Result<Vec<Requested>, Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let payer = account::lock(tx, &wish.account).await?.ok_or_else(not_bound)?;
    let workspaces = workspace::lock(tx, &wish.workspaces).await?;
    if workspaces.len() != wish.workspaces.len() {
        return Err(not_bound());
    }
    let mut requested = Vec::new();
    for found in workspaces {
        let allowed = change_settlement::allowed(tx, &payer, Some(found), wish.method, now).await?;
        let pending = PendingChange {
            billing_account: payer.id.clone(),
            workspace: allowed.workspace.id.clone(),
            method: wish.method,
            requested_at: now,
            expires_at: now + CHANGE_WAITS,
        };
        requested.push(Requested { workspace: allowed.workspace, period: allowed.current, pending });
    }
    let pending: Vec<PendingChange> = requested.iter().map(|r| r.pending.clone()).collect();
    settlement_change::save(tx, &pending).await?;
    Ok(requested)
}
