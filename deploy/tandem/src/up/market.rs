//! The market that `tandem up` plays: which cloud, what is on sale, which secrets. All of it is data
//! (`data/market.toml`), so that no cloud is named here.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Deserialize;
use tandem_adapters::sandbox::{Sandbox, SandboxConfig};
use tandem_gateway::config::VendorSection;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::clock::SharedClock;

use crate::data_dir::DataDir;
use crate::failure::{Attempt as _, Result};

const MARKET: &str = include_str!("../../data/market.toml");

/// The market.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    vendor: String,
    /// Which of the adapter's secrets signs callbacks.
    pub callback_secret: String,
    /// The product on sale, by the cloud's code.
    pub product: String,
    /// Its plan, by the cloud's name.
    pub plan: String,
    settings: serde_json::Map<String, serde_json::Value>,
}

impl Market {
    /// Reads the market for a sandbox and a gateway that listen on these addresses.
    pub fn at(sandbox: &str, callbacks: &str) -> Result<Market> {
        let text = MARKET.replace("{sandbox}", sandbox).replace("{callbacks}", callbacks);
        toml::from_str(&text).attempt(|| "reading the shipped market".to_owned())
    }

    /// What is on sale, wherever it is.
    pub fn shipped() -> Result<Market> {
        Market::at("http://127.0.0.1", "http://127.0.0.1")
    }

    /// The cloud.
    pub fn vendor(&self) -> Result<Vendor> {
        self.vendor.parse().attempt(|| "reading the shipped market".to_owned())
    }

    /// The names of the secrets both sides share.
    pub fn secret_names(&self) -> Result<Vec<&'static str>> {
        let names =
            tandem_adapters::secret_names(self.vendor()?).attempt(|| "opening the sandbox".to_owned())?;
        Ok(names.iter().filter(|secret| secret.required).map(|secret| secret.name).collect())
    }

    /// The gateway's section for this cloud.
    pub fn section(&self, data: &DataDir) -> Result<VendorSection> {
        let secrets = self.secret_names()?.into_iter().map(|name| (name.to_owned(), data.secret_ref(name)));
        Ok(VendorSection { secrets: secrets.collect(), settings: self.settings.clone() })
    }

    /// The sandbox cloud, with what it remembers from before.
    pub fn sandbox(&self, data: &DataDir, callbacks: &str, clock: &SharedClock) -> Result<Sandbox> {
        let vendor = self.vendor()?;
        let mut secrets: BTreeMap<String, SecretString> = BTreeMap::new();
        for name in self.secret_names()? {
            secrets.insert(name.to_owned(), data.secret(name)?);
        }
        let settings = serde_json::Value::Object(self.settings.clone());
        let callback_url = format!("{callbacks}/callbacks/{vendor}");
        let attempt = || "starting the sandbox cloud".to_owned();
        let mut config =
            SandboxConfig::matching(vendor, &settings, secrets, callback_url).attempt(attempt)?;
        config.state_file = Some(data.path("sandbox.json"));
        let clock = clock.clone();
        Sandbox::new(config, std::sync::Arc::new(move || clock.now())).attempt(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_market_has_an_adapter_and_its_secrets_sign_callbacks() {
        let market = Market::at("http://127.0.0.1:1", "http://127.0.0.1:2").unwrap();
        assert!(market.secret_names().unwrap().contains(&market.callback_secret.as_str()));
        assert_eq!(market.settings["base_url"], "http://127.0.0.1:1");
        let products = market.settings["products"].as_object().unwrap();
        assert!(products[&market.product]["plans"].as_object().unwrap().contains_key(&market.plan));
    }
}
