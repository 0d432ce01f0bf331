//! Callbacks: recorded once, answered as the vendor expects, refused without a trace.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_adapters::alibaba::sign_query;
use tandem_adapters::callback::{CallbackAction, CallbackFields};
use tandem_proto::billing::v1::{MarketplaceEventKind, MarketplaceEventState};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tonic::Status;

use crate::billing::Script;
use crate::harness::{
    ACCOUNT, Answer, CALLBACKS, Harness, INSTANCE, KEY, KEY_BEFORE, fields, signed, signed_by,
};

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_purchase_is_recorded_and_its_number_echoed() {
    let gateway = Harness::start().await;
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Create, &fields())).await;
    assert_eq!(answer.status, 200);
    assert_eq!(json_of(&answer)["instanceId"], INSTANCE);
    assert!(answer.head.contains("content-type: application/json; charset=utf-8"));
    let calls = gateway.billing.calls();
    let event = &calls[0].events[0];
    assert_eq!(event.kind(), MarketplaceEventKind::Subscribed);
    assert_eq!((event.vendor_instance_id.as_str(), event.vendor_account_id.as_str()), (INSTANCE, ACCOUNT));
    assert_eq!((event.plan.as_str(), event.key_per_state), ("commercial", false));
    assert!(!event.details.contains_key("token"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_is_the_same_request() {
    let gateway = Harness::start().await;
    let query = signed(CallbackAction::Create, &fields());
    let first = gateway.get(CALLBACKS, &query).await;
    let second = gateway.get(&format!("{CALLBACKS}/china"), &query).await;
    assert_eq!(first.body, second.body);
    let calls = gateway.billing.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].request_id, calls[1].request_id);
}

#[tokio::test]
async fn a_release_is_told_by_state_and_each_delivery_is_a_request_of_its_own() {
    let gateway = Harness::start().await;
    let query = signed(CallbackAction::Release, &fields());
    for _ in 0..2 {
        assert_eq!(json_of(&gateway.get(CALLBACKS, &query).await), json!({"success": true}));
    }
    let calls = gateway.billing.calls();
    assert!(calls.iter().all(|call| call.events[0].key_per_state));
    assert_eq!(calls[0].events[0].event_key, calls[1].events[0].event_key);
    assert_ne!(calls[0].request_id, calls[1].request_id);
}

#[tokio::test]
async fn every_action_arrives_as_what_it_means() {
    use MarketplaceEventKind as Kind;
    let gateway = Harness::start().await;
    for (action, kind) in [
        (CallbackAction::Create, Kind::Subscribed),
        (CallbackAction::Renew, Kind::Renewed),
        (CallbackAction::Upgrade, Kind::PlanChanged),
        (CallbackAction::Expire, Kind::Suspended),
        (CallbackAction::Release, Kind::Cancelled),
        (CallbackAction::RefundRenew, Kind::RenewalReturned),
        (CallbackAction::OrderPay, Kind::Notice),
    ] {
        let answer = gateway.get(CALLBACKS, &signed(action, &fields())).await;
        assert_eq!(answer.status, 200, "{action:?}");
        assert_eq!(gateway.billing.calls().last().unwrap().events[0].kind(), kind, "{action:?}");
    }
}

#[tokio::test]
async fn the_key_before_a_rotation_still_counts() {
    let gateway = Harness::start().await;
    let answer = gateway.get(CALLBACKS, &signed_by(KEY_BEFORE, CallbackAction::Expire, &fields())).await;
    assert_eq!(json_of(&answer), json!({"success": true}));
}

