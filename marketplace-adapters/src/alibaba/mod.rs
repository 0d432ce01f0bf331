#![doc = include_str!("README.md")]

use std::sync::Arc;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tandem_proto::vendor::Vendor;

pub mod config;
pub mod metering;
pub mod signature;

mod answer;
mod callback;
mod client;
mod ids;
mod params;
#[cfg(feature = "sandbox")]
pub(crate) mod sandbox;
#[cfg(test)]
mod tests;
mod wire;

pub use callback::{sign_callback, sign_query};
pub use client::Client;

use crate::capability::{BillingCycle, Capabilities};
use crate::delivery::{Authenticated, Delivery, Outcome, Reply};
use crate::error::{AuthError, ConfigError, IdProblem, ParseError};
use crate::event::{Landing, Parsed};
use crate::{Connection, MarketplaceAdapter, Surroundings};
use config::Config;
use signature::{Pairs, sha256_hex, token_fits};

/// How old, or how far ahead, a password-free link may be (`vendors/alibaba.md` 5.7; our policy).
pub const LINK_WINDOW: SignedDuration = SignedDuration::from_secs(300);

/// The inbound half.
pub struct Adapter {
    config: Arc<Config>,
    capabilities: Capabilities,
}

/// Opens both halves.
///
/// Fails when the address of the vendor's interface is not allowed.
pub fn open(config: Config, surroundings: Surroundings) -> Result<Connection, ConfigError> {
    let config = Arc::new(config);
    let adapter = Adapter::new(Arc::clone(&config));
    let client = Client::new(config, surroundings)?;
    Ok(Connection {
        vendor: Vendor::Alibaba,
        market: adapter.capabilities.market,
        adapter: Arc::new(adapter),
        client: Arc::new(client),
    })
}

impl Adapter {
    /// Builds the inbound half.
    pub fn new(config: Arc<Config>) -> Self {
        // The tightest cycle among our products: what holds for it holds for all.
        let cycles = config.settings.products.values().map(|product| product.billing_cycle);
        let cycle = cycles.min_by_key(|cycle| match cycle {
            BillingCycle::Hour => 0,
            BillingCycle::Day => 1,
            BillingCycle::Realtime => 2,
        });
        let capabilities = Capabilities {
            vendor: Vendor::Alibaba,
            market: config.settings.market,
            looks_up_purchases: true,
            looks_up_usage: false,
            callbacks_are_dated: false,
            lands_buyers: true,
            metering: metering::limits(cycle.unwrap_or(BillingCycle::Day)),
        };
        Self { config, capabilities }
    }

    /// Decodes again what `authenticate` has decoded before: the delivery itself is the only thing carried between.
    fn pairs(&self, delivery: &Authenticated<'_>) -> Result<Pairs, ParseError> {
        params::decode(delivery.delivery(), self.config.settings.accept_post_form)
            .map_err(|_| ParseError::BadField { field: "query" })
    }

    fn landing(&self, pairs: &Pairs) -> Result<Landing, ParseError> {
        let get = |field: &'static str| pairs.get(field).ok_or(ParseError::MissingField { field });
        let instance = get("instanceId")?;
        if !ids::is_instance(instance) {
            return Err(ParseError::BadField { field: "instanceId" });
        }
        let bad_time = ParseError::BadField { field: "timeStamp" };
        let pressed_at = wire::parse_time(get("timeStamp")?).ok_or(bad_time.clone())?;
        Ok(Landing {
            vendor: Vendor::Alibaba,
            market: self.capabilities.market,
            vendor_instance_id: instance.clone(),
            vendor_account_id: None,
            // Letter case is no part of the proof: the same token in capitals is the same link.
            proof_digest: sha256_hex(get("token")?.to_ascii_lowercase().as_bytes()),
            expires_at: pressed_at.saturating_add(LINK_WINDOW).map_err(|_| bad_time)?,
        })
    }
}

impl MarketplaceAdapter for Adapter {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn authenticate<'a>(
        &self,
        delivery: &'a Delivery,
        now: Timestamp,
    ) -> Result<Authenticated<'a>, AuthError> {
        let pairs = params::decode(delivery, self.config.settings.accept_post_form)?;
        let token = pairs.get("token").filter(|token| !token.is_empty()).ok_or(AuthError::MissingProof)?;
        if !token_fits(&pairs, token, self.config.isv_keys()) {
            return Err(AuthError::WrongProof);
        }
        // The only callback with a time of its own; all others can be replayed for ever and are harmless to repeat.
        if pairs.get("action").is_some_and(|action| action == wire::VERIFY) {
            let pressed_at =
                pairs.get("timeStamp").and_then(|text| wire::parse_time(text)).ok_or(AuthError::Stale)?;
            if now.duration_since(pressed_at).abs() > LINK_WINDOW {
                return Err(AuthError::Stale);
            }
        }
        Ok(Authenticated::new(delivery))
    }

    fn parse(&self, delivery: &Authenticated<'_>) -> Result<Parsed, ParseError> {
        let pairs = self.pairs(delivery)?;
        if pairs.get("action").is_some_and(|action| action == wire::VERIFY) {
            return self.landing(&pairs).map(Parsed::Landing);
        }
        wire::event(&pairs, &self.config.settings).map(|event| Parsed::Events(vec![event]))
    }

    fn reply(&self, delivery: &Authenticated<'_>, outcome: &Outcome) -> Reply {
        let pairs = self.pairs(delivery).unwrap_or_default();
        wire::reply(&pairs, &self.config.settings.app_info, outcome)
    }

    fn refuse(&self, _error: &AuthError) -> Reply {
        Reply::json(StatusCode::FORBIDDEN, &json!({}))
    }

    fn check_ids(&self, account_id: &str, instance_id: &str) -> Result<(), IdProblem> {
        ids::check(account_id, instance_id, self.config.settings.strict_ids)
    }
}
