//! Payments as messages.

use tandem_proto::billing::v1 as pb;
use tandem_proto::common::v1::Money;
use tandem_proto::payment::PaymentChannel;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use crate::domain::payment::{Announced, PaymentProblem, PaymentState};
use crate::store::payment::Payment;

/// Longest number of a payment or an order.
const NUMBER_CHARS_MAX: usize = 64;

/// Reads what a provider announced. The currency may be any: what nobody here uses is parked, not lost.
pub(super) fn announced(request: &pb::RecordPaymentRequest) -> Result<Announced, Fault> {
    let channel = super::named("channel", PaymentChannel::from_message(request.channel))?;
    let external_ref = validate::text("payment_id", &request.payment_id, NUMBER_CHARS_MAX)?.to_owned();
    let order_id = validate::text("order_id", &request.order_id, NUMBER_CHARS_MAX)?.to_owned();
    let amount = request.amount.as_ref().ok_or_else(|| Fault::field("amount", "is required"))?;
    if amount.minor_units <= 0 {
        return Err(Fault::field("amount.minor_units", "must be above 0"));
    }
    let currency = amount.currency_code.clone();
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Fault::field("amount.currency_code", "must be an ISO 4217 code, such as CNY"));
    }
    let paid_at = validate::timestamp("pay_time", request.pay_time)?;
    Ok(Announced { channel, external_ref, order_id, minor: amount.minor_units, currency, paid_at })
}

/// Reads which state a list is about.
pub(super) fn wished_state(state: i32) -> Result<Option<PaymentState>, Fault> {
    match pb::PaymentState::try_from(state) {
        Ok(pb::PaymentState::Unspecified) => Ok(None),
        Ok(pb::PaymentState::Booked) => Ok(Some(PaymentState::Booked)),
        Ok(pb::PaymentState::Parked) => Ok(Some(PaymentState::Parked)),
        Ok(pb::PaymentState::Dismissed) => Ok(Some(PaymentState::Dismissed)),
        Err(_) => Err(Fault::field("state", "must be a value of PaymentState")),
    }
}

fn problem(problem: PaymentProblem) -> pb::PaymentProblem {
    match problem {
        PaymentProblem::RechargeUnknown => pb::PaymentProblem::RechargeUnknown,
        PaymentProblem::RechargeClosed => pb::PaymentProblem::RechargeClosed,
        PaymentProblem::RechargePaid => pb::PaymentProblem::RechargePaid,
        PaymentProblem::AmountDiffers => pb::PaymentProblem::AmountDiffers,
        PaymentProblem::CurrencyDiffers => pb::PaymentProblem::CurrencyDiffers,
        PaymentProblem::ChannelDiffers => pb::PaymentProblem::ChannelDiffers,
        PaymentProblem::ReferenceUsed => pb::PaymentProblem::ReferenceUsed,
    }
}

pub(super) fn payment_message(p: &Payment) -> pb::OnlinePayment {
    let announced = &p.announced;
    pb::OnlinePayment {
        id: p.id.as_str().to_owned(),
        channel: announced.channel.to_message().into(),
        external_ref: announced.external_ref.clone(),
        order_id: announced.order_id.clone(),
        billing_account_id: p.billing_account.as_ref().map(ToString::to_string).unwrap_or_default(),
        amount: Some(Money { currency_code: announced.currency.clone(), minor_units: announced.minor }),
        pay_time: Some(to_message(announced.paid_at)),
        receive_time: Some(to_message(p.received_at)),
        state: match p.state {
            PaymentState::Booked => pb::PaymentState::Booked,
            PaymentState::Parked => pb::PaymentState::Parked,
            PaymentState::Dismissed => pb::PaymentState::Dismissed,
        }
        .into(),
        problem: p.problem.map_or(pb::PaymentProblem::Unspecified, problem).into(),
        recharge_id: p.recharge.as_ref().map(ToString::to_string).unwrap_or_default(),
        note: p.note.clone(),
        resolver: p.resolver.clone(),
        resolve_time: p.resolved_at.map(to_message),
    }
}
