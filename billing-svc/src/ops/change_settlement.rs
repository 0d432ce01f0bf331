//! Changes how a workspace is settled (`domain.md` 3.8, rules R3, R1, R2, R4).

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::{SettlementMethod, WorkspaceStanding};
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::{self, Outgoing};

use super::attach_purchase::{self, Claim};
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::binding::{Cause, Facts, Period, Settlement, may_change};
use crate::domain::standing::{LockCause, Standing};
use crate::domain::subscription::Subscription;
use crate::mail::{self, Letter};
use crate::store::workspace::{self, Workspace};
use crate::store::{account, binding, package, settlement_change, subscription};

/// What the customer wants.
pub struct Wish {
    /// Who pays.
    pub account: BillingAccountId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The method.
    pub method: SettlementMethod,
    /// The purchase, for a cloud.
    pub claim: Option<Claim>,
}

/// How it is settled now.
#[derive(Debug)]
pub struct Changed {
    /// The workspace.
    pub workspace: Workspace,
    /// The period that lasts now.
    pub period: Period,
    /// The purchase that became known only by this.
    pub newly_known: Option<Subscription>,
}

/// What the rules say of a wish.
pub(super) struct Allowed {
    /// The workspace.
    pub(super) workspace: Workspace,
    /// The period that lasts now.
    pub(super) current: Period,
    month: i32,
    /// The Billing Center is confirmed for a workspace that fell back to it with a countdown.
    confirms: bool,
}

/// Checks the rules without changing anything, so that nobody is asked for a purchase that could not be used.
///
/// Fails with `WORKSPACE_NOT_BOUND`, `WORKSPACE_LOCKED`, `CLOUD_SUBSCRIPTION_LIVE`, `METHOD_CHANGED_THIS_MONTH`,
/// `METHOD_NOT_ALLOWED_HERE`, `PACKAGE_RUNNING` or `METHOD_UNCHANGED`; returns who pays.
pub async fn check(
    ctx: &Context,
    account: &BillingAccountId,
    workspace: &WorkspaceId,
    method: SettlementMethod,
    now: Timestamp,
) -> Result<BillingAccount, Fault> {
    let payer = account::find(&ctx.db.read, account).await?.ok_or(Fault::new(Reason::WorkspaceNotBound))?;
    let found = workspace::find(&ctx.db.read, workspace).await?;
    allowed(&ctx.db.read, &payer, found, method, now).await?;
    Ok(payer)
}

/// Changes the method. Locks the account, then the purchase, then the workspace.
///
/// Fails as `BindingService.ChangeSettlementMethod` lists; the caller rolls back then. The month's change is used up on
/// success only (D11).
pub async fn run(tx: &Tx, ctx: &Context, wish: &Wish, now: Timestamp) -> Result<Changed, Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let payer = account::lock(tx, &wish.account).await?.ok_or_else(not_bound)?;
    let found = workspace::find(tx, &wish.workspace).await?;
    allowed(tx, &payer, found, wish.method, now).await?;
    let attached = match (wish.method, &wish.claim) {
        (SettlementMethod::Cloud(vendor), Some(claim)) => {
            Some(attach_purchase::run(tx, &payer, vendor, claim, now).await?)
        }
        (SettlementMethod::BillingCenter, None) => None,
        (SettlementMethod::Cloud(_), None) | (SettlementMethod::BillingCenter, Some(_)) => {
            return Err(Fault::field(
                "purchase",
                "is required for a cloud, and absent for the Billing Center",
            ));
        }
    };
    // Periods change under the account's lock only, but the countdown may have run out meanwhile.
    let locked = workspace::lock(tx, std::slice::from_ref(&wish.workspace)).await?.pop();
    let Allowed { workspace, current, month, confirms } =
        allowed(tx, &payer, locked, wish.method, now).await?;
    let standing = next_standing(&workspace, &payer, wish.method, now);
    let mut period = current.clone();
    if !confirms {
        let settlement = attached.as_ref().map_or(Settlement::BillingCenter, |a| a.settlement.clone());
        period = Period {
            from: current.next_start(now),
            to: None,
            settlement,
            cause: Cause::Changed,
            ..current.clone()
        };
        binding::start(tx, std::slice::from_ref(&period)).await?;
        workspace::set_method_changed(tx, &workspace, month).await?;
    }
    stand::change(tx, &[(workspace.clone(), standing)], now).await?;
    // Whatever waited for a purchase is done with: completed by this, or no longer what is wanted.
    settlement_change::remove(tx, &[(payer.id.clone(), workspace.id.clone())]).await?;
    outbox::add(tx, &mails(ctx, &payer, &workspace, &current, wish.method, standing), now).await?;
    let newly_known = attached.filter(|a| a.newly_known).map(|a| a.subscription);
    Ok(Changed { workspace: Workspace { standing, ..workspace }, period, newly_known })
}

