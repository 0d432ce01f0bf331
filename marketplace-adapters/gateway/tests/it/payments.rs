//! Payment notices: told to Billing once they are proved, answered after it has committed, refused without a trace; and
//! Billing's own questions.

use std::sync::Arc;

use jiff::SignedDuration;
use secrecy::SecretString;
use serde_json::{Value, json};
use tandem_adapters::payment::hosted::signature::{Purpose, sign};
use tandem_adapters::payment::sandbox::{Pay, PaymentSandbox, PaymentSandboxConfig};
use tandem_proto::billing::v1::PaymentState;
use tandem_proto::common::v1::{Money, PaymentChannel};
use tandem_proto::marketplace::v1 as pb;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::{Fault, reason_of};
use tandem_service_kit::validate::to_message;
use tonic::Status;

use crate::harness::{Answer, Harness, NOTICE_KEY, NOTICE_KEY_BEFORE, log_lines, now};

const ORDER: &str = "rch_0123456789abcdef0123456789abcdef";

fn notice() -> Value {
    json!({
        "merchant": "acme", "order_id": ORDER, "status": "PAID", "payment_id": "2026030122001",
        "amount_minor": 10_000, "currency": "CNY", "paid_at": "2026-03-01T02:01:00Z",
    })
}

/// Posts a body with this signature.
async fn post(gateway: &Harness, path: &str, headers: &[(&str, String)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    gateway.send(format!("{head}{body}").as_bytes()).await
}

async fn announce(gateway: &Harness, body: &Value, key: &str) -> Answer {
    let body = body.to_string();
    let headers = sign(Purpose::Notice, body.as_bytes(), key, now());
    post(gateway, "/payments/alipay", &headers, &body).await
}

#[tokio::test]
async fn a_proved_notice_is_told_to_billing_as_it_is() {
    let gateway = Harness::start().await;
    for key in [NOTICE_KEY, NOTICE_KEY_BEFORE] {
        let answer = announce(&gateway, &notice(), key).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"result":"success"}"#));
    }
    let told = gateway.billing.payments();
    assert_eq!(told[0], told[1], "the same announcement is the same request");
    let payment = &told[0];
    assert_eq!((payment.payment_id.as_str(), payment.order_id.as_str()), ("2026030122001", ORDER));
    assert_eq!(payment.channel(), PaymentChannel::Alipay);
    assert_eq!(payment.amount, Some(Money { currency_code: "CNY".to_owned(), minor_units: 10_000 }));
    let mut other = notice();
    other["amount_minor"] = json!(10_001);
    announce(&gateway, &other, NOTICE_KEY).await;
    assert_ne!(gateway.billing.payments()[2].request_id, payment.request_id);
    gateway.stop().await;
}

/// I-30.
#[tokio::test]
async fn what_is_not_proved_reaches_nobody() {
    let gateway = Harness::start().await;
    let body = notice().to_string();
    let genuine = sign(Purpose::Notice, body.as_bytes(), NOTICE_KEY, now());
    let path = "/payments/alipay";
    let larger = body.replace("10000", "1000000");
    let old = now() - SignedDuration::from_secs(301);
    for answer in [
        post(&gateway, path, &[], &body).await,
        post(&gateway, path, &genuine[..1], &body).await,
        post(&gateway, path, &genuine, &larger).await,
        post(&gateway, path, &sign(Purpose::Notice, body.as_bytes(), NOTICE_KEY, old), &body).await,
        post(&gateway, path, &sign(Purpose::Order, body.as_bytes(), NOTICE_KEY, now()), &body).await,
        announce(&gateway, &notice(), "somebody-else-s-key-0001").await,
        announce(&gateway, &notice(), "3b1e5d70-our-own-api-key").await,
    ] {
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"result":"failure"}"#));
    }
    assert_eq!(gateway.get(path, "").await.status, 401);
    assert_eq!(post(&gateway, "/payments/barter", &genuine, &body).await.status, 404);
    assert_eq!(post(&gateway, path, &genuine, &"x".repeat(64 * 1024 + 1)).await.status, 413);
    assert_eq!(gateway.billing.payments(), []);
    assert!(gateway.metrics_text().await.contains("tandem_gateway_payment_refused_total"));
    gateway.stop().await;
}

