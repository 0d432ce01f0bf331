//! The sandbox cloud: an honest stand-in for a vendor's market, for trials, tests and local runs (feature `sandbox`).
//!
//! It speaks the vendor's wire both ways: it checks signatures of calls and signs its own, keeps purchases, takes and
//! *remembers* usage, repeats callbacks until they are acknowledged, and can be told to fail, to time out after
//! accepting, to repeat and to reorder. An adapter cannot tell it from the real one except by its address. The vendor's
//! words are in the vendor's folder; what is here is common to all.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use secrecy::SecretString;
use tandem_proto::vendor::Vendor;
use tokio::net::TcpListener;

mod api;
mod control;
mod courier;
pub mod faults;
mod handle;
pub mod state;

pub use handle::{Buy, SandboxError, SandboxHandle};

use crate::callback::{CallbackAction, CallbackError, CallbackFields, SignedCallback};
use crate::error::ConfigError;
use state::{Product, State};

/// Tries of a callback before it is given up: the most that any vendor's document names.
pub const TRIES_MAX: u32 = 120;

/// What the sandbox is made of.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Whose market it stands in for.
    pub vendor: Vendor,
    /// The seller's secrets, under the names of [`crate::secret_names`].
    pub secrets: BTreeMap<String, SecretString>,
    /// What is on sale.
    pub products: BTreeMap<String, Product>,
    /// Where callbacks go.
    pub callback_url: String,
    /// Time between two tries of a callback.
    pub callback_spacing: Duration,
    /// Keeps what the sandbox knows over a restart.
    pub state_file: Option<PathBuf>,
}

impl SandboxConfig {
    /// A sandbox that sells what an adapter's settings name, to a seller with these secrets.
    ///
    /// Fails when the vendor has no sandbox or the settings are not its.
    pub fn matching(
        vendor: Vendor,
        settings: &serde_json::Value,
        secrets: BTreeMap<String, SecretString>,
        callback_url: String,
    ) -> Result<Self, ConfigError> {
        let products = crate::sandbox_products(vendor, settings)?;
        let callback_spacing = Duration::from_millis(500);
        Ok(Self { vendor, secrets, products, callback_url, callback_spacing, state_file: None })
    }
}

/// A call of the seller.
pub(crate) struct ApiCall {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

/// An answer to the seller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// What the seller said to a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// Where buyers land, where the vendor learns it here.
    pub(crate) landing_url: Option<String>,
}

/// A vendor's words for what the sandbox does.
pub(crate) trait Dialect: Send + Sync {
    /// The name of the call, which faults are set on.
    fn action(&self, call: &ApiCall) -> String;
    /// Checks a call's proof and does what it asks.
    fn answer(&self, state: &mut State, call: &ApiCall, now: Timestamp) -> ApiAnswer;
    /// An error of the vendor's form.
    fn error(&self, status: u16, code: &str) -> ApiAnswer;
    /// An answer that says neither yes nor why not.
    fn doubt(&self) -> ApiAnswer;
    /// Signs a callback.
    fn sign(&self, action: CallbackAction, fields: &CallbackFields) -> Result<SignedCallback, CallbackError>;
    /// Reads the answer to a callback; `None` means: call again.
    fn read(&self, action: CallbackAction, status: u16, body: &[u8]) -> Option<Acknowledgement>;
    /// Makes an instance's number.
    fn instance_id(&self, number: u64) -> String;
    /// Makes an order's number.
    fn order_id(&self, number: u64) -> String;
    /// Makes a message's number.
    fn message_id(&self, number: u64) -> String;
    /// A product code that is none of ours.
    fn other_product(&self) -> (&'static str, &'static str);
}

/// The clock the sandbox goes by.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A sandbox, ready to serve.
pub struct Sandbox {
    handle: SandboxHandle,
    beside: axum::Router,
}

impl Sandbox {
    /// Makes a sandbox, with what its state file holds.
    ///
    /// Fails when the vendor has no sandbox, a secret is missing, the callback address is no URL, or the state file
    /// cannot be read.
    pub fn new(config: SandboxConfig, now: Clock) -> Result<Self, SandboxError> {
        let dialect = crate::sandbox_dialect(&config)?;
        Ok(Self { handle: SandboxHandle::new(config, dialect, now)?, beside: axum::Router::new() })
    }

    /// Serves further addresses beside its own, such as a payment sandbox's.
    #[must_use]
    pub fn beside(mut self, router: axum::Router) -> Self {
        self.beside = self.beside.merge(router);
        self
    }

    /// The direct way to what the control addresses offer.
    pub fn handle(&self) -> SandboxHandle {
        self.handle.clone()
    }

    /// Serves the vendor's interface on `/` and the control addresses under `/sandbox/`, and delivers callbacks, until
    /// the shutdown comes.
    ///
    /// Fails when the listener does.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let courier = tokio::spawn(courier::run(self.handle.clone()));
        let router =
            control::routes().merge(api::routes()).with_state(self.handle.clone()).merge(self.beside);
        let handle = self.handle.clone();
        let stop = async move {
            shutdown.await;
            // Calls that hang on purpose must not keep the process.
            handle.stop();
        };
        let result = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        self.handle.stop();
        courier.abort();
        result
    }
}
