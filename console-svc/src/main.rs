//! `console-svc [CONFIG.toml]`: the Console as a process of its own.

use std::path::PathBuf;

use anyhow::Context as _;
use tandem_console::config::Config;
use tandem_console::{App, Wiring};
use tandem_service_kit::clock::SystemClock;
use tandem_service_kit::shutdown;
use tandem_service_kit::telemetry::Telemetry;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    let config = Config::load(file.as_deref())?;
    let telemetry = Telemetry::start(&config.telemetry, "console-svc")?;
    let result = run(config, telemetry.clone()).await;
    if let Err(error) = &result {
        tracing::error!("{error:#}");
    }
    telemetry.shutdown().await;
    result
}

async fn run(config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    let bind = async |address: std::net::SocketAddr| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let listener = bind(config.server.listen).await?;
    let metrics = match config.server.metrics_listen {
        Some(address) => Some((bind(address).await?, telemetry)),
        None => None,
    };
    let wiring = Wiring { listener, metrics, clock: SystemClock::shared(), identity: None };
    let app = App::build(config, wiring).await?;
    app.run(shutdown::on_signal()?).await?;
    Ok(())
}
