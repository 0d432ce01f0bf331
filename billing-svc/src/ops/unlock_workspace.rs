//! Opens a locked workspace again: an operator's act, once nothing is owed any more (`domain.md` 5.2, D7).

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::WorkspaceStanding;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::binding::{Period, Settlement};
use crate::domain::standing::LOCK_COUNTDOWN;
use crate::domain::subscription::State;
use crate::mail::Letter;
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding, subscription};

/// Unlocks a workspace, empty as the lock has left it, and tells account and owner by mail.
///
/// `forced` unlocks although something is owed, and gives 14 days from now; whoever calls with it has made sure that two
/// people want it. Locks the account, then the workspace. Fails with `WORKSPACE_NOT_BOUND`, `WORKSPACE_NOT_LOCKED`,
/// `WORKSPACE_DISSOLVED` and, unless forced, `DEBT_OPEN`.
pub async fn unlock(
    tx: &Tx,
    ctx: &Context,
    id: &WorkspaceId,
    forced: bool,
    now: Timestamp,
) -> Result<(Workspace, Option<Period>), Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let found = workspace::find(tx, id).await?.ok_or_else(not_bound)?;
    let payer = account::lock(tx, &found.billing_account).await?.ok_or_else(not_bound)?;
    let locked = workspace::lock(tx, std::slice::from_ref(id)).await?.pop().ok_or_else(not_bound)?;
    let period = binding::current(tx, id).await?;
    let settled = match &period {
        Some(period) => is_settled(tx, &payer, period).await?,
        None => false,
    };
    let standing = locked.standing.unlock(settled, forced, now)?;
    stand::change(tx, &[(locked.clone(), standing)], now).await?;
    let unlocked = Workspace { standing, revision: locked.revision + 1, ..locked };
    let days = LOCK_COUNTDOWN.as_hours() / 24;
    let letters =
        stand::mails(
            ctx,
            &payer,
            std::slice::from_ref(&unlocked),
            "unlocked-by-operator",
            |r| match standing.state {
                WorkspaceStanding::LockCountdown => stand::lock_soon(ctx, r, days, now),
                _ => Letter::WorkspaceUnlocked { workspaces: r.workspaces },
            },
        );
    outbox::add(tx, &letters, now).await?;
    tracing::info!(workspace.id = %id, forced, "unlocked {id}");
    Ok((unlocked, period))
}

/// Whether whoever pays for a workspace owes nothing: the account for what the Billing Center settles, the cloud for
/// what goes through a purchase in use.
async fn is_settled(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    period: &Period,
) -> Result<bool, StoreError> {
    match &period.settlement {
        Settlement::BillingCenter => Ok(payer.arrears_since.is_none()),
        Settlement::Cloud { subscription: id, .. } => {
            Ok(subscription::find(db, id).await?.is_some_and(|s| s.state == State::Active))
        }
    }
}
