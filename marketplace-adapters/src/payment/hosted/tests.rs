//! Proofs with known answers, forgeries made from genuine notices, and what is read from them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::SignedDuration;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::signature::{SIGNATURE, TIMESTAMP, WINDOW, sign};
use super::*;
use crate::payment::Payment;

const KEY: &str = "2f7c1d9e-6b3a-notice-key-01";
const KEY_BEFORE: &str = "91d0d35c-5413-notice-key-00";

fn now() -> Timestamp {
    "2026-03-01T02:01:30Z".parse().unwrap()
}

fn settings() -> Value {
    json!({
        "adapter": "hosted_page", "merchant": "m1", "base_url": "https://pay.acme.test",
        "notify_url": "https://market.acme.test/payments/alipay", "return_url": "https://billing.acme.test/wallet",
    })
}

fn secrets() -> BTreeMap<String, SecretString> {
    [("api_key", "6b3a2f7c1d9e-our-api-key-01"), ("notice_key", KEY), ("notice_key_previous", KEY_BEFORE)]
        .map(|(name, text)| (name.to_owned(), SecretString::from(text)))
        .into_iter()
        .collect()
}

fn provider() -> Provider {
    Provider { config: Arc::new(Config::new(settings(), secrets()).unwrap()) }
}

fn paid() -> Value {
    json!({
        "merchant": "m1", "order_id": "rch_1", "status": "PAID", "payment_id": "2026030122001",
        "amount_minor": 10_000, "currency": "CNY", "paid_at": "2026-03-01T02:01:00Z",
    })
}

