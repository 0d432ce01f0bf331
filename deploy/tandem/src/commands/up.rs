//! `tandem up`: everything in one process.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tandem_service_kit::clock::{SharedClock, SystemClock, TestClock};
use tandem_service_kit::shutdown;

use crate::cli::Global;
use crate::failure::{Attempt as _, Result};
use crate::up::{
    BILLING_PORT, CALLBACKS_PORT, CONSOLE_PORT, GATEWAY_PORT, METRICS_PORT, Options, Ports, SANDBOX_PORT,
    System, summary,
};

/// Start everything in one process: Console, Billing, gateway and the sandbox cloud.
///
/// Listens on loopback addresses only. The state is under --data: SQLite databases, mail as .eml files, what the sandbox
/// cloud remembers, and the keys, which are made on the first start. A second start goes on where the first one stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem up
  tandem up --test-clock 2026-03-01T00:00:00Z        live a month in a minute: tandem clock advance --by 1d
  tandem up --data /tmp/trial --console-port 0 --billing-port 0 --gateway-port 0 --http-port 0 --sandbox-port 0 --metrics-port 0
  tandem up --console-database postgres://tandem@localhost/console --billing-database postgres://tandem@localhost/billing")]
pub struct Args {
    /// Run on a movable clock that starts here, RFC 3339, and serve ClockService
    #[arg(long, value_name = "TIME")]
    test_clock: Option<Timestamp>,
    /// The Console's database, sqlite:FILE or postgres://… [default: SQLite under --data]
    #[arg(long, value_name = "URL", env = "TANDEM_CONSOLE_DATABASE", hide_env_values = true)]
    console_database: Option<String>,
    /// Billing's database, sqlite:FILE or postgres://… [default: SQLite under --data]
    #[arg(long, value_name = "URL", env = "TANDEM_BILLING_DATABASE", hide_env_values = true)]
    billing_database: Option<String>,
    /// The Console's configuration file, as console-svc reads it
    #[arg(long, value_name = "FILE")]
    console_config: Option<PathBuf>,
    /// Billing's configuration file, as billing-svc reads it
    #[arg(long, value_name = "FILE")]
    billing_config: Option<PathBuf>,
    /// The gateway's configuration file, as marketplace-gateway reads it; a cloud it names is spoken to for real
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
    /// The Console's gRPC port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = CONSOLE_PORT)]
    console_port: u16,
    /// Billing's gRPC port
    #[arg(long, value_name = "PORT", default_value_t = BILLING_PORT)]
    billing_port: u16,
    /// The gateway's gRPC port
    #[arg(long, value_name = "PORT", default_value_t = GATEWAY_PORT)]
    gateway_port: u16,
    /// The port of callbacks and landing pages
    #[arg(long, value_name = "PORT", default_value_t = CALLBACKS_PORT)]
    http_port: u16,
    /// The sandbox cloud's port
    #[arg(long, value_name = "PORT", default_value_t = SANDBOX_PORT)]
    sandbox_port: u16,
    /// The port of /metrics and /healthz
    #[arg(long, value_name = "PORT", default_value_t = METRICS_PORT)]
    metrics_port: u16,
}

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    // Before anything that takes time, so that an early Ctrl-C is heard.
    let stop = shutdown::on_signal().attempt(|| "listening for signals".to_owned())?;
    let clock: SharedClock = match args.test_clock {
        Some(start) => Arc::new(TestClock::new(start)),
        None => SystemClock::shared(),
    };
    let data = global.data_dir();
    let options = Options {
        data: data.clone(),
        ports: Ports {
            console: args.console_port,
            billing: args.billing_port,
            gateway: args.gateway_port,
            callbacks: args.http_port,
            sandbox: args.sandbox_port,
            metrics: args.metrics_port,
        },
        clock: clock.clone(),
        console_database: args.console_database,
        billing_database: args.billing_database,
        console_config: args.console_config,
        billing_config: args.billing_config,
        gateway_config: args.gateway_config,
        log_filter: None,
    };
    let system = System::start(options).await?;
    let output = global.output();
    if global.json {
        output.value(&serde_json::to_value(system.endpoints()).attempt(|| "writing JSON".to_owned())?)?;
    } else {
        let now = args.test_clock.map(|_| clock.now());
        output.say(&summary(&data, system.endpoints(), now, output.style)?)?;
    }
    system.run_until(stop).await
}
