//! Builds all services, runs them together, stops them together.

use std::fs::File;
use std::net::Ipv4Addr;

use tandem_billing::App as Billing;
use tandem_console::App as Console;
use tandem_gateway::App as Gateway;
use tandem_service_kit::telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::market::Market;
use super::{Configs, Options, payments};
use crate::data_dir::Endpoints;
use crate::failure::{Attempt as _, Failure, Result};

/// The process's name in logs, traces and metrics.
const NAME: &str = "tandem";

/// All services of one process, running.
pub struct System {
    endpoints: Endpoints,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<&'static str>>,
    telemetry: Telemetry,
    /// Held as long as the process uses the folder.
    _lock: File,
}

struct Bound {
    console: TcpListener,
    billing: TcpListener,
    gateway: TcpListener,
    callbacks: TcpListener,
    sandbox: TcpListener,
    metrics: TcpListener,
}

impl Bound {
    async fn new(ports: super::Ports) -> Result<Bound> {
        Ok(Bound {
            console: bind(ports.console, "console").await?,
            billing: bind(ports.billing, "billing").await?,
            gateway: bind(ports.gateway, "gateway").await?,
            callbacks: bind(ports.callbacks, "http").await?,
            sandbox: bind(ports.sandbox, "sandbox").await?,
            metrics: bind(ports.metrics, "metrics").await?,
        })
    }

    fn endpoints(&self) -> Result<Endpoints> {
        let url = |listener: &TcpListener| {
            let address = listener.local_addr().attempt(|| "asking for an own address".to_owned())?;
            Ok::<_, Failure>(format!("http://{address}"))
        };
        Ok(Endpoints {
            console: url(&self.console)?,
            billing: url(&self.billing)?,
            gateway: url(&self.gateway)?,
            callbacks: url(&self.callbacks)?,
            sandbox: url(&self.sandbox)?,
            metrics: url(&self.metrics)?,
        })
    }
}

async fn bind(port: u16, name: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.attempt(|| format!("cannot listen on 127.0.0.1:{port}; choose another port with --{name}-port"))
}

impl System {
    /// Builds everything and starts to serve. Databases are made and migrated on the way.
    ///
    /// Fails when the folder is in use, a port is taken, or a configuration or database cannot be used.
    pub async fn start(options: Options) -> Result<System> {
        let shipped = Market::shipped()?;
        let secrets = [shipped.secret_names()?, payments::secret_names().to_vec()].concat();
        options.data.prepare(&secrets)?;
        let lock = options.data.lock()?;
        let bound = Bound::new(options.ports).await?;
        let endpoints = bound.endpoints()?;
        let market = Market::at(&endpoints.sandbox, &endpoints.callbacks)?;
        let mut configs = Configs::load(&options, &endpoints, &market)?;
        if let Some(filter) = &options.log_filter {
            configs.console.telemetry.log_filter.clone_from(filter);
        }
        let telemetry =
            Telemetry::start(&configs.console.telemetry, NAME).attempt(|| "starting telemetry".to_owned())?;
        let provider = payments::sandbox(&options.data, &endpoints, &options.clock)?;
        let sandbox = market.sandbox(&options.data, &endpoints.callbacks, &options.clock)?;
        let sandbox = sandbox.beside(provider.router());
        let (console, billing, gateway, sandbox_listener) =
            build(configs, bound, &options, &telemetry).await?;

        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stop = || shutdown.child_token();
        let (a, b, c, d) = (stop(), stop(), stop(), stop());
        tasks.spawn(async move {
            ended("the sandbox cloud", sandbox.serve(sandbox_listener, d.cancelled_owned()).await)
        });
        let e = stop();
        tasks.spawn(async move {
            e.run_until_cancelled(provider.deliver()).await;
            Ok("the payment sandbox")
        });
        tasks.spawn(async move { ended("the gateway", gateway.run(c).await) });
        tasks.spawn(async move { billing.run(b).await.map(|()| "Billing").map_err(Failure::from) });
        tasks.spawn(async move { ended("the Console", console.run(a).await) });
        options.data.write_endpoints(&endpoints)?;
        Ok(System { endpoints, shutdown, tasks, telemetry, _lock: lock })
    }

    /// Where it listens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Runs until `stop`, or until a service breaks off; then stops the others, too.
    ///
    /// Fails when a service broke off.
    pub async fn run_until(mut self, stop: CancellationToken) -> Result<()> {
        let mut result = Ok(());
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = self.tasks.join_next() => result = verdict(ended, false),
        }
        self.shutdown.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(verdict(ended, true));
        }
        self.telemetry.shutdown().await;
        result
    }

    /// Stops everything: what is running may end within the services' drain time.
    pub async fn stop(self) -> Result<()> {
        let stop = CancellationToken::new();
        stop.cancel();
        self.run_until(stop).await
    }
}

fn ended<E: std::error::Error + Send + Sync + 'static>(
    name: &'static str,
    result: Result<(), E>,
) -> Result<&'static str> {
    result.attempt(|| format!("{name} broke off"))?;
    Ok(name)
}

fn verdict(ended: Result<Result<&'static str>, tokio::task::JoinError>, was_asked: bool) -> Result<()> {
    let name = ended.attempt(|| "a service panicked".to_owned())??;
    if was_asked { Ok(()) } else { Err(Failure::failed(format!("{name} ended by itself"))) }
}

async fn build(
    configs: Configs,
    bound: Bound,
    options: &Options,
    telemetry: &Telemetry,
) -> Result<(Console, Billing, Gateway, TcpListener)> {
    let clock = || options.clock.clone();
    let gateway = tandem_gateway::Listeners { http: bound.callbacks, grpc: bound.gateway, metrics: None };
    let gateway =
        Gateway::build(configs.gateway, gateway, clock()).attempt(|| "starting the gateway".to_owned())?;
    let wiring =
        tandem_console::Wiring { listener: bound.console, metrics: None, clock: clock(), identity: None };
    let console = Console::build(configs.console, wiring);
    // One `/metrics` for the process; the health beside it is Billing's, whose disk the Console shares.
    let metrics = Some((bound.metrics, telemetry.clone()));
    let wiring = tandem_billing::Listeners { grpc: bound.billing, metrics };
    let billing = Billing::build(configs.billing, wiring, clock());
    let console = console.await.attempt(|| "starting the Console".to_owned())?;
    let billing = billing.await?;
    Ok((console, billing, gateway, bound.sandbox))
}
