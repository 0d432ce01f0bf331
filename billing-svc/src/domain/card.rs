//! Prepaid cards and the vouchers they bring (`domain.md` 2.9, 3.14).

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::money::{Currency, Money};
use tandem_proto::settlement::BillingRegion;

/// Cards come in steps of 100 in whole currency units.
pub const STEP_MINOR: i64 = 100 * 100;
/// How many days a card and the voucher it brings can pay, the day of purchase included. The documents name none.
pub const VALID_DAYS: i32 = 365;
/// From which face value on, in yuan, a card brings a discount voucher of how much; the greatest step reached counts.
const DISCOUNTS: [(i64, i64); 3] = [(10_000, 1_000), (30_000, 5_000), (100_000, 20_000)];

/// Whether a card of this worth is sold.
pub fn is_sold(face: Money) -> bool {
    face.minor > 0 && face.minor % STEP_MINOR == 0
}

/// The discount voucher that comes with a card; `None` when none does. Only cards in CNY bring one.
pub fn discount(face: Money) -> Option<Money> {
    let reached = DISCOUNTS.iter().rev().find(|(from, _)| face.minor >= from * 100);
    let (_, worth) = reached.filter(|_| face.currency == Currency::Cny)?;
    Some(Money { minor: worth * 100, ..face })
}

/// The last usage day that a card bought now pays.
pub fn last_day(region: BillingRegion, now: Timestamp) -> UsageDay {
    today(region, now).plus_days(VALID_DAYS - 1)
}

/// The calendar day in an account's zone.
pub fn today(region: BillingRegion, now: Timestamp) -> UsageDay {
    UsageDay::of(now, &zone(region.time_zone()).unwrap_or(jiff::tz::TimeZone::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cny(yuan: i64) -> Money {
        Money { minor: yuan * 100, currency: Currency::Cny }
    }

    #[test]
    fn cards_come_in_hundreds() {
        assert!(is_sold(cny(100)) && is_sold(cny(12_300)));
        assert!(!is_sold(cny(0)) && !is_sold(cny(-100)) && !is_sold(cny(50)) && !is_sold(cny(150)));
    }

    #[test]
    fn the_documented_cards_bring_their_vouchers() {
        let brought = |yuan| discount(cny(yuan)).map(|money| money.minor / 100);
        assert_eq!(
            [9_900, 10_000, 29_900, 30_000, 99_900, 100_000, 500_000].map(brought),
            [None, Some(1_000), Some(1_000), Some(5_000), Some(5_000), Some(20_000), Some(20_000)]
        );
        assert_eq!(discount(Money { currency: Currency::Usd, ..cny(100_000) }), None);
    }

    #[test]
    fn a_card_lasts_a_year_of_days() {
        let now = "2026-03-01T20:00:00Z".parse().unwrap();
        assert_eq!(last_day(BillingRegion::Domestic, now).to_string(), "2027-03-01");
        assert_eq!(last_day(BillingRegion::International, now).to_string(), "2027-02-28");
    }
}
