//! Usage days: one calendar day in a site's time zone, from midnight to midnight (`domain.md` 4.1, D17).
//!
//! A day has 23 or 25 hours where clocks change; its bounds always come from the zone database.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A calendar day, without its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageDay(Date);

/// A text or number that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a day such as 2026-03-01")]
pub struct BadDay;

impl UsageDay {
    /// The day that holds an instant in a zone.
    pub fn of(instant: Timestamp, zone: &TimeZone) -> UsageDay {
        UsageDay(zone.to_datetime(instant).date())
    }

    /// The day's first instant in a zone. A midnight that clocks skip is read as the instant after the gap.
    pub fn start(self, zone: &TimeZone) -> Timestamp {
        zone.to_ambiguous_timestamp(self.0.at(0, 0, 0, 0)).compatible().unwrap_or(Timestamp::MAX)
    }

    /// The first instant that is no longer part of the day.
    pub fn end(self, zone: &TimeZone) -> Timestamp {
        self.next().start(zone)
    }

    /// The following day.
    pub fn next(self) -> UsageDay {
        UsageDay(self.0.tomorrow().unwrap_or(Date::MAX))
    }

    /// The day before.
    pub fn previous(self) -> UsageDay {
        UsageDay(self.0.yesterday().unwrap_or(Date::MIN))
    }

    /// The day so many days later; earlier when negative.
    pub fn plus_days(self, days: i32) -> UsageDay {
        let end = if days < 0 { Date::MIN } else { Date::MAX };
        UsageDay(self.0.checked_add(jiff::Span::new().days(days)).unwrap_or(end))
    }

    /// Days from `earlier` to this one; negative when `earlier` is later.
    pub fn days_since(self, earlier: UsageDay) -> i32 {
        self.0.since(earlier.0).map(|span| span.get_days()).unwrap_or(i32::MAX)
    }

    /// The month the day is in, as `yyyymm`.
    pub fn month(self) -> i32 {
        i32::from(self.0.year()) * 100 + i32::from(self.0.month())
    }

    /// The day as a number that sorts, `yyyymmdd`, as databases hold it.
    pub fn number(self) -> i32 {
        self.month() * 100 + i32::from(self.0.day())
    }

    /// Reads `yyyymmdd`.
    pub fn from_number(number: i32) -> Result<UsageDay, BadDay> {
        let year = i16::try_from(number / 10_000).map_err(|_| BadDay)?;
        let month = i8::try_from(number / 100 % 100).map_err(|_| BadDay)?;
        let day = i8::try_from(number % 100).map_err(|_| BadDay)?;
        Date::new(year, month, day).map(UsageDay).map_err(|_| BadDay)
    }
}

impl fmt::Display for UsageDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for UsageDay {
    type Err = BadDay;
    fn from_str(text: &str) -> Result<Self, BadDay> {
        if text.len() != 10 {
            return Err(BadDay);
        }
        text.parse().map(UsageDay).map_err(|_| BadDay)
    }
}

/// Reads the IANA name of a zone from the bundled database.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(day: &str, zone_name: &str) -> i64 {
        let (day, zone) = (day.parse::<UsageDay>().unwrap(), zone(zone_name).unwrap());
        (day.end(&zone).as_second() - day.start(&zone).as_second()) / 3600
    }

    #[test]
    fn days_have_the_hours_their_zone_gives_them() {
        assert_eq!(hours("2026-03-08", "America/New_York"), 23);
        assert_eq!(hours("2026-11-01", "America/New_York"), 25);
        assert_eq!(hours("2026-03-01", "Asia/Shanghai"), 24);
    }

    #[test]
    fn days_partition_time_over_two_years() {
        for name in ["America/New_York", "Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut"]
        {
            let zone = zone(name).unwrap();
            let mut day: UsageDay = "2026-01-01".parse().unwrap();
            for _ in 0..800 {
                assert_eq!(day.end(&zone), day.next().start(&zone));
                assert_eq!(UsageDay::of(day.start(&zone), &zone), day);
                assert_eq!(UsageDay::of(day.end(&zone), &zone), day.next());
                assert_eq!(UsageDay::from_number(day.number()), Ok(day));
                assert_eq!(day.next().days_since(day), 1);
                day = day.next();
            }
        }
    }

    #[test]
    fn texts_that_are_no_day_are_refused() {
        for bad in ["", "2026-3-1", "2026-02-30", "20260301", "2026-03-01T00"] {
            assert_eq!(bad.parse::<UsageDay>(), Err(BadDay), "accepted {bad:?}");
        }
    }
}
