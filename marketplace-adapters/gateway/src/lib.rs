#![doc = include_str!("../README.md")]

use std::net::SocketAddr;
use std::sync::Arc;

use tandem_adapters::Surroundings;
use tandem_service_kit::clock::SharedClock;
use tandem_service_kit::config::ConfigError;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::health::Health;
use tandem_service_kit::metrics_http;
use tandem_service_kit::peer::Peer;
use tandem_service_kit::server::{Server, ServerError, ServerOptions};
use tandem_service_kit::telemetry::{Telemetry, TelemetryError};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::info;

mod billing;
mod callback;
pub mod config;
mod convert;
mod http_server;
mod landing;
mod markets;
mod metrics;
mod outbound;
mod pages;
mod payment_outbound;
mod payments;
mod status;
mod unlock;

use billing::{BUDGET, Billing};
use config::Config;
use http_server::Limits;
use markets::Markets;
use metrics::Meters;
use pages::Pages;
use payments::Payments;

/// The process's name in logs and traces.
const NAME: &str = "marketplace-gateway";
/// What tokens for Billing name as their audience.
const BILLING_AUDIENCE: &str = "billing";
/// Calls of Billing that run at once, over all markets; each market has a tighter limit of its own.
const CALLS_MAX: usize = 128;

/// Why the gateway does not start or breaks off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or a secret.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// It calls Billing, so it needs a key to say who it is.
    #[error("identity.key is missing: the gateway calls Billing and has to say who it is")]
    NoKey,
    /// Billing's address is no address.
    #[error("billing.uri is not an address")]
    BillingAddress(#[source] tonic::transport::Error),
    /// Logs, traces or metrics.
    #[error("telemetry cannot start")]
    Telemetry(#[from] TelemetryError),
    /// An address cannot be listened on, or a listener broke.
    #[error("cannot listen on {what}")]
    Listen {
        /// Which address.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The gRPC server.
    #[error("the gRPC server broke off")]
    Server(#[from] ServerError),
}

/// Where the gateway listens; bound before, so that any free port can be used.
#[derive(Debug)]
pub struct Listeners {
    /// Where the clouds and the buyers arrive.
    pub http: TcpListener,
    /// Where Billing's calls arrive.
    pub grpc: TcpListener,
    /// Where `/metrics` and `/healthz` are served, if at all.
    pub metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of the configuration.
    pub async fn bind(config: &Config) -> Result<Listeners, Error> {
        let metrics = match config.server.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Listeners {
            http: bind(config.http.listen).await?,
            grpc: bind(config.server.listen).await?,
            metrics,
        })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { what: address.to_string(), source })
}

/// What every delivery and call needs.
pub(crate) struct Gateway {
    markets: Markets,
    payments: Payments,
    billing: Billing,
    pages: Pages,
    /// Places of those who open unlock links.
    unlocks: Semaphore,
    meters: Meters,
    clock: SharedClock,
}

/// The gateway, ready to run.
pub struct App {
    gateway: Arc<Gateway>,
    http: TcpListener,
    metrics: Option<TcpListener>,
    server: ServerOptions,
    telemetry: Telemetry,
    health: Health,
    http_address: SocketAddr,
    grpc_address: SocketAddr,
}

impl App {
    /// Builds the gateway: opens every configured cloud with its secrets. Speaks to nobody yet; Billing may start later.
    ///
    /// Fails when a setting is wrong, or a secret is missing or weak. Call it inside a runtime.
    pub fn build(config: Config, listeners: Listeners, clock: SharedClock) -> Result<App, Error> {
        let telemetry = Telemetry::start(&config.telemetry, NAME)?;
        let signer = config.identity.signer()?.ok_or(Error::NoKey)?;
        let peer = Peer::connect_lazy(&config.billing.uri, Arc::new(signer), BILLING_AUDIENCE, BUDGET)
            .map_err(Error::BillingAddress)?;
        let time = Arc::clone(&clock);
        let surroundings = Surroundings { now: Arc::new(move || time.now()), fresh: Arc::new(fresh_uuid) };
        let connections = config.open_vendors(&surroundings)?;
        for connection in &connections {
            let (vendor, market) = (connection.vendor.name(), connection.market.name());
            info!(vendor, market, "serves {vendor}, {market}");
        }
        let http_address = local_address(&listeners.http)?;
        let grpc_address = local_address(&listeners.grpc)?;
        let Listeners { http, grpc, metrics } = listeners;
        let health = Health::new();
        let server = ServerOptions {
            name: NAME,
            listener: grpc,
            verifier: Arc::new(config.identity.verifier()?),
            clock: Arc::clone(&clock),
            health: health.clone(),
            admission_limit: CALLS_MAX,
            reflection_descriptors: reflection(config.server.reflection),
            drain: config.server.drain(),
        };
        let gateway = Gateway {
            markets: Markets::new(connections),
            payments: Payments::new(config.open_payments(&surroundings)?),
            billing: Billing::new(peer),
            pages: Pages::new(config.brand),
            unlocks: Semaphore::new(unlock::PLACES),
            meters: Meters::new(),
            clock,
        };
        Ok(App {
            gateway: Arc::new(gateway),
            http,
            metrics,
            server,
            telemetry,
            health,
            http_address,
            grpc_address,
        })
    }

    /// Where the clouds and the buyers arrive.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where Billing's calls arrive.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Serves until `shutdown`, then finishes what has begun within the drain time.
    ///
    /// Fails when a listener or the gRPC server breaks; then nothing is served any more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let limits = Limits::new(self.server.drain);
        let meters = self.gateway.meters.clone();
        let routes =
            callback::routes(Arc::clone(&self.gateway)).merge(payments::routes(Arc::clone(&self.gateway)));
        let http = http_server::serve(self.http, routes, limits, meters, shutdown.clone());
        let grpc = Server::new(self.server)
            .add(outbound::Outbound::server(Arc::clone(&self.gateway)))
            .add(payment_outbound::PaymentOutbound::server(self.gateway))
            .serve(shutdown.clone());
        let metrics = async {
            let Some(listener) = self.metrics else { return Ok(()) };
            metrics_http::serve(listener, self.telemetry, self.health, shutdown.clone()).await
        };
        tokio::try_join!(
            async {
                http.await;
                Ok(())
            },
            async { grpc.await.map_err(Error::from) },
            async {
                metrics
                    .await
                    .map_err(|source| Error::Listen { what: "server.metrics_listen".to_owned(), source })
            },
        )?;
        Ok(())
    }
}

fn reflection(wanted: bool) -> Vec<&'static [u8]> {
    use tandem_proto::descriptor::{COMMON, MARKETPLACE};
    if wanted { vec![MARKETPLACE, COMMON] } else { Vec::new() }
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { what: "its own socket".to_owned(), source })
}
