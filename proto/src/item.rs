//! Billing items: what is metered and always charged separately (`domain.md` 4.4).

use std::fmt;
use std::str::FromStr;

/// How an item's price is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PricingModel {
    /// One unit price.
    Flat,
    /// A unit price for each retention policy.
    ByRetention,
    /// Counted, never charged by use.
    StatisticsOnly,
}

macro_rules! items {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $unit_size:literal, $model:ident;)+) => {
        /// A metered thing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum BillingItem { $($(#[$doc])* $variant,)+ }

        impl BillingItem {
            /// Every item, in the order of bills.
            pub const ALL: &'static [BillingItem] = &[$(BillingItem::$variant),+];

            /// The name used in files, columns and price lists.
            pub fn name(self) -> &'static str {
                match self { $(BillingItem::$variant => $name),+ }
            }

            /// How many counted units one unit price buys.
            pub fn unit_size(self) -> i64 {
                match self { $(BillingItem::$variant => $unit_size),+ }
            }

            /// How its price is found.
            pub fn pricing_model(self) -> PricingModel {
                match self { $(BillingItem::$variant => PricingModel::$model),+ }
            }
        }
    };
}

items! {
    /// Active time series of the day.
    TimeSeries = "TIME_SERIES", 1_000, ByRetention;
    /// Logs, events and checks.
    LogCount = "LOG_COUNT", 1_000_000, ByRetention;
    /// Logs by volume, in bytes.
    LogIngest = "LOG_INGEST", 1_000_000_000, ByRetention;
    /// Data forwarded to outside storage, in bytes.
    DataForwardExternal = "DATA_FORWARD_EXTERNAL", 1_000_000_000, Flat;
    /// Data forwarded inside the product, in bytes.
    DataForwardInternal = "DATA_FORWARD_INTERNAL", 1_000_000_000, Flat;
    /// Hosts that send network data.
    NetworkHost = "NETWORK_HOST", 1, Flat;
    /// Traces.
    ApmTrace = "APM_TRACE", 1_000_000, ByRetention;
    /// Profile files.
    ApmProfile = "APM_PROFILE", 10_000, ByRetention;
    /// Page views.
    RumPv = "RUM_PV", 10_000, ByRetention;
    /// Sessions with a replay.
    SessionReplay = "SESSION_REPLAY", 1_000, Flat;
    /// Runs of synthetic tests.
    SyntheticTest = "SYNTHETIC_TEST", 10_000, Flat;
    /// Weighted runs of detections and queries.
    Trigger = "TRIGGER", 10_000, Flat;
    /// Text messages.
    Sms = "SMS", 10, Flat;
    /// Reports that were sent.
    Report = "REPORT", 1, Flat;
    /// Data scanned for sensitive values, in bytes.
    SensitiveScan = "SENSITIVE_SCAN", 1_000_000_000, Flat;
    /// Logs handled by the central pipeline, in bytes.
    Pipeline = "PIPELINE", 1_000_000_000, Flat;
    /// Collectors.
    Collector = "COLLECTOR", 1, StatisticsOnly;
}

impl BillingItem {
    /// Whether vouchers may never pay for it (`domain.md` 4.2).
    pub fn is_restricted(self) -> bool {
        matches!(self, BillingItem::Sms | BillingItem::SyntheticTest)
    }
}

/// A text that names no item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a billing item such as LOG_COUNT")]
pub struct UnknownItem;

impl FromStr for BillingItem {
    type Err = UnknownItem;
    fn from_str(text: &str) -> Result<Self, UnknownItem> {
        BillingItem::ALL.iter().copied().find(|item| item.name() == text).ok_or(UnknownItem)
    }
}

impl fmt::Display for BillingItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
