use std::sync::atomic::{AtomicUsize, Ordering};

use tandem_proto::common::v1::clock_service_client::ClockServiceClient;
use tandem_proto::common::v1::outbox_service_client::OutboxServiceClient;
use tandem_proto::common::v1::outbox_service_server::{OutboxService, OutboxServiceServer};
use tandem_proto::common::v1::{
    AdvanceClockRequest, GetClockRequest, ListOutboxMessagesRequest, ListOutboxMessagesResponse,
    RedriveOutboxMessageRequest, RedriveOutboxMessageResponse, Role,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;
use crate::clock::{SystemClock, TestClock};
use crate::fault::reason_of;
use crate::identity::{Signer, SigningKey};
use crate::peer::Peer;

/// A service whose answers the test decides by the page token it sends.
#[derive(Clone, Default)]
struct Fake {
    entered: Arc<AtomicUsize>,
    release: Arc<Notify>,
}

#[tonic::async_trait]
impl OutboxService for Fake {
    async fn list_outbox_messages(
        &self,
        request: Request<ListOutboxMessagesRequest>,
    ) -> Result<Response<ListOutboxMessagesResponse>, Status> {
        let caller = caller(&request)?;
        self.entered.fetch_add(1, Ordering::SeqCst);
        match request.get_ref().page_token.as_str() {
            "panic" => panic!("on purpose"),
            "wait" => self.release.notified().await,
            _ => {}
        }
        Ok(Response::new(ListOutboxMessagesResponse { messages: Vec::new(), next_page_token: caller.name }))
    }

    async fn redrive_outbox_message(
        &self,
        _request: Request<RedriveOutboxMessageRequest>,
    ) -> Result<Response<RedriveOutboxMessageResponse>, Status> {
        Ok(Response::new(RedriveOutboxMessageResponse::default()))
    }
}

struct Running {
    uri: String,
    fake: Fake,
    health: Health,
    key: String,
    stop: CancellationToken,
    done: JoinHandle<Result<(), ServerError>>,
}

async fn start(clock: SharedClock, admission_limit: usize, drain: Duration) -> Running {
    let key = SigningKey::generate().unwrap();
    let mut verifier = Verifier::new("here");
    verifier.register("operator", Role::Operator, &key.public_key()).unwrap();
    verifier.register("portal", Role::Portal, &key.public_key()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (fake, health, stop) = (Fake::default(), Health::new(), CancellationToken::new());
    let server = Server::new(ServerOptions {
        name: "test",
        listener,
        verifier: Arc::new(verifier),
        clock,
        health: health.clone(),
        admission_limit,
        reflection_descriptors: vec![tandem_proto::descriptor::COMMON],
        drain,
    });
    let server = server.add(OutboxServiceServer::new(fake.clone()));
    let done = tokio::spawn(server.serve(stop.clone()));
    let key = secrecy::ExposeSecret::expose_secret(&key.to_secret()).to_owned();
    Running { uri, fake, health, key, stop, done }
}

async fn usual() -> Running {
    start(SystemClock::shared(), 8, Duration::from_secs(10)).await
}

impl Running {
    fn peer(&self, name: &str, role: Role, audience: &str) -> Peer {
        let key = SigningKey::from_secret(&self.key.clone().into()).unwrap();
        let signer = Arc::new(Signer::new(name, role, key));
        Peer::connect_lazy(&self.uri, signer, audience, Duration::from_secs(20)).unwrap()
    }

    fn operator(&self) -> OutboxServiceClient<crate::peer::PeerChannel> {
        OutboxServiceClient::new(self.peer("operator", Role::Operator, "here").channel())
    }

    async fn channel(&self) -> tonic::transport::Channel {
        tonic::transport::Endpoint::from_shared(self.uri.clone()).unwrap().connect().await.unwrap()
    }

    async fn serving(&self) -> ServingStatus {
        let mut client = HealthClient::new(self.channel().await);
        let answer = client.check(HealthCheckRequest { service: String::new() }).await.unwrap();
        answer.into_inner().status()
    }
}

fn list(page_token: &str) -> ListOutboxMessagesRequest {
    ListOutboxMessagesRequest { page_token: page_token.to_owned(), ..ListOutboxMessagesRequest::default() }
}

#[tokio::test]
async fn a_known_caller_of_the_right_role_gets_in_and_nobody_else() {
    let running = usual().await;
    let answer = running.operator().list_outbox_messages(list("")).await.unwrap();
    assert_eq!(answer.into_inner().next_page_token, "operator");

    let refused = async |peer: Peer| {
        let mut client = OutboxServiceClient::new(peer.channel());
        reason_of(&client.list_outbox_messages(list("")).await.unwrap_err())
    };
    assert_eq!(refused(running.peer("portal", Role::Portal, "here")).await, Some(Reason::RoleNotAllowed));
    assert_eq!(refused(running.peer("portal", Role::Operator, "here")).await, Some(Reason::TokenInvalid));
    assert_eq!(refused(running.peer("operator", Role::Operator, "there")).await, Some(Reason::TokenInvalid));
    let mut bare = OutboxServiceClient::new(running.channel().await);
    assert_eq!(bare.list_outbox_messages(list("")).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(running.fake.entered.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_server_goes_on() {
    let running = usual().await;
    let mut client = running.operator();
    let status = client.list_outbox_messages(list("panic")).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::Internal, Some(Reason::Internal)));
    assert!(!status.message().contains("on purpose"));
    client.list_outbox_messages(list("")).await.unwrap();
}

#[tokio::test]
async fn what_is_too_much_is_turned_away_at_once() {
    let running = start(SystemClock::shared(), 2, Duration::from_secs(10)).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut client = running.operator();
            tokio::spawn(async move { client.list_outbox_messages(list("wait")).await })
        })
        .collect();
    while running.fake.entered.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let status = running.operator().list_outbox_messages(list("")).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status)), (Code::ResourceExhausted, Some(Reason::Overloaded)));
    // Health does not queue behind the calls.
    assert_eq!(running.serving().await, ServingStatus::Serving);
    running.fake.release.notify_waiters();
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    running.operator().list_outbox_messages(list("")).await.unwrap();
}

