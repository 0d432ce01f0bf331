//! Records a payment that a provider announced or told of when asked (`domain.md` 3.13, 5.5).
//!
//! A payment that fits its recharge books it in the same transaction. One that does not is kept for an operator: money
//! that came in is never lost and never booked by guessing.

use jiff::Timestamp;
use tandem_proto::ids::RechargeId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::alarm;
use super::wallet_acts::{self, Act};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::payment::{Announced, Expected, PaymentProblem, PaymentState, Standing, Verdict, judge};
use crate::store::account;
use crate::store::payment::{self, Payment};
use crate::store::recharge::{self, Recharge, RechargeState};

/// A payment, and whether this is the first time that we hear of it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// As it stands.
    pub payment: Payment,
    /// Whether it was not known before.
    pub first: bool,
}

/// Records a payment once, and books the recharge it fits.
///
/// Call [`Recorded::tell`] after the commit. Fails with a conflict that a repetition may not meet.
pub async fn record_payment(
    tx: &Tx,
    ctx: &Context,
    announced: &Announced,
    now: Timestamp,
) -> Result<Recorded, Fault> {
    // A number that cannot be one of ours names no recharge.
    let id: Option<RechargeId> = announced.order_id.parse().ok();
    let owner = match &id {
        Some(id) => recharge::owner(tx, id).await?,
        None => None,
    };
    // The account first, as everywhere; it also makes a twin wait.
    let payer = match &owner {
        Some(owner) => account::lock(tx, owner).await?,
        None => None,
    };
    if let Some(known) = payment::find_announced(tx, announced.channel, &announced.external_ref).await? {
        return Ok(again(known, announced));
    }
    let recharge = match (&owner, &id) {
        (Some(owner), Some(id)) => recharge::lock_all(tx, owner, std::slice::from_ref(id)).await?.pop(),
        _ => None,
    };
    let mut recorded = Payment {
        id: fresh(),
        announced: announced.clone(),
        billing_account: owner,
        received_at: now,
        state: PaymentState::Parked,
        problem: None,
        recharge: None,
        note: String::new(),
        resolver: String::new(),
        resolved_at: None,
    };
    let verdict = match (judge(recharge.as_ref().map(expected), announced), payer, &recharge) {
        (Verdict::Book, Some(payer), Some(recharge)) => {
            book(tx, ctx, payer, recharge, &announced.external_ref, now).await?
        }
        (verdict, _, _) => verdict,
    };
    match verdict {
        Verdict::Book | Verdict::AlreadyBooked => {
            recorded.state = PaymentState::Booked;
            recorded.recharge = id;
        }
        Verdict::Park(problem) => recorded.problem = Some(problem),
    }
    payment::insert(tx, &recorded).await?;
    Ok(Recorded { payment: recorded, first: true })
}

/// Books a recharge with a payment's number as its reference.
///
/// `Park` when that number was booked before, for another recharge.
async fn book(
    tx: &Tx,
    ctx: &Context,
    payer: BillingAccount,
    recharge: &Recharge,
    external_ref: &str,
    now: Timestamp,
) -> Result<Verdict, Fault> {
    let act = Act::ConfirmRecharge { id: recharge.id.clone(), external_ref: external_ref.to_owned() };
    match wallet_acts::apply(tx, ctx, payer, &[act], now).await?.pop() {
        Some(Ok(_)) => Ok(Verdict::Book),
        Some(Err(fault)) if fault.reason == Reason::ExternalRefUsed => {
            Ok(Verdict::Park(PaymentProblem::ReferenceUsed))
        }
        Some(Err(fault)) => Err(fault),
        None => Err(StoreError::Conflict.into()),
    }
}

fn expected(recharge: &Recharge) -> Expected<'_> {
    Expected {
        amount: recharge.amount,
        channel: recharge.channel.online(),
        standing: match recharge.state {
            RechargeState::Created => Standing::Waiting,
            RechargeState::Paid => Standing::Paid(recharge.external_ref.as_deref().unwrap_or_default()),
            RechargeState::Closed => Standing::Closed,
        },
    }
}

/// A payment that is known. Should its provider say something else of it now, the first word stands.
fn again(known: Payment, announced: &Announced) -> Recorded {
    let same = Announced { paid_at: known.announced.paid_at, ..announced.clone() } == known.announced;
    if !same {
        alarm::raise("payment_contradicted");
        let id = &known.id;
        tracing::error!(
            alarm = "payment_contradicted",
            payment.id = %id,
            "the provider tells of {id} with another amount or order than before"
        );
    }
    Recorded { payment: known, first: false }
}

impl Recorded {
    /// Tells whoever has to know, after the commit: followers of the feed, and an operator when it waits for one.
    pub fn tell(&self, ctx: &Context) {
        let payment = &self.payment;
        if !self.first {
            return;
        }
        ctx.wakes.feed.notify_one();
        let (id, order) = (&payment.id, &payment.announced.order_id);
        match payment.problem {
            None => tracing::info!(payment.id = %id, order.id = order, "booked the payment {id}"),
            Some(problem) => {
                alarm::raise("payment_parked");
                let problem = problem.name();
                tracing::error!(
                    alarm = "payment_parked",
                    payment.id = %id,
                    order.id = order,
                    problem,
                    "the payment {id} waits for an operator: {problem}"
                );
            }
        }
    }
}
