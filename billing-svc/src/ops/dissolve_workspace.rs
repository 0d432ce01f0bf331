//! Ends a workspace for good: the binding ends with its last moment, what was used until then is still billed
//! (`domain.md` 3.7, 3.12, 5.2, 5.3).

use jiff::Timestamp;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::stand;
use crate::context::Context;
use crate::mail::Letter;
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding};

/// Ends the lasting period and the workspace's standing, tells the feed, and account and owner by mail. A workspace that
/// is dissolved already is returned as it is.
///
/// Bills, usage days and what is owed stay with the account; usage that is still on its way is taken and billed. Locks
/// the account, then the workspace. Fails with `WORKSPACE_NOT_BOUND`.
pub async fn run(tx: &Tx, ctx: &Context, id: &WorkspaceId, now: Timestamp) -> Result<Workspace, Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let found = workspace::find(tx, id).await?.ok_or_else(not_bound)?;
    let payer = account::lock(tx, &found.billing_account).await?.ok_or_else(not_bound)?;
    let locked = workspace::lock(tx, std::slice::from_ref(id)).await?.pop().ok_or_else(not_bound)?;
    let Some(standing) = locked.standing.dissolve() else { return Ok(locked) };
    if let Some(period) = binding::current(tx, id).await? {
        binding::end(tx, &period, period.next_start(now)).await?;
    }
    stand::change(tx, &[(locked.clone(), standing)], now).await?;
    let dissolved = Workspace { standing, revision: locked.revision + 1, ..locked };
    let letters = stand::mails(ctx, &payer, std::slice::from_ref(&dissolved), "dissolved", |r| {
        Letter::WorkspaceDissolved { workspaces: r.workspaces }
    });
    outbox::add(tx, &letters, now).await?;
    tracing::info!(workspace.id = %id, "dissolved {id}");
    Ok(dissolved)
}
