//! What a Free workspace may use in a day (`domain.md` 4.8, D36).

use std::collections::{BTreeMap, HashMap};

use super::aggregation::{Hours, day_quantity};
use super::item::{Item, Measure};
use super::point::PointKey;

/// What became of a point of a Free workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Taken,
    /// The item's quota is used up for its day.
    Exhausted,
}

/// The points of one Free workspace that a decision depends on.
#[derive(Debug, Clone, Default)]
pub struct FreeUsage {
    days: HashMap<(Item, i32), ItemDay>,
}

/// One item on one day, over all its retentions and sub keys.
#[derive(Debug, Clone, Default)]
struct ItemDay {
    groups: BTreeMap<(i16, String), Group>,
    hundredths: i64,
}

/// The points of one retention and sub key, and what they come to.
#[derive(Debug, Clone, Default)]
struct Group {
    points: BTreeMap<(Measure, i64), i64>,
    hundredths: i64,
}

impl Group {
    fn hundredths(&self, item: Item, without: Option<(Measure, i64)>) -> i64 {
        let (mut own, mut second) = (Hours::default(), Hours::default());
        for ((measure, hour), quantity) in &self.points {
            if Some((*measure, *hour)) != without {
                let hours = if *measure == Measure::Own { &mut own } else { &mut second };
                *hours = hours.and(*quantity);
            }
        }
        day_quantity(item, own, second).hundredths
    }
}

impl FreeUsage {
    /// Counts a point that is stored already.
    pub fn know(&mut self, key: &PointKey, quantity: i64) {
        let day = self.days.entry((key.item, key.usage_day)).or_default();
        let group = day.groups.entry((key.retention_days, key.sub_key.clone())).or_default();
        group.points.insert((key.measure, key.hour_start), quantity);
        let before = group.hundredths;
        group.hundredths = group.hundredths(key.item, None);
        day.hundredths = day.hundredths.saturating_add(group.hundredths).saturating_sub(before);
    }

    /// Decides about one more point, and counts it when it is taken.
    ///
    /// The point that crosses the quota is counted whole, the next one is refused (D36). A repetition and a smaller
    /// replacement are always taken: they add nothing. A greater replacement is judged by what is used without it.
    pub fn offer(&mut self, key: &PointKey, quantity: i64) -> Verdict {
        if let Some(limit) = key.item.free_quota() {
            let (old, used) = self.without(key);
            if old.is_none_or(|old| quantity > old) && used >= limit.saturating_mul(100) {
                return Verdict::Exhausted;
            }
        }
        self.know(key, quantity);
        Verdict::Taken
    }

    /// The stored quantity of a point, and what its item uses on its day without it, in hundredths.
    fn without(&self, key: &PointKey) -> (Option<i64>, i64) {
        let Some(day) = self.days.get(&(key.item, key.usage_day)) else { return (None, 0) };
        let Some(group) = day.groups.get(&(key.retention_days, key.sub_key.clone())) else {
            return (None, day.hundredths);
        };
        let place = (key.measure, key.hour_start);
        let rest = group.hundredths(key.item, Some(place));
        let used = day.hundredths.saturating_sub(group.hundredths).saturating_add(rest);
        (group.points.get(&place).copied(), used)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(item: Item, hour: i64) -> PointKey {
        PointKey {
            workspace_id: "wks_1".into(),
            usage_day: 20_260_301,
            item,
            retention_days: 0,
            sub_key: String::new(),
            measure: Measure::Own,
            hour_start: hour,
        }
    }

    #[test]
    fn the_point_that_crosses_counts_whole_and_the_next_is_refused() {
        let mut usage = FreeUsage::default();
        assert_eq!(usage.offer(&key(Item::Trigger, 0), 99_999), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::Trigger, 1), 500_000), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::Trigger, 2), 1), Verdict::Exhausted);
        // Other items, other days, repetitions, corrections downwards and the crossing point itself go on.
        assert_eq!(usage.offer(&key(Item::RumPv, 2), 1), Verdict::Taken);
        let tomorrow = PointKey { usage_day: 20_260_302, ..key(Item::Trigger, 2) };
        assert_eq!(usage.offer(&tomorrow, 1), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::Trigger, 1), 500_000), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::Trigger, 0), 99_000), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::Trigger, 1), 600_000), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::Trigger, 0), 99_999), Verdict::Exhausted);
    }

    #[test]
    fn exactly_the_quota_uses_it_up() {
        let mut usage = FreeUsage::default();
        assert_eq!(usage.offer(&key(Item::ApmProfile, 0), 60), Verdict::Taken);
        assert_eq!(usage.offer(&key(Item::ApmProfile, 1), 0), Verdict::Exhausted);
    }

    #[test]
    fn unavailable_items_are_refused_and_unlimited_ones_taken() {
        let mut usage = FreeUsage::default();
        assert_eq!(usage.offer(&key(Item::Sms, 0), 1), Verdict::Exhausted);
        assert_eq!(usage.offer(&key(Item::Pipeline, 0), 1_000_000_000_000), Verdict::Taken);
    }

    #[test]
    fn the_sum_over_sub_keys_counts_and_running_values_do_not_add_up() {
        let mut usage = FreeUsage::default();
        let series = |sub: &str, hour| PointKey { sub_key: sub.into(), ..key(Item::TimeSeries, hour) };
        for hour in 0..24 {
            assert_eq!(usage.offer(&series("a", hour), 2_000), Verdict::Taken);
        }
        assert_eq!(usage.offer(&series("b", 0), 1_000), Verdict::Taken);
        assert_eq!(usage.offer(&series("b", 1), 1), Verdict::Exhausted);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn only_one_point_of_a_sum_reaches_beyond_the_quota(quantities in prop::collection::vec(1_i64..40, 1..25)) {
            let mut usage = FreeUsage::default();
            let mut taken = 0;
            for (hour, quantity) in (0_i64..).zip(&quantities) {
                let before = taken;
                match usage.offer(&key(Item::ApmProfile, hour), *quantity) {
                    Verdict::Taken => { prop_assert!(before < 60); taken += quantity; }
                    Verdict::Exhausted => prop_assert!(before >= 60),
                }
            }
        }
    }
}
