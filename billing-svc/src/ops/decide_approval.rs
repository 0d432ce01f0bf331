//! Decides a request for an act that takes two people; an approval does the act in the same transaction, once.

use jiff::{SignedDuration, Timestamp};
use tandem_proto::ids::ApprovalId;
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::notice;
use super::repay::{self, Inflow};
use super::request_approval::{Prospect, look};
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::approval::{Act, Approval, Decision, Refusal};
use crate::domain::deduction::Instrument;
use crate::domain::standing::{LOCK_COUNTDOWN, LockCause};
use crate::mail::{self, CashChange, Letter};
use crate::store::account;
use crate::store::approval::{self as approvals, Grace};
use crate::store::ledger::{self, Posting};
use crate::store::lot::{self, NewLot};

/// Decides a request in somebody's name.
///
/// Fails with `OBJECT_NOT_FOUND`, `APPROVER_IS_REQUESTER`, `NOT_REQUESTER` and `APPROVAL_NOT_OPEN`. An approval whose act
/// cannot be done any more fails as asking for it would; nothing is changed then, and the request stays open.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    id: &ApprovalId,
    decision: Decision,
    by: &str,
    note: String,
    now: Timestamp,
) -> Result<Approval, Fault> {
    let missing = || Fault::not_found("approval_id");
    let found = approvals::find(tx, id).await?.ok_or_else(missing)?;
    // The account comes first in the order of locks; the second of two approvers waits here.
    let payer = account::lock(tx, &found.billing_account).await?.ok_or_else(missing)?;
    let request = approvals::lock(tx, id).await?.ok_or_else(missing)?;
    let decided = request.decide(decision, by, note, now).map_err(|refusal| {
        Fault::new(match refusal {
            Refusal::NotOpen => Reason::ApprovalNotOpen,
            Refusal::IsRequester => Reason::ApproverIsRequester,
            Refusal::NotRequester => Reason::NotRequester,
        })
    })?;
    if decision == Decision::Approve {
        let prospect = look(tx, &payer, &decided, now).await?;
        execute(tx, ctx, payer, &decided, prospect, now).await?;
    }
    approvals::save_decision(tx, &decided).await?;
    tracing::info!(
        approval.id = %id, decider = by, requester = decided.requested_by, state = decided.state.name(),
        "{by} decided request {id} of {}: {}", decided.requested_by, decided.state.name()
    );
    Ok(decided)
}

async fn execute(
    tx: &Tx,
    ctx: &Context,
    payer: BillingAccount,
    request: &Approval,
    prospect: Prospect,
    now: Timestamp,
) -> Result<(), Fault> {
    if let Act::Unlock { grace_days, .. } = &request.act {
        return unlock(tx, ctx, &payer, request, prospect, *grace_days, now).await;
    }
    let Prospect { plan, overdraft, .. } = prospect;
    if let Some(lot) = &plan.lot {
        let face = Money { minor: lot.balance, currency: payer.currency };
        let origin = request.id.as_str().to_owned();
        let new = NewLot { billing_account: payer.id.clone(), lot: lot.clone(), face, origin };
        lot::insert(tx, &[new]).await?;
    }
    let repayment = plan.transfers.last().map(|transfer| transfer.cause.transfer_id());
    let posting =
        |transfer| Posting { billing_account: payer.id.clone(), currency: payer.currency, transfer };
    let postings: Vec<Posting> = plan.transfers.into_iter().map(posting).collect();
    ledger::post(tx, &postings, now).await?;
    outbox::add(tx, &cash_mail(ctx, &payer, request), now).await?;
    if let (Some(lot), Some(transfer_id), true) = (plan.lot, repayment, plan.repaid > 0) {
        let instrument = Instrument::from(lot.kind);
        let inflow = Inflow { transfer_id, lot: lot.id, instrument, repaid: plan.repaid };
        repay::repay_bills(tx, &payer.id, vec![inflow], now).await?;
        repay::end_arrears(tx, ctx, payer, overdraft, now).await?;
    }
    Ok(())
}

/// Tells the customer what was done to their cash.
fn cash_mail(ctx: &Context, payer: &BillingAccount, request: &Approval) -> Vec<outbox::Outgoing> {
    let change = match &request.act {
        Act::Credit(_) => CashChange::Credit,
        Act::Debit(_) => CashChange::Debit,
        Act::Refund { external_ref, .. } => CashChange::Refund { reference: external_ref.clone() },
        Act::Unlock { .. } => return Vec::new(),
    };
    let amount = request.act.amount().map(|amount| amount.to_string()).unwrap_or_default();
    let letter = Letter::CashChanged { change, amount };
    let key = format!("cash:{}", request.id);
    let about = payer.id.as_str();
    vec![mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, about, &key)]
}

/// Gives workspaces back for some days; the debt, and with it the account's own standing, stays.
async fn unlock(
    tx: &Tx,
    ctx: &Context,
    payer: &BillingAccount,
    request: &Approval,
    prospect: Prospect,
    grace_days: i32,
    now: Timestamp,
) -> Result<(), Fault> {
    let ends_at = now + SignedDuration::from_hours(24 * i64::from(grace_days));
    let freed: Vec<_> = prospect
        .held
        .into_iter()
        .filter_map(|w| w.standing.release(LockCause::Arrears).map(|standing| (w, standing)))
        .collect();
    stand::change(tx, &freed, now).await?;
    let workspaces: Vec<_> = freed.into_iter().map(|(w, _)| w).collect();
    let graces: Vec<Grace> = workspaces
        .iter()
        .map(|w| Grace { billing_account: payer.id.clone(), workspace: w.id.clone(), ends_at })
        .collect();
    approvals::save_graces(tx, &request.id, &graces).await?;
    let owed = prospect.overdraft.checked_neg();
    let owed = owed.ok_or(StoreError::Corrupt { table: "ledger_account", column: "balance" })?;
    let amount = Money { minor: owed, currency: payer.currency }.to_string();
    let key = format!("unlocked-for-now:{}", request.id);
    let zone = workspaces.first().map_or("UTC", |w| w.time_zone.as_str());
    let mails: Vec<_> = notice::recipients(payer, &workspaces)
        .into_iter()
        .map(|recipient| {
            let letter = Letter::WorkspaceUnlockedForNow {
                workspaces: recipient.workspaces,
                amount: amount.clone(),
                until: mail::moment(ends_at, zone),
                lock_day: mail::moment(ends_at + LOCK_COUNTDOWN, zone),
            };
            mail::outgoing(
                &ctx.letterhead,
                &letter,
                &recipient.to,
                recipient.language,
                payer.id.as_str(),
                &key,
            )
        })
        .collect();
    Ok(outbox::add(tx, &mails, now).await?)
}
