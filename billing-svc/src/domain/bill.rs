//! Rating and daily bills (`domain.md` 4.3, D3, D13, D34, D35).
//!
//! A bill takes what has been used and does not stand on a bill yet: of its own day as pay-as-you-go lines, of earlier
//! days as adjustment lines. A bill is made only when there is something to pay; otherwise the quantities stay unbilled
//! and wait for the first bill that is positive.

use tandem_proto::day::UsageDay;
use tandem_proto::ids::PackageId;
use tandem_proto::item::{BillingItem, PricingModel};
use tandem_proto::money::{Currency, LineAmount, Money, MoneyError, payable};
use tandem_proto::names;
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::PriceZone;

use super::package_lines::Packaged;
use super::price::{Price, PriceKey, PriceList, PriceMissing, in_force};

names! {
    /// What part of a day a bill covers.
    BillKind: "daily, final";
    /// The day, or what is left of it after a final bill.
    Daily = "daily";
    /// The part before a cloud subscription ended.
    Final = "final";
}

names! {
    /// Where a bill stands (`domain.md` 5.5).
    BillState: "issued, submitted, paid, in_arrears, overdue, rejected";
    /// Issued.
    Issued = "issued";
    /// Handed to the cloud.
    Submitted = "submitted";
    /// Paid in full.
    Paid = "paid";
    /// Not paid in full.
    InArrears = "in_arrears";
    /// Not paid in full for 14 days.
    Overdue = "overdue";
    /// Refused by the cloud; waits for an operator.
    Rejected = "rejected";
}

names! {
    /// What a line is for.
    LineKind: "pay_as_you_go, adjustment, rounding, annual_package";
    /// Usage of the bill's day.
    PayAsYouGo = "pay_as_you_go";
    /// Usage of an earlier day that came after its bill.
    Adjustment = "adjustment";
    /// What rounding to whole minor units added.
    Rounding = "rounding";
    /// Usage that a package covers; costs nothing.
    AnnualPackage = "annual_package";
}

/// What a workspace used of one item on one day, and how much of it stands on bills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The day.
    pub day: UsageDay,
    /// The item.
    pub item: BillingItem,
    /// 0 for items that are not priced by retention.
    pub retention_days: i32,
    /// May be empty.
    pub sub_key: String,
    /// What was used.
    pub quantity: Quantity,
    /// The part that stands on bills.
    pub billed: Quantity,
}

/// One line of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is for.
    pub kind: LineKind,
    /// The item; `None` on the rounding line.
    pub item: Option<BillingItem>,
    /// 0 for items that are not priced by retention.
    pub retention_days: i32,
    /// May be empty.
    pub sub_key: String,
    /// Negative on adjustments downwards.
    pub quantity: Quantity,
    /// The price it was rated by.
    pub price: Price,
    /// What it costs.
    pub amount: LineAmount,
    /// The day an adjustment is for.
    pub adjusted_day: Option<UsageDay>,
    /// The price list the price is from.
    pub price_list_version: String,
    /// The package that covers it, or whose price applies beyond its quota.
    pub package: Option<PackageId>,
}

/// A bill that is to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its lines; their amounts add up to the payable.
    pub lines: Vec<Line>,
    /// What has to be paid; above zero on a bill.
    pub payable: Money,
    /// How many minor units of it are for restricted items (D31): the half-up sum of their lines, at most all.
    pub restricted: i64,
    /// The list the bill's own day was rated by.
    pub price_list_version: String,
}

