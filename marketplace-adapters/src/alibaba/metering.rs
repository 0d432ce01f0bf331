//! What may be sent as usage, decided before it is sent (`vendors/alibaba.md` 7.4 and 11; vectors
//! `alibaba-metering-rules.json`). Pure: the clock and all facts are handed in.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::capability::{BillingCycle, DeadlineRule, MeteringLimits};

/// Most records in one request.
pub const RECORDS_PER_CALL_MAX: usize = 100;
/// Least time between two requests for one instance.
pub const SPACING: SignedDuration = SignedDuration::from_secs(60);
/// Spans of products that are not billed in real time must be longer than this.
pub const SPAN_LONGER_THAN: SignedDuration = SignedDuration::from_mins(5);
/// The vendor's clock.
const UTC_OFFSET: SignedDuration = SignedDuration::from_hours(8);
/// Hourly products: usage must arrive by the 59th minute of the following hour.
const HOUR_GRACE: SignedDuration = SignedDuration::from_mins(59);
/// Daily products: by 01:59 of the following day.
const DAY_GRACE: SignedDuration = SignedDuration::from_mins(119);
/// An older page names another hour for daily products: whoever plans is done this much earlier
/// (`vendors/alibaba.md` 13).
const DAY_MARGIN: SignedDuration = SignedDuration::from_mins(30);
/// Seconds that lie beyond this are milliseconds: it is the year 5138.
const SECONDS_MAX: i64 = 99_999_999_999;

/// The vendor's billing items.
const ENTITY_KEYS: [&str; 14] = [
    "Character",
    "DailyActiveUser",
    "Frequency",
    "KTokens",
    "Memory",
    "NetworkIn",
    "NetworkOut",
    "Period",
    "PeriodMin",
    "Storage",
    "StorageGigaByte",
    "Suit",
    "Unit",
    "VirtualCpu",
];

/// Whether the text is one of the vendor's billing items.
pub fn is_entity_key(key: &str) -> bool {
    ENTITY_KEYS.contains(&key)
}

/// One billing item of a record, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entity {
    /// The billing item.
    #[serde(rename = "Key")]
    pub key: String,
    /// A whole number, as text.
    #[serde(rename = "Value")]
    pub value: String,
    /// The id of the billing item; the vendor spells it so.
    #[serde(rename = "meteringAssit")]
    pub metering_assit: Option<String>,
}

/// One record, as sent, and the product it is for, which is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The product; all records of one request have the same.
    #[serde(skip)]
    pub product_code: String,
    /// The instance.
    #[serde(rename = "InstanceId")]
    pub instance_id: String,
    /// Start, in Unix seconds; sent as text.
    #[serde(rename = "StartTime", serialize_with = "as_text")]
    pub start: i64,
    /// End, in Unix seconds; sent as text.
    #[serde(rename = "EndTime", serialize_with = "as_text")]
    pub end: i64,
    /// What was used.
    #[serde(rename = "Entities")]
    pub entities: Vec<Entity>,
}

fn as_text<S: serde::Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Where an instance stands, as far as usage cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// In use, or nothing else is known.
    Open,
    /// Expired or frozen at this time; the hour it falls into is still billed.
    ExpiredAt(Timestamp),
    /// Released at this time; what was used before is still sent.
    ReleasedAt(Timestamp),
    /// Released, nobody knows when.
    Released,
    /// A trial: never billed.
    Trial,
    /// Bound to nobody: there is no usage to bill.
    Unbound,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The time.
    pub now: Timestamp,
    /// How often the product is billed.
    pub cycle: BillingCycle,
    /// Where the instance stands.
    pub instance: InstanceState,
    /// The last request for this instance.
    pub last_push: Option<Timestamp>,
}

