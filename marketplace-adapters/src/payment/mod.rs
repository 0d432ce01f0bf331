//! The port for payment providers: orders go out, announcements of payments come in.
//!
//! A provider is a folder behind two traits, like a vendor's market: the inbound half is pure and synchronous, the
//! outbound half asks the provider. Nothing here knows what a payment is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tandem_proto::money::Money;
use tandem_proto::payment::PaymentChannel;

use crate::Surroundings;
use crate::delivery::{Authenticated, Delivery, Outcome, Reply};
use crate::error::{AuthError, ClientError, ConfigError, ParseError};

pub mod hosted;
#[cfg(feature = "sandbox")]
pub mod sandbox;

/// An order as we want the provider to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Our number of it; the provider opens one order for each number.
    pub order_id: String,
    /// What is to be paid.
    pub amount: Money,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
}

/// A payment as the provider tells of it. Its currency may be one that nobody here uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The provider's number of it; one for each payment.
    pub payment_id: String,
    /// The number of the order that was paid.
    pub order_id: String,
    /// What was paid, in minor units; above zero.
    pub minor: i64,
    /// The ISO 4217 code of the currency.
    pub currency: String,
    /// When it was paid.
    pub paid_at: Timestamp,
}

/// What a provider announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An order was paid.
    Paid(Payment),
    /// Something else happened to an order, which we do not act on.
    Other {
        /// The provider's word for it.
        status: String,
    },
}

/// Where an order stands at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderState {
    /// Can be paid.
    Waiting,
    /// Was paid.
    Paid(Payment),
    /// Was not paid and cannot be any more.
    Closed,
    /// The provider knows no such order of ours.
    Unknown,
}

/// Why there is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The provider does not open such an order, and never will as it is.
    #[error("the provider refuses the order ({code})")]
    Refused {
        /// The provider's code.
        code: String,
    },
    /// No clear answer: the order may exist or not.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Inbound half of a provider: pure and synchronous. The keys live inside, time is handed in.
pub trait PaymentProvider: Send + Sync {
    /// Proves who sent the delivery. Has no default body on purpose.
    ///
    /// Fails when the proof is missing, wrong or stale. Tries the current key and the previous one.
    fn authenticate<'a>(
        &self,
        delivery: &'a Delivery,
        now: Timestamp,
    ) -> Result<Authenticated<'a>, AuthError>;

    /// Translates a proved delivery.
    ///
    /// Fails when a field that carries meaning is missing or malformed: that is never guessed.
    fn parse(&self, delivery: &Authenticated<'_>) -> Result<Notice, ParseError>;

    /// Says the outcome of a proved delivery the way the provider expects to hear it.
    fn reply(&self, outcome: &Outcome) -> Reply;

    /// Answers a delivery that was not proved; tells a scanner nothing.
    fn refuse(&self, error: &AuthError) -> Reply;
}

/// Outbound half of a provider.
#[async_trait]
pub trait PaymentClient: Send + Sync {
    /// Opens an order, or finds the one that was opened with this number; returns the page to pay it on.
    ///
    /// Fails with [`OrderError::Refused`] when it surely was not opened.
    async fn create_order(&self, order: &NewOrder) -> Result<String, OrderError>;

    /// Asks where an order stands.
    ///
    /// Fails when the provider did not answer clearly; that says nothing about the order.
    async fn look_up_order(&self, order_id: &str) -> Result<OrderState, ClientError>;
}

/// Both halves of one provider, and the channel it serves.
#[derive(Clone)]
pub struct PaymentConnection {
    /// The channel.
    pub channel: PaymentChannel,
    /// The inbound half.
    pub provider: Arc<dyn PaymentProvider>,
    /// The outbound half.
    pub client: Arc<dyn PaymentClient>,
}

/// Opens a channel's provider from its settings and secrets: the registry. The setting `adapter` names the provider's
/// kind; `hosted_page` is the only one yet.
///
/// Fails when a setting is unknown or not allowed, or a secret is missing, weak or misspelt.
pub fn open(
    channel: PaymentChannel,
    settings: serde_json::Value,
    secrets: BTreeMap<String, SecretString>,
    surroundings: Surroundings,
) -> Result<PaymentConnection, ConfigError> {
    let config = hosted::Config::new(settings, secrets)?;
    let (provider, client) = hosted::open(config, surroundings)?;
    Ok(PaymentConnection { channel, provider, client })
}
