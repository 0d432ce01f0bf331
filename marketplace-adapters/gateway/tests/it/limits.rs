//! What strangers may send, and how much of it.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tandem_adapters::alibaba::sign_query;
use tandem_adapters::callback::CallbackAction;

use crate::harness::{CALLBACKS, Harness, KEY, LANDING, fields, signed};

#[tokio::test]
async fn oversize_is_refused_before_anything_is_proved() {
    let gateway = Harness::start().await;
    let long = format!("{}&x={}", signed(CallbackAction::Release, &fields()), "y".repeat(8 * 1024));
    assert_eq!(gateway.get(CALLBACKS, &long).await.status, 414);
    let body = "x".repeat(64 * 1024 + 1);
    let request = format!(
        "POST {CALLBACKS} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(gateway.send(request.as_bytes()).await.status, 413);
    assert!(gateway.billing.calls().is_empty());
}

/// Runs a property against one gateway.
fn check<T: std::fmt::Debug>(cases: u32, strategy: impl Strategy<Value = T>, request: impl Fn(T) -> Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let gateway = runtime.block_on(Harness::start());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&strategy, |value| {
        let answer = runtime.block_on(gateway.send(&request(value)));
        prop_assert!((200..500).contains(&answer.status), "{answer:?}");
        Ok(())
    });
    runtime.block_on(gateway.stop());
    result.unwrap();
}

#[test]
fn no_bytes_of_a_query_make_it_fall_over() {
    let query = prop::collection::vec(any::<u8>().prop_filter("one line", |b| !b"\r\n".contains(b)), 0..300);
    check(512, (query, any::<bool>()), |(query, lands)| {
        let path = if lands { LANDING } else { CALLBACKS };
        let mut request = format!("GET {path}?").into_bytes();
        request.extend_from_slice(&query);
        request.extend_from_slice(b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        request
    });
}

#[test]
fn no_genuine_content_makes_it_fall_over() {
    let actions = [
        "createInstance",
        "renewInstance",
        "upgradeInstance",
        "expiredInstance",
        "releaseInstance",
        "refundRenewInstance",
        "orderPay",
        "verify",
        "else",
    ];
    let names = [
        "instanceId",
        "orderBizId",
        "orderId",
        "aliUid",
        "productCode",
        "skuId",
        "expiredOn",
        "timeStamp",
        "isRefund",
        "x",
    ];
    let value = prop_oneof![
        "[0-9]{0,20}",
        "cmgj00099001(-postpay)?",
        "2026-03-01 10:0[0-9]:00",
        "[^&=\\p{Cc}]{0,30}"
    ];
    let pairs = prop::collection::btree_map(prop::sample::select(names.to_vec()), value, 0..8);
    check(512, (prop::sample::select(actions.to_vec()), pairs), |(action, pairs)| {
        let mut pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        pairs.push(("action", action));
        let query = sign_query(KEY, &pairs);
        format!("GET {CALLBACKS}?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes()
    });
}
