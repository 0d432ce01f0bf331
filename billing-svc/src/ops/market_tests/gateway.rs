//! A gateway that answers as a test tells it to, over real gRPC.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tandem_proto::marketplace::v1 as pb;
use tandem_proto::marketplace::v1::marketplace_gateway_service_server::{
    MarketplaceGatewayService, MarketplaceGatewayServiceServer,
};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What the vendor says to a submission.
#[derive(Clone)]
pub(super) enum Answer {
    /// The same to each record.
    Each(pb::SubmitOutcome),
    /// Nothing to any record.
    Nothing,
    /// The call fails.
    Fails(Status),
}

/// The fake, shared by the test and the server.
#[derive(Clone)]
pub(super) struct Gateway {
    inner: Arc<Inner>,
    pub(super) uri: String,
}

struct Inner {
    purchases: Mutex<BTreeMap<String, pb::LookUpPurchaseResponse>>,
    fault: Mutex<Option<Fault>>,
    answer: Mutex<Answer>,
    submitted: Mutex<Vec<pb::SubmitUsageRequest>>,
    look_ups: AtomicUsize,
}

impl Gateway {
    pub(super) async fn start() -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            purchases: Mutex::default(),
            fault: Mutex::default(),
            answer: Mutex::new(Answer::Each(pb::SubmitOutcome::Accepted)),
            submitted: Mutex::default(),
            look_ups: AtomicUsize::new(0),
        });
        let gateway = Gateway { inner, uri };
        let service = MarketplaceGatewayServiceServer::new(gateway.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        gateway
    }

    /// The vendor knows a purchase of ours.
    pub(super) fn knows(&self, instance: &str, account: &str, state: pb::PurchaseState) {
        let known = pb::LookUpPurchaseResponse {
            found: true,
            vendor_instance_id: instance.to_owned(),
            vendor_account_id: account.to_owned(),
            product_code: "cmgj00099001".to_owned(),
            product_is_ours: true,
            state: state.into(),
            ..Default::default()
        };
        self.inner.purchases.lock().unwrap().insert(instance.to_owned(), known);
    }

    /// The vendor knows a purchase of another product.
    pub(super) fn knows_foreign(&self, instance: &str, account: &str) {
        self.knows(instance, account, pb::PurchaseState::Active);
        self.inner.purchases.lock().unwrap().get_mut(instance).unwrap().product_is_ours = false;
    }

    /// Every look-up fails, or none any more.
    pub(super) fn fail(&self, fault: Option<Fault>) {
        *self.inner.fault.lock().unwrap() = fault;
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.inner.answer.lock().unwrap() = answer;
    }

    pub(super) fn submitted(&self) -> Vec<pb::SubmitUsageRequest> {
        self.inner.submitted.lock().unwrap().clone()
    }

    pub(super) fn look_ups(&self) -> usize {
        self.inner.look_ups.load(Ordering::SeqCst)
    }
}

#[tonic::async_trait]
impl MarketplaceGatewayService for Gateway {
    async fn look_up_purchase(
        &self,
        request: Request<pb::LookUpPurchaseRequest>,
    ) -> Result<Response<pb::LookUpPurchaseResponse>, Status> {
        self.inner.look_ups.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        if let Some(fault) = self.inner.fault.lock().unwrap().clone() {
            return Err(fault.into());
        }
        if request.vendor_account_id.contains('@') {
            return Err(Fault::new(Reason::MainAccountRequired).into());
        }
        if !request.vendor_instance_id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::field("vendor_instance_id", "6 to 19 digits").into());
        }
        let known = self.inner.purchases.lock().unwrap().get(&request.vendor_instance_id).cloned();
        Ok(Response::new(known.unwrap_or_default()))
    }

    async fn submit_usage(
        &self,
        request: Request<pb::SubmitUsageRequest>,
    ) -> Result<Response<pb::SubmitUsageResponse>, Status> {
        let request = request.into_inner();
        self.inner.submitted.lock().unwrap().push(request.clone());
        let answer = self.inner.answer.lock().unwrap().clone();
        let results = match answer {
            Answer::Each(outcome) => {
                let said = |r: &pb::UsageRecord| pb::SubmittedRecord {
                    id: r.id.clone(),
                    outcome: outcome.into(),
                    vendor_code: "said".to_owned(),
                    ..Default::default()
                };
                request.records.iter().map(said).collect()
            }
            Answer::Nothing => Vec::new(),
            Answer::Fails(status) => return Err(status),
        };
        Ok(Response::new(pb::SubmitUsageResponse { results }))
    }

    async fn get_submitted_usage(
        &self,
        _: Request<pb::GetSubmittedUsageRequest>,
    ) -> Result<Response<pb::GetSubmittedUsageResponse>, Status> {
        Ok(Response::new(pb::GetSubmittedUsageResponse::default()))
    }
}
