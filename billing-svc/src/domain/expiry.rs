//! When a customer is told that a voucher or a card is about to expire (`domain.md` 3.21).

use tandem_proto::day::UsageDay;

/// Days before the last day on which a mail tells of it, the furthest first.
pub const WARNINGS: [i32; 2] = [7, 1];

/// Which warning is due on a day, if any: the nearest one that was reached and not sent.
///
/// A warning counts only for credit that was there on its day: who was given something for three days need not be told
/// so a moment later. One that was missed, because nobody looked for days, is sent as long as the credit lasts.
/// `warned` is the last warning that was sent.
pub fn due(today: UsageDay, opened: UsageDay, last_day: UsageDay, warned: Option<i32>) -> Option<i32> {
    let left = last_day.days_since(today);
    if left < 0 {
        return None;
    }
    let nearest = WARNINGS.into_iter().rev().find(|days| left <= *days)?;
    let sent = warned.is_some_and(|sent| sent <= nearest);
    let was_there = opened <= last_day.plus_days(-nearest);
    (!sent && was_there).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> UsageDay {
        text.parse().unwrap()
    }

    #[test]
    fn the_warnings_come_seven_days_and_one_day_before() {
        let (opened, last) = (day("2026-01-01"), day("2026-03-31"));
        let on = |today: &str, warned| due(day(today), opened, last, warned);
        assert_eq!(on("2026-03-23", None), None);
        assert_eq!(on("2026-03-24", None), Some(7));
        assert_eq!(on("2026-03-24", Some(7)), None);
        assert_eq!(on("2026-03-27", None), Some(7), "late, but in time");
        assert_eq!(on("2026-03-30", Some(7)), Some(1));
        assert_eq!(on("2026-03-30", None), Some(1), "two that are due are one mail");
        assert_eq!(on("2026-03-31", Some(7)), Some(1));
        assert_eq!(on("2026-03-31", Some(1)), None);
        assert_eq!(on("2026-04-01", None), None, "it has expired");
    }

    #[test]
    fn what_came_after_a_warnings_day_is_not_warned_of_that_day() {
        let on = |today, opened| due(day(today), day(opened), day("2026-03-31"), None);
        assert_eq!(on("2026-03-28", "2026-03-28"), None);
        assert_eq!(on("2026-03-30", "2026-03-28"), Some(1));
        assert_eq!(on("2026-03-31", "2026-03-31"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        /// Whatever days somebody looks on, each warning is sent at most once, in order, and never after the last day.
        #[test]
        fn each_warning_is_sent_at_most_once(valid in 0_i32..40, looks in proptest::collection::vec(0_i32..45, 0..60)) {
            let opened = day("2026-02-20");
            let last = opened.plus_days(valid);
            let (mut looks, mut warned, mut sent) = (looks, None, Vec::new());
            looks.sort_unstable();
            for look in looks {
                let today = opened.plus_days(look);
                if let Some(days) = due(today, opened, last, warned) {
                    prop_assert!(today <= last && last.days_since(today) <= days);
                    warned = Some(days);
                    sent.push(days);
                }
            }
            prop_assert!(sent.windows(2).all(|pair| pair[0] > pair[1]), "{:?}", sent);
        }
    }
}
