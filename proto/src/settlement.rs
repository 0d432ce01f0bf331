//! Settlement vocabulary: who is charged, which Billing Center, which prices (`domain.md` 1 and 2.1).

use std::str::FromStr;

use crate::money::Currency;
use crate::names;
use crate::names::UnknownName;
use crate::vendor::Vendor;

/// Who is charged for a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SettlementMethod {
    /// The Billing Center's own balance.
    BillingCenter,
    /// A cloud account.
    Cloud(Vendor),
}

impl SettlementMethod {
    /// The name used in columns and files.
    pub fn name(self) -> &'static str {
        match self {
            SettlementMethod::BillingCenter => "billing_center",
            SettlementMethod::Cloud(vendor) => vendor.name(),
        }
    }
}

impl FromStr for SettlementMethod {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        if text == "billing_center" {
            return Ok(SettlementMethod::BillingCenter);
        }
        let choices = "billing_center, alibaba, aws, huawei, azure";
        text.parse().map(SettlementMethod::Cloud).map_err(|_| UnknownName { choices })
    }
}

names! {
    /// Which of the two separate Billing Centers.
    BillingRegion: "domestic, international";
    /// Settles in CNY.
    Domestic = "domestic";
    /// Settles in USD.
    International = "international";
}

impl BillingRegion {
    /// The currency its accounts start with.
    pub fn currency(self) -> Currency {
        match self {
            BillingRegion::Domestic => Currency::Cny,
            BillingRegion::International => Currency::Usd,
        }
    }

    /// The IANA zone in which an account of the region has its months and the last days of what it holds. Usage days
    /// are the sites' own (D17).
    pub fn time_zone(self) -> &'static str {
        match self {
            BillingRegion::Domestic => "Asia/Shanghai",
            BillingRegion::International => "UTC",
        }
    }
}

names! {
    /// Which prices apply to a site.
    PriceZone: "CN, INTL";
    /// Mainland sites.
    Cn = "CN";
    /// Hong Kong and abroad.
    Intl = "INTL";
}

names! {
    /// Which of a vendor's markets.
    Market: "china, international";
    /// The market for mainland China.
    China = "china";
    /// The international market.
    International = "international";
}

impl Market {
    /// The market that sells to customers of a Billing Center.
    pub fn of(region: BillingRegion) -> Market {
        match region {
            BillingRegion::Domestic => Market::China,
            BillingRegion::International => Market::International,
        }
    }

    /// The currency its purchases are charged in: one unit of their dimension is one minor unit of it.
    pub fn currency(self) -> Currency {
        match self {
            Market::China => Currency::Cny,
            Market::International => Currency::Usd,
        }
    }
}

names! {
    /// Whether a workspace may be used (`domain.md` 5.2).
    WorkspaceStanding: "active, lock_countdown, locked, dissolved";
    /// In use.
    Active = "active";
    /// In use, with a deadline after which it is locked.
    LockCountdown = "lock_countdown";
    /// Takes no data; its data is gone.
    Locked = "locked";
    /// Deleted for good.
    Dissolved = "dissolved";
}
