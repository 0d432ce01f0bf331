//! One hourly usage point: what makes it good (`domain.md` 2.7, D12, D13).

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tandem_proto::reason::Reason;

use super::item::{Item, Measure};
use super::retention::{FREE_DAYS, Retention};
use super::usage_day::{UsageDay, is_whole_hour};
use super::workspace::{Plan, Standing};

/// Most units of one point. 25 hours of it, in hundredths, fit 64 bits with room to spare; as bytes it is a petabyte.
pub const QUANTITY_MAX: i64 = 1_000_000_000_000_000;
/// Longest sub key in characters.
pub const SUB_KEY_MAX: usize = 64;
/// How far ahead of the clock an hour may start: counters' clocks are not exactly ours.
pub const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(1);

/// All of a point but its quantity; points of one key replace each other (D12).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointKey {
    /// Whose usage.
    pub workspace_id: Arc<str>,
    /// The day in the site's zone, `yyyymmdd`.
    pub usage_day: i32,
    /// What was used.
    pub item: Item,
    /// Days the data is kept; 0 when the item is not priced by it.
    pub retention_days: i16,
    /// Log index or forwarding rule; may be empty.
    pub sub_key: String,
    /// Which of the item's measures.
    pub measure: Measure,
    /// Start of the hour, in microseconds.
    pub hour_start: i64,
}

/// A point as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPoint {
    /// Whose usage.
    pub workspace_id: String,
    /// Start of the hour; `None` when it was absent or no time.
    pub hour_start: Option<Timestamp>,
    /// The item's number.
    pub item: i32,
    /// The measure's number.
    pub measure: i32,
    /// Days the data is kept; 0 takes the workspace's setting.
    pub retention_days: i32,
    /// Log index or forwarding rule.
    pub sub_key: String,
    /// Whole units.
    pub quantity: i64,
}

/// What has to be known of a workspace to judge its points.
#[derive(Debug, Clone)]
pub struct WorkspaceFacts {
    /// Its id.
    pub id: Arc<str>,
    /// What it pays for.
    pub plan: Plan,
    /// Whether it takes data.
    pub standing: Standing,
    /// Its site's zone.
    pub zone: TimeZone,
    /// Its retention settings.
    pub retention: Retention,
    /// When it was made; usage of earlier days cannot be its own.
    pub created_at: Timestamp,
}

/// The hours that points may belong to.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The business time.
    pub now: Timestamp,
    /// How many days before today stay open (D13).
    pub late_days: i32,
}

/// Why a point is refused: a reason, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, whose name is sent.
    pub reason: Reason,
    /// What is wrong and what would be right.
    pub message: &'static str,
}

impl Refusal {
    /// Refuses with a reason's own meaning.
    pub fn of(reason: Reason) -> Refusal {
        Refusal { reason, message: reason.meaning() }
    }

    fn field(message: &'static str) -> Refusal {
        Refusal { reason: Reason::InvalidField, message }
    }
}

/// Judges a point of a known workspace; the Free quota is judged later, against what is stored.
pub fn check(point: RawPoint, facts: &WorkspaceFacts, window: Window) -> Result<(PointKey, i64), Refusal> {
    match facts.standing {
        Standing::Active | Standing::LockCountdown => {}
        Standing::Locked => return Err(Refusal::of(Reason::WorkspaceLocked)),
        Standing::Dissolved => return Err(Refusal::of(Reason::WorkspaceDissolved)),
    }
    let item = Item::from_number(point.item).ok_or(Refusal::field("item: must be a billing item"))?;
    let measure = measure(item, point.measure)?;
    let stated = stated_retention(item, point.retention_days, facts)?;
    if point.sub_key.chars().count() > SUB_KEY_MAX || point.sub_key.chars().any(char::is_control) {
        return Err(Refusal::field("sub_key: at most 64 characters, no control characters"));
    }
    if !(0..=QUANTITY_MAX).contains(&point.quantity) {
        return Err(Refusal::field("quantity: between 0 and 1000000000000000"));
    }
    let hour = point.hour_start.ok_or(Refusal::field("hour_start_time: is required"))?;
    if !is_whole_hour(hour, &facts.zone) {
        return Err(Refusal::field("hour_start_time: must be a whole hour"));
    }
    let day = UsageDay::of(hour, &facts.zone);
    let oldest = UsageDay::of(window.now, &facts.zone).plus(-window.late_days);
    let ahead = hour.duration_since(window.now) > AHEAD_MAX;
    let unborn = day < UsageDay::of(facts.created_at, &facts.zone);
    if ahead || unborn || oldest.is_ok_and(|oldest| day < oldest) {
        return Err(Refusal::of(Reason::HourOutOfRange));
    }
    let setting = || facts.retention.of_point(item, hour, day, &facts.zone);
    let key = PointKey {
        workspace_id: Arc::clone(&facts.id),
        usage_day: day.number(),
        item,
        retention_days: stated.unwrap_or_else(setting),
        sub_key: point.sub_key,
        measure,
        hour_start: hour.as_microsecond(),
    };
    Ok((key, point.quantity))
}

