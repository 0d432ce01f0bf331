//! What a vendor's delivery means: events, landings, and the words they are made of.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tandem_proto::vendor::Vendor;

/// Which of a vendor's markets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Market {
    /// The market for mainland China.
    China,
    /// The international market.
    International,
}

/// A text that names no market.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of china, international")]
pub struct UnknownMarket;

impl Market {
    /// The name used in paths, configuration keys, columns and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Market::China => "china",
            Market::International => "international",
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Market {
    type Err = UnknownMarket;
    fn from_str(text: &str) -> Result<Self, UnknownMarket> {
        [Market::China, Market::International].into_iter().find(|m| m.name() == text).ok_or(UnknownMarket)
    }
}

/// What happened to a purchase (`domain.md` 6, vendor adapter contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Bought; carries account, product and plan.
    Subscribed,
    /// *Sets* the expiry, never adds to it; also resumes a purchase that was suspended.
    Renewed,
    /// A renewal was given back: sets the expiry to an earlier time.
    RenewalReturned,
    /// Another plan; the expiry stays.
    PlanChanged,
    /// Frozen: the service stops, data is kept.
    Suspended,
    /// In use again, without a new expiry.
    Reinstated,
    /// Ended for good, by the buyer or the vendor.
    Cancelled,
    /// Ended for good, because the term ran out.
    Expired,
    /// An order was paid. Informs only; the purchase itself is announced by [`EventKind::Subscribed`].
    Paid,
    /// Genuine, but this adapter does not know the word. Kept for an operator; details hold the vendor's `action`.
    Unknown,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 10] = [
        EventKind::Subscribed,
        EventKind::Renewed,
        EventKind::RenewalReturned,
        EventKind::PlanChanged,
        EventKind::Suspended,
        EventKind::Reinstated,
        EventKind::Cancelled,
        EventKind::Expired,
        EventKind::Paid,
        EventKind::Unknown,
    ];

    /// The name used in columns, logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Subscribed => "subscribed",
            EventKind::Renewed => "renewed",
            EventKind::RenewalReturned => "renewal_returned",
            EventKind::PlanChanged => "plan_changed",
            EventKind::Suspended => "suspended",
            EventKind::Reinstated => "reinstated",
            EventKind::Cancelled => "cancelled",
            EventKind::Expired => "expired",
            EventKind::Paid => "paid",
            EventKind::Unknown => "unknown",
        }
    }
}

/// How far an event's key tells a repeat from a second event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyScope {
    /// The key is one event for ever: a second delivery with it is a repeat.
    Unique,
    /// The vendor sends neither id nor time, so a repeat and a genuine second event look alike. Whoever keeps the
    /// state appends the number of changes it has seen of this purchase; the act itself must be harmless to repeat.
    PerState,
}

/// One event of a purchase, in words that no vendor owns.
///
/// Invariant: never holds a proof, key, password or access data of the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketplaceEvent {
    /// Who sent it.
    pub vendor: Vendor,
    /// Which market of the vendor.
    pub market: Market,
    /// What happened.
    pub kind: EventKind,
    /// The same for every delivery of the same event; at most 255 characters.
    pub event_key: String,
    /// How far the key reaches.
    pub key_scope: KeyScope,
    /// The purchase; empty only for [`EventKind::Unknown`].
    pub vendor_instance_id: String,
    /// The buyer's account, where the vendor says it.
    pub vendor_account_id: Option<String>,
    /// The order behind the event, where the vendor says it.
    pub vendor_order_id: Option<String>,
    /// The vendor's product code, where the vendor says it; always one of ours.
    pub product_code: Option<String>,
    /// Our name of the plan, by configuration from the vendor's.
    pub plan: Option<String>,
    /// Whether the purchase is a trial.
    pub is_trial: bool,
    /// The expiry the event sets; `None` leaves it as it is, or means no end for a new purchase.
    pub expires_at: Option<Timestamp>,
    /// Everything else that came, by the vendor's names, raw times included.
    pub details: BTreeMap<String, String>,
}

/// A buyer who arrived in the browser through a link the vendor signed.
///
/// The link proves the purchase, not a person of the buyer's staff, and counts once: whoever keeps state refuses a
/// second use of `proof_digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// Where the buyer came from.
    pub vendor: Vendor,
    /// Which market of the vendor.
    pub market: Market,
    /// The purchase.
    pub vendor_instance_id: String,
    /// The buyer's account, where the vendor says it.
    pub vendor_account_id: Option<String>,
    /// SHA-256 of the proof, lower-case hex: the key of its one use.
    pub proof_digest: String,
    /// After this the link is refused by its age alone, so the digest need not be kept longer.
    pub expires_at: Timestamp,
}

/// What a delivery holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Events, in the order they stand in the delivery; at least one.
    Events(Vec<MarketplaceEvent>),
    /// A buyer who arrived.
    Landing(Landing),
}
