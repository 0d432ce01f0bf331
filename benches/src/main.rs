//! The load generator and the ratios it reports, against PostgreSQL on the same machine in the same run.
//!
//! `cargo run --release --bin tandem-benches` prints a table and writes `target/bench.json`. Rates of a machine say
//! little and its neighbours disturb them, so what counts is the ratio of two things measured in turn, and of several
//! ratios the median.

mod bill_run;
mod bill_seed;
mod console;
mod hot_account;
mod ingest;
mod points;
mod postgres;
mod process;
mod reference;
mod report;
mod singles;
mod stats;
mod tandem_up;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use clap::Parser;

use crate::postgres::Server;
use crate::report::{Measure, write_json};

/// Measures Tandem's speed against plain PostgreSQL, side by side.
#[derive(Debug, Parser)]
#[command(after_help = "\
TANDEM_BENCH_POSTGRES names a PostgreSQL server to use, such as postgres://me@127.0.0.1:5432/postgres, whose role may
make databases; without one that answers, a throw-away server is started. The exit code is 1 when something could not
be measured; a missed floor is shown, but is no error.")]
struct Cli {
    /// Small sizes and few rounds: for trying the bench itself, not for quoting
    #[arg(long)]
    quick: bool,
    /// Only these: ingest, singles, bill-run, hot-account, up; repeat or separate by commas
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// A release build of `tandem` to measure, instead of building one
    #[arg(long, value_name = "FILE")]
    tandem: Option<PathBuf>,
    /// Run one bill run on an empty database and print what it took; how the bench calls itself
    #[arg(long, hide = true, value_names = ["URL", "WORKSPACES"], num_args = 2)]
    one_bill_run: Vec<String>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ingest,
    Singles,
    BillRun,
    HotAccount,
    Up,
}

const PARTS: [(&str, Part); 5] = [
    ("ingest", Part::Ingest),
    ("singles", Part::Singles),
    ("bill-run", Part::BillRun),
    ("hot-account", Part::HotAccount),
    ("up", Part::Up),
];

impl FromStr for Part {
    type Err = String;
    fn from_str(text: &str) -> Result<Part, String> {
        let found = PARTS.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, part)| *part)
            .ok_or_else(|| "one of ingest, singles, bill-run, hot-account, up".to_owned())
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// How often each pair is measured.
    rounds: usize,
    /// Batches a side in each round of ingest.
    batches: usize,
    /// How long each side of single calls runs in a round.
    singles_secs: u32,
    /// How long each side of the busy account runs in a round.
    hot_secs: u32,
    /// Workspaces of the smaller bill run; the greater one has ten times as many.
    workspaces: u32,
    /// How often each bill run is made.
    bill_runs: usize,
    /// How often `tandem up` is started.
    starts: usize,
    /// How long it is left alone before its memory is read.
    idle_secs: u64,
}

const FULL: Sizes = Sizes {
    rounds: 15,
    batches: 40,
    singles_secs: 4,
    hot_secs: 2,
    workspaces: 10_000,
    bill_runs: 2,
    starts: 7,
    idle_secs: 20,
};
const QUICK: Sizes = Sizes {
    rounds: 5,
    batches: 10,
    singles_secs: 2,
    hot_secs: 1,
    workspaces: 1_000,
    bill_runs: 1,
    starts: 3,
    idle_secs: 5,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.one_bill_run.as_slice() {
        [url, workspaces] => bill_run::one(url, workspaces).await.map(|()| true),
        // Interrupted, everything is dropped: a throw-away server is stopped and removed.
        _ => tokio::select! {
            result = measure_all(&cli) => result,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        },
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures every part; `false` when one could not be measured.
async fn measure_all(cli: &Cli) -> anyhow::Result<bool> {
    if cfg!(debug_assertions) && !cli.quick {
        anyhow::bail!(
            "numbers of a debug build say nothing: use cargo run --release, or --quick to try the bench"
        );
    }
    let sizes = if cli.quick { QUICK } else { FULL };
    let wanted = |part| cli.only.is_empty() || cli.only.contains(&part);
    // First, because its compiler would disturb everything else.
    let tandem = match &cli.tandem {
        None if wanted(Part::Up) => tandem_up::build().await,
        given => Ok(given.clone().unwrap_or_default()),
    };
    let server = Server::reach_or_start().await?;
    report::say(&server.describe().await?);
    report::say(&report::machine());

    let mut measures = Vec::new();
    let mut complete = true;
    for (name, part) in PARTS.into_iter().filter(|(_, part)| wanted(*part)) {
        report::say(&format!("measuring {name} …"));
        let done = match part {
            Part::Ingest => ingest::run(&server, sizes).await,
            Part::Singles => singles::run(&server, sizes).await,
            Part::HotAccount => hot_account::run(&server, sizes).await,
            Part::BillRun => bill_run::run(&server, sizes).await,
            Part::Up => match &tandem {
                Ok(tandem) => tandem_up::run(tandem, sizes).await,
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            },
        };
        match done {
            Ok(done) => measures.extend(done),
            Err(error) => {
                eprintln!("bench: could not measure {name}: {error:#}");
                complete = false;
            }
        }
    }
    conclude(&measures)?;
    Ok(complete)
}

fn conclude(measures: &[Measure]) -> anyhow::Result<()> {
    report::say(&report::table(measures));
    let path = process::workspace_root().join("target/bench.json");
    write_json(&path, measures).with_context(|| format!("cannot write {}", path.display()))?;
    report::say(&format!("written: {}", path.display()));
    Ok(())
}
