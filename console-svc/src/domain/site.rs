//! Sites: regional installations, independent of each other (`domain.md` 2.1).

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::workspace::{SettlementMethod, numbered};

numbered! {
    /// Which prices apply.
    PriceZone {
        /// Mainland sites.
        Cn = 1, "CN";
        /// Hong Kong and abroad.
        Intl = 2, "INTL";
    }
}

numbered! {
    /// Which of the two separate Billing Centers.
    BillingRegion {
        /// Settles in CNY.
        Domestic = 1, "DOMESTIC";
        /// Settles in USD.
        International = 2, "INTERNATIONAL";
    }
}

/// A regional installation.
#[derive(Debug, Clone)]
pub struct Site {
    /// Such as `cn1`.
    pub code: String,
    /// The place.
    pub name: String,
    /// The cloud it runs on, as people call it.
    pub provider: String,
    /// Which prices apply.
    pub price_zone: PriceZone,
    /// Which Billing Center its workspaces are billed by.
    pub billing_region: BillingRegion,
    /// IANA name of the zone whose midnight ends a usage day.
    pub time_zone: String,
    /// That zone.
    pub zone: TimeZone,
    /// What a workspace may settle with by default.
    pub default_settlement_methods: Vec<SettlementMethod>,
}

/// All sites, by code.
#[derive(Debug, Clone)]
pub struct Sites(BTreeMap<String, Site>);

impl Sites {
    /// Puts sites together; `None` when a code comes twice.
    pub fn new(sites: Vec<Site>) -> Option<Sites> {
        let count = sites.len();
        let by_code: BTreeMap<_, _> = sites.into_iter().map(|site| (site.code.clone(), site)).collect();
        (by_code.len() == count).then_some(Sites(by_code))
    }

    /// The site of a code.
    pub fn get(&self, code: &str) -> Option<&Site> {
        self.0.get(code)
    }

    /// Every site, by code.
    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.0.values()
    }
}
