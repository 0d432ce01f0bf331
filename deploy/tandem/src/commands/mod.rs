//! The commands, one file each: its arguments, its help, what it does.

pub mod account;
pub mod account_contact;
pub mod alert;
pub mod approval;
pub mod audit;
pub mod bill;
pub mod bill_export;
pub mod bill_monthly;
pub mod callback;
pub mod check_config;
pub mod clock;
pub mod debt;
pub mod demo;
pub mod invoice;
pub mod invoice_company;
pub mod invoice_profile;
pub mod job;
pub mod ledger;
pub mod marketplace;
pub mod metering;
pub mod migrate;
pub mod outbox;
pub mod package;
pub mod payment;
pub mod pdf;
pub mod price;
pub mod recharge;
pub mod recharge_list;
pub mod reconcile;
pub mod sandbox;
pub mod sandbox_pay;
pub mod spend;
pub mod token;
pub mod up;
pub mod usage;
pub mod voucher;
pub mod wallet;
pub mod workspace;
pub mod workspace_acts;
pub mod workspace_change;

use crate::cli::{Cli, Command};
use crate::failure::{Attempt as _, Result};

/// Threads for a command that only calls services; it waits most of the time.
const CLIENT_THREADS: usize = 1;
/// Threads for a process that serves: enough for two services' SQLite work side by side, and a bound on memory.
const SERVER_THREADS: usize = 2;

/// Runs a command to its end.
pub fn run(cli: Cli) -> Result<()> {
    let threads = match cli.command {
        Command::Up(_) | Command::Demo(_) => SERVER_THREADS,
        _ => CLIENT_THREADS,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.attempt(|| "starting the runtime".to_owned())?;
    let result = runtime.block_on(dispatch(cli));
    // A blocking read of something slow must not keep a finished command alive.
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Up(args) => up::run(global, args).await,
        Command::Demo(args) => demo::run(global, args).await,
        Command::Token(args) => token::run(global, args),
        Command::Clock(args) => clock::run(global, args).await,
        Command::Migrate(args) => migrate::run(global, args).await,
        Command::CheckConfig(args) => check_config::run(global, args),
        Command::Usage(args) => usage::run(global, args).await,
        Command::Bill(args) => bill::run(global, args).await,
        Command::Alert(args) => alert::run(global, args).await,
        Command::Job(args) => job::run(global, args).await,
        Command::Invoice(args) => invoice::run(global, args).await,
        Command::Spend(args) => spend::run(global, args).await,
        Command::Ledger(args) => ledger::run(global, args).await,
        Command::Wallet(args) => wallet::run(global, args).await,
        Command::Recharge(args) => recharge::run(global, args).await,
        Command::Payment(args) => payment::run(global, args).await,
        Command::Voucher(args) => voucher::run(global, args).await,
        Command::Card(args) => voucher::run_card(global, args).await,
        Command::Price(args) => price::run(global, args).await,
        Command::Package(args) => package::run(global, args).await,
        Command::Marketplace(args) => marketplace::run(global, args).await,
        Command::Metering(args) => metering::run(global, args).await,
        Command::Reconcile(args) => reconcile::run(global, args).await,
        Command::Outbox(args) => outbox::run(global, args).await,
        Command::Approval(args) => approval::run(global, args).await,
        Command::Audit(args) => audit::run(global, args).await,
        Command::Account(args) => account::run(global, args).await,
        Command::Debt(args) => debt::run(global, args).await,
        Command::Workspace(args) => workspace::run(global, args).await,
        Command::Callback(args) => callback::run(global, args).await,
        Command::Sandbox(args) => sandbox::run(global, args).await,
    }
}