/// Why usage could not be rated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// An item in use has no price.
    #[error(transparent)]
    PriceMissing(#[from] PriceMissing),
    /// No price list is in force on the day.
    #[error("no price list is in force on {0}")]
    NoPriceList(UsageDay),
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Rates what does not stand on a bill yet.
///
/// `usage` holds the bill's day and earlier ones, in any order. `None` when there is nothing to pay: the quantities
/// then stay unbilled (D34).
pub fn draft(
    day: UsageDay,
    zone: PriceZone,
    currency: Currency,
    usage: &[Usage],
    lists: &[PriceList],
) -> Result<Option<Draft>, RatingError> {
    draft_with(day, zone, currency, usage, &Packaged::default(), lists)
}

/// Like [`draft`], for usage that packages have covered; what is covered counts as billed in `usage` already.
pub fn draft_with(
    day: UsageDay,
    zone: PriceZone,
    currency: Currency,
    usage: &[Usage],
    packaged: &Packaged,
    lists: &[PriceList],
) -> Result<Option<Draft>, RatingError> {
    let rated = rate_all(day, zone, currency, usage, packaged, lists)?;
    Ok((rated.payable.minor > 0).then_some(rated))
}

/// Rates usage as [`draft`] does, also when there is nothing to pay: then the payable is zero or below.
pub fn quote(
    day: UsageDay,
    zone: PriceZone,
    currency: Currency,
    usage: &[Usage],
    lists: &[PriceList],
) -> Result<Draft, RatingError> {
    rate_all(day, zone, currency, usage, &Packaged::default(), lists)
}

fn rate_all(
    day: UsageDay,
    zone: PriceZone,
    currency: Currency,
    usage: &[Usage],
    packaged: &Packaged,
    lists: &[PriceList],
) -> Result<Draft, RatingError> {
    let mut open: Vec<&Usage> = usage.iter().filter(|u| chargeable(u, packaged)).collect();
    // The bill's own day first, then adjustments by day; inside a day in the order of the item list.
    open.sort_by(|a, b| {
        (a.day != day, a.day, a.item, a.retention_days, &a.sub_key).cmp(&(
            b.day != day,
            b.day,
            b.item,
            b.retention_days,
            &b.sub_key,
        ))
    });
    let own = in_force(lists, day).ok_or(RatingError::NoPriceList(day))?;
    let mut lines = packaged.lines(day, currency, &own.version);
    let (mut sum, mut restricted) = (LineAmount::zero(currency), LineAmount::zero(currency));
    for used in open {
        let line = rate(used, day, zone, currency, packaged, lists)?;
        sum = sum.checked_add(line.amount)?;
        if used.item.is_restricted() {
            restricted = restricted.checked_add(line.amount)?;
        }
        lines.push(line);
    }
    let (total, rounding) = payable(sum);
    let restricted = payable(restricted).0.minor.clamp(0, total.minor.max(0));
    if rounding.micros != 0 {
        lines.push(Line {
            kind: LineKind::Rounding,
            item: None,
            retention_days: 0,
            sub_key: String::new(),
            quantity: Quantity::ZERO,
            price: Price { unit_size: 1, unit_price: LineAmount::zero(currency) },
            amount: rounding,
            adjusted_day: None,
            price_list_version: own.version.clone(),
            package: None,
        });
    }
    Ok(Draft { lines, payable: total, restricted, price_list_version: own.version.clone() })
}

fn chargeable(used: &Usage, packaged: &Packaged) -> bool {
    let priced = used.item.pricing_model() != PricingModel::StatisticsOnly || packaged.price(used).is_some();
    used.quantity != used.billed && priced
}

/// Rates what one quantity has beyond what stands on bills, as a line of a day's bill.
pub fn rate(
    used: &Usage,
    day: UsageDay,
    zone: PriceZone,
    currency: Currency,
    packaged: &Packaged,
    lists: &[PriceList],
) -> Result<Line, RatingError> {
    let list = in_force(lists, used.day).ok_or(RatingError::NoPriceList(used.day))?;
    let (package, price) = match packaged.price(used) {
        Some((package, price)) => (Some(package.clone()), *price),
        None => {
            let key = PriceKey { zone, currency, item: used.item, retention_days: used.retention_days };
            (None, list.find(&key)?)
        }
    };
    let quantity = used.quantity.checked_sub(used.billed).ok_or(MoneyError::OutOfRange)?;
    let own = used.day == day && quantity > Quantity::ZERO;
    Ok(Line {
        kind: if own { LineKind::PayAsYouGo } else { LineKind::Adjustment },
        item: Some(used.item),
        retention_days: used.retention_days,
        sub_key: used.sub_key.clone(),
        quantity,
        price,
        amount: LineAmount::of(quantity, price.unit_size, price.unit_price)?,
        adjusted_day: (!own).then_some(used.day),
        price_list_version: list.version.clone(),
        package,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tandem_proto::money::{MICROS_PER_MINOR, parse_micros};

    fn day(text: &str) -> UsageDay {
        text.parse().unwrap()
    }

    fn list(prices: &[(BillingItem, i32, &str)]) -> PriceList {
        let price = |(item, retention_days, price): &(BillingItem, i32, &str)| {
            let key = PriceKey {
                zone: PriceZone::Cn,
                currency: Currency::Cny,
                item: *item,
                retention_days: *retention_days,
            };
            let unit_price = LineAmount { micros: parse_micros(price).unwrap(), currency: Currency::Cny };
            (key, Price { unit_size: item.unit_size(), unit_price })
        };
        PriceList {
            version: "v1".into(),
            effective_day: day("2020-01-01"),
            published_at: jiff::Timestamp::UNIX_EPOCH,
            prices: prices.iter().map(price).collect(),
        }
    }

    fn documented() -> PriceList {
        list(&[
            (BillingItem::TimeSeries, 3, "0.6"),
            (BillingItem::LogCount, 7, "1.2"),
            (BillingItem::ApmTrace, 3, "2"),
            (BillingItem::RumPv, 3, "0.7"),
            (BillingItem::Trigger, 0, "1"),
        ])
    }

    fn used(day_text: &str, item: BillingItem, retention_days: i32, units: i64, billed: i64) -> Usage {
        Usage {
            day: day(day_text),
            item,
            retention_days,
            sub_key: String::new(),
            quantity: Quantity::whole(units).unwrap(),
            billed: Quantity::whole(billed).unwrap(),
        }
    }

    /// `domain.md` 4.7.
    #[test]
    fn the_documented_day_costs_13_40() {
        let d = "2026-03-01";
        let usage = [
            used(d, BillingItem::Trigger, 0, 20_000, 0),
            used(d, BillingItem::RumPv, 3, 20_000, 0),
            used(d, BillingItem::ApmTrace, 3, 2_000_000, 0),
            used(d, BillingItem::LogCount, 7, 2_000_000, 0),
            used(d, BillingItem::TimeSeries, 3, 6_000, 0),
        ];
        let bill = draft(day(d), PriceZone::Cn, Currency::Cny, &usage, &[documented()]).unwrap().unwrap();
        assert_eq!(bill.payable, Money { minor: 1340, currency: Currency::Cny });
        let amounts: Vec<_> = bill.lines.iter().map(|line| line.amount.to_string()).collect();
        assert_eq!(amounts, ["3.60 CNY", "2.40 CNY", "4.00 CNY", "1.40 CNY", "2.00 CNY"]);
    }

    #[test]
    fn late_usage_becomes_an_adjustment_that_names_its_day() {
        let usage = [
            used("2026-03-01", BillingItem::Trigger, 0, 30_000, 20_000),
            used("2026-03-02", BillingItem::Trigger, 0, 10_000, 0),
        ];
        let bill =
            draft(day("2026-03-02"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]).unwrap().unwrap();
        assert_eq!(bill.payable.minor, 200);
        assert_eq!(bill.lines[0].kind, LineKind::PayAsYouGo);
        assert_eq!(
            (bill.lines[1].kind, bill.lines[1].adjusted_day),
            (LineKind::Adjustment, Some(day("2026-03-01")))
        );
    }

    #[test]
    fn a_day_that_is_not_positive_gets_no_bill() {
        let usage = [
            used("2026-03-01", BillingItem::Trigger, 0, 0, 20_000),
            used("2026-03-02", BillingItem::Trigger, 0, 10_000, 0),
        ];
        assert_eq!(draft(day("2026-03-02"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]), Ok(None));
    }

    /// D35: each day keeps the list that was in force on it, on one bill.
    #[test]
    fn an_adjustment_costs_what_its_own_days_list_says() {
        let later = PriceList {
            version: "v2".into(),
            effective_day: day("2026-03-02"),
            ..list(&[(BillingItem::Trigger, 0, "5")])
        };
        let lists = [later, documented()];
        let usage = [
            used("2026-03-01", BillingItem::Trigger, 0, 50_000, 20_000),
            used("2026-03-02", BillingItem::Trigger, 0, 10_000, 0),
        ];
        let bill = draft(day("2026-03-02"), PriceZone::Cn, Currency::Cny, &usage, &lists).unwrap().unwrap();
        let lines: Vec<_> =
            bill.lines.iter().map(|l| (l.amount.to_string(), l.price_list_version.as_str())).collect();
        assert_eq!(lines, [("5.00 CNY".to_owned(), "v2"), ("3.00 CNY".to_owned(), "v1")]);
        assert_eq!(bill.price_list_version, "v2");
    }

    #[test]
    fn a_quote_says_what_a_bill_would_also_when_it_is_nothing() {
        let usage = [used("2026-03-01", BillingItem::Trigger, 0, 10, 0)];
        let quoted = quote(day("2026-03-01"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]).unwrap();
        assert_eq!((quoted.payable.minor, quoted.lines.len()), (0, 2));
        assert_eq!(quoted.lines[1].kind, LineKind::Rounding);
        assert_eq!(draft(day("2026-03-01"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]), Ok(None));
    }

    #[test]
    fn a_missing_price_is_named() {
        let usage = [used("2026-03-01", BillingItem::LogCount, 60, 1, 0)];
        let error =
            draft(day("2026-03-01"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]).unwrap_err();
        assert!(error.to_string().contains("LOG_COUNT at 60 days"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// I-06, I-14: lines plus rounding are the payable, and rating again gives the same.
        #[test]
        fn lines_add_up_to_the_payable(quantities in prop::collection::vec((0i64..5_000_000_000, 0i64..2_000_000), 1..6)) {
            let items = [BillingItem::TimeSeries, BillingItem::LogCount, BillingItem::ApmTrace, BillingItem::RumPv, BillingItem::Trigger];
            let usage: Vec<Usage> = quantities.iter().zip(items).map(|((quantity, billed), item)| {
                let retention = match item { BillingItem::LogCount => 7, BillingItem::Trigger => 0, _ => 3 };
                Usage {
                    quantity: Quantity { hundredths: *quantity },
                    billed: Quantity { hundredths: *billed },
                    ..used("2026-03-01", item, retention, 0, 0)
                }
            }).collect();
            let drafted = draft(day("2026-03-01"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]).unwrap();
            prop_assert_eq!(&drafted, &draft(day("2026-03-01"), PriceZone::Cn, Currency::Cny, &usage, &[documented()]).unwrap());
            if let Some(bill) = drafted {
                let sum: i64 = bill.lines.iter().map(|line| line.amount.micros).sum();
                prop_assert_eq!(sum, bill.payable.minor * MICROS_PER_MINOR);
                prop_assert!(bill.payable.minor > 0);
            }
        }
    }
}
