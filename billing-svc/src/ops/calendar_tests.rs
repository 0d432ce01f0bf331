//! 400 days in three time zones with daylight-saving changes, a leap day and a clock that jumps: every day has exactly
//! one bill for each workspace, and days leave no gap between them (I-12, I-13, I-38).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::WorkspaceId;
use tandem_proto::item::BillingItem;

use super::jobs::{self, Schedule};
use crate::domain::job::Job;
use crate::testing::{Bench, at, both, day};

/// Sites with their zones: no daylight saving, north of the equator, and south of it.
const SITES: [(&str, &str); 3] =
    [("cn1", "Asia/Shanghai"), ("eu1", "Europe/Berlin"), ("za9", "America/Santiago")];
const FIRST: &str = "2027-11-20";
const DAYS: i32 = 400;

struct Place {
    site: &'static str,
    zone: &'static str,
    workspace: WorkspaceId,
    /// The next day that is not closed.
    open: UsageDay,
}

async fn places(bench: &Bench) -> Vec<Place> {
    let account = bench.account("ada").await;
    bench.recharge(&account, 100_000_000).await;
    let mut places = Vec::new();
    for (site, zone) in SITES {
        let workspace = bench.workspace(&account, site).await;
        let text = "UPDATE workspace SET site = ?, time_zone = ? WHERE workspace_id = ?";
        bench.run(text, [site.into(), zone.into(), workspace.as_str().into()]).await;
        places.push(Place { site, zone, workspace, open: day(FIRST) });
    }
    places
}

/// Does what the Console does: reports each day that is over, and closes it.
async fn close_what_is_over(bench: &Bench, place: &mut Place, last: UsageDay) {
    let zone = zone(place.zone).unwrap();
    let now = bench.ctx.clock.now();
    while place.open <= last && place.open.end(&zone) <= now {
        let on = place.open.to_string();
        bench.deliver(&place.workspace, &on, 1, &[(BillingItem::Trigger, 0, 10_000)]).await;
        let tx = bench.db.begin().await.unwrap();
        super::close_day::close_day(&tx, place.site, place.open, place.zone, now).await.unwrap();
        tx.commit().await.unwrap();
        place.open = place.open.next();
    }
}

#[tokio::test]
async fn four_hundred_days_in_three_zones_have_one_bill_each() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for bench in both("calendar").await {
        bench.pass(at("2027-11-20T00:00:00Z").duration_since(bench.ctx.clock.now()));
        let mut places = places(&bench).await;
        let last = day(FIRST).plus_days(DAYS - 1);
        let (one, other) = (Schedule::default(), Schedule::default());
        while places.iter().any(|place| place.open <= last) {
            // Mostly some hours, at times a week at once: the machine slept, or its clock was set.
            let hours = match rand(&mut runner, 20) {
                0 => 24 * 7,
                1..4 => 24 * 3 + rand(&mut runner, 24),
                _ => 5 + rand(&mut runner, 40),
            };
            bench.pass(SignedDuration::from_hours(hours));
            for place in &mut places {
                close_what_is_over(&bench, place, last).await;
            }
            // Whichever replica holds the schedule does the work; the other finds nothing.
            for schedule in [&one, &other] {
                while schedule.turn(&bench.ctx, Job::BillRun).await.unwrap() > 0 {}
            }
        }
        jobs::run(&bench.ctx, Job::BillRun, bench.ctx.clock.now()).await.unwrap();
        check(&bench, &places).await;
        bench.prove().await;
    }
}

fn rand(runner: &mut TestRunner, below: i64) -> i64 {
    (0..below).new_tree(runner).unwrap().current()
}

async fn check(bench: &Bench, places: &[Place]) {
    for place in places {
        let bills = format!(
            "SELECT COUNT(DISTINCT usage_day) FROM daily_bill WHERE workspace_id = '{}' AND kind = 'daily'",
            place.workspace
        );
        assert_eq!(bench.number(&bills).await, i64::from(DAYS), "{}: days with a bill", place.site);
        let all = bills.replace("COUNT(DISTINCT usage_day)", "COUNT(*)");
        assert_eq!(bench.number(&all).await, i64::from(DAYS), "{}: bills", place.site);
        let left = format!(
            "SELECT COUNT(*) FROM usage_day WHERE workspace_id = '{}' AND quantity <> billed",
            place.workspace
        );
        assert_eq!(bench.number(&left).await, 0, "{}: usage without a bill", place.site);

        let text = format!("SELECT usage_day, ends_at FROM site_day WHERE site = '{}'", place.site);
        let rows = crate::store::read::all(&bench.db.read, &text, []).await.unwrap();
        let ends: BTreeMap<i32, Timestamp> = rows
            .iter()
            .map(|row| {
                let row = crate::store::read::Row(row, "site_day");
                (row.small("usage_day").unwrap(), row.time("ends_at").unwrap())
            })
            .collect();
        let zone = zone(place.zone).unwrap();
        let mut begins = day(FIRST).start(&zone);
        let mut lengths: BTreeMap<i64, u32> = BTreeMap::new();
        for (number, end) in &ends {
            let on = UsageDay::from_number(*number).unwrap();
            assert_eq!(on.start(&zone), begins, "{on} begins when the day before it ends");
            *lengths.entry(end.duration_since(begins).as_hours()).or_default() += 1;
            begins = *end;
        }
        assert_eq!(ends.len(), usize::try_from(DAYS).unwrap());
        assert!(ends.contains_key(&20_280_229), "the leap day");
        let wanted: Vec<i64> = if place.zone == "Asia/Shanghai" { vec![24] } else { vec![23, 24, 25] };
        assert_eq!(lengths.keys().copied().collect::<Vec<_>>(), wanted, "{}", place.site);
    }
}
