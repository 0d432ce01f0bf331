#![doc = include_str!("../README.md")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tandem_proto::vendor::Vendor;
use uuid::Uuid;

pub mod alibaba;
pub mod callback;
pub mod capability;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod delivery;
pub mod error;
pub mod event;
pub mod http;
pub mod payment;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod usage;

use callback::{CallbackAction, CallbackError, CallbackFields, SignedCallback};
use capability::Capabilities;
use delivery::{Authenticated, Delivery, Outcome, Reply};
use error::{AuthError, ClientError, ConfigError, IdProblem, ParseError};
use event::{Market, Parsed};
use usage::{Purchase, RecordedUsage, SubmittedRecord, UsageRecord};

/// Inbound half of a vendor's market: pure and synchronous. The keys live inside, time is handed in.
pub trait MarketplaceAdapter: Send + Sync {
    /// What this market can do.
    fn capabilities(&self) -> &Capabilities;

    /// Proves who sent the delivery. Has no default body on purpose.
    ///
    /// Fails when the proof is missing, wrong, stale, or the delivery could be read in two ways. Tries the current key
    /// and the previous one, so that keys can be rotated without a gap.
    fn authenticate<'a>(
        &self,
        delivery: &'a Delivery,
        now: Timestamp,
    ) -> Result<Authenticated<'a>, AuthError>;

    /// Translates everything in the delivery, what we do not act on included.
    ///
    /// Fails when a field that carries meaning is missing or malformed, or names a product or plan that is not
    /// configured: that is never guessed. The caller logs it as an error and answers [`Outcome::Refused`].
    fn parse(&self, delivery: &Authenticated<'_>) -> Result<Parsed, ParseError>;

    /// Says the outcome of a proved delivery the way this vendor expects to hear it.
    fn reply(&self, delivery: &Authenticated<'_>, outcome: &Outcome) -> Reply;

    /// Answers a delivery that was not proved, in the vendor's refusal form; tells a scanner nothing.
    fn refuse(&self, error: &AuthError) -> Reply;

    /// Checks the form of ids that a customer typed, blanks around them removed. The vendor itself is asked whether
    /// they exist.
    fn check_ids(&self, account_id: &str, instance_id: &str) -> Result<(), IdProblem>;
}

/// Outbound half of a vendor's market.
#[async_trait]
pub trait MarketplaceClient: Send + Sync {
    /// Looks a purchase up in the vendor's own record; `None` when the vendor knows no such purchase of ours.
    ///
    /// Fails when the vendor did not answer clearly; that says nothing about the purchase.
    async fn look_up_purchase(
        &self,
        instance_id: &str,
        account_id: &str,
    ) -> Result<Option<Purchase>, ClientError>;

    /// Hands usage over, each record at most once; answers one result for each record, in the same order.
    ///
    /// Never repeats a submission by itself. `request_id` names the call in the log and, where the vendor takes one,
    /// is its duplicate key.
    async fn submit_usage(&self, request_id: &str, records: &[UsageRecord]) -> Vec<SubmittedRecord>;

    /// Asks what usage the vendor has recorded; `None` when this vendor cannot be asked.
    async fn get_submitted_usage(
        &self,
        instance_id: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Option<Vec<RecordedUsage>>, ClientError>;
}

/// What an adapter needs from around it and never takes by itself: the time, and fresh unguessable numbers.
#[derive(Clone)]
pub struct Surroundings {
    /// Tells the time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Makes a UUID that was never made before.
    pub fresh: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

/// Both halves of one vendor's market.
#[derive(Clone)]
pub struct Connection {
    /// The vendor.
    pub vendor: Vendor,
    /// The market.
    pub market: Market,
    /// The inbound half.
    pub adapter: Arc<dyn MarketplaceAdapter>,
    /// The outbound half.
    pub client: Arc<dyn MarketplaceClient>,
}

/// A secret a vendor's adapter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretName {
    /// Its name among the secrets handed to [`open`].
    pub name: &'static str,
    /// Whether the adapter starts without it.
    pub required: bool,
}

/// Names the secrets a vendor's adapter asks for, so that whoever reads secrets need not know the vendor.
///
/// Fails when the vendor has no adapter yet.
pub fn secret_names(vendor: Vendor) -> Result<&'static [SecretName], ConfigError> {
    match vendor {
        Vendor::Alibaba => Ok(alibaba::config::SECRET_NAMES),
        Vendor::Aws | Vendor::Huawei | Vendor::Azure => Err(ConfigError::VendorNotBuilt),
    }
}

/// Opens a vendor's market from its settings and secrets: the registry.
///
/// Fails when the vendor or market has no adapter, a setting is unknown or not allowed, or a secret is missing, weak or
/// misspelt.
pub fn open(
    vendor: Vendor,
    settings: serde_json::Value,
    secrets: BTreeMap<String, SecretString>,
    surroundings: Surroundings,
) -> Result<Connection, ConfigError> {
    match vendor {
        Vendor::Alibaba => alibaba::open(alibaba::config::Config::new(settings, secrets)?, surroundings),
        Vendor::Aws | Vendor::Huawei | Vendor::Azure => Err(ConfigError::VendorNotBuilt),
    }
}

/// Makes a callback of a vendor, signed with its callback key.
///
/// Fails when the vendor has no adapter yet or a field the action needs is missing.
pub fn sign_callback(
    vendor: Vendor,
    key: &SecretString,
    action: CallbackAction,
    fields: &CallbackFields,
) -> Result<SignedCallback, CallbackError> {
    match vendor {
        Vendor::Alibaba => alibaba::sign_callback(key, action, fields),
        Vendor::Aws | Vendor::Huawei | Vendor::Azure => Err(CallbackError::VendorNotBuilt),
    }
}

/// What an adapter's settings put on sale in its vendor's sandbox.
#[cfg(feature = "sandbox")]
fn sandbox_products(
    vendor: Vendor,
    settings: &serde_json::Value,
) -> Result<BTreeMap<String, sandbox::state::Product>, ConfigError> {
    match vendor {
        Vendor::Alibaba => alibaba::sandbox::products(settings),
        Vendor::Aws | Vendor::Huawei | Vendor::Azure => Err(ConfigError::VendorNotBuilt),
    }
}

/// The vendor's side of the wire for its sandbox.
#[cfg(feature = "sandbox")]
fn sandbox_dialect(config: &sandbox::SandboxConfig) -> Result<Box<dyn sandbox::Dialect>, ConfigError> {
    match config.vendor {
        Vendor::Alibaba => alibaba::sandbox::dialect(config),
        Vendor::Aws | Vendor::Huawei | Vendor::Azure => Err(ConfigError::VendorNotBuilt),
    }
}
