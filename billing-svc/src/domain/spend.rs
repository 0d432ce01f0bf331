//! What is spent: on bills, and used but not billed yet (`domain.md` 3.20, 3.16).

use tandem_proto::money::{Currency, LineAmount, MoneyError};
use tandem_proto::settlement::PriceZone;

use super::bill::{RatingError, Usage};
use super::price::{PriceKey, PriceList, in_force};

/// What rows of spend are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Days.
    Day,
    /// Items.
    Item,
    /// Workspaces.
    Workspace,
}

/// What one quantity that is not billed yet costs, by the list in force on its day; negative where it went down.
pub fn running(
    used: &Usage,
    zone: PriceZone,
    currency: Currency,
    lists: &[PriceList],
) -> Result<LineAmount, RatingError> {
    let list = in_force(lists, used.day).ok_or(RatingError::NoPriceList(used.day))?;
    let key = PriceKey { zone, currency, item: used.item, retention_days: used.retention_days };
    let price = list.find(&key)?;
    let open = used.quantity.checked_sub(used.billed).ok_or(MoneyError::OutOfRange)?;
    Ok(LineAmount::of(open, price.unit_size, price.unit_price)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bill::draft;
    use crate::domain::price::Price;
    use proptest::prelude::*;
    use tandem_proto::day::UsageDay;
    use tandem_proto::item::BillingItem;
    use tandem_proto::quantity::Quantity;

    fn list(version: &str, from: &str, micros: i64) -> PriceList {
        let key = PriceKey {
            zone: PriceZone::Cn,
            currency: Currency::Cny,
            item: BillingItem::Trigger,
            retention_days: 0,
        };
        let unit_price = LineAmount { micros, currency: Currency::Cny };
        PriceList {
            version: version.into(),
            effective_day: from.parse().unwrap(),
            published_at: jiff::Timestamp::UNIX_EPOCH,
            prices: [(key, Price { unit_size: 10_000, unit_price })].into(),
        }
    }

    fn used(day: &str, quantity: i64, billed: i64) -> Usage {
        Usage {
            day: day.parse().unwrap(),
            item: BillingItem::Trigger,
            retention_days: 0,
            sub_key: String::new(),
            quantity: Quantity { hundredths: quantity },
            billed: Quantity { hundredths: billed },
        }
    }

    #[test]
    fn the_list_in_force_on_the_day_rates() {
        let lists = [list("a", "2026-01-01", 1_000_000), list("b", "2026-03-02", 2_000_000)];
        let rate = |day| running(&used(day, 2_000_000, 1_000_000), PriceZone::Cn, Currency::Cny, &lists);
        assert_eq!(rate("2026-03-01").unwrap().micros, 1_000_000);
        assert_eq!(rate("2026-03-02").unwrap().micros, 2_000_000);
        assert!(matches!(rate("2025-12-31"), Err(RatingError::NoPriceList(_))));
        let zone = running(&used("2026-03-01", 1, 0), PriceZone::Intl, Currency::Cny, &lists);
        assert!(matches!(zone, Err(RatingError::PriceMissing(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// What is shown as running is what the bill's lines will say, to the last place.
        #[test]
        fn running_spend_is_what_the_bill_will_say(quantity in 0i64..1_000_000_000, billed in 0i64..1_000_000_000, price in 0i64..9_000_000) {
            let lists = [list("a", "2026-01-01", price)];
            let used = used("2026-03-01", quantity, billed);
            let shown = running(&used, PriceZone::Cn, Currency::Cny, &lists).unwrap();
            let day: UsageDay = "2026-03-01".parse().unwrap();
            if let Some(bill) = draft(day, PriceZone::Cn, Currency::Cny, &[used], &lists).unwrap() {
                prop_assert_eq!(bill.lines[0].amount, shown);
            } else {
                prop_assert!(shown.micros < 5_000);
            }
        }
    }
}
