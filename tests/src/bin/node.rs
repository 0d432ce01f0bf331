//! One service as a process of its own, as its own `main` runs it, but on a movable clock: tests that kill processes also
//! have to live through midnights.
//!
//! `tandem-test-node console|billing|gateway CONFIG.toml START`; with `TANDEM_TEST_DIE_AFTER_COMMITS=n` it dies right
//! after its nth commit.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use tandem_service_kit::clock::{SharedClock, TestClock};
use tandem_service_kit::config::TelemetrySection;
use tandem_service_kit::shutdown;
use tandem_service_kit::telemetry::Telemetry;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [service, file, start] = arguments.as_slice() else {
        bail!("console|billing|gateway CONFIG.toml START")
    };
    let (file, start) = (PathBuf::from(file), start.parse::<Timestamp>()?);
    if let Ok(commits) = std::env::var(tandem_tests::running::DIE_AFTER_COMMITS) {
        tandem_service_kit::db::testing::die_after_commits(commits.parse()?);
    }
    let clock: SharedClock = Arc::new(TestClock::new(start));
    match service.as_str() {
        "console" => {
            let config = tandem_console::config::Config::load(Some(&file))?;
            let telemetry = telemetry(&config.telemetry, "console-svc")?;
            let listener = TcpListener::bind(config.server.listen).await?;
            let wiring = tandem_console::Wiring { listener, metrics: None, clock, identity: None };
            tandem_console::App::build(config, wiring).await?.run(shutdown::on_signal()?).await?;
            telemetry.shutdown().await;
        }
        "billing" => {
            let config = tandem_billing::config::Config::load(Some(&file))?;
            let telemetry = telemetry(&config.telemetry, "billing-svc")?;
            let grpc = TcpListener::bind(config.server.listen).await?;
            let listeners = tandem_billing::Listeners { grpc, metrics: None };
            tandem_billing::App::build(config, listeners, clock).await?.run(shutdown::on_signal()?).await?;
            telemetry.shutdown().await;
        }
        "gateway" => {
            let config = tandem_gateway::config::Config::load(Some(&file))?;
            let telemetry = telemetry(&config.telemetry, "marketplace-gateway")?;
            let listeners = tandem_gateway::Listeners::bind(&config).await?;
            tandem_gateway::App::build(config, listeners, clock)?.run(shutdown::on_signal()?).await?;
            telemetry.shutdown().await;
        }
        other => bail!("{other} is no service"),
    }
    Ok(())
}

fn telemetry(section: &TelemetrySection, name: &'static str) -> anyhow::Result<Telemetry> {
    Telemetry::start(section, name).context("telemetry cannot start")
}
