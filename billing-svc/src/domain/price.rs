//! Price lists: versioned, by zone, currency, item and retention (`domain.md` 4.6). Never converted (D25).

use std::collections::HashMap;

use jiff::Timestamp;
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
    /// When it was published: of lists of one effective day the last counts.
    pub published_at: Timestamp,
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

/// The newest of several lists that is in force on a day; among lists of one day the one published last counts.
pub fn in_force(lists: &[PriceList], day: UsageDay) -> Option<&PriceList> {
    let started = lists.iter().filter(|list| list.effective_day <= day);
    started.max_by_key(|list| rank(list))
}

/// Later lists come after earlier ones.
fn rank(list: &PriceList) -> (UsageDay, Timestamp, &str) {
    (list.effective_day, list.published_at, &list.version)
}

/// A list and for which days it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduled<'a> {
    /// The list.
    pub list: &'a PriceList,
    /// The last usage day it is used for; `None` when no later list is known, or when it is superseded.
    pub last_day: Option<UsageDay>,
    /// Whether a list of the same effective day was published later, so that it is used for no day.
    pub superseded: bool,
}

/// Every list with the days it is used for, the latest first.
pub fn schedule(lists: &[PriceList]) -> Vec<Scheduled<'_>> {
    let mut sorted: Vec<&PriceList> = lists.iter().collect();
    sorted.sort_by(|a, b| rank(b).cmp(&rank(a)));
    let mut later: Option<UsageDay> = None;
    let mut last_day = None;
    sorted
        .into_iter()
        .map(|list| {
            let superseded = later == Some(list.effective_day);
            if !superseded {
                last_day = later.map(UsageDay::previous);
                later = Some(list.effective_day);
            }
            Scheduled { list, last_day: if superseded { None } else { last_day }, superseded }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(index: usize, day: i32, published: i64) -> PriceList {
        PriceList {
            version: format!("v{index}"),
            effective_day: UsageDay::from_number(20_260_301).unwrap().plus_days(day),
            published_at: Timestamp::from_second(published).unwrap(),
            prices: HashMap::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// The schedule and the choice for a bill are one rule.
        #[test]
        fn the_schedule_says_which_list_each_day_uses(lists in prop::collection::vec((0i32..8, 0i64..4), 0..8)) {
            let lists: Vec<PriceList> = lists.iter().enumerate().map(|(i, (day, at))| list(i, *day, *at)).collect();
            let schedule = schedule(&lists);
            prop_assert_eq!(schedule.len(), lists.len());
            for offset in -1..10 {
                let day = UsageDay::from_number(20_260_301).unwrap().plus_days(offset);
                let covers = |s: &&Scheduled<'_>| {
                    !s.superseded && s.list.effective_day <= day && s.last_day.is_none_or(|last| day <= last)
                };
                let used: Vec<_> = schedule.iter().filter(covers).map(|s| &s.list.version).collect();
                let chosen: Vec<_> = in_force(&lists, day).map(|list| &list.version).into_iter().collect();
                prop_assert_eq!(used, chosen);
            }
        }

        /// A list for a later day changes nothing on the days before it: a bill keeps the version it used.
        #[test]
        fn a_later_list_changes_no_earlier_day(lists in prop::collection::vec((0i32..6, 0i64..4), 1..6), ahead in 1i32..4, at in 0i64..9) {
            let mut lists: Vec<PriceList> = lists.iter().enumerate().map(|(i, (day, at))| list(i, *day, *at)).collect();
            let billed = UsageDay::from_number(20_260_301).unwrap().plus_days(6);
            let before: Vec<_> = (0..7).map(|n| in_force(&lists, billed.plus_days(-n)).map(|l| l.version.clone())).collect();
            lists.push(PriceList { effective_day: billed.plus_days(ahead), ..list(99, 0, at) });
            let after: Vec<_> = (0..7).map(|n| in_force(&lists, billed.plus_days(-n)).map(|l| l.version.clone())).collect();
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn of_one_day_the_list_published_last_counts_whatever_its_name() {
        let lists = [list(9, 0, 1), list(1, 0, 2)];
        let day = UsageDay::from_number(20_260_301).unwrap();
        assert_eq!(in_force(&lists, day).map(|l| l.version.as_str()), Some("v1"));
    }
}
