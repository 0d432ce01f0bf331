//! Says what usage costs, as a bill of that day would.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::item::{BillingItem, PricingModel};
use tandem_proto::money::Currency;
use tandem_proto::quantity::Quantity;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::PriceZone;
use tandem_service_kit::fault::Fault;

use super::publish_price_list::price_missing;
use crate::domain::bill::{self, Draft, RatingError, Usage};
use crate::domain::price::{PriceKey, in_force};
use crate::store::price;

/// What is to be quoted.
pub struct Wish {
    /// The usage day: decides which list is used.
    pub day: UsageDay,
    /// Which sites.
    pub zone: PriceZone,
    /// Which currency.
    pub currency: Currency,
    /// Item, retention and quantity.
    pub usage: Vec<(BillingItem, i32, Quantity)>,
}

/// Rates the usage.
///
/// Fails with a field that makes no sense, with `OBJECT_NOT_FOUND` when no list is in force, and with `PRICE_MISSING`,
/// naming every price the list lacks.
pub async fn run(db: &impl ConnectionTrait, wish: &Wish) -> Result<Draft, Fault> {
    for (index, (item, _, quantity)) in wish.usage.iter().enumerate() {
        if item.pricing_model() == PricingModel::StatisticsOnly {
            let right = format!("{item} is statistics only and has no price");
            return Err(Fault::field(format!("usage[{index}].item"), right));
        }
        if *quantity <= Quantity::ZERO {
            return Err(Fault::field(format!("usage[{index}].quantity_hundredths"), "must be above 0"));
        }
    }
    let items: BTreeSet<BillingItem> = wish.usage.iter().map(|(item, ..)| *item).collect();
    if items.contains(&BillingItem::LogCount) && items.contains(&BillingItem::LogIngest) {
        return Err(Fault::field("usage", "logs are charged by LOG_COUNT or by LOG_INGEST, never by both"));
    }
    let lists = price::all(db).await?;
    let list = in_force(&lists, wish.day).ok_or(Fault::not_found("day"))?;
    let key = |(item, retention_days, _): &(BillingItem, i32, Quantity)| PriceKey {
        zone: wish.zone,
        currency: wish.currency,
        item: *item,
        retention_days: *retention_days,
    };
    let wanted: BTreeSet<PriceKey> = wish.usage.iter().map(key).collect();
    let missing: Vec<PriceKey> = wanted.into_iter().filter(|key| !list.prices.contains_key(key)).collect();
    if !missing.is_empty() {
        return Err(price_missing("usage", &missing).with("price_list_version", &list.version));
    }
    let used = |(item, retention_days, quantity): &(BillingItem, i32, Quantity)| Usage {
        day: wish.day,
        item: *item,
        retention_days: *retention_days,
        sub_key: String::new(),
        quantity: *quantity,
        billed: Quantity::ZERO,
    };
    let usage: Vec<Usage> = wish.usage.iter().map(used).collect();
    bill::quote(wish.day, wish.zone, wish.currency, &usage, &lists).map_err(|error| match error {
        RatingError::NoPriceList(_) => Fault::not_found("day"),
        RatingError::PriceMissing(_) => Fault::new(Reason::PriceMissing),
        RatingError::Money(_) => Fault::field("usage", "must cost less than the largest amount there is"),
    })
}
