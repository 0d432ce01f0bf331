//! The process that faces the internet.

use std::path::PathBuf;

use clap::Parser;
use tandem_gateway::config::Config;
use tandem_gateway::{App, Listeners};
use tandem_service_kit::clock::SystemClock;
use tandem_service_kit::shutdown;
use tandem_service_kit::telemetry::Telemetry;

/// Takes the clouds' callbacks and speaks to the clouds for Billing.
#[derive(Parser)]
#[command(name = "marketplace-gateway", version)]
struct Arguments {
    /// The configuration file; `TANDEM_GATEWAY__…` variables come on top of it.
    #[arg(long, env = "TANDEM_GATEWAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let config = Config::load(arguments.config.as_deref())?;
    let telemetry = Telemetry::start(&config.telemetry, "marketplace-gateway")?;
    let stop = shutdown::on_signal()?;
    let listeners = Listeners::bind(&config).await?;
    let result = App::build(config, listeners, SystemClock::shared())?.run(stop).await;
    telemetry.shutdown().await;
    Ok(result?)
}
