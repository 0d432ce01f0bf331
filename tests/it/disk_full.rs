//! A disk that is full, and has room again (I-39, I-40, `reliability.md` 4.2).
//!
//! A limit on how far a file of the process may grow stands in for the disk: the write fails in the same place, with
//! EFBIG instead of ENOSPC, and SQLite takes both for "no more room". The limit is lifted while the process runs.

use anyhow::ensure;
use tandem_proto::common::v1::BillingItem;
use tandem_tests::clients::health;
use tandem_tests::day::{day, hours, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Service, Setup};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::kills::NODE;

/// Room for the empty tables and a little usage.
const LIMIT_KIB: u64 = 1_536;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_health_says_so() -> anyhow::Result<()> {
    let system =
        Setup::new(Engine::Sqlite).processes(NODE).file_limit(Service::Console, LIMIT_KIB).run().await?;
    let (_, paid) = system.direct_customer("cn1", "crowded").await?;
    let today = day("2026-03-02")?;
    let hours = hours(today, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    let mut acknowledged = Vec::new();
    let mut failures = 0;
    for batch in 0..500 {
        let mut points = Vec::new();
        for number in 0..200_i64 {
            let mut point = point(&paid.workspace, hours[batch % 24], BillingItem::LogCount, number + 1);
            point.sub_key = format!("index-{batch}-{number}-{}", "x".repeat(30));
            points.push(point);
        }
        let keys: Vec<String> = points.iter().map(|point| point.sub_key.clone()).collect();
        match system.record_all(points).await {
            Ok(()) => {
                ensure!(failures == 0 || batch > 0, "writes cannot come and go");
                acknowledged.extend(keys);
            }
            Err(_) => failures += 1,
        }
        if failures > 3 {
            break;
        }
    }
    ensure!(failures > 3, "the limit was never reached: {} points", acknowledged.len());
    ensure!(!system.has_ended(Service::Console), "the Console died of a full disk\n{}", system.log_tail());
    let is = async |expected: ServingStatus| {
        system
            .eventually_now("health tells it", async || {
                Ok((health(system.addresses.console).await? == expected).then_some(()))
            })
            .await
    };
    is(ServingStatus::NotServing).await?;
    // What can be read is still read.
    ensure!(system.workspace(&paid.workspace).await?.id == paid.workspace);

    // Room again, without a restart.
    system.lift_file_limit(Service::Console).await?;
    is(ServingStatus::Serving).await?;
    let after = point(&paid.workspace, hours[1], BillingItem::Trigger, 10_000);
    system.record_all(vec![after]).await?;

    // Killed and started again: everything that was acknowledged is there, also what came after the disk was full.
    system.kill_service(Service::Console).await?;
    system.start_service(Service::Console).await?;
    let rows = system.console_rows().await?;
    let held = rows.texts("SELECT sub_key FROM usage_point WHERE sub_key <> ''").await?;
    let held: std::collections::BTreeSet<String> = held.into_iter().collect();
    let lost = acknowledged.iter().filter(|key| !held.contains(*key)).count();
    ensure!(lost == 0, "I-39: {lost} of {} acknowledged points are gone", acknowledged.len());
    let triggers = rows.number("SELECT COUNT(*) FROM usage_point WHERE sub_key = ''").await?;
    ensure!(triggers == 1, "what was acknowledged after the disk was full is gone");
    system.finish_day("cn1", today).await?;
    system.check_converged().await
}
