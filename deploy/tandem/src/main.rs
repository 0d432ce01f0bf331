//! `tandem`: everything in one process, and the operator's command line.

use std::process::ExitCode;

use clap::Parser as _;

/// Gives freed memory back: password hashing takes 19 MiB for a moment on whichever thread is free, and the C library's
/// allocator would keep as much for each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tandem::cli::run(tandem::cli::Cli::parse())
}
