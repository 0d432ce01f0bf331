//! A gateway that answers for a payment provider as a test tells it to, over real gRPC.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tandem_proto::common::v1::Money;
use tandem_proto::marketplace::v1 as pb;
use tandem_proto::marketplace::v1::payment_gateway_service_server::{
    PaymentGatewayService, PaymentGatewayServiceServer,
};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::to_message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// The answer is lost after the order was opened.
    loses: bool,
    orders: BTreeMap<String, pb::CreatePaymentRequest>,
    paid: BTreeMap<String, pb::LookUpPaymentResponse>,
    look_ups: usize,
}

/// The fake, shared by the test and the server.
#[derive(Clone)]
pub(super) struct Provider {
    state: Arc<Mutex<State>>,
    pub(super) uri: String,
}

impl Provider {
    pub(super) async fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let provider = Provider { state: Arc::default(), uri };
        let server = tonic::transport::Server::builder()
            .add_service(PaymentGatewayServiceServer::new(provider.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        provider
    }

    /// Every call fails, or none any more.
    pub(super) fn fail(&self, fault: Option<Fault>) {
        self.state.lock().unwrap().fault = fault;
    }

    /// Orders are opened and their answers lost, or not any more.
    pub(super) fn lose(&self, loses: bool) {
        self.state.lock().unwrap().loses = loses;
    }

    /// An order was paid, and nobody was told.
    pub(super) fn pay(&self, order: &str, payment: &str, minor: i64, at: Timestamp) {
        let paid = pb::LookUpPaymentResponse {
            state: pb::PaymentOrderState::Paid.into(),
            payment_id: payment.to_owned(),
            amount: Some(Money { currency_code: "CNY".to_owned(), minor_units: minor }),
            pay_time: Some(to_message(at)),
        };
        self.state.lock().unwrap().paid.insert(order.to_owned(), paid);
    }

    /// The orders that were opened.
    pub(super) fn orders(&self) -> Vec<pb::CreatePaymentRequest> {
        self.state.lock().unwrap().orders.values().cloned().collect()
    }

    /// How often it was asked for an order.
    pub(super) fn look_ups(&self) -> usize {
        self.state.lock().unwrap().look_ups
    }
}

#[tonic::async_trait]
impl PaymentGatewayService for Provider {
    async fn create_payment(
        &self,
        request: Request<pb::CreatePaymentRequest>,
    ) -> Result<Response<pb::CreatePaymentResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.state.lock().unwrap();
        if let Some(fault) = state.fault.clone() {
            return Err(fault.into());
        }
        let id = request.recharge_id.clone();
        let kept = state.orders.entry(id.clone()).or_insert_with(|| request.clone());
        assert_eq!(*kept, request, "a repetition asks for the same order");
        if state.loses {
            return Err(Status::unavailable("cut"));
        }
        Ok(Response::new(pb::CreatePaymentResponse { payment_url: format!("https://pay.acme.test/{id}") }))
    }

    async fn look_up_payment(
        &self,
        request: Request<pb::LookUpPaymentRequest>,
    ) -> Result<Response<pb::LookUpPaymentResponse>, Status> {
        let id = request.into_inner().recharge_id;
        let mut state = self.state.lock().unwrap();
        state.look_ups += 1;
        if let Some(fault) = state.fault.clone() {
            return Err(fault.into());
        }
        let waiting =
            pb::LookUpPaymentResponse { state: pb::PaymentOrderState::Waiting.into(), ..Default::default() };
        Ok(Response::new(state.paid.get(&id).cloned().unwrap_or(waiting)))
    }
}
