//! Books a recharge that was paid: it repays the debt, oldest bill first, and the rest is cash (`domain.md` 3.13).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, RechargeId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::issue_bills::event;
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::bill::BillState;
use crate::domain::deduction::{Instrument, Wallet, recharge_transfer, spread};
use crate::domain::event::FeedEvent;
use crate::domain::standing;
use crate::store::account;
use crate::store::bill::{self, Payment};
use crate::store::feed;
use crate::store::ledger::{self, Posting};
use crate::store::recharge::{self, Recharge, RechargeState};

/// Bills read at once when a repayment is spread.
const OWED_CHUNK: i64 = 500;

/// Books a recharge; returns it with the balances after it.
///
/// Fails with `RECHARGE_NOT_OPEN` when it is not waiting, and with `EXTERNAL_REF_USED` when the payment was booked
/// before.
pub async fn confirm_recharge(
    tx: &Tx,
    ctx: &Context,
    account: &BillingAccountId,
    id: &RechargeId,
    external_ref: &str,
    now: Timestamp,
) -> Result<(Recharge, Wallet), Fault> {
    let payer = account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let found = recharge::lock(tx, account, id).await?.ok_or(Fault::not_found("recharge_id"))?;
    if found.state != RechargeState::Created {
        return Err(Reason::RechargeNotOpen.into());
    }
    if recharge::reference_used(tx, external_ref).await? {
        return Err(Reason::ExternalRefUsed.into());
    }
    if !recharge::set_paid(tx, &found, external_ref, now).await? {
        return Err(Reason::RechargeNotOpen.into());
    }
    let wallets = ledger::wallets(tx, std::slice::from_ref(account)).await?;
    let wallet = wallets.get(account).copied().unwrap_or_default();
    let overflow = || Fault::from(StoreError::Corrupt { table: "ledger_account", column: "balance" });
    let (repaid, after) = wallet.take_in(found.amount.minor).ok_or_else(overflow)?;
    let transfer = recharge_transfer(id.as_str(), found.amount.minor, repaid).map_err(|_| overflow())?;
    repay_bills(tx, account, &transfer.cause.transfer_id(), repaid, now).await?;
    ledger::post(
        tx,
        &[Posting { billing_account: account.clone(), currency: payer.currency, transfer }],
        now,
    )
    .await?;
    if payer.arrears_since.is_some() && after.overdraft == 0 {
        let (state, since) = standing::of_account(payer.standing, payer.arrears_since, false, now);
        let good = BillingAccount { standing: state, arrears_since: since, ..payer };
        account::save_standings(tx, std::slice::from_ref(&good)).await?;
        stand::end_arrears(tx, ctx, &good, now).await?;
    }
    let paid = Recharge {
        state: RechargeState::Paid,
        external_ref: Some(external_ref.to_owned()),
        paid_at: Some(now),
        ..found
    };
    Ok((paid, after))
}

/// Spreads a repayment over the bills that are owed, oldest first.
async fn repay_bills(
    tx: &Tx,
    account: &BillingAccountId,
    transfer_id: &str,
    repaid: i64,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut left = repaid;
    while left > 0 {
        let mut bills = bill::lock_owed(tx, account, OWED_CHUNK).await?;
        let parts = spread(left, bills.iter().map(|b| b.payable - b.paid));
        let spent: i64 = parts.iter().sum();
        if spent == 0 {
            // The overdraft is always the unpaid rest of bills; anything else must not be papered over.
            return Err(StoreError::Corrupt { table: "ledger_account", column: "overdraft" }.into());
        }
        left -= spent;
        let (mut payments, mut events) = (Vec::new(), Vec::new());
        for (b, part) in bills.iter_mut().zip(parts).filter(|(_, part)| *part > 0) {
            payments.push(Payment {
                bill: b.id.clone(),
                billing_account: account.clone(),
                transfer_id: transfer_id.to_owned(),
                instrument: Instrument::Cash,
                amount: part,
                paid_at: now,
            });
            b.paid += part;
            if b.paid == b.payable {
                (b.state, b.paid_at) = (BillState::Paid, Some(now));
                events.push(event(b, FeedEvent::BillPaid { bill_id: b.id.as_str().to_owned() }));
            }
        }
        bill::save(tx, &bills).await?;
        bill::insert_payments(tx, &payments).await?;
        feed::add(tx, &events, now).await?;
    }
    Ok(())
}