fn delivery(headers: &[(&'static str, String)], body: &[u8]) -> Delivery {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Delivery {
        method: Method::POST,
        path: "/payments/alipay".to_owned(),
        query: String::new(),
        headers: map,
        body: Bytes::copy_from_slice(body),
    }
}

fn signed(body: &str, key: &str, at: Timestamp) -> Delivery {
    delivery(&sign(Purpose::Notice, body.as_bytes(), key, at), body.as_bytes())
}

fn read(body: &Value) -> Result<Notice, ParseError> {
    let delivery = signed(&body.to_string(), KEY, now());
    let provider = provider();
    let proved = provider.authenticate(&delivery, now()).unwrap();
    provider.parse(&proved)
}

/// Made with another implementation of HMAC-SHA256.
#[test]
fn signatures_are_the_known_ones() {
    for (purpose, secs, body, known) in [
        (
            Purpose::Notice,
            1_772_330_490,
            r#"{"merchant":"m1","order_id":"rch_1","status":"PAID"}"#,
            "bf386538f2dc2e6cd8bf4bf1ca60391ca0c3890a5b2d12d554e7c3892e2eb781",
        ),
        (
            Purpose::Notice,
            1_772_330_490,
            "",
            "91d0d35c5413b1667a2e8d126a91d2242a0ca7d0164c9ee1dee366a972c367a0",
        ),
        (
            Purpose::Order,
            1_772_330_490,
            r#"{"a":1}"#,
            "cf6066538404e7da8ba2a5b9539a030c792a60a9966b0d527589c3809cb091c2",
        ),
        (Purpose::Query, 0, r#"{"a":1}"#, "0d17949151e15d0ed36954503a3cc33da6749f45464db0a93b254d4a6e171473"),
        (
            Purpose::Notice,
            1_772_330_490,
            r#"{"x":"支付"}"#,
            "5c69eb31b69fc930670f9a33a75519dd220f3e502af26109d2fb5dbf0b37d5e1",
        ),
        (
            Purpose::Notice,
            99_999_999_999,
            "\n\n",
            "2f6816a2b1c6c55fcde1406024b73735b15c90ac2db2b92a38271daea6c76c8e",
        ),
    ] {
        let at = Timestamp::from_second(secs).unwrap();
        let headers = sign(purpose, body.as_bytes(), KEY, at);
        assert_eq!(headers, [(TIMESTAMP, secs.to_string()), (SIGNATURE, known.to_owned())]);
        let taken = provider().authenticate(&delivery(&headers, body.as_bytes()), at).is_ok();
        assert_eq!(taken, purpose == Purpose::Notice, "{body}");
    }
}

#[test]
fn genuine_notices_are_taken_also_with_the_key_before_a_rotation_and_within_the_window() {
    let body = paid().to_string();
    for key in [KEY, KEY_BEFORE] {
        for age in [SignedDuration::ZERO, WINDOW, -WINDOW] {
            assert!(provider().authenticate(&signed(&body, key, now() - age), now()).is_ok());
        }
    }
    // Header names and hexadecimal digits in upper case mean the same.
    let [time, (name, signature)] = sign(Purpose::Notice, body.as_bytes(), KEY, now());
    let upper = delivery(&[time, (name, signature.to_uppercase())], body.as_bytes());
    assert!(provider().authenticate(&upper, now()).is_ok());
}

#[test]
fn forgeries_are_refused() {
    let body = paid().to_string();
    let refused = |delivery: &Delivery| provider().authenticate(delivery, now()).err();
    let genuine = sign(Purpose::Notice, body.as_bytes(), KEY, now());
    let [(_, time), (_, signature)] = genuine.clone();
    let with = |time: &str, signature: &str| {
        delivery(&[(TIMESTAMP, time.to_owned()), (SIGNATURE, signature.to_owned())], body.as_bytes())
    };
    // Every digit of the signature counts.
    for at in 0..signature.len() {
        let mut changed = signature.clone().into_bytes();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(refused(&with(&time, &changed)), Some(AuthError::WrongProof), "digit {at}");
    }
    // So does every byte of the body, and that there is no more and no less of it.
    for at in 0..body.len() {
        let mut changed = body.clone().into_bytes();
        changed[at] ^= 1;
        assert_eq!(refused(&delivery(&genuine, &changed)), Some(AuthError::WrongProof), "byte {at}");
    }
    for changed in [format!("{body} "), format!(" {body}"), body[1..].to_owned(), String::new()] {
        assert_eq!(refused(&delivery(&genuine, changed.as_bytes())), Some(AuthError::WrongProof));
    }
    for other in ["", "0", "-1", " 1772330490", "1772330491", "1772330490.0", "999999999999", "１"] {
        assert!(refused(&with(other, &signature)).is_some(), "time {other:?}");
    }
    for other in ["", "00", &signature[1..], &format!("{signature}00"), "sha256=00", &"z".repeat(64)] {
        assert_eq!(refused(&with(&time, other)), Some(AuthError::WrongProof), "signature {other:?}");
    }
    for key in ["", "6b3a2f7c1d9e-our-api-key-01", "2f7c1d9e-6b3a-notice-key-02"] {
        assert_eq!(refused(&signed(&body, key, now())), Some(AuthError::WrongProof), "key {key:?}");
    }
    for purpose in [Purpose::Order, Purpose::Query] {
        let headers = sign(purpose, body.as_bytes(), KEY, now());
        assert_eq!(refused(&delivery(&headers, body.as_bytes())), Some(AuthError::WrongProof));
    }
    let second = SignedDuration::from_secs(1);
    for at in [now() - WINDOW - second, now() + WINDOW + second, Timestamp::UNIX_EPOCH] {
        assert_eq!(refused(&signed(&body, KEY, at)), Some(AuthError::Stale));
    }
    assert_eq!(refused(&delivery(&[], body.as_bytes())), Some(AuthError::MissingProof));
    for only in &genuine {
        assert_eq!(
            refused(&delivery(std::slice::from_ref(only), body.as_bytes())),
            Some(AuthError::MissingProof)
        );
        let twice = [genuine[0].clone(), genuine[1].clone(), only.clone()];
        assert!(matches!(refused(&delivery(&twice, body.as_bytes())), Some(AuthError::Malformed(_))));
    }
    let get = Delivery { method: Method::GET, ..delivery(&genuine, body.as_bytes()) };
    assert_eq!(refused(&get), Some(AuthError::MethodNotAllowed));
}

#[test]
fn a_payment_is_read_whole() {
    let expected = Payment {
        payment_id: "2026030122001".to_owned(),
        order_id: "rch_1".to_owned(),
        minor: 10_000,
        currency: "CNY".to_owned(),
        paid_at: "2026-03-01T02:01:00Z".parse().unwrap(),
    };
    assert_eq!(read(&paid()), Ok(Notice::Paid(expected.clone())));
    let mut more = paid();
    more["coupon"] = json!("none");
    assert_eq!(read(&more), Ok(Notice::Paid(expected)), "further fields are tolerated");
    let mut closed = paid();
    closed["status"] = json!("CLOSED\n");
    assert_eq!(read(&closed), Ok(Notice::Other { status: "CLOSED".to_owned() }));
}

#[test]
fn what_carries_meaning_is_never_guessed() {
    for (field, wrong) in [
        ("merchant", json!("m2")),
        ("order_id", json!("rch 1")),
        ("order_id", json!("r".repeat(65))),
        ("payment_id", json!("")),
        ("payment_id", json!("a\nb")),
        ("amount_minor", json!(0)),
        ("amount_minor", json!(-1)),
        ("amount_minor", json!(100.5)),
        ("amount_minor", json!("10000")),
        ("amount_minor", json!(9_223_372_036_854_775_808_u64)),
        ("currency", json!("cny")),
        ("currency", json!("YUAN")),
        ("paid_at", json!("yesterday")),
    ] {
        let mut body = paid();
        body[field] = wrong.clone();
        assert!(read(&body).is_err(), "{field} = {wrong}");
        let mut body = paid();
        body.as_object_mut().unwrap().remove(field);
        assert!(read(&body).is_err(), "without {field}");
    }
    let twice = paid().to_string().replacen('{', r#"{"amount_minor":1,"#, 1);
    let delivery = signed(&twice, KEY, now());
    let provider = provider();
    let proved = provider.authenticate(&delivery, now()).unwrap();
    assert_eq!(provider.parse(&proved), Err(ParseError::BadField { field: "body" }), "a field twice");
}

#[test]
fn only_what_is_durable_is_acknowledged() {
    let status = |outcome| provider().reply(&outcome).status;
    for durable in [Outcome::Applied, Outcome::Duplicate, Outcome::Pending, Outcome::Parked] {
        assert_eq!(status(durable), StatusCode::OK);
    }
    assert_eq!(status(Outcome::Unavailable), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(Outcome::Refused { reason: String::new() }), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(provider().refuse(&AuthError::Stale), provider().refuse(&AuthError::MissingProof));
}

#[test]
fn settings_and_secrets_are_checked() {
    let with = |field: &str, value: Value| {
        let mut changed = settings();
        changed[field] = value;
        Config::new(changed, secrets()).err()
    };
    assert_eq!(with("return_url", json!("")), None);
    for (field, value) in [
        ("adapter", json!("guess")),
        ("merchant", json!("")),
        ("merchant", json!("a b")),
        ("notify_url", json!("http://market.acme.test")),
        ("notify_url", json!("javascript:alert(1)")),
        ("return_url", json!("javascript:alert(1)")),
        ("timeout_millis", json!(0)),
        ("notfy_url", json!("https://x.test")),
    ] {
        assert!(with(field, value.clone()).is_some(), "{field} = {value}");
    }
    let secret = |name: &str, text: &str| {
        let mut changed = secrets();
        changed.insert(name.to_owned(), SecretString::from(text));
        Config::new(settings(), changed).err()
    };
    assert!(matches!(secret("notice_key", "short"), Some(ConfigError::WeakSecret { .. })));
    assert!(matches!(secret("notice_key", &"sample".repeat(6)), Some(ConfigError::WeakSecret { .. })));
    assert!(matches!(secret("api_key", KEY), Some(ConfigError::WeakSecret { .. })), "one key for both sides");
    assert!(matches!(secret("notice-key", KEY), Some(ConfigError::UnknownSecret(_))));
    for name in ["api_key", "notice_key"] {
        let mut fewer = secrets();
        fewer.remove(name);
        assert_eq!(Config::new(settings(), fewer).err(), Some(ConfigError::MissingSecret(name)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn arbitrary_deliveries_are_refused_and_never_panic(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        time in "[0-9a-z -]{0,13}",
        signature in "[0-9a-f]{0,70}",
    ) {
        let headers = [(TIMESTAMP, time), (SIGNATURE, signature)];
        prop_assert!(provider().authenticate(&delivery(&headers, &body), now()).is_err());
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = wire::read_notice(&body, "m1");
    }
}
