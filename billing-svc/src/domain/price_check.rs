//! What makes a price list good: no entry twice, none that makes no sense, and a price for everything that somebody uses
//! or may use (`domain.md` 4.4, 4.6).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use tandem_proto::item::{BillingItem, PricingModel};
use tandem_proto::money::Currency;
use tandem_proto::settlement::PriceZone;

use super::price::{Price, PriceKey, PriceList};

/// Longest retention that a price may be for, in days.
pub const RETENTION_DAYS_MAX: i32 = 3_650;
/// Highest price of one unit, in millionths: a million. No item costs near it; more is a slip of the decimal point.
pub const UNIT_PRICE_MAX: i64 = 1_000_000_000_000;

/// A column of a price list: which sites, in which currency.
pub type Column = (PriceZone, Currency);

/// The columns that a new customer comes into: mainland sites in CNY, sites abroad in USD (`domain.md` 2.1, D22, D23).
pub const USUAL_COLUMNS: [Column; 2] = [(PriceZone::Cn, Currency::Cny), (PriceZone::Intl, Currency::Usd)];

/// Every column (D25), in the order of price files.
pub const COLUMNS: [Column; 4] = [
    (PriceZone::Cn, Currency::Cny),
    (PriceZone::Intl, Currency::Cny),
    (PriceZone::Cn, Currency::Usd),
    (PriceZone::Intl, Currency::Usd),
];

/// One price of a list that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is for.
    pub key: PriceKey,
    /// The price; a unit size of 0 stands for the item's own.
    pub price: Price,
}

/// Why an entry is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// It is never charged by use.
    #[error("{0} is statistics only and has no price")]
    StatisticsOnly(BillingItem),
    /// Its price depends on the retention.
    #[error("{0} is priced by retention: 1 to 3650 days")]
    RetentionWanted(BillingItem),
    /// Its price does not depend on it.
    #[error("{0} is not priced by retention: 0 days")]
    NoRetention(BillingItem),
    /// Another unit than customers are told.
    #[error("{0} is priced for {1} units")]
    UnitSize(BillingItem, i64),
    /// The price's currency is another than the column's.
    #[error("the price must be in {0}")]
    Currency(Currency),
    /// No price of ours.
    #[error("a price is from 0 to 1000000 for one unit")]
    OutOfRange,
    /// The same item, retention, zone and currency stands there before.
    #[error("the same item, retention, zone and currency as entry {first}")]
    Twice {
        /// The place of the first, from 0.
        first: usize,
    },
}

/// Checks entries, or says which are bad, by place from 0.
pub fn check(entries: &[Entry]) -> Result<HashMap<PriceKey, Price>, Vec<(usize, BadEntry)>> {
    let mut places: HashMap<PriceKey, usize> = HashMap::new();
    let (mut prices, mut bad) = (HashMap::new(), Vec::new());
    for (place, entry) in entries.iter().enumerate() {
        let price = match check_one(entry) {
            Ok(price) => price,
            Err(error) => {
                bad.push((place, error));
                continue;
            }
        };
        match places.get(&entry.key) {
            Some(first) => bad.push((place, BadEntry::Twice { first: *first })),
            None => {
                places.insert(entry.key, place);
                prices.insert(entry.key, price);
            }
        }
    }
    if bad.is_empty() { Ok(prices) } else { Err(bad) }
}

fn check_one(entry: &Entry) -> Result<Price, BadEntry> {
    let Entry { key, price } = *entry;
    let item = key.item;
    match item.pricing_model() {
        PricingModel::StatisticsOnly => return Err(BadEntry::StatisticsOnly(item)),
        PricingModel::Flat if key.retention_days != 0 => return Err(BadEntry::NoRetention(item)),
        PricingModel::ByRetention if !(1..=RETENTION_DAYS_MAX).contains(&key.retention_days) => {
            return Err(BadEntry::RetentionWanted(item));
        }
        PricingModel::Flat | PricingModel::ByRetention => {}
    }
    if price.unit_size != 0 && price.unit_size != item.unit_size() {
        return Err(BadEntry::UnitSize(item, item.unit_size()));
    }
    if price.unit_price.currency != key.currency {
        return Err(BadEntry::Currency(key.currency));
    }
    if !(0..=UNIT_PRICE_MAX).contains(&price.unit_price.micros) {
        return Err(BadEntry::OutOfRange);
    }
    Ok(Price { unit_size: item.unit_size(), ..price })
}

