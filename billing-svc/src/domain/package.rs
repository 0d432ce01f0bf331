//! Annual and traffic packages: what they contain, what they cost and when they run (`domain.md` 3.18, 4.9).
//!
//! A package lasts 372 usage days and keeps what it was sold with. How its quotas are drawn is in
//! [`package_cover`](super::package_cover).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, PackageId, PackageOrderId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{LineAmount, MICROS_PER_MINOR, Money, MoneyError};
use tandem_proto::names;
use tandem_proto::quantity::Quantity;

use super::price::Price;

/// How many usage days a package lasts.
pub const TERM_DAYS: i32 = 372;
/// What is charged of a price in percent unless staff has agreed on less.
pub const FULL_PERCENT: i32 = 100;

names! {
    /// What a package is; the order is the order they are used in.
    PackageKind: "annual, traffic";
    /// Quotas of several items.
    Annual = "annual";
    /// More of one item.
    Traffic = "traffic";
}

names! {
    /// Where a package stands.
    PackageState: "waiting, running, ended, upgraded";
    /// Its first day has not come.
    Waiting = "waiting";
    /// Its quotas are used.
    Running = "running";
    /// Its last day is over.
    Ended = "ended";
    /// A larger one took its place.
    Upgraded = "upgraded";
}

/// How much quota a unit takes at each retention (`domain.md` 4.9: "converted first").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Factors(Vec<(i32, i64)>);

impl Factors {
    /// The factor of a retention; `None` when usage at it is not part of the package.
    pub fn of(&self, retention_days: i32) -> Option<i64> {
        self.0.iter().find(|(days, _)| *days == retention_days).map(|(_, factor)| *factor)
    }

    /// Every retention with its factor.
    pub fn all(&self) -> &[(i32, i64)] {
        &self.0
    }
}

/// A text that is no list of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be retentions with their factors from 1 to 100, such as 14:1,30:2")]
pub struct BadFactors;

impl FromStr for Factors {
    type Err = BadFactors;
    fn from_str(text: &str) -> Result<Factors, BadFactors> {
        let pair = |pair: &str| {
            let (days, factor) = pair.split_once(':')?;
            let (days, factor): (i32, i64) = (days.parse().ok()?, factor.parse().ok()?);
            (days >= 0 && (1..=100).contains(&factor)).then_some((days, factor))
        };
        let all: Option<Vec<_>> = text.split(',').map(pair).collect();
        let all = all.ok_or(BadFactors)?;
        let mut days: Vec<i32> = all.iter().map(|(days, _)| *days).collect();
        days.sort_unstable();
        days.dedup();
        if days.len() == all.len() { Ok(Factors(all)) } else { Err(BadFactors) }
    }
}

impl fmt::Display for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (days, factor)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{days}:{factor}")?;
        }
        Ok(())
    }
}

/// What a package contains of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageItem {
    /// The item.
    pub item: BillingItem,
    /// Quota a day, at the default retention.
    pub quota: Quantity,
    /// The price beyond it, at the default retention.
    pub price: Price,
    /// How much quota a unit takes.
    pub factors: Factors,
}

impl PackageItem {
    /// What a unit at a retention costs beyond the quota: as many times the default retention's price as it takes quota.
    pub fn price_at(&self, retention_days: i32) -> Option<Price> {
        let factor = self.factors.of(retention_days)?;
        let micros = self.price.unit_price.micros.checked_mul(factor)?;
        Some(Price { unit_price: LineAmount { micros, ..self.price.unit_price }, ..self.price })
    }
}

/// A package of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Whose.
    pub billing_account: BillingAccountId,
    /// Opaque.
    pub id: PackageId,
    /// The order it came with.
    pub order: PackageOrderId,
    /// What it is.
    pub kind: PackageKind,
    /// The offer's code.
    pub offer: String,
    /// How many times the offer's base size.
    pub multiple: i64,
    /// What was agreed of the price, in percent.
    pub percent: i32,
    /// What it costs for 372 days.
    pub price: Money,
    /// What was charged: the price, or the difference of an upgrade.
    pub charged: Money,
    /// First usage day.
    pub first_day: UsageDay,
    /// Last usage day; the day before the first one when it was replaced at once.
    pub last_day: UsageDay,
    /// The last day it was sold with: packages are used in this order, whatever becomes of them.
    pub term_end: UsageDay,
    /// When it was bought.
    pub bought_at: Timestamp,
    /// The larger package that took its place.
    pub replaced_by: Option<PackageId>,
    /// Whom it is for; the first uses the quota first.
    pub workspaces: Vec<WorkspaceId>,
    /// What it contains.
    pub items: Vec<PackageItem>,
}

impl Package {
    /// Whether it is there on a usage day.
    pub fn runs_on(&self, day: UsageDay) -> bool {
        self.first_day <= day && day <= self.last_day
    }

