//! The vectors of the folder named by `VENDOR_VECTORS`, the fixtures by default.
//!
//! Fails on a file it does not know and on an empty folder. Files of vendors without an adapter are named in the
//! output, so that nobody takes them for covered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde_json::Value;

use super::super::Adapter;
use super::super::metering::{Decision, Entity, Facts, InstanceState, Record, decide};
use super::super::signature::{Acs3Call, Pairs, Receiver, Refusal, rpc_signature, rpc_string_to_sign};
use super::{config_with, now, settings};
use crate::MarketplaceAdapter;
use crate::capability::BillingCycle;
use crate::delivery::Delivery;
use crate::error::AuthError;

/// Vendors whose adapters do not exist yet; their vectors lie in the same folder.
const NOT_BUILT: [&str; 3] = ["aws-", "azure-", "huawei-"];

#[test]
fn every_vector_in_the_folder_holds() {
    let folder = std::env::var_os("VENDOR_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/alibaba/fixtures"), PathBuf::from);
    let (mut cases, mut files, mut uncovered) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        files += 1;
        if NOT_BUILT.iter().any(|prefix| name.starts_with(prefix)) {
            uncovered.push(name);
            continue;
        }
        let check: fn(&Value) = match name.as_str() {
            "alibaba-spi-token.json" => check_token,
            "alibaba-openapi-rpc-hmac-sha1.json" => check_rpc,
            "alibaba-openapi-acs3-hmac-sha256.json" => check_acs3,
            "alibaba-metering-rules.json" => check_metering,
            _ => panic!("{} is a file this test does not know", path.display()),
        };
        let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let list = file["cases"].as_array().unwrap();
        assert!(!list.is_empty(), "{name} holds no case");
        for case in list {
            check(case);
            cases += 1;
        }
    }
    assert!(files > 0, "{} is empty: nothing would be proved", folder.display());
    assert!(cases > 0, "no case of a vendor with an adapter in {}", folder.display());
    uncovered.sort();
    println!("{cases} cases hold; {} files of vendors without an adapter: {uncovered:?}", uncovered.len());
}

fn id(case: &Value) -> &str {
    case["id"].as_str().unwrap()
}

fn accepted(case: &Value) -> bool {
    match case["expect"].as_str().unwrap() {
        "accept" => true,
        "reject" => false,
        other => panic!("{}: expects {other}", id(case)),
    }
}

fn time(case: &Value, name: &str) -> Option<Timestamp> {
    case[name].as_str().map(|text| text.parse().unwrap())
}

fn check_token(case: &Value) {
    let body = case["body"].as_str().unwrap_or_default();
    let mut headers = HeaderMap::new();
    if !body.is_empty() {
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    }
    let delivery = Delivery {
        method: case["method"].as_str().unwrap().parse::<Method>().unwrap(),
        path: "/".to_owned(),
        query: case["raw_query"].as_str().unwrap_or_default().to_owned(),
        headers,
        body: Bytes::from(body.to_owned()),
    };
    let mut settings = settings();
    settings["accept_post_form"] = Value::Bool(true);
    // Keys of vectors are invented and may be short; the adapter's own limit is on configured ones.
    let mut config = config_with(settings, super::KEY, None);
    config.isv_key = case["verify_key"].as_str().unwrap().into();
    let adapter = Adapter::new(Arc::new(config));
    let result = adapter.authenticate(&delivery, time(case, "now").unwrap_or_else(now)).err();
    assert_eq!(result.is_none(), accepted(case), "{}: {result:?}", id(case));
    let reason = match case["reject_reason"].as_str() {
        Some("token_mismatch") => AuthError::WrongProof,
        Some("token_missing") => AuthError::MissingProof,
        Some("stale_timestamp") => AuthError::Stale,
        Some("duplicate_parameter") => AuthError::Malformed("a name twice"),
        _ => return,
    };
    assert_eq!(result, Some(reason), "{}", id(case));
}

