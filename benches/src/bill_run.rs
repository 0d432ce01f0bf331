//! The daily bill run of some workspaces and of ten times as many: time has to grow with them and memory must not; and
//! how it compares with one statement that only aggregates the usage and inserts the lines.
//!
//! Each run has an empty database and a process of its own, so that neither inherits anything and the greatest memory
//! is that of this run.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tandem_billing::config::Config;
use tandem_billing::ops::run_billing;
use tandem_billing::{App, Listeners};
use tandem_service_kit::clock::TestClock;
use tandem_service_kit::config::SecretRef;
use tandem_service_kit::identity::SigningKey;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::Sizes;
use crate::bill_seed::{LINES, LOTS_EACH, NOW, SITE, day, reference, seed};
use crate::postgres::{Server, number, run as run_text};
use crate::process::{memory_kib, telemetry};
use crate::report::{Better, Measure, say};
use crate::stats::{mebibytes, rate};

/// How many times as many workspaces the greater run has, and how many times as long it may take.
const TIMES: u32 = 10;
const TIME_CEILING: f64 = 11.0;
/// "Memory stays flat": what an allocator and a driver's buffers vary by, where growth with the input would be tenfold.
const MEMORY_CEILING: f64 = 1.5;
/// Lines a second, of what the one statement reaches.
const LINES_FLOOR: f64 = 0.25;

/// What one run took.
#[derive(Serialize, Deserialize)]
struct Outcome {
    seconds: f64,
    reference_seconds: f64,
    peak_kib: u32,
}

/// Measures pairs of runs, each in a process of its own.
pub(crate) async fn run(server: &Server, sizes: Sizes) -> anyhow::Result<Vec<Measure>> {
    let (mut times, mut memories, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..sizes.bill_runs {
        let small = apart(server, sizes.workspaces).await?;
        let great = apart(server, sizes.workspaces * TIMES).await?;
        say(&format!(
            "  {} workspaces: {:.2} s; {} workspaces: {:.2} s",
            sizes.workspaces,
            small.seconds,
            sizes.workspaces * TIMES,
            great.seconds
        ));
        let rates = |outcome: &Outcome, workspaces: u32| {
            let rate = |seconds| rate(workspaces * LINES, Duration::from_secs_f64(seconds));
            (rate(outcome.seconds), rate(outcome.reference_seconds))
        };
        lines.extend([rates(&small, sizes.workspaces), rates(&great, sizes.workspaces * TIMES)]);
        times.push((great.seconds, small.seconds));
        memories.push((mebibytes(great.peak_kib), mebibytes(small.peak_kib)));
    }
    let better = Better::Lower;
    let of_one_statement = Measure {
        name: "bill_run_lines",
        floor: LINES_FLOOR,
        better: Better::Higher,
        unit: "lines/s",
        pairs: lines,
    };
    Ok(vec![
        of_one_statement,
        Measure { name: "bill_run_linear", floor: TIME_CEILING, better, unit: "s", pairs: times },
        Measure { name: "bill_run_memory", floor: MEMORY_CEILING, better, unit: "MiB", pairs: memories },
    ])
}

async fn apart(server: &Server, workspaces: u32) -> anyhow::Result<Outcome> {
    let database = server.database().await?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--one-bill-run")
        .arg(&database.url)
        .arg(workspaces.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let done = command.spawn()?.wait_with_output().await?;
    server.remove(database).await?;
    anyhow::ensure!(done.status.success(), "the run of {workspaces} workspaces failed");
    serde_json::from_slice(&done.stdout).context("the run told nothing")
}

/// Migrates and fills an empty database, bills its day, checks what came of it and prints what it took.
pub(crate) async fn one(url: &str, workspaces: &str) -> anyhow::Result<()> {
    let workspaces: u32 = workspaces.parse()?;
    telemetry()?;
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    std::fs::write(&key, SigningKey::generate()?.to_secret().expose_secret())?;
    let mut config = Config::load(None).context("Billing's configuration")?;
    url.clone_into(&mut config.database.url);
    config.identity.key = Some(SecretRef::File(key));
    config.mail.directory = folder.path().join("mail");
    let clock = Arc::new(TestClock::new(NOW.parse()?));
    let listeners = Listeners { grpc: TcpListener::bind("127.0.0.1:0").await?, metrics: None };
    let app = App::build(config, listeners, clock).await?;

    let mut connection = PgConnection::connect(url).await?;
    seed(&mut connection, workspaces).await?;
    let begun = Instant::now();
    let written = reference(&mut connection).await.context("the one statement failed")?;
    let reference_seconds = begun.elapsed().as_secs_f64();
    let wanted = u64::from(workspaces) * u64::from(LINES);
    anyhow::ensure!(written == wanted, "the one statement wrote {written} of {wanted} lines");
    run_text(&mut connection, "CHECKPOINT").await?;
    let context = app.context();
    let begun = Instant::now();
    let issued = run_billing::run(&context, SITE, day()?).await;
    let seconds = begun.elapsed().as_secs_f64();
    let peak_kib = memory_kib("self", "VmHWM")?;
    let issued = issued.context("the bill run failed")?;
    check(&mut connection, workspaces, issued).await?;
    say(&serde_json::to_string(&Outcome { seconds, reference_seconds, peak_kib })?);
    Ok(())
}

/// Fails unless every workspace has its bill with all lines, paid and told of, and the ledger adds up to zero.
async fn check(connection: &mut PgConnection, workspaces: u32, issued: usize) -> anyhow::Result<()> {
    let bills = i64::from(workspaces);
    anyhow::ensure!(usize::try_from(bills)? == issued, "{issued} bills of {bills} were issued");
    for (what, text, wanted) in [
        ("bills are paid", "SELECT COUNT(*) FROM daily_bill WHERE state = 'paid'", bills),
        ("items are on bills", "SELECT COUNT(*) FROM bill_line WHERE item <> ''", bills * i64::from(LINES)),
        ("lots paid", "SELECT COUNT(*) FROM bill_payment", bills * i64::from(LOTS_EACH)),
        ("usage is left", "SELECT COUNT(*) FROM usage_day WHERE quantity <> billed", 0),
        ("workspaces have events", "SELECT COUNT(DISTINCT workspace_id) FROM feed_event", bills),
        (
            "accounts have entries of bills",
            "SELECT COUNT(DISTINCT billing_account_id) FROM ledger_entry WHERE cause = 'bill'",
            bills,
        ),
        ("fen is what the ledger adds up to", "SELECT CAST(SUM(amount) AS BIGINT) FROM ledger_entry", 0),
    ] {
        let found = number(connection, text).await?;
        anyhow::ensure!(found == wanted, "{found} instead of {wanted} {what}");
    }
    Ok(())
}
