//! What has to be known before the market can be spoken to: settings from a file, secrets from elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::metering::is_entity_key;
use crate::SecretName;
use crate::capability::BillingCycle;
use crate::error::ConfigError;
use crate::event::Market;

/// The host for mainland China (`vendors/alibaba.md` 7).
pub const DEFAULT_BASE_URL: &str = "https://market.aliyuncs.com";
/// Shortest callback key that is accepted (`reliability.md` 8).
const KEY_BYTES_MIN: usize = 24;
/// Words of sample values; such a secret is public. The sandbox takes them.
const SAMPLE_WORDS: [&str; 6] = ["changeme", "demo", "example", "notreal", "placeholder", "sample"];

/// The secrets the adapter asks for.
pub const SECRET_NAMES: &[SecretName] = &[
    SecretName { name: "isv_key", required: true },
    SecretName { name: "isv_key_previous", required: false },
    SecretName { name: "access_key_id", required: true },
    SecretName { name: "access_key_secret", required: true },
];

/// Which signature outgoing calls carry; the vendor takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureKind {
    /// ACS3-HMAC-SHA256, of current SDKs (`vendors/alibaba.md` 10).
    #[default]
    Acs3,
    /// RPC HMAC-SHA1, older (`vendors/alibaba.md` 9).
    Rpc,
}

/// One metering dimension of a product: what the vendor calls a billing item.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeteringItem {
    /// The id of the billing item from the product's page, `<product>-<key>-<n>`; sent as `meteringAssit`.
    pub id: String,
}

/// A product of ours in this market.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Our plan's name by the vendor's `skuId`.
    pub plans: BTreeMap<String, String>,
    /// Billing items by their key, such as `Unit`.
    #[serde(default)]
    pub metering: BTreeMap<String, MeteringItem>,
    /// How often the vendor bills the product's usage.
    #[serde(default = "default_cycle")]
    pub billing_cycle: BillingCycle,
}

/// What the buyer is shown after a purchase (`vendors/alibaba.md` 5.1). Never holds a password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppInfo {
    /// Where the buyer uses the product.
    pub front_end_url: String,
    /// Where the buyer administers it.
    pub admin_url: String,
    /// Where the password-free link leads: our landing address.
    pub auth_url: String,
}

/// The settings, as they stand in a file. Unknown names are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which market; the international one has no adapter yet.
    pub market: Market,
    /// Where the vendor's own interface is.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// Accepts plain HTTP and loopback hosts in `base_url`: for the sandbox only.
    #[serde(default)]
    pub allow_insecure: bool,
    /// Which signature outgoing calls carry.
    #[serde(default)]
    pub signature: SignatureKind,
    /// Our products by the vendor's code.
    pub products: BTreeMap<String, Product>,
    /// What the buyer is shown after a purchase.
    pub app_info: AppInfo,
    /// Requires account ids of 16 digits, as real ones are; off for the vendor's own shorter dummies.
    #[serde(default = "yes")]
    pub strict_ids: bool,
    /// Takes callbacks as form posts, too; the vendor's pages know only `GET`.
    #[serde(default)]
    pub accept_post_form: bool,
    /// Time for one call to the vendor, in milliseconds.
    #[serde(default = "default_timeout_millis")]
    pub timeout_millis: u64,
}

/// Settings and secrets together, checked.
#[derive(Clone)]
pub struct Config {
    /// The settings.
    pub settings: Settings,
    /// The callback key: the vendor calls it the ISV key.
    pub isv_key: SecretString,
    /// The callback key before the last rotation.
    pub isv_key_previous: Option<SecretString>,
    /// Names our key for outgoing calls.
    pub access_key_id: SecretString,
    /// Signs outgoing calls.
    pub access_key_secret: SecretString,
}

fn yes() -> bool {
    true
}
fn default_cycle() -> BillingCycle {
    BillingCycle::Day
}
fn default_base_url() -> String {
    DEFAULT_BASE_URL.to_owned()
}
/// Below the ten seconds after which a caller's own deadline would make every slow answer an unknown one.
fn default_timeout_millis() -> u64 {
    4_000
}

impl Config {
    /// Reads settings and takes the secrets that belong to them.
    ///
    /// Fails when a setting is unknown or not allowed, or a secret is missing, weak or misspelt.
    pub fn new(settings: Value, mut secrets: BTreeMap<String, SecretString>) -> Result<Self, ConfigError> {
        let settings: Settings =
            serde_json::from_value(settings).map_err(|error| ConfigError::Settings(error.to_string()))?;
        settings.check()?;
        let mut take = |name: &'static str| secrets.remove(name);
        let isv_key = strong("isv_key", take("isv_key"))?.ok_or(ConfigError::MissingSecret("isv_key"))?;
        let isv_key_previous = strong("isv_key_previous", take("isv_key_previous"))?;
        let access_key_id = filled("access_key_id", take("access_key_id"))?
            .ok_or(ConfigError::MissingSecret("access_key_id"))?;
        let access_key_secret = strong("access_key_secret", take("access_key_secret"))?
            .ok_or(ConfigError::MissingSecret("access_key_secret"))?;
        if !settings.allow_insecure {
            refuse_sample("isv_key", Some(&isv_key))?;
            refuse_sample("isv_key_previous", isv_key_previous.as_ref())?;
            refuse_sample("access_key_secret", Some(&access_key_secret))?;
        }
        match secrets.into_keys().next() {
            Some(name) => Err(ConfigError::UnknownSecret(name)),
            None => Ok(Self { settings, isv_key, isv_key_previous, access_key_id, access_key_secret }),
        }
    }

