//! A purchase was frozen, or goes on: its workspaces' countdown starts or ends (`domain.md` 5.4).

use jiff::Timestamp;
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::{self, Outgoing};

use super::notice::{self, Recipient};
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::standing::{LockCause, Standing};
use crate::domain::subscription::Subscription;
use crate::mail::{self, Letter};
use crate::store::binding;
use crate::store::workspace::{self, Workspace};

/// Starts the countdown of the workspaces that settle through a frozen purchase, and tells by mail. The account and the
/// purchase must be locked.
pub async fn suspend(
    tx: &Tx,
    ctx: &Context,
    frozen: &Subscription,
    account: &BillingAccount,
    now: Timestamp,
) -> Result<(), Fault> {
    let changed =
        change(tx, frozen, now, |standing| standing.count_down(LockCause::Subscription, now)).await?;
    let letter = |r: &Recipient| Letter::SubscriptionSuspended {
        vendor: frozen.vendor,
        cloud_account: frozen.vendor_account_id.clone().unwrap_or_default(),
        workspaces: r.workspaces.clone(),
        deadline: r.deadline.clone(),
    };
    Ok(outbox::add(tx, &mails(ctx, "suspended", frozen, account, &changed, letter), now).await?)
}

/// Ends the countdown of the workspaces that settle through a purchase that goes on, and tells by mail. The account and
/// the purchase must be locked.
pub async fn reinstate(
    tx: &Tx,
    ctx: &Context,
    going_on: &Subscription,
    account: &BillingAccount,
    now: Timestamp,
) -> Result<(), Fault> {
    let changed = change(tx, going_on, now, |standing| standing.settle(LockCause::Subscription)).await?;
    let letter = |r: &Recipient| Letter::WorkspaceUnlocked { workspaces: r.workspaces.clone() };
    Ok(outbox::add(tx, &mails(ctx, "reinstated", going_on, account, &changed, letter), now).await?)
}

/// Changes the standings a rule changes and returns those workspaces as they are now.
async fn change(
    tx: &Tx,
    through: &Subscription,
    now: Timestamp,
    rule: impl Fn(Standing) -> Option<Standing>,
) -> Result<Vec<Workspace>, Fault> {
    let periods = binding::current_through(tx, &through.id).await?;
    if periods.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<WorkspaceId> = periods.into_iter().map(|period| period.workspace).collect();
    let locked = workspace::lock(tx, &ids).await?;
    let changes: Vec<_> =
        locked.into_iter().filter_map(|w| rule(w.standing).map(|standing| (w, standing))).collect();
    stand::change(tx, &changes, now).await?;
    Ok(changes.into_iter().map(|(w, standing)| Workspace { standing, ..w }).collect())
}

fn mails(
    ctx: &Context,
    event: &str,
    subscription: &Subscription,
    account: &BillingAccount,
    changed: &[Workspace],
    letter: impl Fn(&Recipient) -> Letter,
) -> Vec<Outgoing> {
    if changed.is_empty() {
        return Vec::new();
    }
    let key = format!("{event}:{}:{}", subscription.id, subscription.revision);
    let recipients = notice::recipients(account, changed);
    let outgoing = |r: &Recipient| {
        mail::outgoing(&ctx.letterhead, &letter(r), &r.to, r.language, account.id.as_str(), &key)
    };
    recipients.iter().map(outgoing).collect()
}
