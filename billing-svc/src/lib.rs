//! Billing: accounts, bindings, marketplace subscriptions, rating, bills, ledger and the event feed.
//!
//! `domain` holds the rules, `ops` the operations, `store` the tables, `grpc` and `worker` the edges. Nothing here
//! speaks to a vendor: that is the gateway's part.

pub mod config;
pub mod context;
pub mod document;
pub mod domain;
pub mod grpc;
pub mod links;
pub mod mail;
pub mod migration;
pub mod ops;
pub mod store;
#[cfg(test)]
mod testing;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tandem_proto::billing::v1 as pb;
use tandem_proto::descriptor;
use tandem_service_kit::audit;
use tandem_service_kit::clock::SharedClock;
use tandem_service_kit::config::SmsMode;
use tandem_service_kit::db::{self, Database};
use tandem_service_kit::health::Health;
use tandem_service_kit::mail::{MailHandler, Mailer, TOPIC as MAIL};
use tandem_service_kit::outbox::{Handler, OutboxService, Relay};
use tandem_service_kit::peer::Peer;
use tandem_service_kit::server::{
    BATCH_DECODE_MAX, DECODE_MAX, ENCODE_MAX, Server, ServerOptions, admission_limit,
};
use tandem_service_kit::signed_link::LinkKey;
use tandem_service_kit::sms::{SmsHandler, TOPIC as SMS};
use tandem_service_kit::telemetry::Telemetry;
use tandem_service_kit::{fresh, metrics_http};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::context::{Context, Gateway, Payments, Wakes};
use crate::links::Links;
use crate::mail::Letterhead;

/// What Billing listens on; bound by the caller, so that a test can use free ports.
pub struct Listeners {
    /// gRPC.
    pub grpc: TcpListener,
    /// `/metrics` and `/healthz`, with the process's telemetry; none are served without it.
    pub metrics: Option<(TcpListener, Telemetry)>,
}

/// Billing, ready to run.
pub struct App {
    ctx: Arc<Context>,
    config: Config,
    server: Server,
    health: Health,
    relay: Relay,
    head: watch::Sender<i64>,
    metrics: Option<(TcpListener, Telemetry)>,
    address: SocketAddr,
}

impl App {
    /// Opens and migrates the database, stores the shipped price list and puts the services together.
    ///
    /// Fails when the configuration, the database or a listener cannot be used.
    pub async fn build(config: Config, listeners: Listeners, clock: SharedClock) -> anyhow::Result<App> {
        let db = Database::connect(&config.database).await.context("cannot open Billing's database")?;
        migrate(&db).await?;
        let list = store::price::shipped()?;
        store::price::install(&db, &list, clock.now())
            .await
            .context("cannot store the shipped price list")?;
        let signer =
            config.identity.signer()?.context("identity.key is missing: Billing has to call the gateway")?;
        let timeout = Duration::from_secs(u64::from(config.gateway.timeout_secs));
        let peer = Peer::connect_lazy(&config.gateway.uri, Arc::new(signer), "gateway", timeout)
            .context("gateway.uri cannot be used")?;
        let ctx = Arc::new(Context {
            db: db.clone(),
            clock: clock.clone(),
            vendors: config.vendor_rules()?,
            letterhead: Letterhead::new(&config.mail),
            brand: config.brand()?,
            can_text: config.sms.mode != SmsMode::Off,
            links: links(&config)?,
            gateway: Gateway::new(peer.channel()),
            payments: Payments::new(peer.channel()),
            reconcile_every: config.jobs.reconcile_every(),
            lanes: Default::default(),
            wakes: Wakes::default(),
        });
        let mailer = MailHandler::new(Mailer::new(&config.mail)?);
        let mut handlers: Vec<(&'static str, Arc<dyn Handler>)> = vec![(MAIL, Arc::new(mailer))];
        if let Some(texts) = SmsHandler::new(&config.sms)? {
            handlers.push((SMS, Arc::new(texts)));
        }
        let relay = Relay::new(db.clone(), clock.clone(), handlers);
        let health = Health::new();
        let address = listeners.grpc.local_addr()?;
        let head = watch::Sender::new(0);
        let server = Server::new(ServerOptions {
            name: "billing",
            listener: listeners.grpc,
            verifier: Arc::new(config.identity.verifier()?),
            clock: clock.clone(),
            health: health.clone(),
            admission_limit: admission_limit(&db),
            reflection_descriptors: reflection(&config),
            drain: config.server.drain(),
        });
        let server = services(server, &ctx, &head, &db, &clock);
        Ok(App { ctx, config, server, health, relay, head, metrics: listeners.metrics, address })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What operations need, for tests and benchmarks that run one without the network.
    pub fn context(&self) -> Arc<Context> {
        Arc::clone(&self.ctx)
    }

    /// Serves until `shutdown`, then drains.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        // Loops stop after the server, so that what drains can still be followed up.
        let stop = CancellationToken::new();
        let mut tasks = worker::spawn(&self.ctx, &self.config.jobs, self.head, &stop);
        tasks.push(self.health.spawn_probe(
            self.ctx.db.clone(),
            format!("billing-{}", fresh::fresh_uuid()),
            stop.clone(),
        ));
        let (relay, relay_stop) = (self.relay, stop.clone());
        tasks.push(tokio::spawn(async move { relay.run(relay_stop).await }));
        tasks.push(audit::spawn(self.ctx.db.clone(), self.ctx.clock.clone(), stop.clone()));
        if let Some((listener, telemetry)) = self.metrics {
            tasks.push(spawn_metrics(listener, telemetry, self.health.clone(), stop.clone()));
        }
        let served = self.server.serve(shutdown).await;
        stop.cancel();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(error = %error, "a loop did not stop by itself");
            }
        }
        served.context("Billing's server broke off")
    }
}

