//! What operations need beside their input.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tandem_proto::marketplace::v1::marketplace_gateway_service_client::MarketplaceGatewayServiceClient;
use tandem_proto::marketplace::v1::payment_gateway_service_client::PaymentGatewayServiceClient;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::clock::SharedClock;
use tandem_service_kit::db::Database;
use tandem_service_kit::peer::PeerChannel;

use crate::config::VendorRules;
use crate::document::Brand;
use crate::links::Links;
use crate::mail::Letterhead;
use crate::ops::wallet_lane::Lanes;

/// The gateway, as Billing calls it.
pub type Gateway = MarketplaceGatewayServiceClient<PeerChannel>;

/// Payment providers, as Billing calls them through the gateway.
pub type Payments = PaymentGatewayServiceClient<PeerChannel>;

/// The database, the time, the vendors' rules, the letterhead of mails and the way to the gateway.
pub struct Context {
    /// Billing's database.
    pub db: Database,
    /// The business time.
    pub clock: SharedClock,
    /// How vendors differ.
    pub vendors: BTreeMap<Vendor, VendorRules>,
    /// Who mails are from.
    pub letterhead: Letterhead,
    /// Under whose name documents leave.
    pub brand: Brand,
    /// Whether text messages can be sent.
    pub can_text: bool,
    /// Links that open without signing in.
    pub links: Links,
    /// The gateway.
    pub gateway: Gateway,
    /// The way to payment providers, by the gateway, too.
    pub payments: Payments,
    /// Time between two comparisons of a purchase with its vendor.
    pub reconcile_every: SignedDuration,
    /// The callers that wait to change a wallet.
    pub lanes: Lanes,
    /// Wakes the loops of this process when there is work for them.
    pub wakes: Wakes,
}

/// Wakes for the loops of this process; missing one only costs the poll's wait.
#[derive(Debug, Default)]
pub struct Wakes {
    /// New events for the feed.
    pub feed: std::sync::Arc<tokio::sync::Notify>,
    /// Metering records to be sent.
    pub metering: std::sync::Arc<tokio::sync::Notify>,
    /// Closed days to be billed.
    pub billing: std::sync::Arc<tokio::sync::Notify>,
    /// Recorded marketplace events to be applied.
    pub inbox: std::sync::Arc<tokio::sync::Notify>,
}
