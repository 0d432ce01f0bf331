//! Billing's configuration, one struct for each section, read once.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::SignedDuration;
use serde::Deserialize;
use tandem_proto::day::zone;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::config::{
    ConfigError, DatabaseSection, IdentitySection, MailSection, ServerSection, SmsSection, TelemetrySection,
    load,
};

use crate::document::{Brand, BrandSection};
use crate::domain::binding::EndPolicy;
use crate::domain::metering::{Cycle, Policy};

const DEFAULTS: &str = include_str!("../data/defaults.toml");
const VENDORS: &str = include_str!("../data/vendors.toml");

/// Everything that Billing is told at its start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    pub server: ServerSection,
    /// Logs, traces and metrics.
    pub telemetry: TelemetrySection,
    /// Its database.
    pub database: DatabaseSection,
    /// Who it is and whom it knows.
    pub identity: IdentitySection,
    /// How mail leaves.
    pub mail: MailSection,
    /// How text messages leave.
    #[serde(default)]
    pub sms: SmsSection,
    /// The marketplace gateway.
    pub gateway: GatewaySection,
    /// How often its loops look for work.
    pub jobs: JobsSection,
    /// Under whose name documents leave.
    #[serde(default)]
    pub brand: BrandSection,
    /// Links that it gives out.
    #[serde(default)]
    pub links: LinksSection,
    /// Values that replace the shipped ones of `data/vendors.toml`, by vendor.
    #[serde(default)]
    pub vendors: BTreeMap<String, VendorSection>,
}

/// Where the gateway is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySection {
    /// Its gRPC address, such as `http://127.0.0.1:50053`.
    pub uri: String,
    /// How long one call may take.
    pub timeout_secs: u32,
}

/// Links that open without signing in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinksSection {
    /// The public address of the gateway's pages, such as `https://pages.example.com`; empty leaves links out of mails.
    pub base_url: String,
}

/// How often loops look for work.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsSection {
    /// Longest wait before closed days, due records, due locks and new events are looked for.
    pub poll_secs: u32,
    /// Time between two comparisons of a live subscription with its vendor.
    pub reconcile_secs: u32,
}

impl JobsSection {
    /// Time between two comparisons of a live subscription with its vendor.
    pub fn reconcile_every(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.reconcile_secs))
    }
}

/// How one vendor differs in the rules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorSection {
    /// `fall_back` or `lock`.
    pub end_policy: String,
    /// How it takes usage; absent when nothing can be settled through it.
    pub metering: Option<MeteringSection>,
}

/// How a vendor takes usage; see [`Policy`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeteringSection {
    /// The dimension whose unit is one minor unit.
    pub dimension: String,
    /// `hour` or `day`.
    pub cycle: String,
    /// IANA name of the zone its cycles are in.
    pub time_zone: String,
    /// Minutes after a cycle in which it still takes that cycle's usage.
    pub grace_mins: u32,
    /// Minutes before that end in which we no longer send.
    pub margin_mins: u32,
    /// Seconds between two calls for one purchase.
    pub spacing_secs: u32,
    /// Most records in one call.
    pub batch_max: u32,
    /// Whether it detects a record that is sent twice.
    pub detects_duplicates: bool,
}

/// The rules of one vendor.
#[derive(Debug, Clone)]
pub struct VendorRules {
    /// What the end of a purchase means for its workspaces.
    pub end_policy: EndPolicy,
    /// How it takes usage.
    pub metering: Option<Policy>,
}

impl Config {
    /// Reads the shipped defaults, then the file, then `TANDEM_BILLING__…` variables.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let config: Config = load(DEFAULTS, file, "TANDEM_BILLING")?;
        config.vendor_rules()?;
        config.brand()?;
        config.links.check()?;
        Ok(config)
    }

    /// Under whose name documents leave. Fails with the key that is wrong.
    pub fn brand(&self) -> Result<Brand, ConfigError> {
        Brand::new(&self.brand, &self.mail)
    }

    /// The rules of every vendor: the shipped ones, replaced where the configuration says so.
    ///
    /// Fails with the key that is wrong.
    pub fn vendor_rules(&self) -> Result<BTreeMap<Vendor, VendorRules>, ConfigError> {
        let mut sections: BTreeMap<String, VendorSection> =
            toml::from_str(VENDORS).map_err(|e| wrong("data/vendors.toml", &e.to_string()))?;
        sections.extend(self.vendors.clone());
        let mut rules = BTreeMap::new();
        for (name, section) in sections {
            let key = format!("vendors.{name}");
            let vendor: Vendor = name.parse().map_err(|e| wrong(&key, &format!("{e}")))?;
            rules.insert(vendor, section.rules(&key)?);
        }
        Ok(rules)
    }
}

fn wrong(key: &str, message: &str) -> ConfigError {
    ConfigError::Key { origin: key.to_owned(), message: message.to_owned() }
}

impl LinksSection {
    /// What stands in mails must lead to a web page.
    fn check(&self) -> Result<(), ConfigError> {
        let web = ["https://", "http://"].iter().any(|scheme| self.base_url.starts_with(scheme));
        let plain = self.base_url.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#');
        if self.base_url.is_empty() || (web && plain) {
            return Ok(());
        }
        Err(wrong("links.base_url", "must be an absolute https address without query, or empty"))
    }
}

impl VendorSection {
    fn rules(&self, key: &str) -> Result<VendorRules, ConfigError> {
        let end_policy =
            self.end_policy.parse().map_err(|e| wrong(&format!("{key}.end_policy"), &format!("{e}")))?;
        let metering = self.metering.as_ref().map(|m| m.policy(&format!("{key}.metering"))).transpose()?;
        Ok(VendorRules { end_policy, metering })
    }
}

impl MeteringSection {
    fn policy(&self, key: &str) -> Result<Policy, ConfigError> {
        let cycle: Cycle = self.cycle.parse().map_err(|e| wrong(&format!("{key}.cycle"), &format!("{e}")))?;
        let zone = zone(&self.time_zone).ok_or_else(|| {
            wrong(&format!("{key}.time_zone"), "must be an IANA zone such as Asia/Shanghai")
        })?;
        if self.margin_mins >= self.grace_mins {
            return Err(wrong(
                &format!("{key}.margin_mins"),
                "must be below grace_mins, or nothing could ever be sent",
            ));
        }
        if self.batch_max == 0 {
            return Err(wrong(&format!("{key}.batch_max"), "must be at least 1"));
        }
        Ok(Policy {
            dimension: self.dimension.clone(),
            cycle,
            zone,
            grace: SignedDuration::from_mins(i64::from(self.grace_mins)),
            margin: SignedDuration::from_mins(i64::from(self.margin_mins)),
            spacing: SignedDuration::from_secs(i64::from(self.spacing_secs)),
            batch_max: usize::try_from(self.batch_max).unwrap_or(usize::MAX),
            detects_duplicates: self.detects_duplicates,
        })
    }
}