/// Judges a wish by the rules. Fails as [`check`] does.
pub(super) async fn allowed(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    workspace: Option<Workspace>,
    method: SettlementMethod,
    now: Timestamp,
) -> Result<Allowed, Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let workspace = workspace.filter(|w| w.billing_account == payer.id).ok_or_else(not_bound)?;
    if workspace.standing.state == WorkspaceStanding::Dissolved {
        return Err(Fault::new(Reason::WorkspaceDissolved));
    }
    let current = binding::current(db, &workspace.id).await?.ok_or_else(not_bound)?;
    let live = match current.settlement.subscription() {
        Some(id) => subscription::find(db, id).await?.is_some_and(|s| s.state.is_live()),
        None => false,
    };
    let zone =
        zone(&workspace.time_zone).ok_or(StoreError::Corrupt { table: "workspace", column: "time_zone" })?;
    let today = UsageDay::of(now, &zone);
    let month = today.month();
    let confirms = method == SettlementMethod::BillingCenter
        && current.settlement == Settlement::BillingCenter
        && workspace.standing.state == WorkspaceStanding::LockCountdown
        && workspace.standing.cause == Some(LockCause::Subscription);
    if !confirms {
        let facts = Facts {
            site_methods: &workspace.default_methods,
            any_settlement_allowed: payer.any_settlement_allowed,
            standing: workspace.standing.state,
            // A method acts on the usage day that is open (D8), so a package's last day counts as well.
            has_package: package::is_held(db, &payer.id, &workspace.id, today).await?,
        };
        may_change(&current.settlement, live, method, &facts, workspace.method_changed_month, month)?;
    }
    Ok(Allowed { workspace, current, month, confirms })
}

/// The confirmation to the account, unless nothing but a fall-back was confirmed; and, when that ended a countdown, the
/// good news to account and owner.
fn mails(
    ctx: &Context,
    payer: &BillingAccount,
    workspace: &Workspace,
    current: &Period,
    method: SettlementMethod,
    standing: Standing,
) -> Vec<Outgoing> {
    let key = format!("changed:{}:{}", workspace.id, workspace.revision + 1);
    let mut mails = Vec::new();
    if current.settlement.method() != method {
        let letter = Letter::SettlementChanged {
            workspace: workspace.name.clone(),
            old_method: current.settlement.method(),
            method,
        };
        let about = payer.id.as_str();
        mails.push(mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, about, &key));
    }
    if workspace.standing.state == WorkspaceStanding::LockCountdown && standing == Standing::ACTIVE {
        mails.extend(stand::mails(ctx, payer, std::slice::from_ref(workspace), "unlocked-by-change", |r| {
            Letter::WorkspaceUnlocked { workspaces: r.workspaces }
        }));
    }
    mails
}

/// A new method ends the countdown that the old one's end had started. Arrears count for workspaces that the Billing
/// Center settles, and only for those (`domain.md` 5.6).
fn next_standing(
    workspace: &Workspace,
    payer: &BillingAccount,
    method: SettlementMethod,
    now: Timestamp,
) -> Standing {
    let standing = workspace.standing;
    let standing = standing.settle(LockCause::Subscription).unwrap_or(standing);
    if method != SettlementMethod::BillingCenter {
        return standing.settle(LockCause::Arrears).unwrap_or(standing);
    }
    let counting = payer.arrears_since.and_then(|since| standing.join_arrears(since, now));
    counting.unwrap_or(standing)
}