#[tokio::test]
async fn the_provider_hears_done_only_after_billing_has_committed() {
    let gateway = Harness::start().await;
    for (answer, status) in [
        (Ok(PaymentState::Booked), 200),
        (Ok(PaymentState::Parked), 200),
        (Ok(PaymentState::Dismissed), 200),
        (Ok(PaymentState::Unspecified), 503),
        (Err(Status::unavailable("")), 503),
        (Err(Status::internal("")), 503),
        (Err(Fault::new(Reason::Conflict).into()), 503),
        (Err(Fault::new(Reason::StorageUnavailable).into()), 503),
        (Err(Fault::new(Reason::RoleNotAllowed).into()), 503),
        (Err(Fault::field("amount", "must be above 0").into()), 422),
    ] {
        gateway.billing.answer_payments(Some(answer.clone()));
        assert_eq!(announce(&gateway, &notice(), NOTICE_KEY).await.status, status, "{answer:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn without_billing_the_provider_comes_again() {
    let gateway = Harness::start_without_billing().await;
    assert_eq!(announce(&gateway, &notice(), NOTICE_KEY).await.status, 503);
    gateway.start_billing().await;
    assert_eq!(announce(&gateway, &notice(), NOTICE_KEY).await.status, 200);
    assert_eq!(gateway.billing.payments().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_raises_an_alarm_and_is_never_guessed() {
    let gateway = Harness::start().await;
    let mut foreign = notice();
    foreign["merchant"] = json!("somebody-else");
    let mut nothing = notice();
    nothing["amount_minor"] = json!(0);
    for wrong in [foreign, nothing, json!([]), json!("PAID")] {
        assert_eq!(announce(&gateway, &wrong, NOTICE_KEY).await.status, 422, "{wrong}");
    }
    let mut other = notice();
    other["status"] = json!("REFUNDED-7351");
    assert_eq!(announce(&gateway, &other, NOTICE_KEY).await.status, 200, "acknowledged, and looked at");
    assert_eq!(gateway.billing.payments(), []);
    let lines = log_lines();
    assert!(lines.contains("payment_not_understood") && lines.contains("REFUNDED-7351"));
    assert!(!lines.contains(NOTICE_KEY), "I-33");
    gateway.stop().await;
}

/// A provider where the gateway's configuration says that it is.
async fn provider(gateway: &Harness) -> PaymentSandbox {
    let secrets = [("api_key", "3b1e5d70-our-own-api-key"), ("notice_key", NOTICE_KEY)];
    let config = PaymentSandboxConfig {
        merchant: "acme".to_owned(),
        secrets: secrets.map(|(name, text)| (name.to_owned(), SecretString::from(text))).into(),
        base_url: format!("http://{}", gateway.provider),
        spacing: std::time::Duration::from_millis(50),
        state_file: None,
    };
    let sandbox = PaymentSandbox::new(config, Arc::new(now)).unwrap();
    let listener = tokio::net::TcpListener::bind(gateway.provider).await.unwrap();
    let router = sandbox.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    sandbox
}

fn create() -> pb::CreatePaymentRequest {
    pb::CreatePaymentRequest {
        request_id: ORDER.to_owned(),
        channel: PaymentChannel::Alipay.into(),
        recharge_id: ORDER.to_owned(),
        amount: Some(Money { currency_code: "CNY".to_owned(), minor_units: 10_000 }),
        expire_time: Some(to_message(now() + SignedDuration::from_hours(72))),
    }
}

#[tokio::test]
async fn an_order_is_opened_once_and_can_be_asked_for() {
    let gateway = Harness::start().await;
    let sandbox = provider(&gateway).await;
    let mut client = gateway.payment_client();
    let ask =
        pb::LookUpPaymentRequest { channel: PaymentChannel::Alipay.into(), recharge_id: ORDER.to_owned() };
    let state = client.look_up_payment(ask.clone()).await.unwrap().into_inner().state();
    assert_eq!(state, pb::PaymentOrderState::Unknown);
    let page = client.create_payment(create()).await.unwrap().into_inner().payment_url;
    assert_eq!(client.create_payment(create()).await.unwrap().into_inner().payment_url, page);
    assert!(page.ends_with(ORDER), "{page}");
    let state = client.look_up_payment(ask.clone()).await.unwrap().into_inner().state();
    assert_eq!(state, pb::PaymentOrderState::Waiting);
    let mut other = create();
    other.amount.as_mut().unwrap().minor_units = 1;
    let refused = client.create_payment(other).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::PaymentRefused), "one number, one order");

    let paid = sandbox.pay(ORDER, &Pay::default()).unwrap();
    let found = client.look_up_payment(ask).await.unwrap().into_inner();
    assert_eq!(found.state(), pb::PaymentOrderState::Paid);
    assert_eq!(found.payment_id, paid.payment_id);
    assert_eq!(found.amount.unwrap().minor_units, 10_000);
    gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_away_or_refuses_us_decides_nothing() {
    let gateway = Harness::start().await;
    let mut client = gateway.payment_client();
    let away = client.create_payment(create()).await.unwrap_err();
    assert_eq!(reason_of(&away), Some(Reason::PaymentProviderUnavailable));
    let sandbox = provider(&gateway).await;
    for (status, reason) in [
        (401, Reason::PaymentProviderUnavailable),
        (403, Reason::PaymentProviderUnavailable),
        (408, Reason::PaymentProviderUnavailable),
        (429, Reason::PaymentProviderUnavailable),
        (500, Reason::PaymentProviderUnavailable),
        (302, Reason::PaymentProviderUnavailable),
        (400, Reason::PaymentRefused),
    ] {
        sandbox.fail_calls(Some(status));
        let failed = client.create_payment(create()).await.unwrap_err();
        assert_eq!(reason_of(&failed), Some(reason), "{status}");
    }
    assert_eq!(sandbox.orders(), []);
    let mut barter = create();
    barter.channel = 0;
    let wrong = client.create_payment(barter).await.unwrap_err();
    assert_eq!(Fault::from_status(&wrong).unwrap().fields[0].0, "channel");
    gateway.stop().await;
}
