//! Calendar months, as monthly bills name them (`domain.md` 4.1). Which instants a month holds depends on a zone; nothing
//! here knows one.

use std::fmt;
use std::str::FromStr;

use crate::day::UsageDay;

/// A calendar month, without its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    first: UsageDay,
}

/// A text or number that is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a month such as 2026-03")]
pub struct BadMonth;

impl Month {
    /// The month a day is in.
    pub fn of(day: UsageDay) -> Month {
        Month { first: day.plus_days(1 - day.number() % 100) }
    }

    /// The month as a number that sorts, `yyyymm`, as databases hold it.
    pub fn number(self) -> i32 {
        self.first.month()
    }

    /// Reads `yyyymm`.
    pub fn from_number(number: i32) -> Result<Month, BadMonth> {
        let first = number.checked_mul(100).and_then(|n| n.checked_add(1)).ok_or(BadMonth)?;
        let first = UsageDay::from_number(first).map_err(|_| BadMonth)?;
        Ok(Month { first })
    }

    /// Its first day.
    pub fn first_day(self) -> UsageDay {
        self.first
    }

    /// Its last day.
    pub fn last_day(self) -> UsageDay {
        self.next().first.previous()
    }

    /// The following month.
    pub fn next(self) -> Month {
        // No month has more than 31 days, and no two together fewer than 59.
        Month::of(self.first.plus_days(31))
    }

    /// The month before.
    pub fn previous(self) -> Month {
        Month::of(self.first.previous())
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.number() / 100, self.number() % 100)
    }
}

impl FromStr for Month {
    type Err = BadMonth;
    fn from_str(text: &str) -> Result<Self, BadMonth> {
        if text.len() != 7 {
            return Err(BadMonth);
        }
        format!("{text}-01").parse().map(|first| Month { first }).map_err(|_| BadMonth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other_over_leap_years() {
        let mut month: Month = "2023-11".parse().unwrap();
        let mut days = 0;
        for _ in 0..400 {
            assert_eq!(month.next().previous(), month);
            assert_eq!(month.last_day().next(), month.next().first_day());
            assert_eq!(Month::of(month.last_day()), month);
            assert_eq!(Month::from_number(month.number()), Ok(month));
            assert_eq!(month.to_string().parse(), Ok(month));
            days += month.last_day().days_since(month.first_day()) + 1;
            month = month.next();
        }
        // 33 years and 4 months (November to February) from 2023-11-01 to 2057-03-01.
        assert_eq!(days, 12_174);
    }

    #[test]
    fn texts_and_numbers_that_are_no_month_are_refused() {
        for bad in ["", "2026-3", "2026-13", "202603", "2026-03-01", "20260-3"] {
            assert_eq!(bad.parse::<Month>(), Err(BadMonth), "accepted {bad:?}");
        }
        for bad in [0, 202_600, 202_613, i32::MAX, -202_601] {
            assert_eq!(Month::from_number(bad), Err(BadMonth), "accepted {bad}");
        }
    }
}
