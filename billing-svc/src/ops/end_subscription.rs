//! The end of a purchase: final usage, detach, fall back, lock by policy, mail (`domain.md` 3.11, D1, D2; I-20, I-22).
//!
//! All in the transaction that makes the purchase ended, so that there is never a half of it.

use jiff::Timestamp;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::settlement::WorkspaceStanding;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::{issue_bills, notice, stand};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::binding::{Cause, EndPolicy, Period, Settlement};
use crate::domain::standing::{LockCause, Standing};
use crate::domain::subscription::{State, Subscription};
use crate::mail::{self, Letter};
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding, subscription};

/// Detaches an ending purchase from its workspaces. `ending` is the purchase as it was before; its account and its row
/// must be locked. A purchase without workspaces needs nothing, so running it again changes nothing.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    ending: &Subscription,
    account: &BillingAccount,
    now: Timestamp,
) -> Result<(), Fault> {
    let periods = binding::current_through(tx, &ending.id).await?;
    if periods.is_empty() {
        return Ok(());
    }
    let heir = heir(tx, ending).await?;
    let ids: Vec<WorkspaceId> = periods.iter().map(|period| period.workspace.clone()).collect();
    let workspaces = workspace::lock(tx, &ids).await?;
    issue_bills::issue_final(tx, ctx, ending, &workspaces, now).await?;
    match heir {
        Some(heir) => hand_over(tx, &heir, &periods, workspaces, now).await,
        None => fall_back(tx, ctx, ending, account, &periods, workspaces, now).await,
    }
}

/// Another live purchase of the same product by the same cloud account, one in use before a frozen one.
async fn heir(tx: &Tx, ending: &Subscription) -> Result<Option<Subscription>, StoreError> {
    let Some(owner) = &ending.owner else { return Ok(None) };
    let live = subscription::lock_live(tx, &owner.cloud_account).await?;
    let mut others = live.into_iter().filter(|s| s.id != ending.id && s.product_code == ending.product_code);
    let first = others.next();
    if first.as_ref().is_none_or(|s| s.state == State::Active) {
        return Ok(first);
    }
    Ok(others.find(|s| s.state == State::Active).or(first))
}

/// The workspaces go on through the other purchase; nobody has to be told.
async fn hand_over(
    tx: &Tx,
    heir: &Subscription,
    periods: &[Period],
    workspaces: Vec<Workspace>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(owner) = &heir.owner else { return Err(StoreError::Conflict.into()) };
    let settlement = Settlement::Cloud {
        vendor: heir.vendor,
        cloud_account: owner.cloud_account.clone(),
        subscription: heir.id.clone(),
    };
    binding::start(tx, &following(periods, &settlement, Cause::SubscriptionReplaced, now)).await?;
    let standing = |w: &Workspace| match heir.state {
        State::Suspended => w.standing.count_down(LockCause::Subscription, now),
        _ => end_countdown(w.standing),
    };
    let with_standing = |w: Workspace| {
        let standing = standing(&w).unwrap_or(w.standing);
        (w, standing)
    };
    let changes: Vec<_> = workspaces.into_iter().map(with_standing).collect();
    Ok(stand::change(tx, &changes, now).await?)
}

async fn fall_back(
    tx: &Tx,
    ctx: &Context,
    ending: &Subscription,
    account: &BillingAccount,
    periods: &[Period],
    workspaces: Vec<Workspace>,
    now: Timestamp,
) -> Result<(), Fault> {
    binding::start(tx, &following(periods, &Settlement::BillingCenter, Cause::FallBack, now)).await?;
    // Final bills may have brought the account into arrears a moment ago.
    let account = account::find(tx, &account.id).await?.ok_or(StoreError::Conflict)?;
    let policy = ctx.vendors.get(&ending.vendor).map_or(EndPolicy::FallBack, |rules| rules.end_policy);
    let fallen: Vec<Workspace> = workspaces
        .iter()
        .map(|w| Workspace {
            standing: after_end(w.standing, policy, account.arrears_since, now),
            ..w.clone()
        })
        .collect();
    let changes: Vec<_> = workspaces.into_iter().zip(fallen.iter().map(|w| w.standing)).collect();
    stand::change(tx, &changes, now).await?;
    let key = format!("ended:{}", ending.id);
    let mails: Vec<_> = notice::recipients(&account, &fallen)
        .into_iter()
        .map(|r| {
            let letter = Letter::SubscriptionEnded {
                vendor: ending.vendor,
                cloud_account: ending.vendor_account_id.clone().unwrap_or_default(),
                workspaces: r.workspaces,
                method: Settlement::BillingCenter.method(),
                deadline: r.deadline,
            };
            mail::outgoing(&ctx.letterhead, &letter, &r.to, r.language, account.id.as_str(), &key)
        })
        .collect();
    outbox::add(tx, &mails, now).await?;
    let count = fallen.len();
    tracing::info!(subscription.id = %ending.id, workspaces = count, "{count} workspaces fell back from {}", ending.id);
    Ok(())
}

fn following(periods: &[Period], settlement: &Settlement, cause: Cause, now: Timestamp) -> Vec<Period> {
    let next = |period: &Period| Period {
        billing_account: period.billing_account.clone(),
        workspace: period.workspace.clone(),
        from: period.next_start(now),
        to: None,
        settlement: settlement.clone(),
        cause,
    };
    periods.iter().map(next).collect()
}

/// A countdown that a suspension had started ends; a lock stays, because the data is gone (D7).
fn end_countdown(standing: Standing) -> Option<Standing> {
    let counting = standing.state == WorkspaceStanding::LockCountdown;
    counting.then(|| standing.settle(LockCause::Subscription)).flatten()
}

/// What the end means for a workspace's standing: by the vendor's policy, and by the arrears that count for it now.
fn after_end(
    standing: Standing,
    policy: EndPolicy,
    arrears_since: Option<Timestamp>,
    now: Timestamp,
) -> Standing {
    let standing = match policy {
        EndPolicy::Lock => standing.count_down(LockCause::Subscription, now).unwrap_or(standing),
        EndPolicy::FallBack => end_countdown(standing).unwrap_or(standing),
    };
    let counting = arrears_since.and_then(|since| standing.join_arrears(since, now));
    counting.unwrap_or(standing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::standing::LOCK_COUNTDOWN;

    #[test]
    fn the_policy_and_the_arrears_decide_the_standing() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let since = now - LOCK_COUNTDOWN / 2;
        let active = Standing::ACTIVE;
        let frozen = active.count_down(LockCause::Subscription, since).unwrap();
        assert_eq!(after_end(active, EndPolicy::FallBack, None, now), active);
        assert_eq!(after_end(frozen, EndPolicy::FallBack, None, now), active);
        assert_eq!(after_end(active, EndPolicy::Lock, None, now).lock_at, Some(now + LOCK_COUNTDOWN));
        assert_eq!(after_end(frozen, EndPolicy::Lock, None, now), frozen);
        let owing = after_end(active, EndPolicy::FallBack, Some(since), now);
        assert_eq!((owing.cause, owing.lock_at), (Some(LockCause::Arrears), Some(since + LOCK_COUNTDOWN)));
        let locked = frozen.lock_if_due(now + LOCK_COUNTDOWN).unwrap();
        assert_eq!(after_end(locked, EndPolicy::FallBack, None, now), locked);
    }
}
