//! From hourly points to a day's quantity (`domain.md` 4.5).

use tandem_proto::quantity::Quantity;

use super::item::{Aggregation, Item};

/// Sum and greatest of one measure's hourly quantities of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hours {
    /// The sum.
    pub sum: i64,
    /// The greatest.
    pub max: i64,
}

impl Hours {
    /// Counts one more hour.
    ///
    /// The sum stays far from its limit: a day has at most 25 hours and a point at most
    /// [`super::point::QUANTITY_MAX`] units; beyond any such day it stops growing.
    pub fn and(self, quantity: i64) -> Hours {
        Hours { sum: self.sum.saturating_add(quantity), max: self.max.max(quantity) }
    }
}

/// A day's quantity of one item, retention and sub key: its own measure, and its second one where it has one.
///
/// The greater of the first and the divided second counts, and it applies to the day's values (`domain.md` 4.5).
pub fn day_quantity(item: Item, own: Hours, second: Hours) -> Quantity {
    let value = |hours: Hours| match item.aggregation() {
        Aggregation::Max => hours.max,
        Aggregation::Sum => hours.sum,
    };
    let mut hundredths = value(own).saturating_mul(100);
    if let Some(measure) = item.second_measure() {
        hundredths = hundredths.max(value(second).saturating_mul(100 / measure.divisor));
    }
    Quantity { hundredths }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::point::QUANTITY_MAX;

    fn hours(quantities: &[i64]) -> Hours {
        quantities.iter().fold(Hours::default(), |hours, quantity| hours.and(*quantity))
    }

    #[test]
    fn each_item_follows_its_rule() {
        let day = hours(&[10, 30, 20]);
        assert_eq!(day_quantity(Item::TimeSeries, day, Hours::default()).hundredths, 3_000);
        assert_eq!(day_quantity(Item::LogCount, day, Hours::default()).hundredths, 6_000);
        // 605 spans are 60.5 traces' worth.
        assert_eq!(day_quantity(Item::ApmTrace, day, hours(&[605])).hundredths, 6_050);
        assert_eq!(day_quantity(Item::ApmTrace, day, hours(&[599])).hundredths, 6_000);
        assert_eq!(day_quantity(Item::RumPv, day, hours(&[6_001])).hundredths, 6_001);
        assert_eq!(day_quantity(Item::LogCount, Hours::default(), day).hundredths, 0);
    }

    #[test]
    fn the_greatest_day_fits() {
        let day = hours(&[QUANTITY_MAX; 25]);
        assert_eq!(day_quantity(Item::LogCount, day, Hours::default()).hundredths, QUANTITY_MAX * 2_500);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn order_does_not_matter(
            mut quantities in prop::collection::vec(0..QUANTITY_MAX, 0..25),
            item in prop::sample::select(Item::ALL.to_vec()),
        ) {
            let first = day_quantity(item, hours(&quantities), Hours::default());
            quantities.reverse();
            prop_assert_eq!(day_quantity(item, hours(&quantities), Hours::default()), first);
        }

        #[test]
        fn the_second_measure_only_ever_adds(own in 0..QUANTITY_MAX, second in 0..QUANTITY_MAX) {
            for item in Item::ALL {
                let alone = day_quantity(*item, hours(&[own]), Hours::default());
                let both = day_quantity(*item, hours(&[own]), hours(&[second]));
                prop_assert!(both >= alone);
                prop_assert!(item.second_measure().is_some() || both == alone);
            }
        }
    }
}