    /// The keys a callback may be signed with, the current one first.
    pub fn isv_keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.isv_key).chain(&self.isv_key_previous).map(ExposeSecret::expose_secret)
    }
}

impl Settings {
    /// The time for one call.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let value = |field, problem| Err(ConfigError::Value { field, problem });
        if self.market != Market::China {
            return Err(ConfigError::MarketNotBuilt);
        }
        if self.products.is_empty() {
            return value("products", "must name at least one product");
        }
        if !(100..=60_000).contains(&self.timeout_millis) {
            return value("timeout_millis", "must be from 100 to 60000");
        }
        for (code, product) in &self.products {
            if code.is_empty() || code.len() > 64 || !code.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return value("products", "a product code is 1 to 64 letters and digits");
            }
            if product.plans.is_empty() {
                return value("products.plans", "must name at least one plan");
            }
            for (key, item) in &product.metering {
                if !is_entity_key(key) {
                    return value("products.metering", "is none of the vendor's billing items");
                }
                if !item.id.starts_with(&format!("{code}-")) || !item.id.contains(key.as_str()) {
                    return value(
                        "products.metering.id",
                        "must start with the product code and contain the key",
                    );
                }
            }
        }
        for url in [&self.app_info.front_end_url, &self.app_info.admin_url, &self.app_info.auth_url] {
            if url::Url::parse(url).is_err() {
                return value("app_info", "must hold absolute URLs");
            }
        }
        Ok(())
    }
}

fn filled(name: &'static str, secret: Option<SecretString>) -> Result<Option<SecretString>, ConfigError> {
    match secret {
        Some(text) if text.expose_secret().trim().is_empty() => {
            Err(ConfigError::WeakSecret { name, problem: "empty" })
        }
        other => Ok(other),
    }
}

fn strong(name: &'static str, secret: Option<SecretString>) -> Result<Option<SecretString>, ConfigError> {
    let secret = filled(name, secret)?;
    match &secret {
        Some(text) if text.expose_secret().len() < KEY_BYTES_MIN => {
            Err(ConfigError::WeakSecret { name, problem: "shorter than 24 bytes" })
        }
        _ => Ok(secret),
    }
}

fn refuse_sample(name: &'static str, secret: Option<&SecretString>) -> Result<(), ConfigError> {
    let text = secret.map(|s| s.expose_secret().to_ascii_lowercase()).unwrap_or_default();
    let sample = SAMPLE_WORDS.iter().any(|word| text.contains(word));
    if sample { Err(ConfigError::WeakSecret { name, problem: "a sample value" }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Value {
        json!({
            "market": "china",
            "products": {"cmgj00099001": {"plans": {"cmgj00099001-postpay": "commercial"},
                "metering": {"Unit": {"id": "cmgj00099001-Unit-1"}}, "billing_cycle": "DAY"}},
            "app_info": {"front_end_url": "https://a.example.com", "admin_url": "https://a.example.com/admin",
                "auth_url": "https://a.example.com/sso"}
        })
    }

    fn secrets() -> BTreeMap<String, SecretString> {
        [("isv_key", "k".repeat(32)), ("access_key_id", "id".into()), ("access_key_secret", "s".repeat(30))]
            .map(|(name, text)| (name.to_owned(), SecretString::from(text)))
            .into_iter()
            .collect()
    }

    #[test]
    fn defaults_are_the_strict_ones() {
        let config = Config::new(settings(), secrets()).unwrap();
        assert_eq!(config.settings.base_url, DEFAULT_BASE_URL);
        assert!(
            config.settings.strict_ids
                && !config.settings.accept_post_form
                && !config.settings.allow_insecure
        );
        assert_eq!(config.settings.signature, SignatureKind::Acs3);
        assert_eq!(config.isv_keys().count(), 1);
    }

    #[test]
    fn unknown_names_and_bad_secrets_stop_the_start() {
        let mut misspelt = settings();
        misspelt["strikt_ids"] = json!(true);
        assert!(matches!(Config::new(misspelt, secrets()), Err(ConfigError::Settings(_))));
        let mut international = settings();
        international["market"] = json!("international");
        assert_eq!(Config::new(international, secrets()).err(), Some(ConfigError::MarketNotBuilt));
        let mut foreign_item = settings();
        foreign_item["products"]["cmgj00099001"]["metering"]["Unit"]["id"] = json!("cmgj00099002-Unit-1");
        assert!(matches!(Config::new(foreign_item, secrets()), Err(ConfigError::Value { .. })));
        for name in ["isv_key", "access_key_id", "access_key_secret"] {
            let mut fewer = secrets();
            fewer.remove(name);
            assert_eq!(Config::new(settings(), fewer).err(), Some(ConfigError::MissingSecret(name)));
        }
        let mut weak = secrets();
        weak.insert("isv_key_previous".into(), SecretString::from("short"));
        assert!(matches!(Config::new(settings(), weak), Err(ConfigError::WeakSecret { .. })));
        let mut sample = secrets();
        sample.insert("isv_key".into(), SecretString::from("9f2c1e7a-demo-isv-key-41b8"));
        let problem = ConfigError::WeakSecret { name: "isv_key", problem: "a sample value" };
        assert_eq!(Config::new(settings(), sample.clone()).err(), Some(problem));
        let mut insecure = settings();
        insecure["allow_insecure"] = json!(true);
        assert!(Config::new(insecure, sample).is_ok(), "the sandbox takes it");
        let mut more = secrets();
        more.insert("isv-key".into(), SecretString::from("x"));
        assert_eq!(Config::new(settings(), more).err(), Some(ConfigError::UnknownSecret("isv-key".into())));
    }
}
