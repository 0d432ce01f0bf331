use proptest::prelude::*;

use super::*;

const LOGS: Item = Item::LogCount;
const SERIES: Item = Item::TimeSeries;

fn zone() -> TimeZone {
    TimeZone::get("Asia/Shanghai").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn set(retention: &mut Retention, item: Item, days: i32, now: &str) -> Result<(), RetentionError> {
    let zone = zone();
    let moment = Moment { now: at(now), zone: &zone, counted_until: None };
    retention.set(Plan::Commercial, item, days, &moment)
}

fn copy(retention: &Retention) -> Option<Retention> {
    Retention::from_columns(&retention.base_column(), &retention.changes_column())
}

#[test]
fn settings_survive_their_columns() {
    for plan in [Plan::Free, Plan::Commercial] {
        let retention = Retention::of_new(plan);
        assert_eq!(copy(&retention), Some(retention));
    }
    let mut retention = Retention::of_new(Plan::Commercial);
    set(&mut retention, LOGS, 30, "2026-03-01T02:10:00Z").unwrap();
    set(&mut retention, SERIES, 14, "2026-03-01T02:10:00Z").unwrap();
    set(&mut retention, LOGS, 60, "2026-03-01T03:10:00Z").unwrap();
    assert_eq!(copy(&retention), Some(retention));
    assert_eq!(Retention::from_columns("99:7", ""), None);
    assert_eq!(Retention::from_columns("1:7", "1:x:7:0"), None);
}

#[test]
fn only_the_items_own_choices_are_taken_and_none_on_free() {
    let mut retention = Retention::of_new(Plan::Commercial);
    let now = "2026-03-01T02:10:00Z";
    assert_eq!(retention.of(SERIES, at(now)), 7);
    assert_eq!(set(&mut retention, SERIES, 360, now), Ok(()));
    assert_eq!(retention.of(SERIES, at("2026-03-01T03:00:00Z")), 360);
    assert_eq!(set(&mut retention, Item::ApmProfile, 30, now), Err(RetentionError::NoSuchChoice));
    assert_eq!(set(&mut retention, Item::Sms, 7, now), Err(RetentionError::NotByRetention));
    let zone = zone();
    let moment = Moment { now: at(now), zone: &zone, counted_until: None };
    let refused = Retention::of_new(Plan::Free).set(Plan::Free, SERIES, 7, &moment);
    assert_eq!(refused, Err(RetentionError::Fixed));
}

/// 3.19: the first change of a day acts at once, further ones next day, the last one wins.
#[test]
fn the_first_change_acts_with_the_next_hour_and_the_last_one_with_the_next_day() {
    let mut retention = Retention::of_new(Plan::Commercial);
    set(&mut retention, LOGS, 30, "2026-03-01T02:10:00Z").unwrap();
    assert_eq!(retention.of(LOGS, at("2026-03-01T02:59:59Z")), 14);
    assert_eq!(retention.of(LOGS, at("2026-03-01T03:00:00Z")), 30);
    assert_eq!(retention.next(LOGS, at("2026-03-01T02:10:00Z")), Some((30, at("2026-03-01T03:00:00Z"))));

    set(&mut retention, LOGS, 60, "2026-03-01T05:00:00Z").unwrap();
    set(&mut retention, LOGS, 7, "2026-03-01T06:00:00Z").unwrap();
    let midnight = "2026-03-01T16:00:00Z";
    assert_eq!(retention.of(LOGS, at("2026-03-01T15:59:59Z")), 30);
    assert_eq!(retention.of(LOGS, at(midnight)), 7);
    assert_eq!(retention.next(LOGS, at("2026-03-01T06:00:00Z")), Some((7, at(midnight))));
    // Back to what holds now: nothing waits any more.
    set(&mut retention, LOGS, 30, "2026-03-01T07:00:00Z").unwrap();
    assert_eq!(retention.next(LOGS, at("2026-03-01T07:00:00Z")), None);
    assert_eq!(retention.of(LOGS, at(midnight)), 30);
    // Another item, and the same one on another day, have their own first change.
    set(&mut retention, Item::ApmTrace, 3, "2026-03-01T07:00:00Z").unwrap();
    assert_eq!(retention.of(Item::ApmTrace, at("2026-03-01T08:00:00Z")), 3);
    set(&mut retention, LOGS, 3, "2026-03-01T16:20:00Z").unwrap();
    assert_eq!(retention.of(LOGS, at("2026-03-01T17:00:00Z")), 3);
}

#[test]
fn a_change_made_for_today_does_not_use_todays_first_change_up() {
    let mut retention = Retention::of_new(Plan::Commercial);
    set(&mut retention, LOGS, 30, "2026-03-01T02:10:00Z").unwrap();
    set(&mut retention, LOGS, 60, "2026-03-01T03:10:00Z").unwrap();
    set(&mut retention, LOGS, 7, "2026-03-01T17:10:00Z").unwrap();
    assert_eq!(retention.of(LOGS, at("2026-03-01T16:00:00Z")), 60);
    assert_eq!(retention.of(LOGS, at("2026-03-01T18:00:00Z")), 7);
}

#[test]
fn setting_what_holds_already_changes_nothing_and_uses_nothing_up() {
    let mut retention = Retention::of_new(Plan::Commercial);
    set(&mut retention, LOGS, 14, "2026-03-01T02:10:00Z").unwrap();
    assert_eq!(retention, Retention::of_new(Plan::Commercial));
    set(&mut retention, LOGS, 30, "2026-03-01T03:10:00Z").unwrap();
    assert_eq!(retention.of(LOGS, at("2026-03-01T04:00:00Z")), 30);
}

/// An hour that is counted keeps its setting: else its re-delivery would be counted under the other one as well.
#[test]
fn hours_that_are_counted_or_on_their_way_keep_their_setting() {
    let zone = zone();
    let mut retention = Retention::of_new(Plan::Commercial);
    let (now, counted_until) = (at("2026-03-01T02:10:00Z"), Some(at("2026-03-01T03:00:00Z")));
    retention.set(Plan::Commercial, LOGS, 30, &Moment { now, zone: &zone, counted_until }).unwrap();
    assert_eq!(retention.of(LOGS, at("2026-03-01T03:00:00Z")), 14);
    assert_eq!(retention.of(LOGS, at("2026-03-01T04:00:00Z")), 30);

    let mut retention = Retention::of_new(Plan::Commercial);
    set(&mut retention, LOGS, 30, "2026-03-01T02:59:45Z").unwrap();
    assert_eq!(retention.of(LOGS, at("2026-03-01T03:00:00Z")), 14);
    assert_eq!(retention.of(LOGS, at("2026-03-01T04:00:00Z")), 30);
}

/// 3.19: a change drops the old metrics, so that the whole day counts by the new policy.
#[test]
fn time_series_count_by_the_policy_at_the_days_end() {
    let zone = zone();
    let mut retention = Retention::of_new(Plan::Commercial);
    set(&mut retention, SERIES, 30, "2026-03-01T02:10:00Z").unwrap();
    set(&mut retention, SERIES, 3, "2026-03-01T05:10:00Z").unwrap();
    let day = |text: &str| text.parse::<UsageDay>().unwrap();
    let of = |hour: &str, on: &str| retention.of_point(SERIES, at(hour), day(on), &zone);
    assert_eq!(of("2026-03-01T00:00:00Z", "2026-03-01"), 30);
    assert_eq!(of("2026-03-01T10:00:00Z", "2026-03-01"), 30);
    assert_eq!(of("2026-02-28T10:00:00Z", "2026-02-28"), 7);
    assert_eq!(of("2026-03-01T16:00:00Z", "2026-03-02"), 3);
    assert_eq!(retention.dropped(day("2026-03-01"), &zone), [(SERIES, 7, 30)]);
    assert_eq!(retention.dropped(day("2026-02-28"), &zone), []);
    assert_eq!(retention.dropped(day("2026-03-02"), &zone), []);
    // Other types keep the policy of each hour.
    set(&mut retention, LOGS, 30, "2026-03-01T02:10:00Z").unwrap();
    let of = |hour: &str| retention.of_point(LOGS, at(hour), day("2026-03-01"), &zone);
    assert_eq!((of("2026-03-01T02:00:00Z"), of("2026-03-01T03:00:00Z")), (14, 30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever is changed when, an hour that has begun keeps its days, each day has at most two policies, and what was
    /// asked last is what holds two days later.
    #[test]
    fn the_past_is_never_changed(
        steps in prop::collection::vec((1_i64..40_000, prop::sample::select(vec![3, 7, 14, 30, 60])), 1..40)
    ) {
        let zone = zone();
        let mut retention = Retention::of_new(Plan::Commercial);
        let mut now = at("2026-03-01T00:00:00Z");
        let mut asked = 14;
        for (seconds, days) in steps {
            now += SignedDuration::from_secs(seconds);
            let before = retention.clone();
            let moment = Moment { now, zone: &zone, counted_until: None };
            retention.set(Plan::Commercial, LOGS, days, &moment).unwrap();
            asked = days;
            for hours in 0..90 {
                let hour = hour_of(now, &zone) - SignedDuration::from_hours(hours);
                prop_assert_eq!(retention.of(LOGS, hour), before.of(LOGS, hour));
            }
            prop_assert_eq!(copy(&retention), Some(retention.clone()));
        }
        let later = now + SignedDuration::from_hours(48);
        prop_assert_eq!(i32::from(retention.of(LOGS, later)), asked);
        for change in &retention.changes {
            let day = UsageDay::of(change.from, &zone);
            let inside = |c: &&Change| UsageDay::of(c.from, &zone) == day && UsageDay::of(c.made_at, &zone) == day;
            prop_assert!(retention.changes.iter().filter(inside).count() <= 1);
        }
    }
}
