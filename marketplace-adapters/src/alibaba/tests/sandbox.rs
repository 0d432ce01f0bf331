//! Adapter and sandbox face to face, over real sockets, both ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use tandem_proto::vendor::Vendor;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::{KEY, config_with, now, settings, surroundings};
use crate::callback::CallbackAction;
use crate::delivery::{Delivery, Outcome};
use crate::error::ClientError;
use crate::event::{EventKind, MarketplaceEvent, Parsed};
use crate::http::{HttpClient, Idempotency, Target};
use crate::sandbox::faults::{Awkward, DeliverySettings, Fault, FaultKind, LetGo};
use crate::sandbox::state::{NoticeState, Status};
use crate::sandbox::{Buy, Sandbox, SandboxConfig, SandboxError, SandboxHandle};
use crate::usage::{PurchaseState, SubmitOutcome, UsageRecord};
use crate::{Connection, MarketplaceAdapter, Surroundings};

const ACCOUNT: &str = "1744500000000021";
const LIMIT: Duration = Duration::from_secs(20);

/// A seller's callback address: proves each callback with the adapter, remembers it, and answers what it is told to.
#[derive(Clone)]
struct Seller {
    adapter: Arc<dyn MarketplaceAdapter>,
    events: Arc<Mutex<Vec<MarketplaceEvent>>>,
    answers: Arc<Mutex<Vec<Outcome>>>,
}

async fn receive(State(seller): State<Seller>, request: Request) -> Response {
    let delivery = Delivery::get(request.uri().path(), request.uri().query().unwrap_or_default());
    let proved = seller.adapter.authenticate(&delivery, now()).unwrap();
    let Parsed::Events(events) = seller.adapter.parse(&proved).unwrap() else { panic!("no event") };
    seller.events.lock().unwrap().extend(events);
    let mut answers = seller.answers.lock().unwrap();
    let outcome = if answers.is_empty() { Outcome::Applied } else { answers.remove(0) };
    let reply = seller.adapter.reply(&proved, &outcome);
    (reply.status, [("content-type", reply.content_type)], reply.body).into_response()
}

struct World {
    sandbox: SandboxHandle,
    address: String,
    seller: Seller,
    connection: Connection,
    clock: Arc<Mutex<Timestamp>>,
}

fn secrets() -> BTreeMap<String, SecretString> {
    let put = |name: &str, text: &str| (name.to_owned(), SecretString::from(text));
    [
        put("isv_key", KEY),
        put("access_key_id", "LTAI5tDemoKeyNotReal01"),
        put("access_key_secret", "demoSecretNotReal0123456789abcd"),
    ]
    .into()
}

async fn world_with(change: impl FnOnce(&mut Value), state_file: Option<std::path::PathBuf>) -> World {
    let sandbox_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seller_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", sandbox_listener.local_addr().unwrap());
    let mut settings = settings();
    settings["base_url"] = address.clone().into();
    settings["allow_insecure"] = true.into();
    settings["timeout_millis"] = 1_000.into();
    change(&mut settings);
    let clock = Arc::new(Mutex::new(now()));
    let told = Arc::clone(&clock);
    let surroundings = Surroundings { now: Arc::new(move || *told.lock().unwrap()), ..surroundings() };
    let connection =
        super::super::open(config_with(settings.clone(), KEY, None), surroundings.clone()).unwrap();
    let seller =
        Seller { adapter: Arc::clone(&connection.adapter), events: Arc::default(), answers: Arc::default() };
    let router = axum::Router::new().fallback(receive).with_state(seller.clone());
    let callback_url = format!("http://{}/callback", seller_listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(seller_listener, router).await });
    let config = SandboxConfig {
        callback_spacing: Duration::from_millis(5),
        state_file,
        ..SandboxConfig::matching(Vendor::Alibaba, &settings, secrets(), callback_url).unwrap()
    };
    let sandbox = Sandbox::new(config, surroundings.now).unwrap();
    let handle = sandbox.handle();
    tokio::spawn(sandbox.serve(sandbox_listener, std::future::pending()));
    World { sandbox: handle, address, seller, connection, clock }
}

