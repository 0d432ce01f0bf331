//! What the outcome of a metering record means for the bills it settles (`domain.md` 5.5).

use jiff::Timestamp;
use tandem_proto::ids::BillId;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::issue_bills::{event, payments_of, take_standings};
use crate::context::Context;
use crate::domain::bill::BillState;
use crate::domain::deduction::{self, Instrument};
use crate::domain::event::FeedEvent;
use crate::domain::ledger::{Cause, CauseKind};
use crate::domain::wallet::{BILLING_CENTER, Due, Purchase};
use crate::store::bill::{self, Bill, Payment};
use crate::store::ledger::{self, Posting};
use crate::store::metering::{self, MeteringRecord};
use crate::store::{account, feed, lot};

/// Pays the bills of a record that the cloud has taken: they are the cloud's to collect now.
///
/// Takes the account's lock first. Bills that are not waiting for the cloud stay as they are.
pub async fn accepted(tx: &Tx, record: &MeteringRecord, now: Timestamp) -> Result<(), Fault> {
    account::lock(tx, &record.billing_account).await?;
    let mut bills = waiting(tx, record).await?;
    let (mut payments, mut postings, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for b in &mut bills {
        let rest = b.payable - b.paid;
        let transfer = deduction::cloud_bill(b.id.as_str(), record.vendor, rest).map_err(|_| unbalanced())?;
        payments.push(Payment {
            bill: b.id.clone(),
            billing_account: b.billing_account.clone(),
            transfer_id: transfer.cause.transfer_id(),
            lot: String::new(),
            instrument: Instrument::Cloud,
            amount: rest,
            restricted: 0,
            paid_at: now,
        });
        postings.push(Posting { billing_account: b.billing_account.clone(), currency: b.currency, transfer });
        (b.paid, b.state, b.paid_at) = (b.payable, BillState::Paid, Some(now));
        events.push(event(b, FeedEvent::BillPaid { bill_id: b.id.as_str().to_owned() }));
    }
    bill::save(tx, &bills).await?;
    bill::insert_payments(tx, &payments).await?;
    ledger::post(tx, &postings, now).await?;
    feed::add(tx, &events, now).await?;
    Ok(())
}

/// Settles the bills of a record that no cloud will take by the Billing Center instead (D15, I-17).
///
/// Takes the account's lock first. Bills that are not waiting for the cloud stay as they are.
pub async fn move_to_billing_center(
    tx: &Tx,
    ctx: &Context,
    record: &MeteringRecord,
    now: Timestamp,
) -> Result<(), Fault> {
    let accounts = account::lock_all(tx, std::slice::from_ref(&record.billing_account)).await?;
    let mut bills = waiting(tx, record).await?;
    let paid_before = bill::payments(tx, &bills).await?;
    let mut wallets = lot::wallets(tx, std::slice::from_ref(&record.billing_account)).await?;
    let wallet = wallets.entry(record.billing_account.clone()).or_default();
    let (mut payments, mut postings, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for b in &mut bills {
        let before = paid_before.get(&b.id).map(Vec::as_slice).unwrap_or_default();
        let restricted = b.restricted - before.iter().map(|p| p.restricted).sum::<i64>();
        let due = Due { restricted, ordinary: b.payable - b.paid - restricted };
        let (parts, left) = wallet.pay(BILLING_CENTER, Purchase { due, total: b.payable, day: b.day, now });
        wallet.owe(left.total()).map_err(|_| unbalanced())?;
        let cause = Cause::new(CauseKind::BillMoved, b.id.as_str());
        let transfer = deduction::bill(cause, &parts, left.total()).map_err(|_| unbalanced())?;
        payments.extend(payments_of(&b.id, &b.billing_account, &transfer, &parts, now));
        postings.push(Posting { billing_account: b.billing_account.clone(), currency: b.currency, transfer });
        (b.method, b.cloud_account, b.subscription) = (SettlementMethod::BillingCenter, None, None);
        b.paid += parts.iter().map(|part| part.amount).sum::<i64>();
        if b.paid == b.payable {
            (b.state, b.paid_at) = (BillState::Paid, Some(now));
            events.push(event(b, FeedEvent::BillPaid { bill_id: b.id.as_str().to_owned() }));
        } else {
            b.state = BillState::InArrears;
        }
    }
    bill::save(tx, &bills).await?;
    bill::insert_payments(tx, &payments).await?;
    ledger::post(tx, &postings, now).await?;
    feed::add(tx, &events, now).await?;
    take_standings(tx, ctx, &accounts, &wallets, now).await
}

/// Marks the bills of a record that the cloud has refused for good: they wait for an operator.
pub async fn rejected(tx: &Tx, record: &MeteringRecord) -> Result<(), Fault> {
    account::lock(tx, &record.billing_account).await?;
    let mut bills = waiting(tx, record).await?;
    bills.iter_mut().for_each(|b| b.state = BillState::Rejected);
    Ok(bill::save(tx, &bills).await?)
}

/// The record's bills that wait for the cloud or for an operator, locked.
async fn waiting(tx: &Tx, record: &MeteringRecord) -> Result<Vec<Bill>, StoreError> {
    let place = [(record.billing_account.clone(), record.id.clone())];
    let ids: Vec<BillId> =
        metering::bills_of(tx, &place).await?.into_iter().map(|(_, bill, _)| bill).collect();
    let bills = bill::lock(tx, &record.billing_account, &ids).await?;
    let waits = |b: &Bill| matches!(b.state, BillState::Submitted | BillState::Rejected);
    Ok(bills.into_iter().filter(waits).collect())
}

fn unbalanced() -> Fault {
    StoreError::Corrupt { table: "ledger_entry", column: "amount" }.into()
}
