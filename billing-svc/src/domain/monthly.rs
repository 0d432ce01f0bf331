//! Monthly bills (`domain.md` 2.8, 3.17, 4.1, 5.5): one for each account, month and currency, over all workspaces and
//! sites, made after the 3rd of the following month in the account's time zone.
//!
//! A daily bill belongs to the month of its usage day. Once a month is fixed no daily bill of it, or of an earlier
//! month, can be made any more: what is billed late stands as adjustments on the bill of a day after it (D13).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Currency;
use tandem_proto::month::Month;
use tandem_proto::names;
use tandem_proto::settlement::BillingRegion;

use super::card;

/// The day of the following month from whose midnight on a month is billed.
pub const FROM_DAY: i32 = 4;
/// How far a zone can be behind UTC.
const BEHIND_MAX: SignedDuration = SignedDuration::from_hours(12);

names! {
    /// Where the making of a monthly bill stands.
    Progress: "open, closing, generated";
    /// Daily bills may be added.
    Open = "open";
    /// Fixed, and being summed up: an account with very many bills takes several steps.
    Closing = "closing";
    /// Fixed and summed up.
    Generated = "generated";
}

names! {
    /// Where a monthly bill stands, as a customer sees it (`domain.md` 5.5).
    MonthlyState: "open, generated, invoiced_in_part, invoiced";
    /// The month runs, or is not generated yet.
    Open = "open";
    /// Fixed.
    Generated = "generated";
    /// A part of what cash paid is on invoices.
    InvoicedInPart = "invoiced_in_part";
    /// Everything that cash paid is on invoices.
    Invoiced = "invoiced";
}

/// Which monthly bill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonthKey {
    /// Whose.
    pub billing_account: BillingAccountId,
    /// Of which month.
    pub month: Month,
    /// In which currency: an account whose currency was changed in a month has two bills of it (D25).
    pub currency: Currency,
}

/// What daily bills come to, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// How many bills.
    pub bill_count: i64,
    /// What had to be paid.
    pub payable: i64,
    /// What is paid.
    pub paid: i64,
    /// What clouds have still to take over.
    pub in_cloud: i64,
}

impl Totals {
    /// What is owed.
    pub fn arrears(self) -> i64 {
        self.payable - self.paid - self.in_cloud
    }
}

/// The newest month whose bill can be made at an instant (`domain.md` 4.1).
pub fn billable_through(region: BillingRegion, now: Timestamp) -> Month {
    let today = card::today(region, now);
    let before = Month::of(today).previous();
    if today.number() % 100 >= FROM_DAY { before } else { before.previous() }
}

/// The day from whose midnight on a month can be billed.
pub fn billable_from(month: Month) -> UsageDay {
    month.next().first_day().plus_days(FROM_DAY - 1)
}

/// An instant at which a month is over on every site. A workspace that was bound after it used nothing in the month.
pub fn over_everywhere(month: Month) -> Timestamp {
    let end = month.last_day().end(&jiff::tz::TimeZone::UTC);
    end.saturating_add(BEHIND_MAX).unwrap_or(Timestamp::MAX)
}

/// Where a monthly bill stands, given what cash paid of it and what stands on invoices.
pub fn state(progress: Progress, from_cash: i64, invoiced: i64) -> MonthlyState {
    match progress {
        Progress::Open | Progress::Closing => MonthlyState::Open,
        Progress::Generated if invoiced <= 0 => MonthlyState::Generated,
        Progress::Generated if invoiced < from_cash => MonthlyState::InvoicedInPart,
        Progress::Generated => MonthlyState::Invoiced,
    }
}

/// Cuts a list into runs whose sizes add up to at most `most`; one that is larger alone stands alone.
pub fn runs<T>(list: Vec<T>, most: i64, size: impl Fn(&T) -> i64) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut filled = 0_i64;
    for entry in list {
        let more = size(&entry);
        match runs.last_mut() {
            Some(run) if filled.saturating_add(more) <= most => {
                filled = filled.saturating_add(more);
                run.push(entry);
            }
            Some(_) | None => {
                filled = more;
                runs.push(vec![entry]);
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_billed_from_the_4th_in_the_accounts_zone() {
        let through = |region, now: &str| billable_through(region, now.parse().unwrap()).to_string();
        use BillingRegion::{Domestic, International};
        // Midnight of the 4th in Shanghai is 16:00 of the 3rd in UTC.
        assert_eq!(through(Domestic, "2026-04-03T15:59:59.999999Z"), "2026-02");
        assert_eq!(through(Domestic, "2026-04-03T16:00:00Z"), "2026-03");
        assert_eq!(through(International, "2026-04-03T23:59:59.999999Z"), "2026-02");
        assert_eq!(through(International, "2026-04-04T00:00:00Z"), "2026-03");
        assert_eq!(through(International, "2026-01-04T00:00:00Z"), "2025-12");
        assert_eq!(through(International, "2026-01-03T00:00:00Z"), "2025-11");
        assert_eq!(billable_from(month("2026-12")).to_string(), "2027-01-04");
    }

    #[test]
    fn a_month_is_over_everywhere_when_it_is_over_in_the_last_zone() {
        assert_eq!(over_everywhere(month("2026-02")).to_string(), "2026-03-01T12:00:00Z");
    }

    #[test]
    fn what_stands_on_invoices_decides_how_far_a_bill_is_invoiced() {
        assert_eq!(state(Progress::Closing, 10, 0), MonthlyState::Open);
        assert_eq!(state(Progress::Generated, 10, 0), MonthlyState::Generated);
        assert_eq!(state(Progress::Generated, 10, 9), MonthlyState::InvoicedInPart);
        assert_eq!(state(Progress::Generated, 10, 10), MonthlyState::Invoiced);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn runs_keep_the_order_and_the_bound(sizes in prop::collection::vec(0i64..30, 0..40), most in 1i64..50) {
            let cut = runs(sizes.clone(), most, |size| *size);
            prop_assert_eq!(cut.concat(), sizes);
            for run in &cut {
                prop_assert!(run.len() == 1 || run.iter().sum::<i64>() <= most);
                prop_assert!(!run.is_empty());
            }
            // No run could have taken the next one's first.
            for two in cut.windows(2) {
                prop_assert!(two[0].iter().sum::<i64>() + two[1][0] > most);
            }
        }

        /// Whatever the clock does, a month becomes billable once and stays so.
        #[test]
        fn billable_months_never_go_back(start in 1_700_000_000i64..1_900_000_000, step in 0i64..10_000_000) {
            for region in BillingRegion::ALL {
                let at = |second| billable_through(*region, Timestamp::from_second(second).unwrap());
                let (before, after) = (at(start), at(start + step));
                prop_assert!(before <= after);
                let next = billable_from(before.next());
                let opens = next.start(&tandem_proto::day::zone(region.time_zone()).unwrap());
                prop_assert!(opens > Timestamp::from_second(start).unwrap());
                prop_assert_eq!(billable_through(*region, opens), before.next());
            }
        }
    }
}