/// Why a record, or a request as it stands, is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The end does not lie after the start.
    EndNotAfterStart,
    /// Times are in milliseconds.
    MillisecondsInsteadOfSeconds,
    /// The span is five minutes or less.
    IntervalTooShort,
    /// A value is negative, fractional or no number.
    ValueNotANonNegativeInteger,
    /// The billing item's id is missing.
    MeteringAssitMissing,
    /// The billing item's id does not belong to the product and key.
    MeteringAssitMismatch,
    /// The billing item is none of the vendor's.
    UnknownEntityKey,
    /// Nothing is reported.
    NoEntities,
    /// The bill of that time is made.
    BillingWindowClosed,
    /// The span begins after the hour in which the instance expired.
    NotBillableAfterExpiry,
    /// The instance is released.
    InstanceReleased,
    /// The instance is a trial.
    InstanceIsTrial,
    /// The instance is bound to nobody.
    InstanceNotBound,
    /// The span overlaps another of the same instance and item.
    OverlappingSpan,
    /// Several products in one request.
    OneProductPerRequest,
    /// More than a hundred records in one request.
    Max100Records,
    /// The last request for this instance is less than a minute ago.
    OneRequestPer60Seconds,
}

impl Rule {
    /// The name in vectors, codes and logs.
    pub fn name(self) -> &'static str {
        match self {
            Rule::EndNotAfterStart => "end_not_after_start",
            Rule::MillisecondsInsteadOfSeconds => "milliseconds_instead_of_seconds",
            Rule::IntervalTooShort => "interval_too_short",
            Rule::ValueNotANonNegativeInteger => "value_not_a_non_negative_integer",
            Rule::MeteringAssitMissing => "metering_assit_missing",
            Rule::MeteringAssitMismatch => "metering_assit_mismatch",
            Rule::UnknownEntityKey => "unknown_entity_key",
            Rule::NoEntities => "no_entities",
            Rule::BillingWindowClosed => "billing_window_closed",
            Rule::NotBillableAfterExpiry => "not_billable_after_expiry",
            Rule::InstanceReleased => "instance_released",
            Rule::InstanceIsTrial => "instance_is_trial",
            Rule::InstanceNotBound => "instance_not_bound",
            Rule::OverlappingSpan => "overlapping_span",
            Rule::OneProductPerRequest => "one_product_per_request",
            Rule::Max100Records => "max_100_records",
            Rule::OneRequestPer60Seconds => "one_request_per_60_seconds",
        }
    }
}

/// What to do with the records of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send it.
    Send,
    /// Never send it as it is.
    Refuse(Rule),
    /// Send it as several.
    Split(Rule),
    /// Send the same at this time.
    Delay(Timestamp),
}

/// The vendor's limits for a product with this billing cycle.
pub fn limits(cycle: BillingCycle) -> MeteringLimits {
    let zero = SignedDuration::ZERO;
    let (grace, margin, span) = match cycle {
        BillingCycle::Realtime => (zero, zero, zero),
        BillingCycle::Hour => (HOUR_GRACE, zero, SPAN_LONGER_THAN),
        BillingCycle::Day => (DAY_GRACE, DAY_MARGIN, SPAN_LONGER_THAN),
    };
    MeteringLimits {
        records_per_call_max: RECORDS_PER_CALL_MAX,
        spacing_per_instance: SPACING,
        span_longer_than: span,
        detects_duplicates: false,
        deadline: DeadlineRule { cycle, utc_offset: UTC_OFFSET, grace, margin },
    }
}

/// Decides about the records of one request; all are for instances in the state that the facts name.
pub fn decide(records: &[Record], facts: &Facts) -> Decision {
    for record in records {
        if let Err(rule) = check(record, facts) {
            return Decision::Refuse(rule);
        }
    }
    // Size before overlap: a batch that is too big is split, and its parts are looked at again.
    if records.len() > RECORDS_PER_CALL_MAX {
        return Decision::Split(Rule::Max100Records);
    }
    if records.iter().map(|r| &r.product_code).collect::<BTreeSet<_>>().len() > 1 {
        return Decision::Split(Rule::OneProductPerRequest);
    }
    if first_overlap(records).is_some() {
        return Decision::Refuse(Rule::OverlappingSpan);
    }
    match facts.last_push.map(|last| last.saturating_add(SPACING)) {
        Some(Ok(free)) if free > facts.now => Decision::Delay(free),
        _ => Decision::Send,
    }
}

