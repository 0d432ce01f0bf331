//! Moves a workspace to another billing account (`domain.md` 3.9, D8, D10; I-12, I-18).
//!
//! Who has the workspace when a usage day ends pays for that day. So the day of the move goes to the new account whole,
//! with what was delivered of it before; earlier days stay where they are, and what is still delivered for them finds
//! its way there (`store::workspace_move::payers_of`) and becomes an adjustment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::language::Language;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::Outgoing;
use tandem_service_kit::{outbox, verification};

use super::send_move_codes::{FROM, Parties, TO, parties};
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::binding::{Cause, Period};
use crate::domain::moving::{Facts, may_move, standing_after};
use crate::mail::{self, Letter};
use crate::store::workspace::{self, Workspace};
use crate::store::workspace_move::{self, Move};
use crate::store::{account, alert, binding, package, settlement_change, site_day};

/// What is to be moved whereto, with the codes of both sides.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The username of the account that is to pay.
    pub to_username: String,
    /// The code mailed to the account that pays now.
    pub from_code: String,
    /// The code mailed to the account that is to pay.
    pub to_code: String,
}

/// The workspace at its new account.
#[derive(Debug)]
pub struct Moved {
    /// The workspace.
    pub workspace: Workspace,
    /// The period that lasts now.
    pub period: Period,
    /// The first day that the new account pays for.
    pub first_day: UsageDay,
}

/// Checks both codes, and counts wrong ones whatever happens afterwards.
///
/// Fails with `CODE_INVALID`, also when there is no such workspace or account.
pub async fn prove(ctx: &Context, wish: &Wish, now: Timestamp) -> Result<Parties, Fault> {
    let found = parties(&ctx.db.read, &wish.workspace, &wish.to_username).await?;
    let found = found.ok_or(Fault::new(Reason::CodeInvalid))?;
    let [from, to] = found.addresses();
    verification::check(&ctx.db, FROM, &from, &wish.from_code, now).await?;
    verification::check(&ctx.db, TO, &to, &wish.to_code, now).await?;
    Ok(found)
}

/// Moves the workspace. Locks both accounts, then the workspace. `proved` is what [`prove`] found.
///
/// Fails as `BindingService.MoveWorkspace` lists; the caller rolls back then.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    wish: &Wish,
    proved: &Parties,
    now: Timestamp,
) -> Result<Moved, Fault> {
    let accounts = account::lock_all(tx, &[proved.from.id.clone(), proved.to.id.clone()]).await?;
    let by_id = |id: &BillingAccountId| accounts.iter().find(|a| a.id == *id).ok_or(StoreError::Conflict);
    let (from, to) = (by_id(&proved.from.id)?, by_id(&proved.to.id)?);
    let [from_address, to_address] =
        Parties { from: from.clone(), to: to.clone(), ..proved.clone() }.addresses();
    verification::redeem(tx, FROM, &from_address, &wish.from_code, now).await?;
    verification::redeem(tx, TO, &to_address, &wish.to_code, now).await?;
    let locked = workspace::lock(tx, std::slice::from_ref(&wish.workspace)).await?.pop();
    // Another move may have won while the locks were waited for.
    let workspace = locked.filter(|w| w.billing_account == from.id).ok_or(StoreError::Conflict)?;
    let current = binding::current(tx, &workspace.id).await?.ok_or(StoreError::Conflict)?;
    let zone =
        zone(&workspace.time_zone).ok_or(StoreError::Corrupt { table: "workspace", column: "time_zone" })?;
    let moved_at = current.next_start(now);
    let first_day = UsageDay::of(moved_at, &zone);
    if site_day::find(tx, &workspace.site, first_day).await?.is_some() {
        // The day has ended since the call came in; repeated, it is a move on the next day.
        return Err(StoreError::Conflict.into());
    }
    let bills = workspace_move::bills(tx, &from.id, &workspace.id, first_day).await?;
    let past_is_billed = workspace.bound_at >= first_day.start(&zone)
        || site_day::find(tx, &workspace.site, first_day.previous())
            .await?
            .is_some_and(|day| day.billed_at.is_some());
    may_move(&Facts {
        from,
        to,
        settlement: &current.settlement,
        standing: workspace.standing.state,
        has_package: package::is_held(tx, &from.id, &workspace.id, first_day).await?,
        unpaid: bills.unpaid,
        past_is_billed,
        today_is_billed: bills.of_the_day,
    })?;
    let (old, new) = (from.id.clone(), to.id.clone());
    let done = Move { workspace: workspace.id.clone(), from: old, to: new, moved_at, first_day };
    let period = Period {
        billing_account: to.id.clone(),
        from: moved_at,
        to: None,
        cause: Cause::Moved,
        ..current.clone()
    };
    let left = (from.id.clone(), workspace.id.clone());
    settlement_change::remove(tx, std::slice::from_ref(&left)).await?;
    // What the old account watches is what it pays; the new one says for itself what it wants to hear of.
    alert::delete_of(tx, &left).await?;
    binding::hand_over(tx, &from.id, &period).await?;
    workspace_move::run(tx, &done).await?;
    let standing = standing_after(workspace.standing);
    let arrived = Workspace { billing_account: to.id.clone(), bound_at: moved_at, ..workspace };
    stand::change(tx, &[(arrived.clone(), standing)], now).await?;
    outbox::add(tx, &mails(ctx, from, to, &arrived, &done), now).await?;
    let id = &arrived.id;
    tracing::info!(workspace.id = %id, from = %from.id, to = %to.id, first_day = %first_day, "moved {id}");
    Ok(Moved { workspace: Workspace { standing, ..arrived }, period, first_day })
}

/// One mail to each of both accounts and the owner; who is more than one of them gets one.
fn mails(
    ctx: &Context,
    from: &BillingAccount,
    to: &BillingAccount,
    workspace: &Workspace,
    done: &Move,
) -> Vec<Outgoing> {
    let mut readers: BTreeMap<String, (&str, Language, &str)> = BTreeMap::new();
    for (email, language, about) in [
        (&from.email, from.language, from.id.as_str()),
        (&to.email, to.language, to.id.as_str()),
        (&workspace.owner_email, workspace.language, to.id.as_str()),
    ] {
        readers.entry(account::key(email)).or_insert((email, language, about));
    }
    let letter = Letter::WorkspaceMoved {
        workspace: workspace.name.clone(),
        from: from.username.clone(),
        to: to.username.clone(),
        first_day: done.first_day.to_string(),
    };
    let key = format!("moved:{}:{}", workspace.id, done.moved_at.as_microsecond());
    let mail = |(email, language, about): (&str, Language, &str)| {
        mail::outgoing(&ctx.letterhead, &letter, email, language, about, &key)
    };
    readers.into_values().map(mail).collect()
}