async fn world() -> World {
    world_with(|_| {}, None).await
}

impl World {
    async fn bought(&self) -> String {
        let buy = Buy { account_id: ACCOUNT.into(), ..Buy::default() };
        let purchase = self.sandbox.buy(&buy).unwrap();
        self.sandbox.settle(LIMIT).await.unwrap();
        purchase.instance_id
    }

    fn pass(&self, span: SignedDuration) {
        *self.clock.lock().unwrap() += span;
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.seller.events.lock().unwrap().iter().map(|event| event.kind).collect()
    }

    async fn push(&self, instance: &str) -> SubmitOutcome {
        let record = UsageRecord {
            id: "mtr_1".into(),
            vendor_instance_id: instance.into(),
            vendor_account_id: ACCOUNT.into(),
            product_code: "cmgj00099001".into(),
            dimension: "Unit".into(),
            start: "2026-03-01T01:00:00Z".parse().unwrap(),
            end: "2026-03-01T02:00:00Z".parse().unwrap(),
            quantity: 1340,
        };
        self.connection.client.submit_usage("r", &[record]).await[0].outcome
    }

    fn fault(&self, action: &str, kind: FaultKind) {
        self.sandbox.add_fault(Fault { action: action.into(), times: 1, kind }).unwrap();
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let target =
            Target { base_url: format!("{}{path}", self.address), allow_insecure: true, timeout: LIMIT };
        let request = crate::http::Request {
            method: method.parse().unwrap(),
            query: String::new(),
            headers: if body.is_null() { vec![] } else { vec![("content-type", "application/json".into())] },
            body: if body.is_null() { String::new() } else { body.to_string() },
        };
        let answer =
            HttpClient::new(&target).unwrap().send(Idempotency::OnceOnly, || request.clone()).await.unwrap();
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn a_purchase_is_announced_until_it_is_confirmed() {
    for signature in ["acs3", "rpc"] {
        let world = world_with(|settings| settings["signature"] = signature.into(), None).await;
        *world.seller.answers.lock().unwrap() =
            vec![Outcome::Pending, Outcome::Unavailable, Outcome::Refused { reason: "X".into() }];
        let instance = world.bought().await;
        assert_eq!(world.kinds(), [EventKind::Subscribed; 4]);
        let keys: Vec<_> = world.seller.events.lock().unwrap().iter().map(|e| e.event_key.clone()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "a repeat has the same key");
        assert_eq!(world.sandbox.purchase(&instance).unwrap().status, Status::Open);
        let found = world.connection.client.look_up_purchase(&instance, ACCOUNT).await.unwrap().unwrap();
        assert_eq!((found.vendor_account_id.as_str(), found.state), (ACCOUNT, PurchaseState::Active));
        assert!(found.product_is_ours && found.expires_at.is_none());
    }
}

#[tokio::test]
async fn the_life_of_a_purchase_arrives_in_order() {
    let world = world().await;
    let instance = world.bought().await;
    let end: Timestamp = "2026-12-31T15:59:59Z".parse().unwrap();
    world.sandbox.order_paid(&instance).unwrap();
    world.sandbox.upgrade(&instance, "cmgj00099001-prepay").unwrap();
    world.sandbox.renew(&instance, Some(end)).unwrap();
    world.sandbox.refund_renewal(&instance, now()).unwrap();
    world.sandbox.expire(&instance).unwrap();
    world.sandbox.renew(&instance, None).unwrap();
    world.sandbox.release(&instance, true).unwrap();
    world.sandbox.repeat(&instance, CallbackAction::Release).unwrap();
    world.sandbox.settle(LIMIT).await.unwrap();
    use EventKind::{Cancelled, Paid, PlanChanged, RenewalReturned, Renewed, Subscribed, Suspended};
    let life =
        [Subscribed, Paid, PlanChanged, Renewed, RenewalReturned, Suspended, Renewed, Cancelled, Cancelled];
    assert_eq!(world.kinds(), life);
    let found = world.connection.client.look_up_purchase(&instance, ACCOUNT).await.unwrap().unwrap();
    assert_eq!(found.state, PurchaseState::Ended);
    assert!(matches!(world.sandbox.renew(&instance, None), Err(SandboxError::Closed)));
}

#[tokio::test]
async fn usage_is_remembered_as_often_as_it_is_taken() {
    for signature in ["acs3", "rpc"] {
        let world = world_with(|settings| settings["signature"] = signature.into(), None).await;
        let instance = world.bought().await;
        assert_eq!(world.push(&instance).await, SubmitOutcome::Accepted);
        let usage = world.sandbox.usage();
        assert_eq!((usage.len(), usage[0].quantity, usage[0].billed), (1, 1340, true));
        world.pass(SignedDuration::from_secs(61));
        assert_eq!(world.push(&instance).await, SubmitOutcome::Accepted);
        assert_eq!(world.sandbox.usage().len(), 2, "the vendor recognises no repeats");
    }
}

#[tokio::test]
async fn a_second_process_meets_the_vendors_own_throttle() {
    let world = world().await;
    let instance = world.bought().await;
    assert_eq!(world.push(&instance).await, SubmitOutcome::Accepted);
    let mut settings = settings();
    settings["base_url"] = world.address.clone().into();
    settings["allow_insecure"] = true.into();
    let fresh = Arc::new(|| Uuid::from_u128(0xffff_0000_0000));
    let other =
        super::super::open(config_with(settings, KEY, None), Surroundings { fresh, ..surroundings() });
    let other = World { connection: other.unwrap(), ..world };
    assert_eq!(other.push(&instance).await, SubmitOutcome::RetryLater(now() + SignedDuration::from_secs(60)));
    assert_eq!(other.sandbox.usage().len(), 1);
}

#[tokio::test]
async fn faults_lead_to_the_outcome_that_is_safe() {
    let refuse = |status, code: &str| FaultKind::Refuse { status, code: code.into() };
    let later = SubmitOutcome::RetryLater(now() + SignedDuration::from_secs(60));
    for (kind, outcome, remembered) in [
        (FaultKind::HangAfter, SubmitOutcome::Unknown, 1),
        (FaultKind::HangBefore, SubmitOutcome::Unknown, 0),
        (FaultKind::Nonsense, SubmitOutcome::Unknown, 1),
        (FaultKind::Doubt, SubmitOutcome::Unknown, 1),
        (FaultKind::Delay { millis: 5 }, SubmitOutcome::Accepted, 1),
        (refuse(500, "Service.Flow.Control"), later, 0),
        (refuse(500, "UnknownError"), SubmitOutcome::Unknown, 0),
        (refuse(500, "Permission.Denied"), SubmitOutcome::Refused, 0),
    ] {
        let world = world().await;
        let instance = world.bought().await;
        world.fault("PushMeteringData", kind.clone());
        assert_eq!(world.push(&instance).await, outcome, "{kind:?}");
        assert_eq!(world.sandbox.usage().len(), remembered, "{kind:?}");
    }
    let world = world().await;
    let instance = world.bought().await;
    world.fault("*", refuse(500, "UnknownError"));
    let found = world.connection.client.look_up_purchase(&instance, ACCOUNT).await;
    assert_eq!(found, Err(ClientError::Unavailable { code: "UnknownError".into() }));
}

#[tokio::test]
async fn final_usage_is_taken_after_a_release_and_later_usage_is_not() {
    let world = world().await;
    let instance = world.bought().await;
    world.sandbox.release(&instance, false).unwrap();
    assert_eq!(
        world.push(&instance).await,
        SubmitOutcome::Accepted,
        "used before the end of the release's hour"
    );
    let early = world.bought().await;
    *world.clock.lock().unwrap() = "2026-03-01T00:59:00Z".parse().unwrap();
    world.sandbox.release(&early, false).unwrap();
    *world.clock.lock().unwrap() = now();
    assert_eq!(world.push(&early).await, SubmitOutcome::Refused);
    assert_eq!(world.push("1559999999").await, SubmitOutcome::Refused, "no such instance");
}

#[tokio::test]
async fn awkward_purchases_look_as_they_are() {
    let world = world().await;
    for (kind, found) in [
        (Awkward::OtherSeller, None),
        (Awkward::OtherProduct, Some((PurchaseState::Active, false))),
        (Awkward::Frozen, Some((PurchaseState::Suspended, true))),
        (Awkward::Closed, Some((PurchaseState::Ended, true))),
        (Awkward::Refunded, Some((PurchaseState::Ended, true))),
        (Awkward::Preparing, Some((PurchaseState::Pending, true))),
        (Awkward::Unannounced, Some((PurchaseState::Active, true))),
    ] {
        let made = world.sandbox.awkward(kind, ACCOUNT).unwrap();
        let said = world.connection.client.look_up_purchase(&made.instance_id, ACCOUNT).await.unwrap();
        assert_eq!(said.map(|p| (p.state, p.product_is_ours)), found, "{kind:?}");
    }
    assert_eq!(world.connection.client.look_up_purchase("1559999999", ACCOUNT).await, Ok(None));
    assert!(world.kinds().is_empty(), "nothing was announced");
}

#[tokio::test]
async fn proofs_of_calls_are_really_checked() {
    let world = world().await;
    let instance = world.bought().await;
    let open_with = |secret: &str, surroundings: Surroundings| {
        let mut settings = settings();
        settings["base_url"] = world.address.clone().into();
        settings["allow_insecure"] = true.into();
        let mut config = config_with(settings, KEY, None);
        config.access_key_secret = secret.into();
        super::super::open(config, surroundings).unwrap().client
    };
    let denied = |code: &str| Err(ClientError::Denied { code: code.into() });
    let good = "demoSecretNotReal0123456789abcd";
    let wrong = open_with("another-secret-0123456789abcdef", surroundings());
    assert_eq!(wrong.look_up_purchase(&instance, ACCOUNT).await, denied("SignatureDoesNotMatch"));
    let late = Surroundings { now: Arc::new(|| now() - SignedDuration::from_mins(16)), ..surroundings() };
    assert_eq!(
        open_with(good, late).look_up_purchase(&instance, ACCOUNT).await,
        denied("InvalidTimeStamp.Expired")
    );
    let stuck = Surroundings { fresh: Arc::new(|| Uuid::from_u128(0xdead_beef)), ..surroundings() };
    assert_eq!(
        open_with(good, stuck).look_up_purchase(&instance, ACCOUNT).await,
        denied("SignatureNonceUsed")
    );
}

#[tokio::test]
async fn callbacks_are_repeated_reordered_and_lost_on_demand() {
    let world = world().await;
    let instance = world.bought().await;
    world.sandbox.set_delivery(DeliverySettings { copies: 3, ..DeliverySettings::default() }).unwrap();
    world.sandbox.expire(&instance).unwrap();
    world.sandbox.settle(LIMIT).await.unwrap();
    assert_eq!(world.kinds()[1..], [EventKind::Suspended; 3]);
    world.sandbox.set_delivery(DeliverySettings { hold: true, ..DeliverySettings::default() }).unwrap();
    world.sandbox.renew(&instance, None).unwrap();
    world.sandbox.release(&instance, false).unwrap();
    world.sandbox.settle(LIMIT).await.unwrap();
    assert_eq!(world.kinds().len(), 4, "held back");
    world.sandbox.let_go(LetGo::Backward).unwrap();
    world.sandbox.settle(LIMIT).await.unwrap();
    assert_eq!(
        world.kinds()[4..],
        [EventKind::Cancelled, EventKind::Renewed],
        "release before the last renewal"
    );
    let other = world.bought().await;
    world.sandbox.set_delivery(DeliverySettings { lose_next: 1, ..DeliverySettings::default() }).unwrap();
    world.sandbox.release(&other, false).unwrap();
    world.sandbox.settle(LIMIT).await.unwrap();
    assert_eq!(world.kinds().len(), 7);
    assert_eq!(world.sandbox.callbacks().last().unwrap().state, NoticeState::Lost);
}

#[tokio::test]
async fn a_buyer_lands_with_a_signed_link() {
    let world = world().await;
    let instance = world.bought().await;
    let link = world.sandbox.landing_link(&instance).unwrap();
    let (address, query) = link.split_once('?').unwrap();
    assert_eq!(address, "https://console.saas.example.com/marketplace/sso", "as the seller said");
    let adapter = &world.connection.adapter;
    let delivery = Delivery::get("/sso", query);
    let parsed = adapter.parse(&adapter.authenticate(&delivery, now()).unwrap()).unwrap();
    assert!(matches!(parsed, Parsed::Landing(landing) if landing.vendor_instance_id == instance));
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    let first = world_with(|_| {}, Some(file.clone())).await;
    let instance = first.bought().await;
    assert_eq!(first.push(&instance).await, SubmitOutcome::Accepted);
    first.sandbox.set_delivery(DeliverySettings { hold: true, ..DeliverySettings::default() }).unwrap();
    first.sandbox.release(&instance, false).unwrap();
    let second = world_with(|_| {}, Some(file)).await;
    assert_eq!(second.sandbox.usage(), first.sandbox.usage());
    assert_eq!(second.sandbox.purchase(&instance).unwrap().status, Status::Closed);
    second.sandbox.let_go(LetGo::Forward).unwrap();
    second.sandbox.settle(LIMIT).await.unwrap();
    assert_eq!(second.kinds(), [EventKind::Cancelled], "what was owed is delivered");
}

#[tokio::test]
async fn the_control_addresses_do_what_the_handle_does() {
    let world = world().await;
    let (status, purchase) = world.control("POST", "/sandbox/buy", json!({"account_id": ACCOUNT})).await;
    assert_eq!(status, 200);
    let instance = purchase["instance_id"].as_str().unwrap().to_owned();
    assert_eq!(world.control("POST", "/sandbox/settle", json!({"timeout_millis": 20_000})).await.0, 200);
    let at = |act: &str| format!("/sandbox/purchases/{instance}/{act}");
    for (method, path, body) in [
        ("POST", at("order-paid"), Value::Null),
        ("POST", at("upgrade"), json!({"plan": "cmgj00099001-prepay"})),
        ("POST", at("renew"), json!({"expires_at": "2026-12-31T15:59:59Z"})),
        ("POST", at("refund-renewal"), json!({"expires_at": "2026-06-30T15:59:59Z"})),
        ("POST", at("expire"), Value::Null),
        ("POST", at("renew"), Value::Null),
        ("GET", at("landing-link"), Value::Null),
        ("POST", at("release"), json!({"refund": true})),
        ("POST", at("repeat"), json!({"action": "release"})),
        ("GET", format!("/sandbox/purchases/{instance}"), Value::Null),
        ("GET", "/sandbox/purchases".into(), Value::Null),
        ("GET", "/sandbox/usage".into(), Value::Null),
        ("POST", "/sandbox/awkward".into(), json!({"kind": "other-seller", "account_id": ACCOUNT})),
        (
            "POST",
            "/sandbox/faults".into(),
            json!({"action": "*", "times": 1, "kind": "refuse", "status": 500, "code": "X"}),
        ),
        ("DELETE", "/sandbox/faults".into(), Value::Null),
        ("PUT", "/sandbox/delivery".into(), json!({"copies": 2})),
        ("POST", "/sandbox/delivery/let-go".into(), json!({"order": "backward"})),
    ] {
        let (status, said) = world.control(method, &path, body).await;
        assert_eq!(status, 200, "{method} {path}: {said}");
    }
    assert_eq!(world.control("POST", "/sandbox/settle", json!({"timeout_millis": 20_000})).await.0, 200);
    let (_, callbacks) = world.control("GET", "/sandbox/callbacks", Value::Null).await;
    assert!(callbacks.as_array().unwrap().iter().all(|c| c["state"] == "done"), "{callbacks}");
    assert_eq!(world.control("POST", &at("renew"), Value::Null).await.0, 409);
    assert_eq!(world.control("GET", "/sandbox/purchases/1", Value::Null).await.0, 404);
}
