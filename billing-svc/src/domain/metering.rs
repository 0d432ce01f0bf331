//! Metering records: which window a record gets, until when a vendor takes it, what its outcome means (`design.md` 5.4,
//! I-17). How vendors differ is data ([`Policy`]), never a vendor's name.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tandem_proto::day::UsageDay;
use tandem_proto::names;

names! {
    /// Where a metering record stands.
    State: "pending, sending, accepted, duplicate_same, refused, expired, unknown, moved";
    /// To be sent.
    Pending = "pending";
    /// Being sent; after a crash its outcome is unknown.
    Sending = "sending";
    /// Taken by the vendor.
    Accepted = "accepted";
    /// Was at the vendor already, with the same quantity.
    DuplicateSame = "duplicate_same";
    /// Refused by the vendor; its bills wait for an operator.
    Refused = "refused";
    /// Its window closed before it was taken; its bills were moved to the Billing Center.
    Expired = "expired";
    /// Not known whether it was taken; waits for an operator.
    Unknown = "unknown";
    /// Not taken; its bills were moved to the Billing Center by an operator.
    Moved = "moved";
}

names! {
    /// How long a vendor gathers usage before it makes a bill of it.
    Cycle: "hour, day";
    /// An hour.
    Hour = "hour";
    /// A day in the vendor's zone.
    Day = "day";
}

/// How a vendor takes usage.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The metering dimension whose unit is one minor unit of the currency.
    pub dimension: String,
    /// Its billing cycle.
    pub cycle: Cycle,
    /// The zone its cycles are in.
    pub zone: TimeZone,
    /// How long after the end of a cycle it still takes usage of that cycle.
    pub grace: SignedDuration,
    /// How long before the vendor's own deadline we stop.
    pub margin: SignedDuration,
    /// Time between two calls for one purchase.
    pub spacing: SignedDuration,
    /// Most records in one call.
    pub batch_max: usize,
    /// Whether the vendor detects a record that is sent twice. If not, a record of unknown outcome is never resent.
    pub detects_duplicates: bool,
}

/// The length of a record's window.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// How many windows are looked at before a record counts as not submittable: two days of hours.
const WINDOWS_TRIED: usize = 48;

/// A window and until when the vendor takes usage of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First instant.
    pub start: Timestamp,
    /// First instant that is no longer part of it.
    pub end: Timestamp,
    /// Last instant to send it at.
    pub deadline: Timestamp,
}

impl Policy {
    /// Until when usage of a window may be sent, our margin taken off.
    pub fn deadline(&self, start: Timestamp) -> Timestamp {
        let cycle_end = match self.cycle {
            Cycle::Hour => start + WINDOW,
            Cycle::Day => UsageDay::of(start, &self.zone).end(&self.zone),
        };
        cycle_end + self.grace - self.margin
    }

    /// Chooses the window of a new record: the latest whole hour up to `latest` that no other record of the purchase
    /// has, and that the vendor still takes at `now`.
    ///
    /// `None` when there is none: the amount is then settled by the Billing Center (I-17, never nowhere).
    pub fn window(&self, taken: &[Timestamp], latest: Timestamp, now: Timestamp) -> Option<Window> {
        let last_end = latest.min(now).as_second().div_euclid(3600) * 3600;
        let mut end = Timestamp::from_second(last_end).ok()?;
        for _ in 0..WINDOWS_TRIED {
            let start = end.checked_sub(WINDOW).ok()?;
            let deadline = self.deadline(start);
            if deadline <= now {
                return None;
            }
            if !taken.contains(&start) {
                return Some(Window { start, end, deadline });
            }
            end = start;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(cycle: Cycle) -> Policy {
        Policy {
            dimension: "Unit".into(),
            cycle,
            zone: tandem_proto::day::zone("Asia/Shanghai").unwrap(),
            grace: SignedDuration::from_mins(119),
            margin: SignedDuration::from_mins(30),
            spacing: SignedDuration::from_secs(60),
            batch_max: 100,
            detects_duplicates: false,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// `vendors/alibaba.md` 7.4 and 13: a daily product's usage by 01:59 of the next day in UTC+8, minus 30 minutes.
    #[test]
    fn a_daily_cycle_closes_two_hours_into_the_next_day() {
        let window =
            policy(Cycle::Day).window(&[], at("2026-03-01T16:00:00Z"), at("2026-03-01T16:10:00Z")).unwrap();
        assert_eq!((window.start, window.end), (at("2026-03-01T15:00:00Z"), at("2026-03-01T16:00:00Z")));
        assert_eq!(window.deadline, at("2026-03-01T17:29:00Z"));
    }

    #[test]
    fn a_second_record_takes_the_hour_before() {
        let policy = policy(Cycle::Day);
        let (latest, now) = (at("2026-03-01T16:00:00Z"), at("2026-03-01T16:10:00Z"));
        let first = policy.window(&[], latest, now).unwrap();
        let second = policy.window(&[first.start], latest, now).unwrap();
        assert_eq!(second.end, first.start);
    }

    #[test]
    fn too_late_is_said_before_the_vendor_says_it() {
        assert_eq!(
            policy(Cycle::Day).window(&[], at("2026-03-01T16:00:00Z"), at("2026-03-01T17:29:00Z")),
            None
        );
    }

    proptest! {
        /// Windows of one purchase never overlap, lie in the past, and can still be sent.
        #[test]
        fn windows_are_disjoint_and_open(minutes in prop::collection::vec(0i64..10_000, 1..40)) {
            let policy = policy(Cycle::Day);
            let mut minutes = minutes;
            minutes.sort_unstable();
            let mut taken = Vec::new();
            for minute in minutes {
                let now = at("2026-03-01T00:00:00Z") + SignedDuration::from_mins(minute);
                if let Some(window) = policy.window(&taken, now, now) {
                    prop_assert!(!taken.contains(&window.start));
                    prop_assert!(window.end <= now && window.deadline > now);
                    prop_assert_eq!(window.end - window.start, jiff::Span::new().seconds(3600).fieldwise());
                    taken.push(window.start);
                }
            }
        }
    }
}
