//! What a vendor can do, as data, so that nobody has to ask for its name.

use jiff::{SignedDuration, Timestamp};
use tandem_proto::vendor::Vendor;

use crate::event::Market;

/// What a vendor's market offers to a seller, and the limits it sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The vendor.
    pub vendor: Vendor,
    /// The market.
    pub market: Market,
    /// A purchase can be looked up by its id.
    pub looks_up_purchases: bool,
    /// Recorded usage can be looked up; if not, an unknown outcome needs a person.
    pub looks_up_usage: bool,
    /// Callbacks carry an id or a time of their own, so that a replay is recognised by itself.
    pub callbacks_are_dated: bool,
    /// The vendor signs a link with which buyers arrive here.
    pub lands_buyers: bool,
    /// The limits of metering.
    pub metering: MeteringLimits,
}

/// The limits a vendor sets on usage records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeteringLimits {
    /// Most records in one call.
    pub records_per_call_max: usize,
    /// Least time between two calls for one instance.
    pub spacing_per_instance: SignedDuration,
    /// A record's window must be *longer* than this.
    pub span_longer_than: SignedDuration,
    /// A repeat of a record is recognised by the vendor. Where it is not, nothing may be sent twice.
    pub detects_duplicates: bool,
    /// When records of a window must have arrived.
    pub deadline: DeadlineRule,
}

/// How often a vendor makes its bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BillingCycle {
    /// As records arrive; no deadline is published.
    Realtime,
    /// Every clock hour.
    Hour,
    /// Every calendar day.
    Day,
}

/// When records of a window must have arrived at a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineRule {
    /// The vendor's billing cycle.
    pub cycle: BillingCycle,
    /// The vendor's clock, as an offset from UTC.
    pub utc_offset: SignedDuration,
    /// How long after the end of the cycle records are still taken.
    pub grace: SignedDuration,
    /// How much earlier a careful seller is done, where the vendor's pages do not agree with each other.
    pub margin: SignedDuration,
}

impl DeadlineRule {
    /// The last moment at which a record whose window ends at `end` may arrive; `None` when there is no limit or the
    /// time is out of range.
    ///
    /// A window belongs to the cycle in which it ends.
    pub fn closes_at(&self, end: Timestamp) -> Option<Timestamp> {
        let length: i64 = match self.cycle {
            BillingCycle::Realtime => return None,
            BillingCycle::Hour => 3_600,
            BillingCycle::Day => 86_400,
        };
        // The window's last second, on the vendor's clock, so that a window ending on the boundary counts before it.
        let local = end.as_second().checked_add(self.utc_offset.as_secs())?.checked_sub(1)?;
        let cycle_end = local.checked_sub(local.rem_euclid(length))?.checked_add(length)?;
        let close = cycle_end.checked_sub(self.utc_offset.as_secs())?.checked_add(self.grace.as_secs())?;
        Timestamp::from_second(close).ok()
    }

    /// The deadline to plan with: [`DeadlineRule::closes_at`] less the margin.
    pub fn aim_for(&self, end: Timestamp) -> Option<Timestamp> {
        self.closes_at(end)?.checked_sub(self.margin).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_closes_after_the_cycle_it_ends_in() {
        let (hours, minutes) = (SignedDuration::from_hours, SignedDuration::from_mins);
        let hourly = DeadlineRule {
            cycle: BillingCycle::Hour,
            utc_offset: hours(8),
            grace: minutes(59),
            margin: SignedDuration::ZERO,
        };
        // 08:10–08:20 on the vendor's clock: 09:59.
        assert_eq!(hourly.closes_at(at("2026-03-01T00:20:00Z")), Some(at("2026-03-01T01:59:00Z")));
        // Ends on the hour: still the hour before.
        assert_eq!(hourly.closes_at(at("2026-03-01T01:00:00Z")), Some(at("2026-03-01T01:59:00Z")));
        let daily =
            DeadlineRule { cycle: BillingCycle::Day, grace: minutes(119), margin: minutes(30), ..hourly };
        assert_eq!(daily.closes_at(at("2026-03-01T16:00:00Z")), Some(at("2026-03-01T17:59:00Z")));
        assert_eq!(daily.aim_for(at("2026-03-01T16:00:00Z")), Some(at("2026-03-01T17:29:00Z")));
        let realtime = DeadlineRule { cycle: BillingCycle::Realtime, ..daily };
        assert_eq!(realtime.closes_at(at("2026-03-01T16:00:00Z")), None);
    }
}
