//! What has to be known before the provider can be spoken to.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::SecretName;
use crate::error::ConfigError;

/// Shortest key that is accepted (`reliability.md` 8).
const KEY_BYTES_MIN: usize = 24;
/// Words of sample values; such a secret is public. The sandbox takes them.
const SAMPLE_WORDS: [&str; 6] = ["changeme", "demo", "example", "notreal", "placeholder", "sample"];

/// The secrets the adapter asks for.
pub const SECRET_NAMES: &[SecretName] = &[
    SecretName { name: "api_key", required: true },
    SecretName { name: "notice_key", required: true },
    SecretName { name: "notice_key_previous", required: false },
];

/// The settings, as they stand in a file. Unknown names are refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which adapter: `hosted_page`.
    pub adapter: String,
    /// Who we are at the provider.
    pub merchant: String,
    /// Where the provider takes calls.
    pub base_url: String,
    /// Where the provider announces payments: our `/payments/…` address as it is seen from outside.
    pub notify_url: String,
    /// Where the customer's browser goes after the payment; empty stays with the provider.
    #[serde(default)]
    pub return_url: String,
    /// Accepts plain HTTP and loopback hosts: for the sandbox only.
    #[serde(default)]
    pub allow_insecure: bool,
    /// Time for one call, in milliseconds.
    #[serde(default = "default_timeout_millis")]
    pub timeout_millis: u64,
}

/// Below the ten seconds after which the caller's own deadline would end every slow call.
fn default_timeout_millis() -> u64 {
    4_000
}

/// Settings and secrets together, checked.
#[derive(Clone)]
pub struct Config {
    /// The settings.
    pub settings: Settings,
    /// Signs our calls.
    pub(crate) api_key: SecretString,
    notice_key: SecretString,
    notice_key_previous: Option<SecretString>,
}

impl Config {
    /// Reads settings and takes the secrets that belong to them.
    ///
    /// Fails when a setting is unknown or not allowed, or a secret is missing, weak or misspelt.
    pub fn new(settings: Value, mut secrets: BTreeMap<String, SecretString>) -> Result<Config, ConfigError> {
        let settings: Settings =
            serde_json::from_value(settings).map_err(|error| ConfigError::Settings(error.to_string()))?;
        settings.check()?;
        let mut take = |name: &'static str| -> Result<Option<SecretString>, ConfigError> {
            let Some(secret) = secrets.remove(name) else { return Ok(None) };
            let text = secret.expose_secret().to_ascii_lowercase();
            if text.len() < KEY_BYTES_MIN {
                return Err(ConfigError::WeakSecret { name, problem: "shorter than 24 bytes" });
            }
            if !settings.allow_insecure && SAMPLE_WORDS.iter().any(|word| text.contains(word)) {
                return Err(ConfigError::WeakSecret { name, problem: "a sample value" });
            }
            Ok(Some(secret))
        };
        let api_key = take("api_key")?.ok_or(ConfigError::MissingSecret("api_key"))?;
        let notice_key = take("notice_key")?.ok_or(ConfigError::MissingSecret("notice_key"))?;
        let notice_key_previous = take("notice_key_previous")?;
        if api_key.expose_secret() == notice_key.expose_secret() {
            let problem = "the same as notice_key: each side signs with a key of its own";
            return Err(ConfigError::WeakSecret { name: "api_key", problem });
        }
        match secrets.into_keys().next() {
            Some(name) => Err(ConfigError::UnknownSecret(name)),
            None => Ok(Config { settings, api_key, notice_key, notice_key_previous }),
        }
    }

    /// The keys a notice may be signed with, the current one first.
    pub fn notice_keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.notice_key).chain(&self.notice_key_previous).map(ExposeSecret::expose_secret)
    }
}

impl Settings {
    /// The time for one call.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_millis)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let value = |field, problem| Err(ConfigError::Value { field, problem });
        if self.adapter != "hosted_page" {
            return value("adapter", "must be hosted_page");
        }
        if self.merchant.is_empty() || self.merchant.len() > 64 || self.merchant.contains(char::is_whitespace)
        {
            return value("merchant", "must be 1 to 64 characters without blanks");
        }
        if !(100..=8_000).contains(&self.timeout_millis) {
            return value("timeout_millis", "must be from 100 to 8000");
        }
        let is_web = |text: &str| {
            url::Url::parse(text)
                .is_ok_and(|url| url.scheme() == "https" || (url.scheme() == "http" && self.allow_insecure))
        };
        if !is_web(&self.notify_url) {
            return value("notify_url", "must be an absolute https address");
        }
        if !self.return_url.is_empty() && !is_web(&self.return_url) {
            return value("return_url", "must be an absolute https address, or empty");
        }
        Ok(())
    }
}