/// The prices that a new list lacks: what the list before it sells in columns that somebody is in or may come into, and
/// what is used already, sold or not. In the order of items, retentions and columns.
pub fn missing(
    new: &PriceList,
    before: Option<&PriceList>,
    columns: &HashSet<Column>,
    used: &HashSet<PriceKey>,
) -> Vec<PriceKey> {
    let open = |key: &&PriceKey| {
        let column = (key.zone, key.currency);
        USUAL_COLUMNS.contains(&column) || columns.contains(&column)
    };
    let sold = before.into_iter().flat_map(|list| list.prices.keys()).filter(open);
    let chargeable = |key: &&PriceKey| key.item.pricing_model() != PricingModel::StatisticsOnly;
    let wanted: HashSet<PriceKey> = sold.chain(used.iter().filter(chargeable)).copied().collect();
    let mut missing: Vec<PriceKey> = wanted.into_iter().filter(|key| !new.prices.contains_key(key)).collect();
    missing.sort_by_key(|key| (key.item, key.retention_days, key.zone, key.currency));
    missing
}

/// Prices that are missing, short enough for an error: one for each item and set of columns, naming all retentions.
pub fn named(missing: &[PriceKey]) -> Vec<MissingPrices> {
    let mut columns: BTreeMap<(BillingItem, i32), BTreeSet<Column>> = BTreeMap::new();
    for key in missing {
        columns.entry((key.item, key.retention_days)).or_default().insert((key.zone, key.currency));
    }
    let mut groups: BTreeMap<(BillingItem, BTreeSet<Column>), Vec<i32>> = BTreeMap::new();
    for ((item, days), columns) in columns {
        groups.entry((item, columns)).or_default().push(days);
    }
    let group = |((item, columns), retention_days)| MissingPrices { item, retention_days, columns };
    groups.into_iter().map(group).collect()
}

/// Prices of one item that are missing in the same columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPrices {
    /// The item.
    pub item: BillingItem,
    /// Its retentions, shortest first; 0 for an item that is not priced by retention.
    pub retention_days: Vec<i32>,
    /// Where it is missing.
    pub columns: BTreeSet<Column>,
}

