//! `tandem.marketplace.v1.PaymentGatewayService`: what Billing asks of payment providers, one to one. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use tandem_adapters::error::ClientError;
use tandem_adapters::payment::{NewOrder, OrderError, OrderState};
use tandem_proto::common::v1 as common;
use tandem_proto::ids::RechargeId;
use tandem_proto::marketplace::v1 as pb;
use tandem_proto::marketplace::v1::payment_gateway_service_server::{
    PaymentGatewayService, PaymentGatewayServiceServer,
};
use tandem_proto::money::Money;
use tandem_proto::payment::PaymentChannel;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::server::{DECODE_MAX, ENCODE_MAX};
use tandem_service_kit::validate::{self, to_message};
use tonic::{Request, Response, Status};
use tracing::{error, info};

use crate::Gateway;
use crate::payments::Served;
use crate::status::client_error_name;

/// Longest time for a call, its tries together: below the ten seconds of every call between our services.
const CALL_TIME_MAX: Duration = Duration::from_secs(8);

/// The service.
pub(crate) struct PaymentOutbound {
    gateway: Arc<Gateway>,
}

impl PaymentOutbound {
    /// Makes the service, with its message limits.
    pub(crate) fn server(gateway: Arc<Gateway>) -> PaymentGatewayServiceServer<PaymentOutbound> {
        PaymentGatewayServiceServer::new(PaymentOutbound { gateway })
            .max_decoding_message_size(DECODE_MAX)
            .max_encoding_message_size(ENCODE_MAX)
    }

    fn served(&self, channel: i32) -> Result<&Served, Fault> {
        let channel = PaymentChannel::from_message(channel)
            .ok_or_else(|| Fault::field("channel", "is required, and must be a value of its enum"))?;
        let served = self.gateway.payments.get(channel);
        Ok(served.ok_or(Fault::new(Reason::PaymentChannelNotConfigured))?)
    }

    /// Waits for an answer, counts how it went, and says what it means when there is none.
    async fn ask<T>(
        &self,
        served: &Served,
        name: &'static str,
        question: impl Future<Output = Result<T, OrderError>>,
    ) -> Result<T, Fault> {
        let channel = served.connection.channel.name();
        let Ok(_place) = served.outbound.try_acquire() else {
            self.gateway.meters.shed("payments_outbound");
            return Err(Fault::new(Reason::Overloaded));
        };
        let late = || ClientError::Unavailable { code: "too_slow".to_owned() }.into();
        let answer = tokio::time::timeout(CALL_TIME_MAX, question).await.unwrap_or_else(|_| Err(late()));
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(OrderError::Refused { .. }) => "refused",
            Err(OrderError::Client(problem)) => client_error_name(problem),
        };
        self.gateway.meters.payment_call(channel, name, outcome);
        answer.map_err(|problem| match problem {
            OrderError::Refused { code } => {
                info!(channel, call = name, code, "{channel} refuses an order: {code}");
                Fault::new(Reason::PaymentRefused).with("provider_code", code)
            }
            OrderError::Client(problem) => self.unclear(channel, name, &problem),
        })
    }

    fn unclear(&self, channel: &'static str, name: &'static str, problem: &ClientError) -> Fault {
        if let ClientError::Denied { .. } = problem {
            self.gateway.meters.payment_alarm(channel, "payment_provider_denies_us");
            error!(
                alarm = "payment_provider_denies_us",
                channel,
                call = name,
                "{channel} refuses us: {problem}"
            );
        } else {
            info!(channel, call = name, "no clear answer from {channel}: {problem}");
        }
        let code = match problem {
            ClientError::Unavailable { code } | ClientError::Denied { code } => code.as_str(),
            ClientError::Unclear { what } => what,
        };
        Fault::new(Reason::PaymentProviderUnavailable).with("provider_code", code)
    }
}

#[tonic::async_trait]
impl PaymentGatewayService for PaymentOutbound {
    async fn create_payment(
        &self,
        request: Request<pb::CreatePaymentRequest>,
    ) -> Result<Response<pb::CreatePaymentResponse>, Status> {
        let request = request.into_inner();
        let request_id = validate::request_id(&request.request_id)?;
        let served = self.served(request.channel)?;
        let order_id: RechargeId = validate::parse("recharge_id", &request.recharge_id)?;
        let amount = request.amount.as_ref().and_then(Money::from_message).filter(|money| money.minor > 0);
        let right = "must be minor units above 0 with a currency_code of CNY or USD";
        let amount = amount.ok_or_else(|| Fault::field("amount", right))?;
        let expires_at = validate::timestamp("expire_time", request.expire_time)?;
        let order = NewOrder { order_id: order_id.to_string(), amount, expires_at };
        let payment_url =
            self.ask(served, "create_order", served.connection.client.create_order(&order)).await?;
        info!(request.id = request_id, order.id = %order_id, "opened the order {order_id}");
        Ok(Response::new(pb::CreatePaymentResponse { payment_url }))
    }

    async fn look_up_payment(
        &self,
        request: Request<pb::LookUpPaymentRequest>,
    ) -> Result<Response<pb::LookUpPaymentResponse>, Status> {
        let request = request.into_inner();
        let served = self.served(request.channel)?;
        let order_id: RechargeId = validate::parse("recharge_id", &request.recharge_id)?;
        let question = async { Ok(served.connection.client.look_up_order(order_id.as_str()).await?) };
        let found = self.ask(served, "look_up_order", question).await?;
        use pb::PaymentOrderState as State;
        let state = |state: State| pb::LookUpPaymentResponse { state: state.into(), ..Default::default() };
        Ok(Response::new(match found {
            OrderState::Waiting => state(State::Waiting),
            OrderState::Closed => state(State::Closed),
            OrderState::Unknown => state(State::Unknown),
            OrderState::Paid(payment) => pb::LookUpPaymentResponse {
                state: State::Paid.into(),
                payment_id: payment.payment_id,
                amount: Some(common::Money { currency_code: payment.currency, minor_units: payment.minor }),
                pay_time: Some(to_message(payment.paid_at)),
            },
        }))
    }
}
