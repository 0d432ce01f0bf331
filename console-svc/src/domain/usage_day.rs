//! A usage day: one calendar day in a site's zone (`domain.md` 4.1, D17).
//!
//! It is `[start, next start)` by the zone database, so that days of 23 and 25 hours partition time too.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Microseconds of an hour.
pub const HOUR_MICROS: i64 = 3_600_000_000;

/// One calendar day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageDay(Date);

/// A text or number that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a day as YYYY-MM-DD")]
pub struct NotADay;

impl UsageDay {
    /// The day that holds an instant.
    pub fn of(instant: Timestamp, zone: &TimeZone) -> UsageDay {
        UsageDay(zone.to_datetime(instant).date())
    }

    /// Its first instant.
    ///
    /// Fails only at the ends of the calendar.
    pub fn start(self, zone: &TimeZone) -> Result<Timestamp, NotADay> {
        zone.to_zoned(self.0.to_datetime(jiff::civil::Time::midnight()))
            .and_then(|midnight| midnight.start_of_day())
            .map(|start| start.timestamp())
            .map_err(|_| NotADay)
    }

    /// The first instant after it.
    pub fn end(self, zone: &TimeZone) -> Result<Timestamp, NotADay> {
        self.plus(1)?.start(zone)
    }

    /// The day so many days later, or earlier when negative.
    pub fn plus(self, days: i32) -> Result<UsageDay, NotADay> {
        self.0.checked_add(i64::from(days).days()).map(UsageDay).map_err(|_| NotADay)
    }

    /// The first day of its month.
    pub fn month_start(self) -> UsageDay {
        UsageDay(self.0.first_of_month())
    }

    /// The number `yyyymmdd` that tables hold.
    pub fn number(self) -> i32 {
        i32::from(self.0.year()) * 10_000 + i32::from(self.0.month()) * 100 + i32::from(self.0.day())
    }

    /// The day of a table's number.
    pub fn from_number(number: i32) -> Result<UsageDay, NotADay> {
        let part = |n: i32| i8::try_from(n).map_err(|_| NotADay);
        let year = i16::try_from(number / 10_000).map_err(|_| NotADay)?;
        let date = Date::new(year, part(number / 100 % 100)?, part(number % 100)?);
        date.map(UsageDay).map_err(|_| NotADay)
    }
}

impl fmt::Display for UsageDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UsageDay {
    type Err = NotADay;
    fn from_str(text: &str) -> Result<UsageDay, NotADay> {
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| match i {
                4 | 7 => b == b'-',
                _ => b.is_ascii_digit(),
            });
        if !shaped {
            return Err(NotADay);
        }
        text.parse().map(UsageDay).map_err(|_| NotADay)
    }
}

/// Whether an instant is the first of an hour on the zone's clocks.
pub fn is_whole_hour(instant: Timestamp, zone: &TimeZone) -> bool {
    let offset = i64::from(zone.to_offset(instant).seconds()) * 1_000_000;
    (instant.as_microsecond() + offset).rem_euclid(HOUR_MICROS) == 0
        && instant.subsec_nanosecond() % 1_000 == 0
}

/// The start of the hour that holds an instant, on the zone's clocks.
pub fn hour_of(instant: Timestamp, zone: &TimeZone) -> Timestamp {
    let offset = i64::from(zone.to_offset(instant).seconds()) * 1_000_000;
    let into = (instant.as_microsecond() + offset).rem_euclid(HOUR_MICROS);
    Timestamp::from_microsecond(instant.as_microsecond() - into).unwrap_or(instant)
}

/// The start of the hour after the one that holds an instant.
pub fn hour_after(instant: Timestamp, zone: &TimeZone) -> Timestamp {
    let hour = hour_of(instant, zone).as_microsecond();
    Timestamp::from_microsecond(hour.saturating_add(HOUR_MICROS)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn hours(day: &str, zone: &TimeZone) -> i64 {
        let day: UsageDay = day.parse().unwrap();
        let span = day.end(zone).unwrap().as_microsecond() - day.start(zone).unwrap().as_microsecond();
        assert_eq!(span % HOUR_MICROS, 0);
        span / HOUR_MICROS
    }

    #[test]
    fn days_of_a_clock_change_have_23_and_25_hours() {
        let new_york = zone("America/New_York");
        assert_eq!(hours("2026-03-08", &new_york), 23);
        assert_eq!(hours("2026-11-01", &new_york), 25);
        assert_eq!(hours("2026-03-07", &new_york), 24);
        assert_eq!(hours("2026-03-08", &zone("Asia/Shanghai")), 24);
        // Clocks of São Paulo skipped midnight itself.
        assert_eq!(hours("2018-11-04", &zone("America/Sao_Paulo")), 23);
    }

    #[test]
    fn texts_and_numbers_are_read_strictly() {
        let day: UsageDay = "2026-03-08".parse().unwrap();
        assert_eq!(day.number(), 20_260_308);
        assert_eq!(UsageDay::from_number(20_260_308), Ok(day));
        assert_eq!(day.to_string(), "2026-03-08");
        for bad in ["", "2026-3-8", "2026-02-30", "20260308", "2026-03-08T00:00", "+2026-3-08"] {
            assert!(bad.parse::<UsageDay>().is_err(), "accepted {bad:?}");
        }
        assert!(UsageDay::from_number(20_261_301).is_err());
    }

    #[test]
    fn the_hour_after_an_upgrade_is_the_next_whole_one() {
        let utc = zone("UTC");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(hour_after(at("2026-03-01T10:20:00Z"), &utc), at("2026-03-01T11:00:00Z"));
        assert_eq!(hour_after(at("2026-03-01T10:00:00Z"), &utc), at("2026-03-01T11:00:00Z"));
        assert_eq!(hour_of(at("2026-03-01T10:20:00Z"), &zone("Asia/Kolkata")), at("2026-03-01T09:30:00Z"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn days_partition_time(
            seconds in 0_i64..4_000_000_000,
            name in prop::sample::select(vec!["Asia/Shanghai", "America/New_York", "UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
        ) {
            let zone = zone(name);
            let instant = Timestamp::from_second(seconds).unwrap();
            let day = UsageDay::of(instant, &zone);
            prop_assert!(day.start(&zone).unwrap() <= instant && instant < day.end(&zone).unwrap());
            let next = day.plus(1).unwrap();
            prop_assert_eq!(day.end(&zone).unwrap(), next.start(&zone).unwrap());
            prop_assert_eq!(UsageDay::from_number(day.number()), Ok(day));
            prop_assert!(hour_of(instant, &zone) <= instant && instant < hour_after(instant, &zone));
            prop_assert!(is_whole_hour(hour_of(instant, &zone), &zone) || name == "Australia/Lord_Howe");
        }
    }
}