fn pairs(value: &Value) -> Pairs {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn check_refusal(case: &Value, result: Result<String, Refusal>) {
    assert_eq!(result.is_ok(), accepted(case), "{}: {result:?}", id(case));
    let expected = match case["reject_reason"].as_str() {
        Some("content_sha256_mismatch") => Refusal::ContentMismatch,
        Some("signature_mismatch" | "SignatureDoesNotMatch") => Refusal::Mismatch,
        Some("InvalidTimeStamp.Expired") => Refusal::Expired,
        Some("SignatureNonceUsed") => Refusal::NonceUsed,
        _ => return,
    };
    assert_eq!(result, Err(expected), "{}", id(case));
}

fn check_rpc(case: &Value) {
    let mut pairs = pairs(&case["params"]);
    let (method, secret) = (case["method"].as_str().unwrap(), case["access_key_secret"].as_str().unwrap());
    if let Some(text) = case["string_to_sign"].as_str().filter(|_| accepted(case)) {
        assert_eq!(rpc_string_to_sign(method, &pairs), text, "{}", id(case));
    }
    let expected = case["expected_signature"].as_str().unwrap();
    if accepted(case) {
        assert_eq!(rpc_signature(method, &pairs, secret), expected, "{}", id(case));
    }
    let received = case["received_signature"].as_str().unwrap_or(expected);
    pairs.insert("Signature".to_owned(), received.to_owned());
    let signed_at: Timestamp = pairs["Timestamp"].parse().unwrap();
    let seen = case["nonce_already_seen"].as_bool().unwrap_or(false);
    let receiver = Receiver {
        access_key_id: &pairs["AccessKeyId"],
        secret,
        now: time(case, "server_now").unwrap_or(signed_at),
        nonce_seen: &|_| seen,
    };
    check_refusal(case, receiver.check_rpc(method, &pairs));
}

fn check_acs3(case: &Value) {
    let query = pairs(&case["query"]);
    let mut headers = pairs(&case["headers"]);
    let body = case["body"].as_str().unwrap().as_bytes();
    let (key_id, secret) =
        (case["access_key_id"].as_str().unwrap(), case["access_key_secret"].as_str().unwrap());
    let (method, path) = (case["method"].as_str().unwrap(), case["path"].as_str().unwrap());
    let call = Acs3Call { method, path, query: &query, headers: &headers, body };
    if accepted(case) {
        assert_eq!(call.canonical_request(), case["canonical_request"].as_str().unwrap(), "{}", id(case));
        assert_eq!(call.string_to_sign(), case["string_to_sign"].as_str().unwrap(), "{}", id(case));
        assert_eq!(
            call.authorization(key_id, secret),
            case["authorization"].as_str().unwrap(),
            "{}",
            id(case)
        );
    }
    let received = case["received_signature"].as_str().or(case["expected_signature"].as_str()).unwrap();
    let signed = case["signed_headers"].as_str().map_or_else(|| call.signed_headers(), str::to_owned);
    let authorization =
        format!("ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={signed},Signature={received}");
    let signed_at: Timestamp = headers["x-acs-date"].parse().unwrap();
    headers.insert("authorization".to_owned(), authorization);
    let seen = case["nonce_already_seen"].as_bool().unwrap_or(false);
    let receiver = Receiver {
        access_key_id: key_id,
        secret,
        now: time(case, "server_now").unwrap_or(signed_at),
        nonce_seen: &|_| seen,
    };
    check_refusal(
        case,
        receiver.check_acs3(&Acs3Call { method, path, query: &query, headers: &headers, body }),
    );
}

fn check_metering(case: &Value) {
    let mut records = Vec::new();
    for item in case["records"].as_array().unwrap() {
        let (times, template) = match item["repeat"].as_u64() {
            Some(times) => (times, &item["template"]),
            None => (1, item),
        };
        (0..times).for_each(|_| records.push(record(template)));
    }
    let facts = Facts {
        now: time(case, "now").unwrap(),
        cycle: serde_json::from_value::<BillingCycle>(case["product_billing_cycle"].clone()).unwrap(),
        instance: instance_state(case),
        last_push: time(case, "last_push_for_instance"),
    };
    let decision = decide(&records, &facts);
    let (word, rule) = match decision {
        Decision::Send => ("send", None),
        Decision::Delay(_) => ("delay", None),
        Decision::Split(rule) => ("split", Some(rule)),
        Decision::Refuse(rule) => ("refuse", Some(rule)),
    };
    assert_eq!(Some(word), case["expect"].as_str(), "{}: {decision:?}", id(case));
    if let (Some(reason), Some(rule)) = (case["reason"].as_str(), rule) {
        assert_eq!(rule.name(), reason, "{}", id(case));
    }
}

fn instance_state(case: &Value) -> InstanceState {
    let text = case["instance_state"].as_str().unwrap();
    let (word, at) = match text.split_once('@') {
        Some((word, at)) => (word, Some(at.parse::<Timestamp>().unwrap())),
        None => (text, None),
    };
    match (word, at) {
        ("OPENED", None) => InstanceState::Open,
        ("EXPIRED", Some(at)) => InstanceState::ExpiredAt(at),
        ("RELEASED" | "CLOSED", Some(at)) => InstanceState::ReleasedAt(at),
        ("RELEASED" | "CLOSED", None) => InstanceState::Released,
        ("TRIAL", None) => InstanceState::Trial,
        ("UNBOUND", None) => InstanceState::Unbound,
        _ => panic!("{}: state {text}", id(case)),
    }
}

fn record(value: &Value) -> Record {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    Record {
        product_code: text(&value["product_code"]).unwrap(),
        instance_id: text(&value["InstanceId"]).unwrap(),
        start: seconds(&value["StartTime"]),
        end: seconds(&value["EndTime"]),
        entities: value["Entities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entity| Entity {
                key: text(&entity["Key"]).unwrap(),
                value: text(&entity["Value"]).unwrap(),
                metering_assit: text(&entity["meteringAssit"]),
            })
            .collect(),
    }
}

/// The vendor's own samples hold times as numbers and as text.
fn seconds(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}