#[tokio::test]
async fn forgeries_are_refused_without_a_trace() {
    let gateway = Harness::start().await;
    let genuine = signed(CallbackAction::Release, &fields());
    let token = genuine.find("token=").unwrap() + "token=".len();
    let flipped = if genuine.as_bytes()[token] == b'0' { "1" } else { "0" };
    let stripped: Vec<&str> = genuine.split('&').filter(|pair| !pair.starts_with("token=")).collect();
    let forgeries = [
        String::new(),
        stripped.join("&"),
        format!("{}&token=", stripped.join("&")),
        format!("{}{flipped}{}", &genuine[..token], &genuine[token + 1..]),
        genuine.replace(INSTANCE, "1551234568"),
        genuine.replace("isRefund=false", "isRefund=true"),
        genuine.replace("releaseInstance", "expiredInstance"),
        format!("{genuine}&extra=1"),
        format!("{genuine}&instanceId={INSTANCE}"),
        format!("{genuine}&x=%ff"),
        signed_by("another-key-of-somebody-else-00", CallbackAction::Release, &fields()),
    ];
    for forged in &forgeries {
        let answer = gateway.get(CALLBACKS, forged).await;
        assert_eq!((answer.status, answer.body.as_str()), (403, "{}"), "{forged}");
    }
    for (method, status) in [("POST", 403), ("PUT", 405), ("HEAD", 405), ("DELETE", 405)] {
        let head = format!(
            "{method} {CALLBACKS}?{genuine} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(gateway.send(head.as_bytes()).await.status, status, "{method}");
    }
    assert!(gateway.billing.calls().is_empty());
    assert!(gateway.market.calls().is_empty());
}

#[tokio::test]
async fn a_cloud_or_market_that_is_not_configured_is_not_there() {
    let gateway = Harness::start().await;
    let query = signed(CallbackAction::Release, &fields());
    for path in [
        "/callbacks/azure",
        "/callbacks/nimbus",
        "/callbacks/alibaba/international",
        "/callbacks",
        "/",
        "/x/alibaba",
    ] {
        assert_eq!(gateway.get(path, &query).await.status, 404, "{path}");
    }
    assert!(gateway.billing.calls().is_empty());
}

#[tokio::test]
async fn while_billing_is_away_the_vendor_is_told_to_call_again() {
    let gateway = Harness::start_without_billing().await;
    let create = signed(CallbackAction::Create, &fields());
    let release = signed(CallbackAction::Release, &fields());
    let begun = Instant::now();
    assert_eq!(json_of(&gateway.get(CALLBACKS, &create).await), json!({"instanceId": "0"}));
    assert_eq!(json_of(&gateway.get(CALLBACKS, &release).await), json!({"success": false}));
    assert!(begun.elapsed() < Duration::from_secs(6));
    gateway.start_billing().await;
    assert_eq!(json_of(&gateway.get(CALLBACKS, &create).await)["instanceId"], INSTANCE);
    assert_eq!(json_of(&gateway.get(CALLBACKS, &release).await), json!({"success": true}));
}

#[tokio::test]
async fn a_billing_that_does_not_answer_is_not_waited_for() {
    let gateway = Harness::start().await;
    gateway.billing.script([Script::Hang]);
    let begun = Instant::now();
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await;
    assert_eq!(json_of(&answer), json!({"success": false}));
    assert!(begun.elapsed() < Duration::from_secs(3), "the vendor waits no longer");
}

#[tokio::test]
async fn when_billing_is_full_of_callbacks_more_are_told_to_come_again_at_once() {
    let gateway = std::sync::Arc::new(Harness::start().await);
    gateway.billing.script((0..64).map(|_| Script::Hang));
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let gateway = std::sync::Arc::clone(&gateway);
            tokio::spawn(
                async move { gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await },
            )
        })
        .collect();
    gateway.billing.wait_for(64).await;
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await;
    assert_eq!(json_of(&answer), json!({"success": false}));
    assert_eq!(gateway.billing.calls().len(), 64);
    for answer in waiting {
        assert_eq!(json_of(&answer.await.unwrap()), json!({"success": false}));
    }
    assert_eq!(
        json_of(&gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await),
        json!({"success": true})
    );
}

#[tokio::test]
async fn a_lost_race_is_repeated_once_with_the_same_request() {
    let gateway = Harness::start().await;
    for status in [Status::unavailable("x"), Fault::new(Reason::Conflict).into()] {
        gateway.billing.script([Script::Fail(status)]);
        let before = gateway.billing.calls().len();
        let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await;
        assert_eq!(json_of(&answer), json!({"success": true}));
        let calls = gateway.billing.calls().split_off(before);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].request_id, calls[1].request_id);
    }
}