fn measure(item: Item, number: i32) -> Result<Measure, Refusal> {
    let measure = Measure::from_number(number).ok_or(Refusal::field("measure: must be a measure"))?;
    let has_it =
        measure == Measure::Own || item.second_measure().is_some_and(|second| second.measure == measure);
    if has_it { Ok(measure) } else { Err(Refusal::field("measure: the item has no such measure")) }
}

/// The retention that a point states; `None` when it takes the workspace's setting of its hour.
fn stated_retention(item: Item, days: i32, facts: &WorkspaceFacts) -> Result<Option<i16>, Refusal> {
    if !item.by_retention() {
        let none = Refusal::field("retention_days: must be 0 for an item that is not priced by retention");
        return if days == 0 { Ok(Some(0)) } else { Err(none) };
    }
    if days == 0 {
        return Ok(None);
    }
    if facts.plan == Plan::Free && days != i32::from(FREE_DAYS) {
        return Err(Refusal::field("retention_days: fixed at 7 on Free"));
    }
    let choice = item.retention_choices().iter().find(|choice| i32::from(**choice) == days);
    choice.copied().map(Some).ok_or(Refusal::field("retention_days: the item has no such retention"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> WorkspaceFacts {
        WorkspaceFacts {
            id: "wks_1".into(),
            plan: Plan::Commercial,
            standing: Standing::Active,
            zone: TimeZone::get("Asia/Shanghai").unwrap(),
            retention: Retention::of_new(Plan::Commercial),
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn raw(hour: &str) -> RawPoint {
        RawPoint {
            workspace_id: "wks_1".into(),
            hour_start: Some(at(hour)),
            item: 2,
            measure: 0,
            retention_days: 0,
            sub_key: String::new(),
            quantity: 5,
        }
    }

    fn judge(point: RawPoint) -> Result<(PointKey, i64), Reason> {
        let window = Window { now: at("2026-03-10T08:30:00Z"), late_days: 3 };
        check(point, &facts(), window).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn an_hour_belongs_to_the_day_that_holds_it_on_the_site() {
        let (key, quantity) = judge(raw("2026-03-09T16:00:00Z")).unwrap();
        assert_eq!((key.usage_day, key.retention_days, quantity), (20_260_310, 14, 5));
        let (key, _) = judge(raw("2026-03-09T15:00:00Z")).unwrap();
        assert_eq!(key.usage_day, 20_260_309);
    }

    #[test]
    fn three_days_stay_open_and_the_future_is_closed() {
        assert!(judge(raw("2026-03-06T16:00:00Z")).is_ok());
        assert_eq!(judge(raw("2026-03-06T15:00:00Z")), Err(Reason::HourOutOfRange));
        assert!(judge(raw("2026-03-10T09:00:00Z")).is_ok());
        assert_eq!(judge(raw("2026-03-10T10:00:00Z")), Err(Reason::HourOutOfRange));
    }

    #[test]
    fn bad_fields_are_refused() {
        let good = raw("2026-03-10T08:00:00Z");
        let cases = [
            RawPoint { item: 0, ..good.clone() },
            RawPoint { item: 99, ..good.clone() },
            RawPoint { measure: 1, ..good.clone() },
            RawPoint { retention_days: 9, ..good.clone() },
            RawPoint { item: 12, retention_days: 7, ..good.clone() },
            RawPoint { sub_key: "x".repeat(65), ..good.clone() },
            RawPoint { sub_key: "a\u{0}".into(), ..good.clone() },
            RawPoint { quantity: -1, ..good.clone() },
            RawPoint { quantity: i64::MAX, ..good.clone() },
            RawPoint { hour_start: None, ..good.clone() },
            RawPoint { hour_start: Some(at("2026-03-10T08:00:01Z")), ..good.clone() },
        ];
        for case in cases {
            assert_eq!(judge(case.clone()), Err(Reason::InvalidField), "{case:?}");
        }
        assert!(judge(RawPoint { item: 7, measure: 1, ..good }).is_ok());
    }

    #[test]
    fn a_workspace_without_standing_takes_nothing() {
        let window = Window { now: at("2026-03-10T08:30:00Z"), late_days: 3 };
        for (standing, reason) in
            [(Standing::Locked, Reason::WorkspaceLocked), (Standing::Dissolved, Reason::WorkspaceDissolved)]
        {
            let facts = WorkspaceFacts { standing, ..facts() };
            let refusal = check(raw("2026-03-10T08:00:00Z"), &facts, window).unwrap_err();
            assert_eq!(refusal.reason, reason);
        }
        let facts = WorkspaceFacts { standing: Standing::LockCountdown, ..facts() };
        assert!(check(raw("2026-03-10T08:00:00Z"), &facts, window).is_ok());
    }
}
