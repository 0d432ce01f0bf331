//! Price lists: versioned, by zone, currency, item and retention (`domain.md` 4.6). Never converted (D25).

use std::collections::HashMap;

use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, LineAmount};
use tandem_proto::settlement::PriceZone;

/// What a price is looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PriceKey {
    /// Which sites it is for.
    pub zone: PriceZone,
    /// Which currency.
    pub currency: Currency,
    /// The item.
    pub item: BillingItem,
    /// 0 for items that are not priced by retention.
    pub retention_days: i32,
}

/// The price of one unit, which may be many counted units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Counted units that one unit price buys.
    pub unit_size: i64,
    /// Price of `unit_size` units.
    pub unit_price: LineAmount,
}

/// Prices in force from a day on. Never changes once stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceList {
    /// Its name.
    pub version: String,
    /// First usage day it is used for.
    pub effective_day: UsageDay,
    /// The prices.
    pub prices: HashMap<PriceKey, Price>,
}

/// An item in use that the list has no price for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price list {version} has no price for {item} at {retention_days} days in zone {zone}, {currency}")]
pub struct PriceMissing {
    /// The list.
    pub version: String,
    /// The item.
    pub item: BillingItem,
    /// Its retention.
    pub retention_days: i32,
    /// The zone's name.
    pub zone: &'static str,
    /// The currency.
    pub currency: Currency,
}

impl PriceList {
    /// The price of an item.
    pub fn find(&self, key: &PriceKey) -> Result<Price, PriceMissing> {
        self.prices.get(key).copied().ok_or_else(|| PriceMissing {
            version: self.version.clone(),
            item: key.item,
            retention_days: key.retention_days,
            zone: key.zone.name(),
            currency: key.currency,
        })
    }
}

/// The newest of several lists that is in force on a day; among lists of one day the greater version counts.
pub fn in_force(lists: &[PriceList], day: UsageDay) -> Option<&PriceList> {
    let started = lists.iter().filter(|list| list.effective_day <= day);
    started.max_by(|a, b| (a.effective_day, &a.version).cmp(&(b.effective_day, &b.version)))
}
