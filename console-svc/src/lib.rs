#![doc = include_str!("../README.md")]

pub mod config;
pub mod domain;
pub mod grpc;
pub mod meters;
pub mod migration;
pub mod ops;
pub mod store;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_proto::console::v1::account_service_server::AccountServiceServer;
use tandem_proto::console::v1::registration_service_server::RegistrationServiceServer;
use tandem_proto::console::v1::usage_service_server::UsageServiceServer;
use tandem_proto::console::v1::workspace_service_server::WorkspaceServiceServer;
use tandem_proto::descriptor;
use tandem_service_kit::audit;
use tandem_service_kit::clock::SharedClock;
use tandem_service_kit::config::ConfigError;
use tandem_service_kit::db::{self, Database, StoreError};
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::health::Health;
use tandem_service_kit::identity::{Signer, Verifier};
use tandem_service_kit::mail::{self, MailHandler, Mailer};
use tandem_service_kit::metrics_http;
use tandem_service_kit::outbox::{Handler, OutboxService, Relay};
use tandem_service_kit::peer::Peer;
use tandem_service_kit::server::{
    BATCH_DECODE_MAX, DECODE_MAX, ENCODE_MAX, Server, ServerError, ServerOptions, admission_limit,
};
use tandem_service_kit::telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::meters::Meters;
use crate::ops::Context;
use crate::ops::record_usage::Recorder;

/// What a process or a test brings along.
pub struct Wiring {
    /// Where gRPC is served; bound already.
    pub listener: TcpListener,
    /// Where `/metrics` is served, and whose.
    pub metrics: Option<(TcpListener, Telemetry)>,
    /// Business time.
    pub clock: SharedClock,
    /// Who may call, and in whose name we call; from the configuration when `None`.
    pub identity: Option<(Arc<Verifier>, Arc<Signer>)>,
}