    /// The order packages are used in: annual ones first, then by earliest end, oldest, id.
    pub fn order(&self) -> impl Ord + '_ {
        (self.kind, self.term_end, self.bought_at, &self.id)
    }

    /// What it contains of an item.
    pub fn item(&self, item: BillingItem) -> Option<&PackageItem> {
        self.items.iter().find(|found| found.item == item)
    }

    /// Where it stands on a day.
    pub fn state(&self, today: UsageDay) -> PackageState {
        match () {
            () if self.replaced_by.is_some() && today > self.last_day => PackageState::Upgraded,
            () if today < self.first_day => PackageState::Waiting,
            () if today <= self.last_day => PackageState::Running,
            () => PackageState::Ended,
        }
    }

    /// One day's share in its price, at six places, half up.
    pub fn day_price(&self) -> LineAmount {
        let term = i128::from(TERM_DAYS);
        let micros = i128::from(self.price.minor) * i128::from(MICROS_PER_MINOR);
        // A share of what fits does fit.
        let share = i64::try_from((micros * 2 + term).div_euclid(term * 2)).unwrap_or(i64::MAX);
        LineAmount { micros: share, currency: self.price.currency }
    }
}

/// The last of a package's days.
pub fn last_day(first_day: UsageDay) -> UsageDay {
    first_day.plus_days(TERM_DAYS - 1)
}

/// What staff and customer have agreed of a price, half up.
pub fn agreed(price: Money, percent: i32) -> Result<Money, MoneyError> {
    share(price, i64::from(percent), i64::from(FULL_PERCENT))
}

/// Whether a package contains more than another: at least as much of each of its items, and more of one.
pub fn is_larger(new: &[PackageItem], old: &[PackageItem]) -> bool {
    let quota = |items: &[PackageItem], item| {
        items
            .iter()
            .find(|found: &&PackageItem| found.item == item)
            .map_or(Quantity::ZERO, |found| found.quota)
    };
    let least = old.iter().all(|item| quota(new, item.item) >= item.quota);
    least && new.iter().any(|item| item.quota > quota(old, item.item))
}

/// What an upgrade costs: the difference of both prices for the days that are left, the upgrade's own day included,
/// half up. `None` when no day is left.
pub fn upgrade_price(
    old: Money,
    new: Money,
    first_day: UsageDay,
    last_day: UsageDay,
) -> Result<Option<Money>, MoneyError> {
    let left = last_day.days_since(first_day).saturating_add(1);
    if left <= 0 {
        return Ok(None);
    }
    share(new.checked_sub(old)?, i64::from(left), i64::from(TERM_DAYS)).map(Some)
}

/// `amount × part ÷ whole`, half up.
fn share(amount: Money, part: i64, whole: i64) -> Result<Money, MoneyError> {
    let (product, whole) = (i128::from(amount.minor) * i128::from(part), i128::from(whole));
    let rounded = (product * 2 + whole).div_euclid(whole * 2);
    Ok(Money { minor: i64::try_from(rounded).map_err(|_| MoneyError::OutOfRange)?, ..amount })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tandem_proto::money::Currency;

    fn cny(minor: i64) -> Money {
        Money { minor, currency: Currency::Cny }
    }

    fn day(text: &str) -> UsageDay {
        text.parse().unwrap()
    }

    #[test]
    fn a_package_lasts_372_days() {
        let (first, last) = (day("2026-03-01"), last_day(day("2026-03-01")));
        assert_eq!(last, day("2027-03-07"));
        assert_eq!(last.days_since(first) + 1, TERM_DAYS);
    }

    #[test]
    fn factors_read_back_and_bad_ones_are_refused() {
        let factors: Factors = "3:1,14:1,30:2,60:3".parse().unwrap();
        assert_eq!(
            [3, 14, 30, 60, 7].map(|days| factors.of(days)),
            [Some(1), Some(1), Some(2), Some(3), None]
        );
        assert_eq!(factors.to_string().parse(), Ok(factors));
        for bad in ["", "14", "14:0", "14:101", "-1:1", "14:1,14:2", "x:1", "14:1,"] {
            assert_eq!(bad.parse::<Factors>(), Err(BadFactors), "accepted {bad:?}");
        }
    }

    #[test]
    fn an_upgrade_costs_the_difference_for_the_days_left() {
        let (old, new) = (cny(4_200_000), cny(28_000_000));
        let end = day("2027-03-07");
        let price = |first: &str| upgrade_price(old, new, day(first), end);
        assert_eq!(price("2026-03-01"), Ok(Some(cny(23_800_000))));
        // Half the term is left, then one day, then none.
        assert_eq!(price("2026-09-03"), Ok(Some(cny(11_900_000))));
        assert_eq!(price("2027-03-07"), Ok(Some(cny(63_978))));
        assert_eq!(price("2027-03-08"), Ok(None));
    }

    #[test]
    fn an_agreed_price_is_rounded_half_up() {
        assert_eq!(agreed(cny(1_674_000), 80), Ok(cny(1_339_200)));
        assert_eq!(agreed(cny(50), 99), Ok(cny(50)));
        assert_eq!(agreed(cny(50), 98), Ok(cny(49)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// However often a package is upgraded on the way, nobody pays more than a fen of rounding for each step beside
        /// the exact difference.
        #[test]
        fn an_upgrade_is_exact_to_half_a_minor_unit(old in 0i64..100_000_000, more in 1i64..100_000_000, left in 1i32..=TERM_DAYS) {
            let end = day("2027-03-07");
            let price = upgrade_price(cny(old), cny(old + more), end.plus_days(1 - left), end).unwrap().unwrap();
            let exact = i128::from(more) * i128::from(left);
            let off = i128::from(price.minor) * i128::from(TERM_DAYS) - exact;
            prop_assert!(off * 2 > -i128::from(TERM_DAYS) && off * 2 <= i128::from(TERM_DAYS));
        }
    }
}
