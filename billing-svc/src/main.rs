//! The Billing service as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tandem_billing::config::Config;
use tandem_billing::{App, Listeners};
use tandem_service_kit::clock::SystemClock;
use tandem_service_kit::shutdown;
use tandem_service_kit::telemetry::Telemetry;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    let config = match Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("billing-svc: {error}");
            return ExitCode::from(2);
        }
    };
    let telemetry = match Telemetry::start(&config.telemetry, "billing-svc") {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("billing-svc: {error}");
            return ExitCode::from(2);
        }
    };
    let ended = serve(config, &telemetry).await;
    if let Err(error) = &ended {
        tracing::error!("billing-svc stops: {error:#}");
    }
    telemetry.shutdown().await;
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn serve(config: Config, telemetry: &Telemetry) -> anyhow::Result<()> {
    let shutdown = shutdown::on_signal()?;
    let listen = config.server.listen;
    let grpc = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let metrics = match config.server.metrics_listen {
        Some(address) => Some((TcpListener::bind(address).await?, telemetry.clone())),
        None => None,
    };
    App::build(config, Listeners { grpc, metrics }, SystemClock::shared()).await?.run(shutdown).await
}
