//! The gateway's configuration, one struct for each section, read once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use tandem_adapters::payment::{self, PaymentConnection};
use tandem_adapters::{Connection, Surroundings};
use tandem_proto::names::UnknownName;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::config::{
    ConfigError, IdentitySection, SecretRef, ServerSection, TelemetrySection, load,
};
use url::Url;

const DEFAULTS: &str = include_str!("../data/defaults.toml");

/// Everything that the gateway is told at its start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where Billing's calls arrive.
    pub server: ServerSection,
    /// Where the clouds and the buyers arrive.
    pub http: HttpSection,
    /// Logs, traces and metrics.
    pub telemetry: TelemetrySection,
    /// Who it is and whom it knows.
    pub identity: IdentitySection,
    /// Billing.
    pub billing: BillingSection,
    /// What buyers see.
    pub brand: BrandSection,
    /// The clouds by name. One that is not here is not served.
    #[serde(default)]
    pub vendors: BTreeMap<String, VendorSection>,
    /// The payment providers by the channel they serve. A channel that is not here cannot be paid through.
    #[serde(default)]
    pub payments: BTreeMap<String, VendorSection>,
}

/// Where the clouds and the buyers arrive. TLS ends at the proxy in front.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSection {
    /// The HTTP address.
    pub listen: SocketAddr,
}

/// Where Billing is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingSection {
    /// Its gRPC address, such as `http://127.0.0.1:50052`.
    pub uri: String,
}

/// What buyers see on pages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandSection {
    /// The product's name.
    pub name: String,
    /// Where a buyer registers or signs in; empty leaves the link out.
    pub console_url: String,
}

/// One cloud or payment provider: the adapter's own settings, and where its secrets are kept.
#[derive(Debug, Clone, Deserialize)]
pub struct VendorSection {
    /// Its secrets, by the names the adapter gives them.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// The adapter's settings; the adapter refuses names it does not know.
    #[serde(flatten)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

impl Config {
    /// Reads the shipped defaults, then the file, then `TANDEM_GATEWAY__…` variables.
    ///
    /// Fails when a key is unknown or has a wrong value. Secrets are read by [`Config::open_vendors`].
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let config: Config = load(DEFAULTS, file, "TANDEM_GATEWAY")?;
        config.brand.check()?;
        Ok(config)
    }

    /// Opens every configured cloud with its secrets. Speaks to nobody.
    ///
    /// Fails with the section that is wrong: a cloud without adapter, a bad setting, a secret that is missing or weak.
    pub fn open_vendors(&self, surroundings: &Surroundings) -> Result<Vec<Connection>, ConfigError> {
        self.vendors.iter().map(|(name, section)| section.open(name, surroundings.clone())).collect()
    }
}

impl Config {
    /// Opens every configured payment provider with its secrets. Speaks to nobody.
    ///
    /// Fails with the section that is wrong.
    pub fn open_payments(&self, surroundings: &Surroundings) -> Result<Vec<PaymentConnection>, ConfigError> {
        let open = |(name, section): (&String, &VendorSection)| {
            let origin = format!("payments.{name}");
            let channel = name.parse().map_err(|error: UnknownName| wrong(&origin, &error))?;
            let (settings, secrets) =
                (serde_json::Value::Object(section.settings.clone()), section.secrets()?);
            payment::open(channel, settings, secrets, surroundings.clone())
                .map_err(|error| wrong(&origin, &error))
        };
        self.payments.iter().map(open).collect()
    }
}

impl VendorSection {
    fn secrets(&self) -> Result<BTreeMap<String, SecretString>, ConfigError> {
        let resolve = |(name, place): (&String, &SecretRef)| Ok((name.clone(), place.resolve()?));
        self.secrets.iter().map(resolve).collect()
    }

    fn open(&self, name: &str, surroundings: Surroundings) -> Result<Connection, ConfigError> {
        let section = format!("vendors.{name}");
        let vendor: Vendor = name.parse().map_err(|error| wrong(&section, &error))?;
        let secrets = self.secrets()?;
        let settings = serde_json::Value::Object(self.settings.clone());
        tandem_adapters::open(vendor, settings, secrets, surroundings)
            .map_err(|error| wrong(&section, &error))
    }
}

impl BrandSection {
    /// A link that runs a script or leaves the web would be a way into every buyer's browser.
    fn check(&self) -> Result<(), ConfigError> {
        let is_web = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if self.console_url.is_empty() || is_web(&self.console_url) {
            Ok(())
        } else {
            Err(wrong("brand.console_url", &"must be an absolute https address or empty"))
        }
    }
}

fn wrong(origin: &str, problem: &impl ToString) -> ConfigError {
    ConfigError::Key { origin: origin.to_owned(), message: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(Some(&file))
    }

    #[test]
    fn the_defaults_serve_no_cloud_and_show_no_schema() {
        let config = Config::load(None).unwrap();
        assert!(config.vendors.is_empty() && !config.server.reflection);
        assert_eq!(config.http.listen.port(), 8080);
        assert_eq!(
            (config.identity.name.as_str(), config.identity.audience.as_str()),
            ("gateway", "gateway")
        );
    }

    #[test]
    fn a_payment_provider_that_cannot_be_opened_stops_the_start() {
        let surroundings = Surroundings {
            now: std::sync::Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
            fresh: std::sync::Arc::new(tandem_service_kit::fresh::fresh_uuid),
        };
        for (section, named) in [("barter", "payments.barter"), ("alipay", "payments.alipay")] {
            let config = read(&format!("[payments.{section}]\nadapter = 'hosted_page'\n")).unwrap();
            let error = config.open_payments(&surroundings).err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn wrong_keys_are_refused() {
        for bad in ["[http]\nport = 1\n", "[vendor]\n", "[brand]\nconsole_url = 'javascript:alert(1)'\n"] {
            assert!(read(bad).is_err(), "accepted {bad}");
        }
    }

    #[test]
    fn a_cloud_that_nobody_knows_stops_the_start() {
        let config = read("[vendors.nimbus]\nmarket = 'china'\n").unwrap();
        let surroundings = Surroundings {
            now: std::sync::Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
            fresh: std::sync::Arc::new(tandem_service_kit::fresh::fresh_uuid),
        };
        let error = config.open_vendors(&surroundings).err().unwrap().to_string();
        assert!(error.contains("vendors.nimbus"), "{error}");
    }
}
