//! `tandem demo`: the life of two customers.

use std::sync::Arc;

use jiff::Timestamp;
use tandem_service_kit::clock::TestClock;

use crate::cli::Global;
use crate::data_dir::DataDir;
use crate::demo;
use crate::demo::stage::{Stage, new_suffix};
use crate::failure::{Attempt as _, Result};
use crate::up::{Options, System};

/// Live through the life of two customers and prove the result.
///
/// One customer registers directly, recharges, uses the product, falls into arrears and pays. The other buys in a
/// cloud's market, settles three workspaces on two sites through the cloud, and cancels there. Everything goes through
/// the public calls and signed callbacks. The end are the proofs: the ledger adds up to zero, every bill is recomputed
/// from its usage, and what was metered is what was billed and what the cloud remembers. Exit code 4 when one fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem demo                                              on a system of its own, in a folder that is removed
  tandem demo --keep /tmp/demo                             leave the databases and mails there
  tandem up --test-clock 2026-03-01T00:00:00Z & tandem demo --attach")]
pub struct Args {
    /// Play on the running `tandem up --test-clock` of --data, whose clock it moves four days
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

/// Plays the demo.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let output = global.output();
    let began = std::time::Instant::now();
    let result = if args.attach {
        // Names are taken on a system that has seen the demo before.
        let suffix = new_suffix();
        let stage = Stage::set(&global.data_dir(), &global.endpoints(), output, suffix).await?;
        demo::run(&stage).await
    } else {
        let temporary = tempfile::tempdir().attempt(|| "making a folder".to_owned())?;
        let data = DataDir::new(args.keep.unwrap_or_else(|| temporary.path().to_owned()));
        let mut options = Options::new(data.clone(), Arc::new(TestClock::new(args.start)));
        options.log_filter = Some(args.log);
        let system = System::start(options).await?;
        let result = async {
            let stage = Stage::set(&data, system.endpoints(), output, String::new()).await?;
            demo::run(&stage).await
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