/// Checks one record by itself.
pub fn check(record: &Record, facts: &Facts) -> Result<(), Rule> {
    let limits = limits(facts.cycle);
    if record.start.abs() > SECONDS_MAX || record.end.abs() > SECONDS_MAX {
        return Err(Rule::MillisecondsInsteadOfSeconds);
    }
    let span = record.end.saturating_sub(record.start);
    if span <= 0 {
        return Err(Rule::EndNotAfterStart);
    }
    if span <= limits.span_longer_than.as_secs() {
        return Err(Rule::IntervalTooShort);
    }
    if record.entities.is_empty() {
        return Err(Rule::NoEntities);
    }
    for entity in &record.entities {
        check_entity(entity, &record.product_code)?;
    }
    check_instance(record.start, facts.instance)?;
    let end = Timestamp::from_second(record.end).map_err(|_| Rule::BillingWindowClosed)?;
    match limits.deadline.closes_at(end) {
        Some(close) if facts.now > close => Err(Rule::BillingWindowClosed),
        _ => Ok(()),
    }
}

fn check_entity(entity: &Entity, product: &str) -> Result<(), Rule> {
    if !is_entity_key(&entity.key) {
        return Err(Rule::UnknownEntityKey);
    }
    if entity.value.is_empty()
        || !entity.value.bytes().all(|b| b.is_ascii_digit())
        || entity.value.parse::<i64>().is_err()
    {
        return Err(Rule::ValueNotANonNegativeInteger);
    }
    match entity.metering_assit.as_deref() {
        None | Some("") => Err(Rule::MeteringAssitMissing),
        Some(id) if !id.starts_with(product) || !id.contains(&entity.key) => Err(Rule::MeteringAssitMismatch),
        Some(_) => Ok(()),
    }
}

fn check_instance(start: i64, state: InstanceState) -> Result<(), Rule> {
    // The vendor's hours are whole hours from UTC, so that an hour's end is the same on both clocks.
    let hour_end = |at: Timestamp| at.as_second() - at.as_second().rem_euclid(3_600) + 3_600;
    match state {
        InstanceState::Open => Ok(()),
        InstanceState::ExpiredAt(at) if start < hour_end(at) => Ok(()),
        InstanceState::ExpiredAt(_) => Err(Rule::NotBillableAfterExpiry),
        InstanceState::ReleasedAt(at) if start < hour_end(at) => Ok(()),
        InstanceState::ReleasedAt(_) | InstanceState::Released => Err(Rule::InstanceReleased),
        InstanceState::Trial => Err(Rule::InstanceIsTrial),
        InstanceState::Unbound => Err(Rule::InstanceNotBound),
    }
}

