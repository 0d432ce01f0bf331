//! A Billing that remembers what it was told, and can be told what to answer.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::marketplace_service_server::{MarketplaceService, MarketplaceServiceServer};
use tandem_proto::billing::v1::payment_service_server::{PaymentService, PaymentServiceServer};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

/// What Billing does with its next call, when it does not simply do its work.
pub(crate) enum Script {
    /// Says no.
    Fail(Status),
    /// Leaves every event in a state, with a reason.
    Answer(pb::MarketplaceEventState, &'static str),
    /// Never answers.
    Hang,
}

/// A call as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) traceparent: String,
    pub(crate) authorization: String,
    pub(crate) request_id: String,
    pub(crate) events: Vec<pb::AnnouncedEvent>,
    pub(crate) landing: Option<pb::OpenLandingRequest>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    script: VecDeque<Script>,
    keys: HashSet<String>,
    proofs: HashSet<String>,
    announced: HashSet<String>,
    arrivals: watch::Sender<usize>,
    payments: Vec<pb::RecordPaymentRequest>,
    /// What is said of the next payments; `None` is that one is booked.
    payment_answer: Option<Result<pb::PaymentState, Status>>,
}

/// The handle that tests hold.
#[derive(Clone, Default)]
pub(crate) struct FakeBilling {
    state: Arc<Mutex<State>>,
}

impl FakeBilling {
    /// Serves on a listener until the task is aborted.
    pub(crate) fn serve(&self, listener: TcpListener) -> JoinHandle<()> {
        let (service, payments) =
            (MarketplaceServiceServer::new(self.clone()), PaymentServiceServer::new(self.clone()));
        let standing = crate::unlock::FakeStanding::server();
        tokio::spawn(async move {
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            let mut server = tonic::transport::Server::builder();
            let server = server.add_service(service).add_service(payments).add_service(standing);
            let _ = server.serve_with_incoming(incoming).await;
        })
    }

    /// Binds a free port.
    pub(crate) async fn bind() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Tells it what to do with the next calls.
    pub(crate) fn script(&self, script: impl IntoIterator<Item = Script>) {
        self.state.lock().unwrap().script.extend(script);
    }

    /// Makes a purchase known, so that its buyers can land.
    pub(crate) fn announce(&self, instance: &str) {
        self.state.lock().unwrap().announced.insert(instance.to_owned());
    }

    /// What it was told so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Says this of payments from now on.
    pub(crate) fn answer_payments(&self, answer: Option<Result<pb::PaymentState, Status>>) {
        self.state.lock().unwrap().payment_answer = answer;
    }

    /// The payments it was told of.
    pub(crate) fn payments(&self) -> Vec<pb::RecordPaymentRequest> {
        self.state.lock().unwrap().payments.clone()
    }

    /// Waits until it was called this many times.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut arrivals = self.state.lock().unwrap().arrivals.subscribe();
        arrivals.wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    fn note<T>(&self, request: &Request<T>, mut call: Call) -> Option<Script> {
        let read = |name: &str| {
            request.metadata().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        call.traceparent = read("traceparent");
        call.authorization = read("authorization");
        let mut state = self.state.lock().unwrap();
        state.calls.push(call);
        state.arrivals.send_modify(|count| *count += 1);
        state.script.pop_front()
    }
}

#[tonic::async_trait]
impl PaymentService for FakeBilling {
    async fn record_payment(
        &self,
        request: Request<pb::RecordPaymentRequest>,
    ) -> Result<Response<pb::RecordPaymentResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        state.payments.push(request.into_inner());
        let said = state.payment_answer.clone().unwrap_or(Ok(pb::PaymentState::Booked))?;
        let payment = Some(pb::OnlinePayment { state: said.into(), ..Default::default() });
        Ok(Response::new(pb::RecordPaymentResponse { payment }))
    }

    async fn list_payments(
        &self,
        _: Request<pb::ListPaymentsRequest>,
    ) -> Result<Response<pb::ListPaymentsResponse>, Status> {
        Err(Status::unimplemented("not the gateway's"))
    }