/// Why the Console does not start or breaks off.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The database cannot be opened or migrated.
    #[error("the database cannot be opened or migrated")]
    Store(#[from] StoreError),
    /// Billing's address is no address.
    #[error("billing.url is no address")]
    BillingUrl(#[source] tonic::transport::Error),
    /// The listener has no address.
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    /// The tasks that record usage ended while the server ran.
    #[error("recording of usage broke off")]
    RecorderStopped,
    /// The server does not start or broke off.
    #[error("the server does not start or broke off")]
    Server(#[from] ServerError),
}

/// The Console, ready to run.
pub struct App {
    context: Context,
    server: Server,
    address: SocketAddr,
    health: Health,
    relay: Relay,
    recording: JoinSet<()>,
    metrics: Option<(TcpListener, Telemetry)>,
    drain: Duration,
}

impl App {
    /// Opens and migrates the database and puts everything together. Nothing is served and no loop runs yet.
    pub async fn build(config: Config, wiring: Wiring) -> Result<App, AppError> {
        let sites = Arc::new(config.sites()?);
        let (verifier, signer) = match wiring.identity {
            Some(identity) => identity,
            None => (Arc::new(config.identity.verifier()?), Arc::new(required_signer(&config)?)),
        };
        let mailer = Mailer::new(&config.mail)?;
        let timeout = Duration::from_secs(u64::from(config.billing.timeout_secs.max(1)));
        let billing = Peer::connect_lazy(&config.billing.url, signer, &config.billing.audience, timeout)
            .map_err(AppError::BillingUrl)?;
        let db = Database::connect(&config.database).await?;
        db::run(&db, migration::all()).await?;
        let context = Context {
            db: db.clone(),
            clock: wiring.clock.clone(),
            sites,
            billing: billing.channel(),
            mail: Arc::new(config.mail),
            usage: Arc::new(config.usage),
            resume: Arc::default(),
            meters: Meters::new(),
        };
        let handlers: Vec<(&'static str, Arc<dyn Handler>)> = vec![
            (mail::TOPIC, Arc::new(MailHandler::new(mailer))),
            (ops::tell_profile::PROFILE_TOPIC, Arc::new(worker::ProfileHandler::new(billing.channel()))),
        ];
        let relay = Relay::new(db.clone(), wiring.clock.clone(), handlers);
        let mut recording = JoinSet::new();
        let recorder = Recorder::start(context.clone(), &mut recording);
        let address = wiring.listener.local_addr().map_err(AppError::Listener)?;
        let health = Health::new();
        let options = ServerOptions {
            name: "console",
            listener: wiring.listener,
            verifier,
            clock: wiring.clock,
            health: health.clone(),
            admission_limit: admission_limit(&db),
            reflection_descriptors: match config.server.reflection {
                true => vec![descriptor::CONSOLE, descriptor::COMMON],
                false => Vec::new(),
            },
            drain: config.server.drain(),
        };
        let server = serve(Server::new(options), &context, recorder);
        let (metrics, drain) = (wiring.metrics, config.server.drain());
        Ok(App { context, server, address, health, relay, recording, metrics, drain })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its operations run on.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Serves and works until `shutdown`; then lets what is running end within the drain time.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), AppError> {
        let name = format!("console.{}", fresh_uuid().simple());
        // The loops also stop when the server breaks off by itself.
        let stop = shutdown.child_token();
        // The audit is written after everything else, so that what drains is recorded, too.
        let audited = CancellationToken::new();
        let audit = audit::spawn(self.context.db.clone(), self.context.clock.clone(), audited.clone());
        let mut loops = worker::spawn_all(&self.context, &name, &stop);
        loops.push(self.health.spawn_probe(self.context.db.clone(), name, stop.clone()));
        let (relay, relay_stop) = (self.relay.clone(), stop.clone());
        loops.push(tokio::spawn(async move { relay.run(relay_stop).await }));
        if let Some((listener, telemetry)) = self.metrics.take() {
            let (health, stop) = (self.health.clone(), stop.clone());
            loops.push(tokio::spawn(async move {
                if let Err(error) = metrics_http::serve(listener, telemetry, health, stop).await {
                    tracing::error!(error = %error, "metrics are no longer served");
                }
            }));
        }
        let result = tokio::select! {
            result = self.server.serve(shutdown) => result.map_err(AppError::from),
            // The server holds the recorder, so only a fault of ours ends it early; a new process starts it anew.
            _ = self.recording.join_next() => Err(AppError::RecorderStopped),
        };
        stop.cancel();
        let rest = async {
            for task in loops {
                drop(task.await);
            }
            // The server held the last handle to the recorder, so it ends when all it took is written.
            while self.recording.join_next().await.is_some() {}
            audited.cancel();
            drop(audit.await);
        };
        if tokio::time::timeout(self.drain, rest).await.is_err() {
            tracing::warn!("stopping with work unfinished after {:?}", self.drain);
        }
        if let Err(error) = self.context.db.close().await {
            tracing::warn!(error = %error, "the database did not close cleanly");
        }
        result
    }
}

fn serve(server: Server, context: &Context, recorder: Recorder) -> Server {
    let accounts = AccountServiceServer::new(grpc::Accounts::new(context.clone()));
    let registration = RegistrationServiceServer::new(grpc::Registration::new(context.clone()));
    let workspaces = WorkspaceServiceServer::new(grpc::Workspaces::new(context.clone()));
    let usage = UsageServiceServer::new(grpc::Usage::new(context.clone(), recorder));
    server
        .add(accounts.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX))
        .add(registration.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX))
        .add(workspaces.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX))
        .add(usage.max_decoding_message_size(BATCH_DECODE_MAX).max_encoding_message_size(ENCODE_MAX))
        .add(OutboxService::server(context.db.clone(), context.clock.clone()))
        .audited(&context.db)
}

fn required_signer(config: &Config) -> Result<Signer, ConfigError> {
    config.identity.signer()?.ok_or_else(|| ConfigError::Key {
        origin: "identity.key".to_owned(),
        message: "is required: the Console calls Billing".to_owned(),
    })
}
