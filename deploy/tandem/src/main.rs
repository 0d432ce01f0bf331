//! `tandem`: everything in one process, and the operator's command line.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    tandem::cli::run(tandem::cli::Cli::parse())
}
