//! What payment providers announce: limit, prove, translate, hand to Billing, reply. The manner of `callback`: nothing
//! that is not proved changes anything, and a provider is told "done" only after Billing has committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{Request, StatusCode};
use tandem_adapters::delivery::{Delivery, Outcome};
use tandem_adapters::payment::{Notice, Payment, PaymentConnection};
use tandem_proto::billing::v1 as pb;
use tandem_proto::payment::PaymentChannel;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::Gateway;
use crate::callback::{into_response, limit_name, read};
use crate::metrics::outcome_name;
use crate::status;

/// Proved notices of one provider that are with Billing at a time; a provider repeats what is turned away.
const INBOUND_MAX: usize = 64;
/// Calls of Billing for one provider at a time: as many as its client lets out.
const OUTBOUND_MAX: usize = tandem_adapters::http::CONCURRENCY_MAX;

/// One provider, and the room it has.
pub(crate) struct Served {
    /// Its two halves.
    pub(crate) connection: PaymentConnection,
    /// Room for calls.
    pub(crate) outbound: Semaphore,
    inbound: Semaphore,
}

/// Every payment provider that is served here, by channel.
pub(crate) struct Payments(BTreeMap<PaymentChannel, Arc<Served>>);

impl Payments {
    /// Takes the providers that were opened.
    pub(crate) fn new(connections: Vec<PaymentConnection>) -> Payments {
        let served = |connection: PaymentConnection| {
            let (inbound, outbound) = (Semaphore::new(INBOUND_MAX), Semaphore::new(OUTBOUND_MAX));
            (connection.channel, Arc::new(Served { connection, inbound, outbound }))
        };
        Payments(connections.into_iter().map(served).collect())
    }

    /// The channel's provider, if one is served here.
    pub(crate) fn get(&self, channel: PaymentChannel) -> Option<&Arc<Served>> {
        self.0.get(&channel)
    }
}

/// The address that providers call.
pub(crate) fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/payments/{channel}", any(enter)).with_state(gateway)
}

async fn enter(
    State(gateway): State<Arc<Gateway>>,
    Path(channel): Path<String>,
    request: Request<Body>,
) -> Response {
    let served = channel.parse().ok().and_then(|channel: PaymentChannel| gateway.payments.get(channel));
    let Some(served) = served else { return StatusCode::NOT_FOUND.into_response() };
    let channel = served.connection.channel.name();
    let delivery = match read(request).await {
        Ok(delivery) => delivery,
        Err(status) => {
            gateway.meters.payment_refused(channel, limit_name(status));
            return status.into_response();
        }
    };
    // A trace begins here: one that came with the delivery would be anybody's.
    let span = info_span!("payment_notice", channel, order.id = tracing::field::Empty);
    receive(&gateway, served, &delivery).instrument(span).await
}

async fn receive(gateway: &Gateway, served: &Served, delivery: &Delivery) -> Response {
    let (provider, channel) = (&served.connection.provider, served.connection.channel.name());
    let proved = match provider.authenticate(delivery, gateway.clock.now()) {
        Ok(proved) => proved,
        Err(error) => {
            gateway.meters.payment_refused(channel, error.label());
            info!(reason = error.label(), "refused a payment notice: {error}");
            return into_response(provider.refuse(&error));
        }
    };
    let outcome = match provider.parse(&proved) {
        Ok(Notice::Paid(payment)) => {
            tracing::Span::current().record("order.id", &payment.order_id);
            record(gateway, served, &payment).await
        }
        Ok(Notice::Other { status }) => {
            gateway.meters.payment_alarm(channel, "unknown_payment_status");
            error!(alarm = "unknown_payment_status", channel, status, "a payment provider said {status:?}");
            Outcome::Parked
        }
        Err(error) => {
            gateway.meters.payment_alarm(channel, "payment_not_understood");
            error!(
                alarm = "payment_not_understood",
                channel, "a genuine payment notice cannot be read: {error}"
            );
            Outcome::Refused { reason: "not_understood".to_owned() }
        }
    };
    gateway.meters.payment_notice(channel, outcome_name(&outcome));
    info!(outcome = outcome_name(&outcome), "answered a payment notice: {}", outcome_name(&outcome));
    into_response(provider.reply(&outcome))
}

async fn record(gateway: &Gateway, served: &Served, payment: &Payment) -> Outcome {
    let channel = served.connection.channel;
    let Ok(_place) = served.inbound.try_acquire() else {
        gateway.meters.shed("payments");
        warn!("turned a payment notice away: as many as allowed are with Billing");
        return Outcome::Unavailable;
    };
    match gateway.billing.record_payment(channel, payment).await {
        Ok(recorded) => match recorded.state() {
            pb::PaymentState::Booked => Outcome::Applied,
            pb::PaymentState::Parked | pb::PaymentState::Dismissed => Outcome::Parked,
            pb::PaymentState::Unspecified => Outcome::Unavailable,
        },
        Err(status) => {
            let outcome = status::outcome_of(&status);
            if let Outcome::Refused { .. } = outcome {
                gateway.meters.payment_alarm(channel.name(), "billing_refused");
            }
            outcome
        }
    }
}