/// Links are signed with a key that comes from the process's own.
fn links(config: &Config) -> anyhow::Result<Links> {
    let own = config.identity.key.as_ref().context("identity.key is missing: links are signed with it")?;
    Ok(Links::new(LinkKey::derive(&own.resolve()?), &config.links.base_url))
}

/// Brings a database to the newest step.
pub async fn migrate(db: &Database) -> anyhow::Result<()> {
    let steps = db::migrations().into_iter().chain(migration::migrations()).collect();
    db::run(db, steps).await.context("cannot migrate Billing's database")
}

fn reflection(config: &Config) -> Vec<&'static [u8]> {
    if config.server.reflection { vec![descriptor::BILLING, descriptor::COMMON] } else { Vec::new() }
}

fn services(
    server: Server,
    ctx: &Arc<Context>,
    head: &watch::Sender<i64>,
    db: &Database,
    clock: &SharedClock,
) -> Server {
    use pb::account_service_server::AccountServiceServer;
    use pb::alert_service_server::AlertServiceServer;
    use pb::approval_service_server::ApprovalServiceServer;
    use pb::bill_service_server::BillServiceServer;
    use pb::binding_service_server::BindingServiceServer;
    use pb::document_service_server::DocumentServiceServer;
    use pb::event_service_server::EventServiceServer;
    use pb::invoice_service_server::InvoiceServiceServer;
    use pb::job_service_server::JobServiceServer;
    use pb::marketplace_service_server::MarketplaceServiceServer;
    use pb::package_service_server::PackageServiceServer;
    use pb::payment_service_server::PaymentServiceServer;
    use pb::price_service_server::PriceServiceServer;
    use pb::standing_service_server::StandingServiceServer;
    use pb::usage_service_server::UsageServiceServer;
    use pb::wallet_service_server::WalletServiceServer;
    macro_rules! limited {
        ($server:ident, $service:expr, $decode:expr) => {
            $server::new($service).max_decoding_message_size($decode).max_encoding_message_size(ENCODE_MAX)
        };
    }
    let events = grpc::event::Service { ctx: Arc::clone(ctx), head: head.subscribe() };
    server
        .add(limited!(AccountServiceServer, grpc::account::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(BindingServiceServer, grpc::binding::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(MarketplaceServiceServer, grpc::marketplace::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(UsageServiceServer, grpc::usage::Service(Arc::clone(ctx)), BATCH_DECODE_MAX))
        .add(limited!(BillServiceServer, grpc::bill::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(WalletServiceServer, grpc::wallet::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(PackageServiceServer, grpc::package::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(ApprovalServiceServer, grpc::approval::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(PaymentServiceServer, grpc::payment::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(PriceServiceServer, grpc::price::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(AlertServiceServer, grpc::alert::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(JobServiceServer, grpc::job::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(InvoiceServiceServer, grpc::invoice::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(DocumentServiceServer, grpc::document::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(StandingServiceServer, grpc::standing::Service(Arc::clone(ctx)), DECODE_MAX))
        .add(limited!(EventServiceServer, events, DECODE_MAX))
        .add(OutboxService::server(db.clone(), clock.clone()))
        .audited(db)
}

fn spawn_metrics(
    listener: TcpListener,
    telemetry: Telemetry,
    health: Health,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = metrics_http::serve(listener, telemetry, health, stop).await {
            tracing::error!(error = %error, "the metrics server broke off");
        }
    })
}
