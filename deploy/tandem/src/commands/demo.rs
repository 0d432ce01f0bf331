//! `tandem demo`: stories that show what there is, and prove it.

use std::sync::Arc;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::Value;
use tandem_service_kit::clock::TestClock;

use crate::cli::Global;
use crate::data_dir::DataDir;
use crate::demo;
use crate::demo::stage::{Stage, new_suffix};
use crate::failure::{Attempt as _, Result};
use crate::up::{Options, System};

/// A story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Story {
    /// Two customers: one direct, one through a cloud's market
    Lives,
    /// Everything about money: wallet, prices, bills, debt, alerts, changes, packages, invoices, jobs, approvals
    Money,
}

/// Live through a story and prove the result.
///
/// In `lives`, one customer registers directly, recharges, uses the product, falls into arrears and pays. The other buys
/// in a cloud's market, settles three workspaces on two sites through the cloud, and cancels there. In `money`, four
/// customers meet everything that the Billing Center does, through five weeks. Everything goes through the public calls
/// and signed callbacks. The end are the proofs: the ledger adds up to zero, every bill is recomputed from its usage, and
/// whatever else the story has touched. Exit code 4 when one fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem demo                                              on a system of its own, in a folder that is removed
  tandem demo money                                        the Billing Center's whole money, documents included
  tandem demo --keep /tmp/demo                             leave the databases and mails there
  tandem up --test-clock 2026-03-01T00:00:00Z & tandem demo --attach")]
pub struct Args {
    /// Which story
    #[arg(value_enum, default_value_t = Story::Lives)]
    story: Story,
    /// Play on the running `tandem up --test-clock` of --data, whose clock it moves four days, or five weeks
    #[arg(long)]
    attach: bool,
    /// Keep the state in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "attach")]
    keep: Option<std::path::PathBuf>,
    /// When it begins, RFC 3339
    #[arg(long, value_name = "TIME", default_value = "2026-03-01T00:00:00Z", conflicts_with = "attach")]
    start: Timestamp,
    /// Log lines to show beside the story
    #[arg(long, value_name = "FILTER", default_value = "error", conflicts_with = "attach")]
    log: String,
}

/// Plays the story.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let output = global.output();
    let began = std::time::Instant::now();
    let result = if args.attach {
        // Names are taken on a system that has seen the demo before.
        let suffix = new_suffix();
        let stage = Stage::set(&global.data_dir(), &global.endpoints(), output, suffix).await?;
        play(&stage, args.story).await
    } else {
        let temporary = tempfile::tempdir().attempt(|| "making a folder".to_owned())?;
        let data = DataDir::new(args.keep.unwrap_or_else(|| temporary.path().to_owned()));
        let mut options = Options::new(data.clone(), Arc::new(TestClock::new(args.start)));
        options.log_filter = Some(args.log);
        let system = System::start(options).await?;
        let result = async {
            let stage = Stage::set(&data, system.endpoints(), output, String::new()).await?;
            play(&stage, args.story).await
        };
        let result = result.await;
        system.stop().await?;
        result
    };
    let proofs = result?;
    if global.json {
        return output.value(&proofs);
    }
    let seconds = began.elapsed().as_secs();
    output.say(&format!("\n{}", output.style.green(&format!("All proofs hold. It took {seconds} s."))))
}

async fn play(stage: &Stage, story: Story) -> Result<Value> {
    match story {
        Story::Lives => demo::lives::run(stage).await,
        Story::Money => {
            // Documents are looked at after the story has ended.
            let folder = tempfile::Builder::new().prefix("tandem-demo-").tempdir();
            let folder = folder.attempt(|| "making a folder for the documents".to_owned())?.keep();
            demo::money::run(stage, &folder).await
        }
    }
}
