//! Spend alerts: whether what a workspace costs has gone beyond what somebody wants to hear of (`domain.md` 3.16, D16).

use std::collections::BTreeMap;

use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;

/// How many days before today still count: usage may arrive as late (D13).
pub const LATE_DAYS: i32 = 3;

/// What a rule watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// Everything a workspace costs, month to date.
    Total,
    /// One item of a workspace, day by day.
    Item(BillingItem),
}

impl Watched {
    /// The name in a column: the item's, or nothing.
    pub fn name(self) -> &'static str {
        match self {
            Watched::Total => "",
            Watched::Item(item) => item.name(),
        }
    }
}

impl std::str::FromStr for Watched {
    type Err = tandem_proto::item::UnknownItem;
    fn from_str(text: &str) -> Result<Watched, Self::Err> {
        if text.is_empty() { Ok(Watched::Total) } else { text.parse().map(Watched::Item) }
    }
}

/// What a workspace costs so far, in micros of its currency: what stands on bills, and what does not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spend {
    /// By month, `yyyymm`.
    pub months: BTreeMap<i32, i64>,
    /// By day and item.
    pub days: BTreeMap<(UsageDay, BillingItem), i64>,
}

/// A rule that has been exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exceeded {
    /// The month, `yyyymm`, of a total; the day, `yyyymmdd`, of an item.
    pub period: i32,
    /// What it comes to, in micros.
    pub spent: i64,
}

/// The periods in which a rule with a threshold in micros has been exceeded: strictly more was spent.
///
/// Only periods that may still grow are looked at: `today` and the days before it on which late usage counts.
pub fn exceeded(watched: Watched, threshold: i64, spend: &Spend, today: UsageDay) -> Vec<Exceeded> {
    let open: Vec<UsageDay> = (0..=LATE_DAYS).map(|back| today.plus_days(-back)).collect();
    let mut periods: Vec<(i32, i64)> = match watched {
        Watched::Total => {
            let months = open.iter().map(|day| day.month());
            months.map(|month| (month, spend.months.get(&month).copied().unwrap_or(0))).collect()
        }
        Watched::Item(item) => {
            let spent = |day: &UsageDay| spend.days.get(&(*day, item)).copied().unwrap_or(0);
            open.iter().map(|day| (day.number(), spent(day))).collect()
        }
    };
    periods.sort_unstable();
    periods.dedup();
    let over = periods.into_iter().filter(|(_, spent)| *spent > threshold);
    over.map(|(period, spent)| Exceeded { period, spent }).collect()
}

/// A period as people write it: `2026-03` of a total, `2026-03-05` of an item.
pub fn period_text(watched: Watched, period: i32) -> String {
    match watched {
        Watched::Total => format!("{}-{:02}", period / 100, period % 100),
        Watched::Item(_) => format!("{}-{:02}-{:02}", period / 10_000, period / 100 % 100, period % 100),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> UsageDay {
        text.parse().unwrap()
    }

    #[test]
    fn exactly_the_threshold_is_not_beyond_it() {
        let mut spend = Spend::default();
        spend.months.insert(202_603, 10_000_000);
        spend.days.insert((day("2026-03-05"), BillingItem::Trigger), 2_000_001);
        let today = day("2026-03-05");
        assert_eq!(exceeded(Watched::Total, 10_000_000, &spend, today), []);
        let over = Exceeded { period: 202_603, spent: 10_000_000 };
        assert_eq!(exceeded(Watched::Total, 9_999_999, &spend, today), [over]);
        let over = Exceeded { period: 20_260_305, spent: 2_000_001 };
        assert_eq!(exceeded(Watched::Item(BillingItem::Trigger), 2_000_000, &spend, today), [over]);
        assert_eq!(exceeded(Watched::Item(BillingItem::Sms), 0, &spend, today), []);
    }

    #[test]
    fn late_usage_of_the_last_days_counts_and_older_does_not() {
        let mut spend = Spend::default();
        spend.months.extend([(202_602, 5), (202_603, 5), (202_601, 5)]);
        spend.days.insert((day("2026-02-26"), BillingItem::Trigger), 5);
        spend.days.insert((day("2026-02-27"), BillingItem::Trigger), 5);
        let periods = |watched| {
            let found = exceeded(watched, 1, &spend, day("2026-03-02"));
            found.into_iter().map(|over| over.period).collect::<Vec<_>>()
        };
        assert_eq!(periods(Watched::Total), [202_602, 202_603]);
        assert_eq!(periods(Watched::Item(BillingItem::Trigger)), [20_260_227]);
    }

    proptest! {
        /// A higher threshold is never exceeded where a lower one is not, and each period is named once.
        #[test]
        fn thresholds_are_ordered(spent in 0i64..100, low in 0i64..100, more in 0i64..100) {
            let mut spend = Spend::default();
            spend.months.insert(202_603, spent);
            let today = day("2026-03-20");
            let at = |threshold| exceeded(Watched::Total, threshold, &spend, today);
            prop_assert!(at(low + more).len() <= at(low).len());
            prop_assert_eq!(at(low).len(), usize::from(spent > low));
        }
    }
}
