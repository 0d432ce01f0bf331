//! What the vendor's pages and vectors ask for, checked from outside the modules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Adapter;
use super::config::Config;
use crate::Surroundings;

#[cfg(feature = "conformance")]
mod conformance;
mod events;
mod outbound;
#[cfg(feature = "sandbox")]
mod sandbox;
mod vectors;

/// The key of the vectors.
const KEY: &str = "9f2c1e7a-demo-isv-key-41b8";
const NOW: &str = "2026-03-01T02:01:30Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn settings() -> Value {
    json!({
        "market": "china",
        // The keys of the vectors are sample values.
        "allow_insecure": true,
        "products": {"cmgj00099001": {
            "plans": {"cmgj00099001-prepay": "commercial-prepaid", "cmgj00099001-postpay": "commercial"},
            "metering": {"Unit": {"id": "cmgj00099001-Unit-1"}, "Frequency": {"id": "cmgj00099001-Frequency-1"}},
            "billing_cycle": "HOUR"
        }},
        "app_info": {
            "front_end_url": "https://console.saas.example.com",
            "admin_url": "https://console.saas.example.com/admin",
            "auth_url": "https://console.saas.example.com/marketplace/sso"
        }
    })
}

fn config_with(settings: Value, isv_key: &str, previous: Option<&str>) -> Config {
    let mut secrets: BTreeMap<String, SecretString> = BTreeMap::new();
    let mut put = |name: &str, text: &str| secrets.insert(name.to_owned(), SecretString::from(text));
    put("isv_key", isv_key);
    put("access_key_id", "LTAI5tDemoKeyNotReal01");
    put("access_key_secret", "demoSecretNotReal0123456789abcd");
    if let Some(previous) = previous {
        put("isv_key_previous", previous);
    }
    Config::new(settings, secrets).unwrap()
}

fn adapter() -> Adapter {
    Adapter::new(Arc::new(config_with(settings(), KEY, None)))
}

/// A still clock, and numbers that differ.
fn surroundings() -> Surroundings {
    let count = AtomicU64::new(1);
    Surroundings {
        now: Arc::new(now),
        fresh: Arc::new(move || Uuid::from_u128(u128::from(count.fetch_add(1, Ordering::Relaxed)))),
    }
}
