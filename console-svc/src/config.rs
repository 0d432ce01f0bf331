//! What the Console can be told: shipped defaults (`data/defaults.toml`), then a file, then the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use tandem_service_kit::config::{
    ConfigError, DatabaseSection, IdentitySection, MailSection, ServerSection, TelemetrySection,
};

use crate::domain::site::{BillingRegion, PriceZone, Site, Sites};
use crate::domain::workspace::SettlementMethod;

/// The shipped defaults.
pub const DEFAULTS: &str = include_str!("../data/defaults.toml");
/// The shipped sites (`domain.md` 2.1).
const SITES: &str = include_str!("../data/sites.toml");
/// What variables start with: `TANDEM_CONSOLE__DATABASE__URL` is `database.url`.
pub const ENV_PREFIX: &str = "TANDEM_CONSOLE";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens and how it stops.
    #[serde(default)]
    pub server: ServerSection,
    /// Logs, traces and metrics.
    #[serde(default)]
    pub telemetry: TelemetrySection,
    /// The database.
    #[serde(default)]
    pub database: DatabaseSection,
    /// Who the process is and who may call it.
    #[serde(default)]
    pub identity: IdentitySection,
    /// How mail leaves, and the product's name in it.
    #[serde(default)]
    pub mail: MailSection,
    /// Where Billing is.
    #[serde(default)]
    pub billing: BillingSection,
    /// Sites other than the shipped ones.
    #[serde(default)]
    pub sites: SitesSection,
    /// How usage is taken, delivered and closed.
    #[serde(default)]
    pub usage: UsageSection,
}

/// Where Billing is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BillingSection {
    /// Such as `http://127.0.0.1:50052`.
    pub url: String,
    /// What tokens for it name as their audience.
    pub audience: String,
    /// How long one call may take; less than a caller of ours waits.
    pub timeout_secs: u32,
}

impl Default for BillingSection {
    fn default() -> BillingSection {
        BillingSection {
            url: "http://127.0.0.1:50052".to_owned(),
            audience: "billing".to_owned(),
            timeout_secs: 9,
        }
    }
}

/// Sites other than the shipped ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SitesSection {
    /// A file like the shipped `data/sites.toml`, to be used instead of it.
    pub path: Option<PathBuf>,
    /// Zones by site code, which replace those of the list, such as `us1 = "America/New_York"`.
    pub time_zone: BTreeMap<String, String>,
}

/// How usage is taken, delivered and closed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageSection {
    /// How many days before today stay open for late points (D13).
    pub late_days: u16,
    /// How long after its end a day is closed, so that the last hour's points arrive first.
    pub close_grace_secs: u32,
    /// How often changed quantities are told to Billing.
    pub deliver_every_secs: u32,
}

impl Default for UsageSection {
    fn default() -> UsageSection {
        UsageSection { late_days: 3, close_grace_secs: 600, deliver_every_secs: 3 }
    }
}

impl UsageSection {
    /// How often changed quantities are told to Billing.
    pub fn deliver_every(&self) -> Duration {
        Duration::from_secs(u64::from(self.deliver_every_secs.max(1)))
    }
}

impl Config {
    /// Reads the configuration: defaults, then `file`, then the environment.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        tandem_service_kit::config::load(DEFAULTS, file, ENV_PREFIX)
    }

    /// Reads the sites.
    ///
    /// Fails when a site is malformed, its zone is unknown, or a zone is set for a site that is not there.
    pub fn sites(&self) -> Result<Sites, ConfigError> {
        match &self.sites.path {
            None => read_sites("the shipped sites", SITES, &self.sites.time_zone),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                read_sites(&path.display().to_string(), &text, &self.sites.time_zone)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SitesFile {
    site: Vec<SiteEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteEntry {
    code: String,
    name: String,
    provider: String,
    price_zone: String,
    billing_region: String,
    time_zone: String,
    default_settlement_methods: Vec<String>,
}

fn read_sites(origin: &str, text: &str, zones: &BTreeMap<String, String>) -> Result<Sites, ConfigError> {
    let file: SitesFile = toml::from_str(text)
        .map_err(|error| ConfigError::Syntax { origin: origin.to_owned(), message: error.to_string() })?;
    if let Some(code) = zones.keys().find(|code| file.site.iter().all(|site| site.code != **code)) {
        return Err(wrong("sites.time_zone", format!("there is no site {code}")));
    }
    let sites = file.site.into_iter().map(|entry| {
        let zone = zones.get(&entry.code).cloned();
        let fail = |what: &str| wrong(origin, format!("site {}: {what}", entry.code));
        let code_good =
            (1..=16).contains(&entry.code.len()) && entry.code.bytes().all(|b| b.is_ascii_alphanumeric());
        if !code_good {
            return Err(fail("code must be 1–16 letters and digits"));
        }
        let time_zone = zone.unwrap_or(entry.time_zone);
        let methods = entry.default_settlement_methods.iter().map(|name| SettlementMethod::from_name(name));
        let methods: Option<Vec<_>> = methods.collect();
        Ok(Site {
            zone: TimeZone::get(&time_zone).map_err(|_| fail("time_zone must be an IANA name"))?,
            price_zone: PriceZone::from_name(&entry.price_zone)
                .ok_or_else(|| fail("price_zone must be CN or INTL"))?,
            billing_region: BillingRegion::from_name(&entry.billing_region)
                .ok_or_else(|| fail("billing_region must be DOMESTIC or INTERNATIONAL"))?,
            default_settlement_methods: methods.ok_or_else(|| fail("unknown settlement method"))?,
            code: entry.code,
            name: entry.name,
            provider: entry.provider,
            time_zone,
        })
    });
    let sites = Sites::new(sites.collect::<Result<_, _>>()?);
    sites.ok_or_else(|| wrong(origin, "a site's code comes twice".to_owned()))
}

fn wrong(origin: &str, message: String) -> ConfigError {
    ConfigError::Key { origin: origin.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_defaults_and_sites_can_be_read() {
        let config: Config = tandem_service_kit::config::load_from(DEFAULTS, None, "NONE", []).unwrap();
        let sites = config.sites().unwrap();
        assert_eq!(sites.iter().count(), 9);
        assert_eq!(sites.get("cn1").unwrap().time_zone, "Asia/Shanghai");
        assert_eq!(sites.get("za1").unwrap().billing_region, BillingRegion::International);
    }

    #[test]
    fn a_zone_can_be_set_for_a_site_that_is_there() {
        let with = |code: &str, zone: &str| {
            read_sites("test", SITES, &BTreeMap::from([(code.to_owned(), zone.to_owned())]))
        };
        assert_eq!(
            with("us1", "America/New_York").unwrap().get("us1").unwrap().time_zone,
            "America/New_York"
        );
        assert!(with("xx9", "UTC").is_err());
        assert!(with("us1", "Mars/Olympus").is_err());
    }
}
