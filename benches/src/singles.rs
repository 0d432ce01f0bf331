//! 64 callers with one point a call, against pgbench with 64 clients that insert one row each, durably, into the same
//! table.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tandem_proto::console::v1::{RecordUsageRequest, UsagePoint};
use tandem_service_kit::fresh::fresh_uuid;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::Sizes;
use crate::console::{Client, Console, first_hour};
use crate::postgres::{Database, Server, number, program};
use crate::reference;
use crate::report::{Better, Measure};
use crate::stats::rate;

/// Callers at a time, as the floor is stated for; pgbench has as many clients.
const CALLERS: usize = 64;
/// What has to be reached (issue, "Speed to reach").
const FLOOR: f64 = 1.0;
/// Hours a caller's points go round in.
const HOURS: i64 = 24;

/// One row a transaction, under a key that is new: as many workspaces and hours as our side has, texts as long, and keys
/// scattered in the same way.
const SCRIPT: &str = "\
\\set workspace random(1000, 1199)
\\set hour random(0, 23)
\\set n :n + 1
\\set key ((:round * 100000000 + :client_id * 1000000 + :n) * 387420489) % 10000000000
INSERT INTO reference.usage_point (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start, \
quantity, place) VALUES ('wks_0195000000007000800000000000' || (:workspace)::text, 20260307, 2, 14, \
'c' || (:key)::text, 0, 1772812800000000 + (:hour)::int8 * 3600000000, 5, 0);
";

/// Measures both sides in turn.
pub(crate) async fn run(server: &Server, sizes: Sizes) -> anyhow::Result<Vec<Measure>> {
    let database = server.database().await?;
    let console = Console::start(&database).await?;
    let mut connection = server.connect(Some(&database)).await?;
    reference::make_table(&mut connection).await?;
    let mut script = tempfile::NamedTempFile::new()?;
    script.write_all(SCRIPT.as_bytes())?;
    let hour = first_hour()?;

    let mut pairs = Vec::new();
    let mut acknowledged = 0;
    reference::settle(&mut connection).await?;
    for round in 0..=sizes.rounds {
        // The first round makes connections and prepares statements on both sides.
        let secs = if round == 0 { 1 } else { sizes.singles_secs };
        // One connection for all callers, as a gRPC client in one process has it.
        let client = console.client()?;
        let (calls, took) = call(&client, &console.workspaces, hour, round, secs).await?;
        acknowledged += i64::from(calls);
        let reference = pgbench(&database, script.path(), round, secs).await?;
        if round > 0 {
            pairs.push((rate(calls, took), reference));
        }
    }
    let stored = number(&mut connection, "SELECT COUNT(*) FROM public.usage_point").await?;
    anyhow::ensure!(
        stored == acknowledged,
        "{acknowledged} points were acknowledged and {stored} are stored"
    );
    drop(connection);
    console.stop().await?;
    server.remove(database).await?;
    Ok(vec![Measure {
        name: "record_usage_single_64",
        floor: FLOOR,
        better: Better::Higher,
        unit: "calls/s",
        pairs,
    }])
}

/// Lets every caller call as often as it can for some seconds; how often all did, and how long it took.
async fn call(
    client: &Client,
    workspaces: &[String],
    hour: Timestamp,
    round: usize,
    secs: u32,
) -> anyhow::Result<(u32, Duration)> {
    let begun = Instant::now();
    let until = begun + Duration::from_secs(u64::from(secs));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (mut client, workspaces) = (client.clone(), workspaces.to_vec());
        callers.spawn(async move {
            let mut calls = 0_u32;
            while Instant::now() < until {
                let number = usize::try_from(calls)?;
                let workspace = workspaces.get((caller + number * 7) % workspaces.len().max(1));
                let hours = SignedDuration::from_hours(i64::from(calls) % HOURS);
                let sub_key = format!("c{}", scattered(round, caller, calls)?);
                let point = point(workspace.cloned().unwrap_or_default(), hour.checked_add(hours)?, sub_key);
                let request =
                    RecordUsageRequest { request_id: fresh_uuid().to_string(), points: vec![point] };
                let answer = client.record_usage(request).await.context("RecordUsage failed")?.into_inner();
                anyhow::ensure!(answer.accepted_count == 1, "a point was not accepted: {answer:?}");
                calls += 1;
            }
            anyhow::Ok(calls)
        });
    }
    let mut calls = 0;
    while let Some(done) = callers.join_next().await {
        calls += done??;
    }
    Ok((calls, begun.elapsed()))
}

/// A key of up to ten digits, different for each round, caller and call, in no order: the multiplier has no divisor in
/// common with the modulus. The other side counts in the same way.
fn scattered(round: usize, caller: usize, calls: u32) -> anyhow::Result<u64> {
    let number = u64::try_from(round * 100_000_000 + caller * 1_000_000)? + u64::from(calls);
    Ok(number * 387_420_489 % 10_000_000_000)
}

fn point(workspace_id: String, hour: Timestamp, sub_key: String) -> UsagePoint {
    UsagePoint {
        workspace_id,
        hour_start_time: Some(prost_types::Timestamp { seconds: hour.as_second(), nanos: 0 }),
        item: 2,
        measure: 0,
        retention_days: 14,
        sub_key,
        quantity: 5,
    }
}

/// Transactions a second of pgbench with 64 clients on 2 threads.
async fn pgbench(
    database: &Database,
    script: &std::path::Path,
    round: usize,
    secs: u32,
) -> anyhow::Result<f64> {
    let mut command = Command::new(program("pgbench"));
    command.args([
        "-n",
        "-c",
        &CALLERS.to_string(),
        "-j",
        "2",
        "-M",
        "prepared",
        "-T",
        &secs.to_string(),
        "-D",
        &format!("round={round}"),
        "-D",
        "n=0",
        "-f",
    ]);
    command.arg(script).arg(&database.url).stdin(Stdio::null()).kill_on_drop(true);
    let done =
        command.output().await.context("pgbench cannot be run; it comes with PostgreSQL's own tools")?;
    let text = String::from_utf8_lossy(&done.stdout);
    anyhow::ensure!(done.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&done.stderr));
    rate_of(&text).with_context(|| format!("pgbench told no rate: {text}"))
}

pub(crate) fn rate_of(output: &str) -> Option<f64> {
    let rest = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_without_the_time_to_connect() {
        let text = "latency average = 6.1 ms\ninitial connection time = 70.1 ms\ntps = 10437.25 (without initial connection time)\n";
        assert_eq!(rate_of(text), Some(10437.25));
        assert_eq!(rate_of("nothing"), None);
    }
}
