//! Repays what is owed from inflows, oldest bill first, and ends the arrears when nothing is owed any more
//! (`domain.md` 3.13).

use std::collections::VecDeque;

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::issue_bills::event;
use super::stand;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::bill::BillState;
use crate::domain::deduction::Instrument;
use crate::domain::event::FeedEvent;
use crate::domain::standing;
use crate::store::bill::{self, Bill, Payment};
use crate::store::{account, feed};

/// Bills read at once.
const OWED_CHUNK: i64 = 500;

/// What an inflow repaid.
#[derive(Debug, Clone)]
pub struct Inflow {
    /// The ledger transfer that repaid it.
    pub transfer_id: String,
    /// The lot that came in.
    pub lot: String,
    /// What that lot is.
    pub instrument: Instrument,
    /// Minor units; above zero.
    pub repaid: i64,
}

/// Spreads repayments over the bills that are owed. The account must be locked, and what is repaid posted.
pub async fn repay_bills(
    tx: &Tx,
    account: &BillingAccountId,
    inflows: Vec<Inflow>,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut inflows: VecDeque<Inflow> = inflows.into();
    while !inflows.is_empty() {
        let mut bills = bill::lock_owed(tx, account, OWED_CHUNK).await?;
        if bills.is_empty() {
            // The overdraft is always the unpaid rest of bills; anything else must not be papered over.
            return Err(StoreError::Corrupt { table: "ledger_account", column: "overdraft" }.into());
        }
        let payments = pay(&mut bills, &mut inflows, now);
        let paid = bills.iter().filter(|b| b.state == BillState::Paid);
        let events: Vec<_> =
            paid.map(|b| event(b, FeedEvent::BillPaid { bill_id: b.id.as_str().to_owned() })).collect();
        bill::save(tx, &bills).await?;
        bill::insert_payments(tx, &payments).await?;
        feed::add(tx, &events, now).await?;
    }
    Ok(())
}

/// Pays bills from the front of inflows until either is used up.
fn pay(bills: &mut [Bill], inflows: &mut VecDeque<Inflow>, now: Timestamp) -> Vec<Payment> {
    let mut payments = Vec::new();
    for b in bills {
        while b.paid < b.payable {
            let Some(inflow) = inflows.front_mut() else { return payments };
            let amount = inflow.repaid.min(b.payable - b.paid);
            inflow.repaid -= amount;
            b.paid += amount;
            payments.push(Payment {
                bill: b.id.clone(),
                billing_account: b.billing_account.clone(),
                transfer_id: inflow.transfer_id.clone(),
                lot: inflow.lot.clone(),
                instrument: inflow.instrument,
                amount,
                // What is owed is owed for the whole bill: a repayment may pay either part of it.
                restricted: 0,
                paid_at: now,
            });
            if inflow.repaid == 0 {
                inflows.pop_front();
            }
        }
        (b.state, b.paid_at) = (BillState::Paid, Some(now));
    }
    payments
}

/// Ends the arrears of an account that owes nothing any more: its workspaces are freed and told.
pub async fn end_arrears(
    tx: &Tx,
    ctx: &Context,
    payer: BillingAccount,
    overdraft: i64,
    now: Timestamp,
) -> Result<(), Fault> {
    if payer.arrears_since.is_none() || overdraft < 0 {
        return Ok(());
    }
    let (standing, arrears_since) = standing::of_account(payer.standing, payer.arrears_since, false, now);
    let good = BillingAccount { standing, arrears_since, ..payer };
    account::save_standings(tx, std::slice::from_ref(&good)).await?;
    stand::end_arrears(tx, ctx, &good, now).await
}
