//! What is asked of a vendor: a purchase's standing, and usage handed over (`marketplace/v1/gateway.proto`, one to one).

use jiff::Timestamp;

/// Where a purchase stands at its vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PurchaseState {
    /// Being prepared, or not paid yet.
    Pending,
    /// In use.
    Active,
    /// Frozen; can be reinstated.
    Suspended,
    /// Ended for good.
    Ended,
}

/// A purchase as its vendor records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The purchase's number.
    pub vendor_instance_id: String,
    /// The account that bought it. The caller compares it with the account it expects.
    pub vendor_account_id: String,
    /// The order behind it.
    pub vendor_order_id: String,
    /// The vendor's product code.
    pub product_code: String,
    /// Whether that product is among those configured here.
    pub product_is_ours: bool,
    /// Where it stands.
    pub state: PurchaseState,
    /// When it ends; `None` for pay-as-you-go.
    pub expires_at: Option<Timestamp>,
}

/// A record of usage, fixed before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// Names the record in the answer.
    pub id: String,
    /// The purchase it is for.
    pub vendor_instance_id: String,
    /// The account that bought it.
    pub vendor_account_id: String,
    /// The vendor's product code.
    pub product_code: String,
    /// The vendor's metering dimension.
    pub dimension: String,
    /// Start of the window.
    pub start: Timestamp,
    /// End of the window, exclusive.
    pub end: Timestamp,
    /// Units of the dimension; at least 0.
    pub quantity: i64,
}

/// What a vendor said to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubmitOutcome {
    /// Taken.
    Accepted,
    /// Was there already, with the same quantity.
    DuplicateSame,
    /// Not taken, and never will be as it is.
    Refused,
    /// Certainly not taken; may be sent again, the same bytes, from this time on.
    RetryLater(Timestamp),
    /// It is not known whether it was taken; must not be sent again blindly.
    Unknown,
    /// Not taken: its window is closed.
    Expired,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedRecord {
    /// The record's id.
    pub id: String,
    /// What the vendor said, or our own rules before it was asked.
    pub outcome: SubmitOutcome,
    /// The vendor's code or the name of our rule, for operators; empty when there is none. Never a secret.
    pub vendor_code: String,
    /// The vendor's reference of the accepted record, where it gives one.
    pub vendor_reference: Option<String>,
}

/// A record as the vendor holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedUsage {
    /// The metering dimension.
    pub dimension: String,
    /// Start of the window.
    pub start: Timestamp,
    /// End of the window, exclusive.
    pub end: Timestamp,
    /// Units of the dimension.
    pub quantity: i64,
}