/// The position of the first record whose span overlaps an earlier one's of the same instance and item.
pub fn first_overlap(records: &[Record]) -> Option<usize> {
    let overlap = |a: &Record, b: &Record| {
        let items = |r: &Record| r.entities.iter().map(|e| e.key.clone()).collect::<BTreeSet<_>>();
        a.instance_id == b.instance_id
            && a.start < b.end
            && b.start < a.end
            && !items(a).is_disjoint(&items(b))
    };
    (1..records.len()).find(|&later| records[..later].iter().any(|earlier| overlap(earlier, &records[later])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(start: i64, end: i64) -> Record {
        let entity = Entity {
            key: "Unit".into(),
            value: "7".into(),
            metering_assit: Some("cmgj00099001-Unit-1".into()),
        };
        Record {
            product_code: "cmgj00099001".into(),
            instance_id: "1551234567".into(),
            start,
            end,
            entities: vec![entity],
        }
    }

    fn facts(now: &str) -> Facts {
        Facts {
            now: now.parse().unwrap(),
            cycle: BillingCycle::Hour,
            instance: InstanceState::Open,
            last_push: None,
        }
    }

    const HOUR: i64 = 1_772_323_200; // 2026-03-01T00:00:00Z

    #[test]
    fn a_second_request_within_a_minute_waits() {
        let mut facts = facts("2026-03-01T01:30:59Z");
        facts.last_push = Some("2026-03-01T01:30:00Z".parse().unwrap());
        let free = "2026-03-01T01:31:00Z".parse().unwrap();
        assert_eq!(decide(&[record(HOUR, HOUR + 3600)], &facts), Decision::Delay(free));
        facts.now = free;
        assert_eq!(decide(&[record(HOUR, HOUR + 3600)], &facts), Decision::Send);
    }

    #[test]
    fn each_rule_refuses_what_it_names() {
        let good = record(HOUR, HOUR + 3600);
        let refused = |record: Record, facts: &Facts, rule| {
            assert_eq!(decide(&[record], facts), Decision::Refuse(rule), "{rule:?}");
        };
        let now = facts("2026-03-01T01:30:00Z");
        refused(record(HOUR * 1000, (HOUR + 3600) * 1000), &now, Rule::MillisecondsInsteadOfSeconds);
        refused(Record { entities: vec![], ..good.clone() }, &now, Rule::NoEntities);
        for value in ["-1", "1.5", "", "1e3", " 1", "99999999999999999999", "+1"] {
            let mut bad = good.clone();
            bad.entities[0].value = value.into();
            refused(bad, &now, Rule::ValueNotANonNegativeInteger);
        }
        let mut bad = good.clone();
        bad.entities[0].metering_assit = Some("cmgj00099002-Unit-1".into());
        refused(bad, &now, Rule::MeteringAssitMismatch);
        for (state, rule) in [
            (InstanceState::Released, Rule::InstanceReleased),
            (InstanceState::ReleasedAt("2026-02-28T23:59:59Z".parse().unwrap()), Rule::InstanceReleased),
            (InstanceState::Trial, Rule::InstanceIsTrial),
            (InstanceState::Unbound, Rule::InstanceNotBound),
        ] {
            refused(good.clone(), &Facts { instance: state, ..now.clone() }, rule);
        }
        let twice = [good.clone(), record(HOUR + 1800, HOUR + 5400)];
        assert_eq!(decide(&twice, &now), Decision::Refuse(Rule::OverlappingSpan));
        assert_eq!(decide(&[good, record(HOUR + 3600, HOUR + 5400)], &now), Decision::Send);
    }

    #[test]
    fn usage_before_a_release_is_still_sent() {
        let released = InstanceState::ReleasedAt("2026-03-01T00:20:00Z".parse().unwrap());
        let facts = Facts { instance: released, ..facts("2026-03-01T00:21:00Z") };
        assert_eq!(decide(&[record(HOUR, HOUR + 1200)], &facts), Decision::Send);
    }

    #[test]
    fn is_sent_as_the_vendor_writes_it() {
        assert_eq!(
            serde_json::to_string(&[record(HOUR, HOUR + 3600)]).unwrap(),
            r#"[{"InstanceId":"1551234567","StartTime":"1772323200","EndTime":"1772326800","Entities":[{"Key":"Unit","Value":"7","meteringAssit":"cmgj00099001-Unit-1"}]}]"#
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn what_is_sent_keeps_every_limit(start in HOUR - 200_000..HOUR + 200_000, span in -400_i64..100_000, now in 0_i64..200_000, cycle in 0..3) {
            let cycle = [BillingCycle::Realtime, BillingCycle::Hour, BillingCycle::Day][usize::try_from(cycle).unwrap()];
            let facts = Facts { now: Timestamp::from_second(HOUR + now).unwrap(), cycle, instance: InstanceState::Open, last_push: None };
            if decide(&[record(start, start + span)], &facts) == Decision::Send {
                prop_assert!(span > 0);
                prop_assert!(cycle == BillingCycle::Realtime || span > 300);
                // Never later than the vendor's own last minute: 01:59 of the next day on its clock.
                let day_after = (start + span - 1 + 28_800).div_euclid(86_400) + 1;
                prop_assert!(cycle == BillingCycle::Realtime || HOUR + now <= day_after * 86_400 - 28_800 + 7_140);
            }
        }
    }
}