impl fmt::Display for MissingPrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.item)?;
        if self.retention_days != [0] {
            let days: Vec<String> = self.retention_days.iter().map(i32::to_string).collect();
            write!(f, " at {} days", days.join("/"))?;
        }
        let columns: Vec<String> =
            self.columns.iter().map(|(zone, currency)| format!("{} {currency}", zone.name())).collect();
        write!(f, " in {}", columns.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use tandem_proto::money::LineAmount;

    use super::*;

    fn entry(item: BillingItem, retention_days: i32, column: Column, micros: i64) -> Entry {
        let (zone, currency) = column;
        let unit_price = LineAmount { micros, currency };
        Entry {
            key: PriceKey { zone, currency, item, retention_days },
            price: Price { unit_size: 0, unit_price },
        }
    }

    fn list(entries: &[Entry]) -> PriceList {
        PriceList {
            version: "v".into(),
            effective_day: "2026-04-01".parse().unwrap(),
            published_at: Timestamp::UNIX_EPOCH,
            prices: check(entries).unwrap(),
        }
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let one =
            (0..BillingItem::ALL.len(), prop::sample::select(vec![3, 7, 14]), 0usize..4, 0i64..9_000_000);
        prop::collection::vec(one, 0..40).prop_map(|picks| {
            let mut seen = HashSet::new();
            let entry = |(item, days, column, micros): (usize, i32, usize, i64)| {
                let item = BillingItem::ALL[item];
                let days = if item.pricing_model() == PricingModel::ByRetention { days } else { 0 };
                entry(item, days, COLUMNS[column], micros)
            };
            let good = |e: &Entry| e.key.item != BillingItem::Collector;
            picks.into_iter().map(entry).filter(good).filter(|e| seen.insert(e.key)).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Adding what is named as missing makes the list good, and leaving any of it out does not.
        #[test]
        fn what_is_missing_is_exactly_what_has_to_be_added(
            old in entries(), new in entries(), used in entries(), columns in prop::collection::hash_set(0usize..4, 0..4),
        ) {
            let columns: HashSet<Column> = columns.into_iter().map(|c| COLUMNS[c]).collect();
            let used: HashSet<PriceKey> = used.iter().map(|e| e.key).collect();
            let (old, mut published) = (list(&old), list(&new));
            let lacks = missing(&published, Some(&old), &columns, &used);
            let mentioned: usize = named(&lacks).iter().map(|m| m.retention_days.len() * m.columns.len()).sum();
            prop_assert_eq!(mentioned, lacks.len());
            for key in &lacks {
                let open = USUAL_COLUMNS.contains(&(key.zone, key.currency)) || columns.contains(&(key.zone, key.currency));
                prop_assert!(used.contains(key) || (open && old.prices.contains_key(key)));
            }
            let mut rest = lacks.clone();
            for key in lacks {
                prop_assert_eq!(&missing(&published, Some(&old), &columns, &used), &rest);
                published.prices.insert(key, entry(key.item, key.retention_days, (key.zone, key.currency), 1).price);
                rest.retain(|left| *left != key);
            }
            prop_assert_eq!(missing(&published, Some(&old), &columns, &used), vec![]);
        }

        /// Whatever comes in twice is refused, and nothing else changes the list.
        #[test]
        fn a_list_is_its_entries_or_is_refused(good in entries(), twice in 0usize..40) {
            let prices = check(&good).unwrap();
            prop_assert_eq!(prices.len(), good.len());
            prop_assert!(prices.iter().all(|(key, price)| price.unit_size == key.item.unit_size()));
            if !good.is_empty() {
                let first = twice % good.len();
                let mut entries = good.clone();
                entries.push(good[first]);
                prop_assert_eq!(check(&entries), Err(vec![(good.len(), BadEntry::Twice { first })]));
            }
        }
    }

    #[test]
    fn entries_without_sense_are_refused_by_place() {
        use BillingItem::{Collector, LogCount, Sms, Trigger};
        let cny = COLUMNS[0];
        let mut odd_unit = entry(Trigger, 0, cny, 1);
        odd_unit.price.unit_size = 1_000;
        let mut odd_currency = entry(Trigger, 0, cny, 1);
        odd_currency.price.unit_price.currency = Currency::Usd;
        let cases = [
            (entry(Collector, 0, cny, 1), BadEntry::StatisticsOnly(Collector)),
            (entry(LogCount, 0, cny, 1), BadEntry::RetentionWanted(LogCount)),
            (entry(LogCount, 3_651, cny, 1), BadEntry::RetentionWanted(LogCount)),
            (entry(Sms, 7, cny, 1), BadEntry::NoRetention(Sms)),
            (entry(Trigger, 0, cny, -1), BadEntry::OutOfRange),
            (entry(Trigger, 0, cny, UNIT_PRICE_MAX + 1), BadEntry::OutOfRange),
            (odd_unit, BadEntry::UnitSize(Trigger, 10_000)),
            (odd_currency, BadEntry::Currency(Currency::Cny)),
        ];
        for (bad, error) in cases {
            assert_eq!(check(&[entry(Sms, 0, cny, 1), bad]), Err(vec![(1, error)]));
        }
    }

    #[test]
    fn what_is_missing_is_told_in_few_words() {
        let key = |item, retention_days, column: Column| PriceKey {
            zone: column.0,
            currency: column.1,
            item,
            retention_days,
        };
        let lacks = [
            key(BillingItem::LogCount, 3, COLUMNS[0]),
            key(BillingItem::LogCount, 7, COLUMNS[0]),
            key(BillingItem::LogCount, 14, COLUMNS[0]),
            key(BillingItem::LogCount, 14, COLUMNS[3]),
            key(BillingItem::Sms, 0, COLUMNS[0]),
        ];
        let told: Vec<String> = named(&lacks).iter().map(MissingPrices::to_string).collect();
        assert_eq!(
            told,
            ["LOG_COUNT at 3/7 days in CN CNY", "LOG_COUNT at 14 days in CN CNY, INTL USD", "SMS in CN CNY"]
        );
    }
}