    async fn resolve_payment(
        &self,
        _: Request<pb::ResolvePaymentRequest>,
    ) -> Result<Response<pb::ResolvePaymentResponse>, Status> {
        Err(Status::unimplemented("not the gateway's"))
    }
}

fn outcome(state: pb::MarketplaceEventState, duplicate: bool, reason: &str) -> pb::EventOutcome {
    let id = format!("mev_{}", "0".repeat(32));
    pb::EventOutcome { marketplace_event_id: id, state: state.into(), duplicate, reason: reason.to_owned() }
}

type Played<'f, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'f>>;

macro_rules! not_played {
    ($($method:ident: $request:ident, $response:ident;)+) => {$(
        // Written out, because the attribute does not look into macros.
        fn $method<'s, 'f>(&'s self, _: Request<pb::$request>) -> Played<'f, pb::$response>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(std::future::ready(Err(Status::unimplemented("not played here"))))
        }
    )+};
}

#[tonic::async_trait]
impl MarketplaceService for FakeBilling {
    async fn record_marketplace_events(
        &self,
        request: Request<pb::RecordMarketplaceEventsRequest>,
    ) -> Result<Response<pb::RecordMarketplaceEventsResponse>, Status> {
        let message = request.get_ref().clone();
        let (traceparent, authorization) = Default::default();
        let (request_id, events) = (message.request_id.clone(), message.events.clone());
        let script =
            self.note(&request, Call { traceparent, authorization, request_id, events, landing: None });
        let outcomes = match script {
            Some(Script::Fail(status)) => return Err(status),
            Some(Script::Hang) => std::future::pending().await,
            Some(Script::Answer(state, reason)) => {
                message.events.iter().map(|_| outcome(state, false, reason)).collect()
            }
            None => {
                let mut state = self.state.lock().unwrap();
                let record = |event: &pb::AnnouncedEvent| {
                    let new = state.keys.insert(event.event_key.clone());
                    outcome(pb::MarketplaceEventState::Applied, !new, "")
                };
                message.events.iter().map(record).collect()
            }
        };
        Ok(Response::new(pb::RecordMarketplaceEventsResponse { outcomes }))
    }

    async fn open_landing(
        &self,
        request: Request<pb::OpenLandingRequest>,
    ) -> Result<Response<pb::OpenLandingResponse>, Status> {
        let message = request.get_ref().clone();
        let (traceparent, authorization, events) = Default::default();
        let (request_id, landing) = (message.request_id.clone(), Some(message.clone()));
        let script = self.note(&request, Call { traceparent, authorization, request_id, events, landing });
        match script {
            Some(Script::Fail(status)) => return Err(status),
            Some(Script::Hang) => std::future::pending().await,
            Some(Script::Answer(..)) | None => {}
        }
        let mut state = self.state.lock().unwrap();
        if !state.announced.contains(&message.vendor_instance_id) {
            return Err(Fault::new(Reason::PurchaseNotFound).into());
        }
        if !state.proofs.insert(message.proof_digest) {
            return Err(Fault::new(Reason::TicketInvalid).into());
        }
        let expire_time = Some(validate::to_message("2026-03-01T03:01:30Z".parse().unwrap()));
        let landing_ticket = format!("lnd_{}", "a".repeat(32));
        Ok(Response::new(pb::OpenLandingResponse { landing_ticket, expire_time, already_bound: false }))
    }

    not_played! {
        verify_purchase: VerifyPurchaseRequest, VerifyPurchaseResponse;
        list_cloud_accounts: ListCloudAccountsRequest, ListCloudAccountsResponse;
        get_subscription: GetSubscriptionRequest, GetSubscriptionResponse;
        list_subscriptions: ListSubscriptionsRequest, ListSubscriptionsResponse;
        list_marketplace_events: ListMarketplaceEventsRequest, ListMarketplaceEventsResponse;
        replay_marketplace_event: ReplayMarketplaceEventRequest, ReplayMarketplaceEventResponse;
        list_metering_records: ListMeteringRecordsRequest, ListMeteringRecordsResponse;
        resolve_metering_record: ResolveMeteringRecordRequest, ResolveMeteringRecordResponse;
        reconcile: ReconcileRequest, ReconcileResponse;
    }
}
