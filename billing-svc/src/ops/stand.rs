//! Changes whether workspaces and accounts may go on, and tells those who follow.

use jiff::{SignedDuration, Timestamp};
use sea_orm::ConnectionTrait as _;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::settlement::WorkspaceStanding;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::{self, Outgoing};

use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::event::FeedEvent;
use crate::domain::standing::{self, LOCK_COUNTDOWN, LockCause, Standing};
use crate::mail::{self, Letter};
use crate::ops::notice;
pub use crate::ops::unlock_workspace::unlock;
use crate::store::account;
use crate::store::bill;
use crate::store::feed::{self, NewEvent};
use crate::store::read::{self, Row};
use crate::store::workspace::{self, Workspace};

/// Gives workspaces new standings and tells the feed. The workspaces must be locked.
pub async fn change(tx: &Tx, changes: &[(Workspace, Standing)], now: Timestamp) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let changed: Vec<Workspace> = changes
        .iter()
        .map(|(w, standing)| Workspace { standing: *standing, revision: w.revision + 1, ..w.clone() })
        .collect();
    workspace::save_standings(tx, &changed).await?;
    tell(tx, &changed, now).await
}

/// Tells the feed that workspaces are settled in another way now.
pub async fn announce(tx: &Tx, workspaces: &[WorkspaceId], now: Timestamp) -> Result<(), StoreError> {
    if workspaces.is_empty() {
        return Ok(());
    }
    let locked = workspace::lock(tx, workspaces).await?;
    let changes: Vec<_> = locked
        .into_iter()
        .map(|w| {
            let standing = w.standing;
            (w, standing)
        })
        .collect();
    change(tx, &changes, now).await
}

async fn tell(tx: &Tx, workspaces: &[Workspace], now: Timestamp) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("workspace_id", Kind::Text)]);
    workspaces.iter().for_each(|w| rows.push([w.billing_account.as_str().into(), w.id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT b.workspace_id, b.settlement_method FROM {} JOIN workspace_binding b \
         ON b.billing_account_id = r.billing_account_id AND b.workspace_id = r.workspace_id \
         WHERE b.effective_to IS NULL",
        rel.sql
    );
    let mut methods = std::collections::HashMap::new();
    for row in read::all(tx, &text, rel.values).await? {
        let row = Row(&row, "workspace_binding");
        methods.insert(row.text("workspace_id")?, row.text("settlement_method")?);
    }
    let event = |w: &Workspace| NewEvent {
        billing_account: w.billing_account.as_str().to_owned(),
        workspace: Some(w.id.as_str().to_owned()),
        event: FeedEvent::WorkspaceChanged {
            revision: w.revision,
            settlement_method: methods.get(w.id.as_str()).cloned().unwrap_or_default(),
            standing: w.standing.state.name().to_owned(),
            lock_at: w.standing.lock_at.map(Timestamp::as_microsecond),
        },
    };
    feed::add(tx, &workspaces.iter().map(event).collect::<Vec<_>>(), now).await
}

/// Starts the countdown of every workspace that accounts newly in arrears settle by the Billing Center, and tells the
/// accounts by mail. `owed` is each account's debt as text.
pub async fn start_arrears(
    tx: &Tx,
    ctx: &Context,
    payers: &[(BillingAccount, String)],
    now: Timestamp,
) -> Result<(), Fault> {
    if payers.is_empty() {
        return Ok(());
    }
    let ids: Vec<BillingAccountId> = payers.iter().map(|(d, _)| d.id.clone()).collect();
    let workspaces = workspace::lock_settled_by_billing_center(tx, &ids).await?;
    let counted: Vec<_> = workspaces
        .into_iter()
        .filter_map(|w| {
            let since = payers.iter().find(|(d, _)| d.id == w.billing_account)?.0.arrears_since?;
            let standing = w.standing.count_down(LockCause::Arrears, since)?;
            Some((w, standing))
        })
        .collect();
    change(tx, &counted, now).await?;
    let mails: Vec<_> = payers
        .iter()
        .filter_map(|(d, owed)| {
            let since = d.arrears_since?;
            let letter = Letter::ArrearsStarted {
                amount: owed.clone(),
                lock_day: utc_day(since + LOCK_COUNTDOWN),
                link: ctx.links.mailed(d.id.as_str(), now),
            };
            let key = format!("arrears:{}:{}", d.id, since.as_microsecond());
            Some(mail::outgoing(&ctx.letterhead, &letter, &d.email, d.language, d.id.as_str(), &key))
        })
        .collect();
    Ok(outbox::add(tx, &mails, now).await?)
}

/// Ends the countdowns that an account's arrears had started, and tells account and owners by mail.
///
/// What is locked stays locked: its data is gone, and an operator opens it again (5.6, D7). The same people are told.
pub async fn end_arrears(
    tx: &Tx,
    ctx: &Context,
    payer: &BillingAccount,
    now: Timestamp,
) -> Result<(), Fault> {
    let workspaces = workspace::lock_settled_by_billing_center(tx, std::slice::from_ref(&payer.id)).await?;
    let (held, others): (Vec<Workspace>, Vec<Workspace>) =
        workspaces.into_iter().partition(|w| w.standing.state == WorkspaceStanding::Locked);
    let freed: Vec<_> = others
        .into_iter()
        .filter_map(|w| w.standing.settle(LockCause::Arrears).map(|standing| (w, standing)))
        .collect();
    change(tx, &freed, now).await?;
    let freed: Vec<Workspace> = freed.into_iter().map(|(w, _)| w).collect();
    let mut letters =
        mails(ctx, payer, &freed, "unlocked", |r| Letter::WorkspaceUnlocked { workspaces: r.workspaces });
    letters.extend(mails(ctx, payer, &held, "settled", |r| Letter::DebtSettled { workspaces: r.workspaces }));
    Ok(outbox::add(tx, &letters, now).await?)
}

/// The same letter to an account and to each owner who is somebody else, naming the workspaces that concern them; none
/// when there are no workspaces.
///
/// What happened to a workspace happened at its revision, so its key tells two happenings apart, also those of one
/// instant, and knows a repetition.
pub(super) fn mails(
    ctx: &Context,
    payer: &BillingAccount,
    workspaces: &[Workspace],
    what: &str,
    letter: impl Fn(notice::Recipient) -> Letter,
) -> Vec<Outgoing> {
    let Some(first) = workspaces.first() else { return Vec::new() };
    let key = format!("{what}:{}:{}", first.id, first.revision);
    let mail = |r: notice::Recipient| {
        let (to, language) = (r.to.clone(), r.language);
        mail::outgoing(&ctx.letterhead, &letter(r), &to, language, payer.id.as_str(), &key)
    };
    notice::recipients(payer, workspaces).into_iter().map(mail).collect()
}

/// Locks workspaces whose countdown has run out at `due`, and tells the account and each owner by mail. Returns how many.
pub async fn lock_due(ctx: &Context, due: Timestamp) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    let tx = ctx.db.begin().await?;
    let found = workspace::lock_due(&tx, due, BATCH).await?;
    let locked: Vec<_> =
        found.into_iter().filter_map(|w| w.standing.lock_if_due(due).map(|standing| (w, standing))).collect();
    if locked.is_empty() {
        return Ok(0);
    }
    change(&tx, &locked, now).await?;
    let payers: Vec<BillingAccountId> = locked.iter().map(|(w, _)| w.billing_account.clone()).collect();
    let mut letters = Vec::new();
    for payer in account::find_all(&tx, &payers).await? {
        let own = locked.iter().filter(|(w, _)| w.billing_account == payer.id);
        let own: Vec<Workspace> = own.map(|(w, _)| w.clone()).collect();
        letters.extend(mails(ctx, &payer, &own, "locked", |r| Letter::WorkspaceLocked {
            workspaces: r.workspaces,
        }));
    }
    outbox::add(&tx, &letters, now).await?;
    let count = locked.len();
    tx.commit().await?;
    tracing::info!(workspaces = count, "locked {count} workspaces whose countdown had run out");
    Ok(count)
}