#[tokio::test]
async fn a_refusal_of_billing_is_no_success() {
    let gateway = Harness::start().await;
    for reason in [Reason::InvalidField, Reason::EventContradicts, Reason::Internal, Reason::RoleNotAllowed] {
        gateway.billing.script([Script::Fail(Fault::new(reason).into())]);
        let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Renew, &fields())).await;
        assert_eq!((answer.status, json_of(&answer)), (200, json!({"success": false})), "{reason:?}");
    }
    let refused = || Script::Answer(MarketplaceEventState::Refused, "SUBSCRIPTION_ENDED");
    gateway.billing.script([refused(), refused()]);
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Renew, &fields())).await;
    assert_eq!(json_of(&answer), json!({"success": false}));
}

#[tokio::test]
async fn a_waiting_purchase_is_called_again_and_a_waiting_event_is_done() {
    let gateway = Harness::start().await;
    let pending = || Script::Answer(MarketplaceEventState::Pending, "");
    gateway.billing.script([pending(), pending()]);
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Create, &fields())).await;
    assert_eq!(json_of(&answer), json!({"instanceId": "0"}));
    // The remembered answer says "pending" still; the truth is that it was applied meanwhile.
    gateway.billing.script([pending()]);
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Create, &fields())).await;
    assert_eq!(json_of(&answer)["instanceId"], INSTANCE);
    gateway.billing.script([pending()]);
    let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Expire, &fields())).await;
    assert_eq!(json_of(&answer), json!({"success": true}));
}

#[tokio::test]
async fn an_unknown_word_is_kept_and_not_acknowledged() {
    let gateway = Harness::start().await;
    let named = sign_query(KEY, &[("action", "explodeInstance"), ("instanceId", INSTANCE)]);
    assert_eq!(json_of(&gateway.get(CALLBACKS, &named).await), json!({"success": false}));
    let calls = gateway.billing.calls();
    assert_eq!(calls[0].events[0].kind(), MarketplaceEventKind::Notice);
    assert_eq!(calls[0].events[0].details["action"], "explodeInstance");
    let nameless = sign_query(KEY, &[("action", "explodeInstance")]);
    let answer = gateway.get(CALLBACKS, &nameless).await;
    assert_eq!((answer.status, json_of(&answer)), (200, json!({"success": false})));
    assert_eq!(gateway.billing.calls().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_translated_is_never_guessed() {
    let gateway = Harness::start().await;
    let wrong = |change: fn(&mut CallbackFields)| {
        let mut fields = fields();
        change(&mut fields);
        fields
    };
    for fields in [
        wrong(|f| f.product = Some("cmgj00099999".to_owned())),
        wrong(|f| f.plan = Some("gold".to_owned())),
        wrong(|f| f.account = Some("12".to_owned())),
        wrong(|f| f.instance = Some("x".to_owned())),
    ] {
        let answer = gateway.get(CALLBACKS, &signed(CallbackAction::Create, &fields)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(json_of(&answer)["instanceId"], "0", "{fields:?}");
    }
    assert!(gateway.billing.calls().is_empty());
}

#[tokio::test]
async fn one_trace_goes_on_to_billing() {
    let gateway = Harness::start().await;
    gateway.billing.script([Script::Fail(Status::unavailable("x"))]);
    let foreign = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    gateway.get_with(CALLBACKS, &signed(CallbackAction::Release, &fields()), foreign).await;
    gateway.get(CALLBACKS, &signed(CallbackAction::Release, &fields())).await;
    let traces: Vec<String> =
        gateway.billing.calls().iter().map(|c| c.traceparent.split('-').nth(1).unwrap().to_owned()).collect();
    assert_eq!(traces.len(), 3);
    assert_eq!(traces[0].len(), 32);
    assert_eq!(traces[0], traces[1], "both tries belong to one callback");
    assert_ne!(traces[1], traces[2], "another callback is another trace");
    assert!(
        !traces.iter().any(|t| t == "0af7651916cd43dd8448eb211c80319c"),
        "a stranger's trace is not ours"
    );
    assert!(gateway.billing.calls().iter().all(|call| call.authorization.starts_with("Bearer ")));
}
