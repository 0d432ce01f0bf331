//! The documented day of `domain.md` 4.7, from a file, through the RPCs: 13.40 CNY.

use anyhow::{Context as _, ensure};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::BillingItem;
use tandem_proto::console::v1::{ListUsageRequest, Measure, UsagePoint};
use tandem_tests::day::{amounts, day, hours, payable, point};
use tandem_tests::dice::Dice;
use tandem_tests::engine::Engine;
use tandem_tests::system::Setup;

use crate::on_both_engines;

/// The day's 24 hours of every item.
const FILE: &str = include_str!("../data/documented_day.csv");
/// How many points are sent at once.
const BATCH: usize = 40;

on_both_engines! {
    documented_day;
    late_points_become_adjustments;
}

/// The file's points, for a workspace and a day.
fn points(workspace: &str, hours: &[jiff::Timestamp]) -> anyhow::Result<Vec<UsagePoint>> {
    let mut points = Vec::new();
    for row in csv::Reader::from_reader(FILE.as_bytes()).deserialize() {
        let (hour, item, measure, retention_days, quantity): (usize, String, String, i32, i64) = row?;
        let item = BillingItem::from_str_name(&format!("BILLING_ITEM_{item}")).context(item)?;
        let measure = match measure.as_str() {
            "" => Measure::Unspecified,
            name => Measure::from_str_name(&format!("MEASURE_{name}")).context(measure)?,
        };
        let hour = *hours.get(hour).context("hour")?;
        points.push(UsagePoint {
            measure: measure.into(),
            retention_days,
            ..point(workspace, hour, item, quantity)
        });
    }
    Ok(points)
}

async fn documented_day(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "documented").await?;
    system.recharge(&paid.account, "CNY", 10_000).await?;
    let day = day("2026-03-02")?;
    let hours = hours(day, "Asia/Shanghai")?;
    system.advance_to(*hours.last().context("hours")?).await?;

    // Shuffled, and a third of them sent twice: D12, I-08, I-09.
    let mut points = points(&paid.workspace, &hours)?;
    let twice: Vec<_> = points.iter().step_by(3).cloned().collect();
    points.extend(twice.iter().cloned());
    Dice::new(47).shuffle(&mut points);
    let (mut accepted, mut duplicates) = (0, 0);
    for batch in points.chunks(BATCH) {
        let answer = system.record(batch.to_vec()).await?;
        accepted += answer.accepted_count;
        duplicates += answer.duplicate_count;
        ensure!(answer.replaced_count == 0 && answer.refused_count == 0, "{answer:?}");
    }
    ensure!(usize::try_from(accepted)? == points.len() - twice.len(), "{accepted} points were new");
    ensure!(usize::try_from(duplicates)? == twice.len(), "{duplicates} points were there already");

    system.finish_day("cn1", day).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    let line = |name: &str, micros: i64| (name.to_owned(), micros);
    let mut lines = amounts(&bill);
    lines.sort();
    let documented = vec![
        line("APM_TRACE/3", 4_000_000),
        line("LOG_COUNT/7", 2_400_000),
        line("RUM_PV/3", 1_400_000),
        line("TIME_SERIES/3", 3_600_000),
        line("TRIGGER", 2_000_000),
    ];
    ensure!(lines == documented, "{lines:?}");
    ensure!(payable(&bill) == 1_340, "{bill:?}");
    ensure!(bill.payable.as_ref().is_some_and(|money| money.currency_code == "CNY"), "{bill:?}");
    ensure!(bill.state() == billing::BillState::Paid, "{bill:?}");
    ensure!(system.wallet(&paid.account).await? == (10_000 - 1_340, 0), "the wallet");

    // The Console's own statistics say the same.
    let request = ListUsageRequest {
        workspace_id: paid.workspace.clone(),
        start_day: "2026-03-02".to_owned(),
        end_day: "2026-03-02".to_owned(),
        ..Default::default()
    };
    let usage = system.operator()?.usage().list_usage(request).await?.into_inner().usage;
    ensure!(usage.len() == 5 && usage.iter().all(|daily| daily.delivered), "{usage:?}");
    let series = usage.iter().find(|daily| daily.item() == BillingItem::TimeSeries).context("series")?;
    ensure!(series.quantity_hundredths == 600_000, "{series:?}");
    system.check_converged().await
}

/// D13, I-11: what comes after the bill stands on the next day's bill and names its day; the issued bill stays.
async fn late_points_become_adjustments(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "late").await?;
    let (first, second) = (day("2026-03-02")?, day("2026-03-03")?);
    let (hours_1, hours_2) = (hours(first, "Asia/Shanghai")?, hours(second, "Asia/Shanghai")?);
    let item = BillingItem::Trigger;
    let workspace = paid.workspace.as_str();
    system.advance_to(hours_1[23]).await?;
    system.record_all(vec![point(workspace, hours_1[8], item, 30_000)]).await?;
    system.finish_day("cn1", first).await?;
    let issued = system.bill(&paid.account, workspace, "2026-03-02").await?;
    ensure!(payable(&issued) == 300, "{issued:?}");

    // An hour comes late, another is corrected downwards, a third is as it was.
    system.record_all(vec![point(workspace, hours_1[9], item, 25_000)]).await?;
    system.record_all(vec![point(workspace, hours_1[8], item, 20_000)]).await?;
    system.record_all(vec![point(workspace, hours_1[9], item, 25_000)]).await?;
    system.record_all(vec![point(workspace, hours_2[1], item, 10_000)]).await?;
    system.finish_day("cn1", second).await?;

    let after = system.bill(&paid.account, workspace, "2026-03-02").await?;
    ensure!(
        (&after.lines, &after.payable) == (&issued.lines, &issued.payable),
        "an issued bill changed: {after:?}"
    );
    let next = system.bill(&paid.account, workspace, "2026-03-03").await?;
    let lines = amounts(&next);
    let expected = vec![("TRIGGER".to_owned(), 1_000_000), ("TRIGGER of 2026-03-02".to_owned(), 1_500_000)];
    ensure!(lines == expected, "{lines:?}");
    ensure!(payable(&next) == 250, "{next:?}");

    // Too late: the day is no longer open (D13).
    system.advance_to(hours(day("2026-03-06")?, "Asia/Shanghai")?[0]).await?;
    let answer = system.record(vec![point(workspace, hours_1[10], item, 1)]).await?;
    ensure!(answer.refused.len() == 1 && answer.refused[0].reason == "HOUR_OUT_OF_RANGE", "{answer:?}");
    system.check_converged().await
}