/// Most workspaces that are locked in one transaction: far below the statement time limit.
const BATCH: i64 = 200;

/// Makes accounts overdue whose arrears have stood for 14 days at `due`, and bills that have been owed as long. Returns
/// how many.
pub async fn set_overdue(ctx: &Context, due: Timestamp) -> Result<usize, Fault> {
    let tx = ctx.db.begin().await?;
    let since = due - LOCK_COUNTDOWN;
    let payers = account::lock_overdue(&tx, since, BATCH).await?;
    let overdue: Vec<BillingAccount> = payers
        .into_iter()
        .map(|payer| {
            let (standing, arrears_since) =
                standing::of_account(payer.standing, payer.arrears_since, true, due);
            BillingAccount { standing, arrears_since, ..payer }
        })
        .collect();
    account::save_standings(&tx, &overdue).await?;
    let bills = bill::set_overdue(&tx, since).await?;
    tx.commit().await?;
    Ok(overdue.len().saturating_add(usize::try_from(bills).unwrap_or(usize::MAX)))
}

/// Days before the lock on which a mail warns of it (`domain.md` 3.12, D6), the last one first: when several have come
/// at once, because the clock jumped or nobody was there, only the last one still makes sense.
const WARNINGS: [i64; 3] = [1, 3, 7];

/// Warns of countdowns near their end, each time once, with the days that are really left. Returns how many workspaces
/// were warned of.
pub async fn warn_soon(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    let tx = ctx.db.begin().await?;
    let mut count = 0;
    let mut from = now;
    for days in WARNINGS {
        // Each countdown is near one of the days only, also when a batch did not take all that are nearer.
        let until = now + SignedDuration::from_hours(24 * days);
        let due = workspace::mark_warned(&tx, from, until, days, BATCH).await?;
        from = until;
        count += due.len();
        let payers: Vec<BillingAccountId> = due.iter().map(|w| w.billing_account.clone()).collect();
        let mut letters = Vec::new();
        for payer in account::find_all(&tx, &payers).await? {
            let own: Vec<Workspace> = due.iter().filter(|w| w.billing_account == payer.id).cloned().collect();
            letters.extend(mails(ctx, &payer, &own, &format!("lock-soon:{days}"), |r| {
                lock_soon(ctx, r, days, now)
            }));
        }
        outbox::add(&tx, &letters, now).await?;
    }
    tx.commit().await?;
    Ok(count)
}

/// The warning of a lock; `days` is said when no deadline is known.
pub(super) fn lock_soon(ctx: &Context, r: notice::Recipient, days: i64, now: Timestamp) -> Letter {
    Letter::WorkspaceLockSoon {
        days: r.days_left(now).unwrap_or(days),
        workspaces: r.workspaces,
        deadline: r.deadline.unwrap_or_default(),
        link: ctx.links.mailed(&r.subject, now),
    }
}

fn utc_day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
