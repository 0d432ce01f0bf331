//! What Billing asks of payment providers, through the gateway. Never inside a transaction (I-26).

use tandem_proto::marketplace::v1 as pb;
use tandem_proto::payment::PaymentChannel;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::peer;
use tandem_service_kit::validate::{timestamp, to_message};

use crate::context::Context;
use crate::domain::payment::Announced;
use crate::store::recharge::Recharge;

/// Has the provider open the order of a saved recharge; returns the page to pay on. Repeating it returns the same page.
///
/// Fails with `PAYMENT_CHANNEL_NOT_CONFIGURED` or `PAYMENT_REFUSED` when there surely is no order, and with
/// `PAYMENT_PROVIDER_UNAVAILABLE` when that is not known.
pub async fn open_order(
    ctx: &Context,
    channel: PaymentChannel,
    recharge: &Recharge,
) -> Result<String, Fault> {
    let request = pb::CreatePaymentRequest {
        request_id: recharge.id.as_str().to_owned(),
        channel: channel.to_message().into(),
        recharge_id: recharge.id.as_str().to_owned(),
        amount: Some(recharge.amount.to_message()),
        expire_time: Some(to_message(recharge.ends_at())),
    };
    let answer = ctx.payments.clone().create_payment(request).await;
    Ok(answer.map_err(|status| unanswered(&status, recharge))?.into_inner().payment_url)
}

/// Asks the provider whether the order of a recharge was paid; `None` when it was not.
///
/// Fails as [`open_order`] does; that says nothing about the payment.
pub async fn look_up(
    ctx: &Context,
    channel: PaymentChannel,
    recharge: &Recharge,
) -> Result<Option<Announced>, Fault> {
    let request = pb::LookUpPaymentRequest {
        channel: channel.to_message().into(),
        recharge_id: recharge.id.as_str().to_owned(),
    };
    let answer = ctx.payments.clone().look_up_payment(request).await;
    let said = answer.map_err(|status| unanswered(&status, recharge))?.into_inner();
    match said.state() {
        pb::PaymentOrderState::Paid => {
            let unclear = || Fault::new(Reason::PaymentProviderUnavailable);
            let amount = said.amount.ok_or_else(unclear)?;
            Ok(Some(Announced {
                channel,
                external_ref: said.payment_id,
                order_id: recharge.id.as_str().to_owned(),
                minor: amount.minor_units,
                currency: amount.currency_code,
                paid_at: timestamp("pay_time", said.pay_time).map_err(|_| unclear())?,
            }))
        }
        // An order that never reached the provider cannot have been paid.
        pb::PaymentOrderState::Waiting | pb::PaymentOrderState::Closed | pb::PaymentOrderState::Unknown => {
            Ok(None)
        }
        pb::PaymentOrderState::Unspecified => Err(Fault::new(Reason::PaymentProviderUnavailable)),
    }
}

fn unanswered(status: &tonic::Status, recharge: &Recharge) -> Fault {
    match peer::fault(status) {
        fault @ Fault { reason: Reason::PaymentChannelNotConfigured | Reason::PaymentRefused, .. } => fault,
        fault => {
            let (id, reason) = (&recharge.id, fault.reason.name());
            tracing::warn!(recharge.id = %id, reason, "the payment provider could not be asked about {id}");
            Fault::new(Reason::PaymentProviderUnavailable)
        }
    }
}
