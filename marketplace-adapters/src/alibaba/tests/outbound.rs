//! Calls to the vendor, against scripted answers (`vendors/alibaba.md` 7).

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::open;
use super::{KEY, config_with, now, settings, surroundings};
use crate::Connection;
use crate::error::ClientError;
use crate::usage::{PurchaseState, SubmitOutcome, UsageRecord};

const INSTANCE: &str = r#"{"InstanceId":1551234567,"OrderId":204211111111111,"ProductCode":"cmgj00099001","Status":"OPENED","EndOn":1798732799000}"#;
const ORDER: &str = r#"{"AliUid":1744500000000021,"OrderId":204211111111111,"InstanceIds":["1551234567"],"OrderStatus":"NORMAL","PayStatus":"PAID"}"#;

/// A vendor that gives these answers, one for each connection, and remembers what it was asked.
struct Script {
    connection: Connection,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn new(signature: &str, answers: Vec<(u16, &'static str)>) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = settings();
        settings["base_url"] = format!("http://{}", listener.local_addr().unwrap()).into();
        settings["allow_insecure"] = true.into();
        settings["signature"] = signature.into();
        settings["timeout_millis"] = 500.into();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 16_384];
                let mut length = 0;
                loop {
                    length += socket.read(&mut buffer[length..]).await.unwrap();
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
                    let expected =
                        head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                    if rest.len() >= expected.unwrap_or(0) {
                        log.lock().unwrap().push(text);
                        break;
                    }
                }
                // Status 0 stands for a connection that is cut.
                if status != 0 {
                    let answer =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Script { connection: open(config_with(settings, KEY, None), surroundings()).unwrap(), asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn record(id: &str, instance: &str, start: &str, end: &str) -> UsageRecord {
    UsageRecord {
        id: id.into(),
        vendor_instance_id: instance.into(),
        vendor_account_id: "1744500000000021".into(),
        product_code: "cmgj00099001".into(),
        dimension: "Unit".into(),
        start: start.parse().unwrap(),
        end: end.parse().unwrap(),
        quantity: 1340,
    }
}

fn hour(id: &str, instance: &str) -> UsageRecord {
    record(id, instance, "2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z")
}

fn later(seconds: i64) -> SubmitOutcome {
    SubmitOutcome::RetryLater(now() + SignedDuration::from_secs(seconds))
}

#[tokio::test]
async fn a_purchase_is_looked_up_in_two_calls() {
    for signature in ["acs3", "rpc"] {
        let vendor = Script::new(signature, vec![(200, INSTANCE), (200, ORDER)]).await;
        let found = vendor.connection.client.look_up_purchase("1551234567", "").await.unwrap().unwrap();
        assert_eq!(
            (found.vendor_account_id.as_str(), found.vendor_order_id.as_str()),
            ("1744500000000021", "204211111111111")
        );
        assert_eq!((found.state, found.product_is_ours), (PurchaseState::Active, true));
        assert_eq!(found.expires_at.map(Timestamp::as_millisecond), Some(1_798_732_799_000));
        let asked = vendor.asked();
        assert!(asked[0].contains("DescribeInstanceForIsv") && asked[0].contains("InstanceId=1551234567"));
        assert!(asked[1].contains("DescribeOrderForIsv") && asked[1].contains("OrderId=204211111111111"));
    }
}

#[tokio::test]
async fn a_purchase_stands_where_instance_and_order_say() {
    for (instance, order, state) in [
        (INSTANCE.replace("OPENED", "OPENING"), ORDER.to_owned(), PurchaseState::Pending),
        (INSTANCE.replace("OPENED", "EXPIRED"), ORDER.to_owned(), PurchaseState::Suspended),
        (INSTANCE.replace("OPENED", "CLOSED"), ORDER.to_owned(), PurchaseState::Ended),
        (INSTANCE.to_owned(), ORDER.replace("NORMAL", "REFUND"), PurchaseState::Ended),
        (INSTANCE.to_owned(), ORDER.replace("\"PAID\"", "\"UNPAID\""), PurchaseState::Pending),
    ] {
        let vendor = Script::new("acs3", vec![(200, instance.leak()), (200, order.leak())]).await;
        let found = vendor.connection.client.look_up_purchase("1551234567", "").await.unwrap().unwrap();
        assert_eq!(found.state, state);
    }
    let foreign = INSTANCE.replace("cmgj00099001", "cmgj00077001").leak();
    let vendor = Script::new("acs3", vec![(200, foreign), (200, ORDER)]).await;
    assert!(
        !vendor.connection.client.look_up_purchase("1551234567", "").await.unwrap().unwrap().product_is_ours
    );
}

#[tokio::test]
async fn a_refusal_is_no_purchase_and_an_outage_says_nothing() {
    const NOT_OURS: &str = r#"{"RequestId":"x","Code":"IllegalPermission","Message":"Permission Denied."}"#;
    const UNKNOWN: &str = r#"{"RequestId":"x","Code":"UnknownError","Message":"?"}"#;
    const SIGNATURE: &str = r#"{"RequestId":"x","Code":"SignatureDoesNotMatch","Message":"?"}"#;
    let ask = |answers| async {
        Script::new("acs3", answers).await.connection.client.look_up_purchase("1551234567", "").await
    };
    assert_eq!(ask(vec![(400, NOT_OURS)]).await, Ok(None));
    assert_eq!(ask(vec![(200, INSTANCE), (400, NOT_OURS)]).await, Ok(None));
    let other = ORDER.replace("1551234567", "1551234999").leak();
    assert_eq!(ask(vec![(200, INSTANCE), (200, other)]).await, Ok(None), "the order is another purchase's");
    let code = "UnknownError".to_owned();
    assert_eq!(ask(vec![(500, UNKNOWN)]).await, Err(ClientError::Unavailable { code }));
    let code = "SignatureDoesNotMatch".to_owned();
    assert_eq!(ask(vec![(400, SIGNATURE)]).await, Err(ClientError::Denied { code }));
    assert!(matches!(ask(vec![(0, ""), (0, "")]).await, Err(ClientError::Unavailable { .. })));
    let code = "http_503".to_owned();
    assert_eq!(ask(vec![(503, "<html>"), (503, "<html>")]).await, Err(ClientError::Unavailable { code }));
    let code = "InvalidAction.NotFound".to_owned();
    assert_eq!(
        ask(vec![(404, r#"{"Code":"InvalidAction.NotFound"}"#)]).await,
        Err(ClientError::Denied { code })
    );
    for nonsense in ["<html>", "[]", "{}", r#"{"InstanceId":1,"OrderId":2}"#] {
        assert!(matches!(ask(vec![(200, nonsense)]).await, Err(ClientError::Unclear { .. })), "{nonsense}");
    }
    let odd = INSTANCE.replace("OPENED", "DREAMING").leak();
    assert!(matches!(ask(vec![(200, odd), (200, ORDER)]).await, Err(ClientError::Unclear { .. })));
}

#[tokio::test]
async fn what_became_of_usage_follows_the_vendors_table() {
    for (status, body, outcome, code) in [
        (200, r#"{"Success":true,"RequestId":"R-1"}"#, SubmitOutcome::Accepted, ""),
        (200, r#"{"Success":"true","RequestId":"R-1"}"#, SubmitOutcome::Accepted, ""),
        (200, r#"{"Success":false,"RequestId":"R-1"}"#, SubmitOutcome::Unknown, "Success=false"),
        (200, "<html>", SubmitOutcome::Unknown, "http_200"),
        (502, "bad gateway", SubmitOutcome::Unknown, "http_502"),
        (0, "", SubmitOutcome::Unknown, "cut"),
        (414, "too long", SubmitOutcome::Refused, "414"),
        (400, r#"{"Code":"Invalid.Parameter"}"#, SubmitOutcome::Refused, "Invalid.Parameter"),
        (
            500,
            r#"{"Code":"Invalid.Parameter.Metering"}"#,
            SubmitOutcome::Refused,
            "Invalid.Parameter.Metering",
        ),
        (
            500,
            r#"{"Code":"Invalid.Parameter.Instance"}"#,
            SubmitOutcome::Refused,
            "Invalid.Parameter.Instance",
        ),
        (500, r#"{"Code":"Permission.Denied"}"#, SubmitOutcome::Refused, "Permission.Denied"),
        (500, r#"{"Code":"Service.Flow.Control"}"#, later(60), "Service.Flow.Control"),
        (500, r#"{"Code":"UnknownError"}"#, SubmitOutcome::Unknown, "UnknownError"),
        (500, r#"{"Code":"<script>"}"#, SubmitOutcome::Unknown, "malformed_code"),
        (404, r#"{"Code":"InvalidAccessKeyId.NotFound"}"#, later(300), "InvalidAccessKeyId.NotFound"),
        (400, r#"{"Code":"SignatureNonceUsed"}"#, later(300), "SignatureNonceUsed"),
        (403, r#"{"Code":"Forbidden.RAM"}"#, later(300), "Forbidden.RAM"),
    ] {
        for signature in ["acs3", "rpc"] {
            // A second answer lies ready: it must never be asked for.
            let vendor = Script::new(signature, vec![(status, body), (200, r#"{"Success":true}"#)]).await;
            let said = vendor.connection.client.submit_usage("r", &[hour("mtr_1", "1551234567")]).await;
            assert_eq!((said[0].outcome, said[0].vendor_code.as_str()), (outcome, code), "{status} {body}");
            assert_eq!(vendor.asked().len(), 1, "sent again after {status} {body}");
        }
    }
}

#[tokio::test]
async fn usage_after_silence_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings();
    settings["base_url"] = format!("http://{}", listener.local_addr().unwrap()).into();
    settings["allow_insecure"] = true.into();
    settings["timeout_millis"] = 200.into();
    let connection = open(config_with(settings, KEY, None), surroundings()).unwrap();
    let said = connection.client.submit_usage("r", &[hour("mtr_1", "1551234567")]).await;
    assert_eq!((said[0].outcome, said[0].vendor_code.as_str()), (SubmitOutcome::Unknown, "timeout"));
}

#[tokio::test]
async fn each_record_gets_its_own_answer_and_only_good_ones_are_sent() {
    let vendor = Script::new("acs3", vec![(200, r#"{"Success":true,"RequestId":"R"}"#); 2]).await;
    let foreign = UsageRecord { product_code: "cmgj00077001".into(), ..hour("mtr_2", "1551234567") };
    let odd = UsageRecord { dimension: "Suit".into(), ..hour("mtr_3", "1551234567") };
    let negative = UsageRecord { quantity: -1, ..hour("mtr_4", "1551234567") };
    let late = record("mtr_5", "1551234567", "2026-02-28T20:00:00Z", "2026-02-28T21:00:00Z");
    let overlapping = record("mtr_6", "1551234567", "2026-03-01T01:30:00Z", "2026-03-01T02:00:00Z");
    let short = record("mtr_7", "1551234567", "2026-03-01T01:00:00Z", "2026-03-01T01:05:00Z");
    let records = [
        hour("mtr_1", "1551234567"),
        foreign,
        odd,
        negative,
        late,
        overlapping,
        short,
        hour("mtr_8", "1551234568"),
    ];
    let said = vendor.connection.client.submit_usage("r", &records).await;
    let outcomes: Vec<_> = said.iter().map(|s| (s.id.as_str(), s.outcome, s.vendor_code.as_str())).collect();
    use SubmitOutcome::{Accepted, Expired, Refused};
    assert_eq!(
        outcomes,
        [
            ("mtr_1", Accepted, ""),
            ("mtr_2", Refused, "product_not_configured"),
            ("mtr_3", Refused, "dimension_not_configured"),
            ("mtr_4", Refused, "value_not_a_non_negative_integer"),
            ("mtr_5", Expired, "billing_window_closed"),
            ("mtr_6", Refused, "overlapping_span"),
            ("mtr_7", Refused, "interval_too_short"),
            ("mtr_8", Accepted, ""),
        ]
    );
    assert_eq!(said[0].vendor_reference.as_deref(), Some("R"));
    assert_eq!(vendor.asked().len(), 2, "one request for each instance");
}

#[tokio::test]
async fn a_minute_lies_between_two_requests_for_one_instance() {
    let vendor = Script::new("acs3", vec![(200, r#"{"Success":true}"#); 2]).await;
    let client = &vendor.connection.client;
    assert_eq!(
        client.submit_usage("r1", &[hour("mtr_1", "1551234567")]).await[0].outcome,
        SubmitOutcome::Accepted
    );
    assert_eq!(client.submit_usage("r2", &[hour("mtr_2", "1551234567")]).await[0].outcome, later(60));
    assert_eq!(
        client.submit_usage("r3", &[hour("mtr_3", "1551234568")]).await[0].outcome,
        SubmitOutcome::Accepted
    );
    assert_eq!(vendor.asked().len(), 2);
}

#[tokio::test]
async fn what_does_not_fit_one_request_waits_for_the_next() {
    let vendor = Script::new("acs3", vec![(200, r#"{"Success":true}"#)]).await;
    let start: Timestamp = "2026-03-01T01:00:00Z".parse().unwrap();
    let records: Vec<_> = (0..120_i64)
        .map(|n| {
            let start = start + SignedDuration::from_secs(n * 301);
            UsageRecord { start, end: start + SignedDuration::from_secs(301), ..hour("mtr", "1551234567") }
        })
        .collect();
    let said = vendor.connection.client.submit_usage("r", &records).await;
    let accepted = said.iter().filter(|s| s.outcome == SubmitOutcome::Accepted).count();
    assert!((1..=100).contains(&accepted), "{accepted}");
    assert!(said.iter().skip(accepted).all(|s| s.outcome == later(60) && s.vendor_code == "request_full"));
    assert!(vendor.asked()[0].len() < 8 * 1024);
}
