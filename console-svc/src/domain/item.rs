//! What is metered, and how its hourly points make a day (`domain.md` 4.4, 4.5, 4.8, 4.9).

/// Defines the items: number on the wire, name, aggregation, divisor of the second measure, retention choices with the
/// default first, Free quota in units a day.
macro_rules! items {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $rule:ident, $second:expr, [$($days:literal),*], $quota:expr;)+) => {
        /// A metered thing; always charged separately.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Item {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Item {
            /// Every item, by number.
            pub const ALL: &'static [Item] = &[$(Item::$variant),+];

            /// Its number in schema and tables.
            pub fn number(self) -> i16 {
                match self { $(Item::$variant => $number),+ }
            }

            /// The item of a number.
            pub fn from_number(number: i32) -> Option<Item> {
                match number { $($number => Some(Item::$variant),)+ _ => None }
            }

            /// Its name, as in `domain.md` 4.4.
            pub fn name(self) -> &'static str {
                match self { $(Item::$variant => $name),+ }
            }

            /// How the hourly points of a day are put together (`domain.md` 4.5).
            pub fn aggregation(self) -> Aggregation {
                match self { $(Item::$variant => Aggregation::$rule),+ }
            }

            /// The second measure, if there is one.
            pub fn second_measure(self) -> Option<SecondMeasure> {
                match self { $(Item::$variant => $second),+ }
            }

            /// The retentions in days that may be chosen, the default first; empty when it is not priced by retention
            /// (`domain.md` 4.9).
            pub fn retention_choices(self) -> &'static [i16] {
                match self { $(Item::$variant => &[$($days),*]),+ }
            }

            /// Units a day on Free: `None` when there is no limit, 0 when the item is not available (`domain.md` 4.8).
            pub fn free_quota(self) -> Option<i64> {
                match self { $(Item::$variant => $quota),+ }
            }
        }
    };
}

/// How the 24 hourly points of a day are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Each point is the day's running value.
    Max,
    /// Each point counts its hour.
    Sum,
}

/// An item's second measure: the day's quantity is the greater of the first and the second divided by `divisor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondMeasure {
    /// Which one it is.
    pub measure: Measure,
    /// How many of it count as one unit; divides 100, so that hundredths are exact.
    pub divisor: i64,
}

/// Which of an item's measures a point counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// The item's own unit.
    Own,
    /// Spans, for traces.
    Spans,
    /// Resources, long tasks, errors and actions, for page views.
    UserEvents,
}

impl Measure {
    /// Its number in schema and tables.
    pub fn number(self) -> i16 {
        match self {
            Measure::Own => 0,
            Measure::Spans => 1,
            Measure::UserEvents => 2,
        }
    }

    /// The measure of a number.
    pub fn from_number(number: i32) -> Option<Measure> {
        match number {
            0 => Some(Measure::Own),
            1 => Some(Measure::Spans),
            2 => Some(Measure::UserEvents),
            _ => None,
        }
    }
}

const SPANS: Option<SecondMeasure> = Some(SecondMeasure { measure: Measure::Spans, divisor: 10 });
const USER_EVENTS: Option<SecondMeasure> = Some(SecondMeasure { measure: Measure::UserEvents, divisor: 100 });

items! {
    /// Active time series of the day.
    TimeSeries = 1, "TIME_SERIES", Max, None, [7, 3, 14, 30, 180, 360], Some(3_000);
    /// Logs, events and checks.
    LogCount = 2, "LOG_COUNT", Sum, None, [14, 3, 7, 30, 60], Some(1_000_000);
    /// Logs by volume, instead of `LOG_COUNT`.
    LogIngest = 3, "LOG_INGEST", Sum, None, [14, 3, 7, 30, 60], None;
    /// Data forwarded to outside storage.
    DataForwardExternal = 4, "DATA_FORWARD_EXTERNAL", Max, None, [], Some(0);
    /// Data forwarded inside the product.
    DataForwardInternal = 5, "DATA_FORWARD_INTERNAL", Max, None, [], Some(0);
    /// Hosts that send network data.
    NetworkHost = 6, "NETWORK_HOST", Max, None, [], None;
    /// Traces.
    ApmTrace = 7, "APM_TRACE", Sum, SPANS, [14, 3, 7, 30, 60], Some(8_000);
    /// Profile files.
    ApmProfile = 8, "APM_PROFILE", Sum, None, [14, 3, 7], Some(60);
    /// Page views.
    RumPv = 9, "RUM_PV", Sum, USER_EVENTS, [14, 3, 7, 30, 60], Some(2_000);
    /// Sessions with a replay.
    SessionReplay = 10, "SESSION_REPLAY", Max, None, [], Some(1_000);
    /// Runs of synthetic tests.
    SyntheticTest = 11, "SYNTHETIC_TEST", Sum, None, [], Some(200_000);
    /// Weighted runs of detections and queries.
    Trigger = 12, "TRIGGER", Sum, None, [], Some(100_000);
    /// Text messages.
    Sms = 13, "SMS", Sum, None, [], Some(0);
    /// Scheduled reports that were sent.
    Report = 14, "REPORT", Sum, None, [], None;
    /// Data scanned for sensitive values.
    SensitiveScan = 15, "SENSITIVE_SCAN", Sum, None, [], None;
    /// Logs handled by the central pipeline.
    Pipeline = 16, "PIPELINE", Sum, None, [], None;
    /// Collectors; statistics only, so their greatest hourly number describes the day.
    Collector = 17, "COLLECTOR", Max, None, [], None;
}

impl Item {
    /// Whether its unit price depends on how long the data is kept.
    pub fn by_retention(self) -> bool {
        !self.retention_choices().is_empty()
    }

    /// Whether a change of retention drops the data that is there, so that the whole day counts by the new policy
    /// (`domain.md` 3.19): so it is with metrics.
    pub fn drops_old_data(self) -> bool {
        self == Item::TimeSeries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_read_back() {
        for (index, item) in Item::ALL.iter().enumerate() {
            assert_eq!(usize::try_from(item.number()).unwrap(), index + 1);
            assert_eq!(Item::from_number(i32::from(item.number())), Some(*item));
        }
        assert_eq!(Item::from_number(0), None);
        assert_eq!(Item::from_number(18), None);
    }

    #[test]
    fn free_retention_may_be_chosen_for_every_item_that_has_one() {
        for item in Item::ALL.iter().filter(|item| item.by_retention()) {
            assert!(
                item.retention_choices().contains(&super::super::retention::FREE_DAYS),
                "{}",
                item.name()
            );
        }
    }

    #[test]
    fn divisors_leave_whole_hundredths() {
        for second in Item::ALL.iter().filter_map(|item| item.second_measure()) {
            assert_eq!(100 % second.divisor, 0);
        }
    }
}
