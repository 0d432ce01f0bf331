//! By which of two items a workspace's logs are charged (`domain.md` 2.3, 4.4).
//!
//! On each usage day it is exactly one of the two; the other's usage of that day is statistics only. The mode of a day
//! that has begun never changes.

use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;
use tandem_proto::names;

names! {
    /// How a workspace's logs are charged.
    LogMode: "count, ingest";
    /// By their number.
    Count = "count";
    /// By their volume.
    Ingest = "ingest";
}

impl LogMode {
    /// The item that is charged.
    pub fn item(self) -> BillingItem {
        match self {
            LogMode::Count => BillingItem::LogCount,
            LogMode::Ingest => BillingItem::LogIngest,
        }
    }

    /// The item that is statistics only.
    pub fn other_item(self) -> BillingItem {
        match self {
            LogMode::Count => LogMode::Ingest.item(),
            LogMode::Ingest => LogMode::Count.item(),
        }
    }

    /// Whether an item is charged on a day of this mode, as far as the mode is concerned.
    pub fn charges(self, item: BillingItem) -> bool {
        item != self.other_item()
    }
}

/// A workspace's modes over time. Before the first change logs are charged by count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogModes(Vec<(UsageDay, LogMode)>);

impl LogModes {
    /// From changes in any order: each day the mode changes on, and to which.
    pub fn new(mut changes: Vec<(UsageDay, LogMode)>) -> LogModes {
        changes.sort_by_key(|(day, _)| *day);
        LogModes(changes)
    }

    /// The mode of a usage day.
    pub fn at(&self, day: UsageDay) -> LogMode {
        let started = self.0.iter().rev().find(|(from, _)| *from <= day);
        started.map_or(LogMode::Count, |(_, mode)| *mode)
    }

    /// The day of the latest change, past or to come.
    pub fn last_change(&self) -> Option<UsageDay> {
        self.0.last().map(|(day, _)| *day)
    }
}

/// The first usage day that a change made now holds for: after the day that is running, after every day that stands on a
/// bill, and not before a change that is set already.
pub fn first_day(today: UsageDay, last_billed: Option<UsageDay>, modes: &LogModes) -> UsageDay {
    let after = [Some(today.next()), last_billed.map(UsageDay::next), modes.last_change()];
    after.into_iter().flatten().max().unwrap_or(today.next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(offset: i32) -> UsageDay {
        UsageDay::from_number(20_260_301).unwrap().plus_days(offset)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn each_day_charges_exactly_one_of_the_two(changes in prop::collection::btree_map(0i32..20, any::<bool>(), 0..6), on in -2i32..25) {
            let mode = |ingest: bool| if ingest { LogMode::Ingest } else { LogMode::Count };
            let modes = LogModes::new(changes.iter().map(|(d, m)| (day(*d), mode(*m))).collect());
            let at = modes.at(day(on));
            let charged = [BillingItem::LogCount, BillingItem::LogIngest].into_iter().filter(|item| at.charges(*item));
            prop_assert_eq!(charged.collect::<Vec<_>>(), vec![at.item()]);
            for item in BillingItem::ALL.iter().filter(|i| !matches!(i, BillingItem::LogCount | BillingItem::LogIngest)) {
                prop_assert!(at.charges(*item));
            }
        }

        /// A change never reaches a day that has begun or stands on a bill.
        #[test]
        fn a_change_leaves_every_day_before_it_alone(
            changes in prop::collection::btree_map(0i32..9, any::<bool>(), 0..6), today in 0i32..12, billed in prop::option::of(0i32..14), ingest in any::<bool>(),
        ) {
            let mode = |ingest: bool| if ingest { LogMode::Ingest } else { LogMode::Count };
            let before: Vec<_> = changes.iter().map(|(d, m)| (day(*d), mode(*m))).collect();
            let modes = LogModes::new(before.clone());
            let first = first_day(day(today), billed.map(day), &modes);
            prop_assert!(first > day(today) && billed.is_none_or(|b| first > day(b)));
            let mut after: Vec<_> = before.into_iter().filter(|(d, _)| *d != first).collect();
            after.push((first, mode(ingest)));
            let after = LogModes::new(after);
            prop_assert_eq!(after.at(first), mode(ingest));
            for offset in -1..20 {
                if day(offset) < first {
                    prop_assert_eq!(after.at(day(offset)), modes.at(day(offset)));
                }
            }
        }
    }
}