#[tokio::test]
async fn a_callers_deadline_is_kept() {
    let running = usual().await;
    let mut request = Request::new(list("wait"));
    request.set_timeout(Duration::from_millis(50));
    let status = running.operator().list_outbox_messages(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
}

#[tokio::test]
async fn stopping_lets_calls_finish_and_says_so_before() {
    let running = usual().await;
    let mut client = running.operator();
    let call = tokio::spawn(async move { client.list_outbox_messages(list("wait")).await });
    while running.fake.entered.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.serving().await, ServingStatus::Serving);
    running.stop.cancel();
    while running.health.is_serving() {
        tokio::task::yield_now().await;
    }
    running.fake.release.notify_waiters();
    call.await.unwrap().unwrap();
    running.done.await.unwrap().unwrap();
    assert!(std::net::TcpStream::connect(running.uri.trim_start_matches("http://")).is_err());
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_after_the_drain_time() {
    let running = start(SystemClock::shared(), 8, Duration::from_millis(50)).await;
    let mut client = running.operator();
    let call = tokio::spawn(async move { client.list_outbox_messages(list("wait")).await });
    while running.fake.entered.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    running.stop.cancel();
    running.done.await.unwrap().unwrap();
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn the_clock_is_served_only_when_it_can_be_moved() {
    let running = usual().await;
    let client = |running: &Running| {
        ClockServiceClient::new(running.peer("operator", Role::Operator, "here").channel())
    };
    let status = client(&running).get_clock(GetClockRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);

    let clock: SharedClock = Arc::new(TestClock::frozen("2026-03-01T00:00:00Z".parse().unwrap()));
    let running = start(clock, 8, Duration::from_secs(10)).await;
    let to_time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
    let request = AdvanceClockRequest { request_id: "r1".to_owned(), to_time };
    let answer = client(&running).advance_clock(request).await.unwrap().into_inner();
    assert_eq!(answer.now_time, to_time);
    assert_eq!(client(&running).get_clock(GetClockRequest {}).await.unwrap().into_inner().now_time, to_time);
    let status = client(&running).advance_clock(AdvanceClockRequest::default()).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::InvalidField));
}

#[tokio::test]
async fn reflection_shows_what_is_served_and_the_error_details() {
    let running = usual().await;
    let mut client = ServerReflectionClient::new(running.channel().await);
    let ask = async |client: &mut ServerReflectionClient<_>, request: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut answers =
            client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) =
        ask(&mut client, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"tandem.common.v1.OutboxService".to_owned()), "{names:?}");
    assert!(!names.contains(&"tandem.common.v1.ClockService".to_owned()), "{names:?}");
    for symbol in ["google.rpc.ErrorInfo", "tandem.common.v1.OutboxService"] {
        let answer = ask(&mut client, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{symbol}");
    }
}

#[tokio::test]
async fn health_falls_when_writes_do_not_commit_and_comes_back() {
    let running = usual().await;
    running.health.set_writes(false).await;
    assert_eq!(running.serving().await, ServingStatus::NotServing);
    running.health.set_writes(true).await;
    assert_eq!(running.serving().await, ServingStatus::Serving);
}

#[test]
fn a_service_that_the_schema_does_not_know_does_not_start() {
    assert!(matches!(check_access(&["tandem.none.v1.NoService"]), Err(ServerError::NoAccess(_))));
    assert!(check_access(&["tandem.common.v1.OutboxService"]).is_ok());
}
