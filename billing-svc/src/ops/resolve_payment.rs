//! Decides a payment that waits for an operator.

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, PaymentId};
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::create_recharge::create_recharge;
use super::wallet_acts::{self, Act};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::payment::{Announced, PaymentState};
use crate::store::account;
use crate::store::payment::{self, Payment};
use crate::store::recharge::{self, RechargeChannel};

/// What an operator decides.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// The money becomes cash of this account; of the recharge's own when `None`.
    Book(Option<BillingAccountId>),
    /// Nothing is booked.
    Dismiss,
}

/// Who decides, and why.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Who.
    pub resolver: &'a str,
    /// Why.
    pub note: &'a str,
}

/// Decides the payment. Booked money goes through a recharge of its own; a waiting recharge that it named is closed,
/// because its order is used up.
///
/// Fails with `OBJECT_NOT_FOUND`, `PAYMENT_NOT_RESOLVABLE` unless it is parked, `CURRENCY_MISMATCH`, and
/// `EXTERNAL_REF_USED` when a recharge was booked with its number.
pub async fn resolve_payment(
    tx: &Tx,
    ctx: &Context,
    id: &PaymentId,
    resolution: &Resolution,
    decision: Decision<'_>,
    now: Timestamp,
) -> Result<Payment, Fault> {
    let found = payment::find(tx, id).await?.ok_or(Fault::not_found("payment_id"))?;
    let account = match resolution {
        Resolution::Book(Some(account)) => Some(account.clone()),
        Resolution::Book(None) | Resolution::Dismiss => found.billing_account.clone(),
    };
    let payer = match &account {
        Some(account) => {
            Some(account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?)
        }
        None => None,
    };
    let parked = payment::lock(tx, id).await?.ok_or(StoreError::Conflict)?;
    if parked.state != PaymentState::Parked {
        return Err(Reason::PaymentNotResolvable.into());
    }
    let mut decided = Payment {
        state: PaymentState::Dismissed,
        note: decision.note.to_owned(),
        resolver: decision.resolver.to_owned(),
        resolved_at: Some(now),
        ..parked
    };
    if let Resolution::Book(_) = resolution {
        let missing =
            || Fault::field("billing_account_id", "is required: the payment names no recharge of ours");
        let payer = payer.ok_or_else(missing)?;
        let owner = payer.id.clone();
        close_named(tx, &decided.announced, &owner, now).await?;
        decided.recharge = Some(book(tx, ctx, payer, &decided.announced, now).await?);
        decided.billing_account = Some(owner);
        decided.state = PaymentState::Booked;
    }
    payment::save_decision(tx, &decided).await?;
    Ok(decided)
}

async fn book(
    tx: &Tx,
    ctx: &Context,
    payer: BillingAccount,
    announced: &Announced,
    now: Timestamp,
) -> Result<tandem_proto::ids::RechargeId, Fault> {
    let mismatch = || Fault::new(Reason::CurrencyMismatch).with("currency", payer.currency.code());
    let currency = announced.currency.parse().map_err(|_| mismatch())?;
    let amount = Money { minor: announced.minor, currency };
    let channel = RechargeChannel::of_payment(announced.channel);
    let made = create_recharge(tx, &payer.id, amount, channel, false, now).await?;
    let external_ref = announced.external_ref.clone();
    let act = Act::ConfirmRecharge { id: made.id.clone(), external_ref };
    wallet_acts::apply(tx, ctx, payer, &[act], now).await?.pop().ok_or(StoreError::Conflict)??;
    Ok(made.id)
}

/// Closes the account's waiting recharge that a payment named.
async fn close_named(
    tx: &Tx,
    announced: &Announced,
    owner: &BillingAccountId,
    now: Timestamp,
) -> Result<(), Fault> {
    let Ok(id) = announced.order_id.parse() else { return Ok(()) };
    for named in recharge::lock_all(tx, owner, &[id]).await? {
        recharge::close(tx, &named, now).await?;
    }
    Ok(())
}
