//! The gRPC server, with every limit of `reliability.md` section 5, access by role, health, reflection and a graceful
//! stop.

mod guard;
mod incoming;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tandem_proto::access;
use tandem_proto::reason::Reason;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;

use self::guard::{Guard, GuardLayer};
use crate::audit::AuditService;
use crate::clock::{ClockService, SharedClock};
use crate::db::Database;
use crate::fault::Fault;
use crate::health::Health;
use crate::identity::{Caller, Verifier};
use crate::telemetry::Meters;

/// Most bytes of a request, unless it is a batch.
pub const DECODE_MAX: usize = 256 * 1024;
/// Most bytes of a batch of usage.
pub const BATCH_DECODE_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of an answer.
pub const ENCODE_MAX: usize = 4 * 1024 * 1024;
/// Longest time for a call that is no stream; a shorter `grpc-timeout` wins.
pub const DEADLINE_MAX: Duration = Duration::from_secs(10);
/// Calls admitted for each database connection (`reliability.md` 5.3).
pub const ADMISSION_PER_CONNECTION: usize = 4;
/// How long a connection lives, so that load spreads over new replicas.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Calls to these need no token: they tell nothing but the schema and whether the process works.
const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// What a server is made of.
pub struct ServerOptions {
    /// The process's name, for log lines.
    pub name: &'static str,
    /// Where it listens; bound already, so that a test can use any free port.
    pub listener: TcpListener,
    /// Checks who calls.
    pub verifier: Arc<Verifier>,
    /// The business clock; when it can be moved, `ClockService` is served.
    pub clock: SharedClock,
    /// What the health service tells.
    pub health: Health,
    /// How many calls may run at once, see [`admission_limit`]; as many streams beside them.
    pub admission_limit: usize,
    /// The descriptor sets that reflection shows; empty switches reflection off.
    pub reflection_descriptors: Vec<&'static [u8]>,
    /// How long calls may go on after the process was told to stop.
    pub drain: Duration,
}

/// The admission limit for a database: four calls for each connection.
pub fn admission_limit(db: &crate::db::Database) -> usize {
    usize::try_from(db.connections()).unwrap_or(1).saturating_mul(ADMISSION_PER_CONNECTION)
}

/// Why a server does not start or breaks off.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A service whose methods nobody may call, or which the schema does not know.
    #[error("method {0} names nobody who may call it")]
    NoAccess(String),
    /// A descriptor set cannot be read.
    #[error("a descriptor set for reflection cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport broke.
    #[error("the server broke off")]
    Transport(#[from] tonic::transport::Error),
}

/// A gRPC server.
pub struct Server {
    options: ServerOptions,
    routes: RoutesBuilder,
    services: Vec<&'static str>,
    audit: Option<Database>,
}

impl Server {
    /// Starts with no services of ours.
    pub fn new(options: ServerOptions) -> Server {
        let mut server =
            Server { options, routes: RoutesBuilder::default(), services: Vec::new(), audit: None };
        if let Some(clock) = ClockService::server(&server.options.clock) {
            server = server.add(clock);
        }
        server
    }

    /// Records every changing attempt in a database's audit, and serves it. Run [`crate::audit::spawn`] beside.
    #[must_use]
    pub fn audited(mut self, db: &Database) -> Server {
        self.audit = Some(db.clone());
        self.add(AuditService::server(db.clone()))
    }

    /// Adds a service. Set its message limits before: [`DECODE_MAX`] (or [`BATCH_DECODE_MAX`]) and [`ENCODE_MAX`].
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "adding a service has nothing to do with `+`")]
    pub fn add<S>(mut self, service: S) -> Server
    where
        S: tower::Service<http::Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.services.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Serves until `shutdown`; then says NOT_SERVING, lets calls go on for the drain time and closes.
    ///
    /// Fails at once when a method of an added service names nobody who may call it.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let Server { options, mut routes, services, audit } = self;
        check_access(&services)?;
        routes.add_service(options.health.server(&services).await);
        if !options.reflection_descriptors.is_empty() {
            routes.add_service(reflection(&options.reflection_descriptors, &services).build_v1()?);
            routes.add_service(reflection(&options.reflection_descriptors, &services).build_v1alpha()?);
        }
        let guard = Guard {
            verifier: options.verifier,
            calls: Arc::new(Semaphore::new(options.admission_limit.max(1))),
            streams: Arc::new(Semaphore::new(options.admission_limit.max(1))),
            streaming: streaming_paths()?,
            meters: Meters::new(),
            audit: audit.map(|db| (db, options.clock.clone())),
        };
        // No builder-wide time limit: it would cut streams off. The guard limits every other call.
        let mut server = tonic::transport::Server::builder()
            .max_concurrent_streams(100)
            .http2_max_local_error_reset_streams(Some(100))
            .http2_max_pending_accept_reset_streams(Some(20))
            .http2_max_header_list_size(8192)
            .concurrency_limit_per_connection(64)
            .load_shed(true)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_connection_age(CONNECTION_AGE_MAX)
            .max_connection_age_grace(options.drain)
            .layer(GuardLayer(Arc::new(guard)));
        let address = options.listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(address, services = services.len(), "{} listens on {address}", options.name);

        let (stopping, closing) = (CancellationToken::new(), CancellationToken::new());
        let connections = incoming::accept(options.listener, closing.clone());
        let serving = server
            .add_routes(routes.routes())
            .serve_with_incoming_shutdown(connections, stopping.clone().cancelled_owned());
        let stop = async {
            shutdown.cancelled().await;
            options.health.stopping().await;
            stopping.cancel();
            tokio::time::sleep(options.drain).await;
        };
        let result = tokio::select! {
            result = serving => result.map_err(ServerError::from),
            () = stop => {
                tracing::warn!("{} closes with calls unfinished after {:?}", options.name, options.drain);
                Ok(())
            }
        };
        // Connections are tasks of their own; this ends those that are still open.
        closing.cancel();
        result
    }
}

/// The caller of a request, as its token proved.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, tonic::Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Fault::new(Reason::TokenInvalid).into())
}

fn check_access(services: &[&'static str]) -> Result<(), ServerError> {
    for service in services {
        let prefix = format!("/{service}/");
        let methods: Vec<_> =
            access::METHODS.iter().filter(|method| method.path.starts_with(&prefix)).collect();
        if methods.is_empty() {
            return Err(ServerError::NoAccess(prefix));
        }
        if let Some(method) = methods.iter().find(|method| method.roles.is_empty()) {
            return Err(ServerError::NoAccess(method.path.to_owned()));
        }
    }
    Ok(())
}

fn reflection<'b>(
    descriptors: &[&'b [u8]],
    services: &[&'static str],
) -> tonic_reflection::server::Builder<'b> {
    let mut builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for descriptor in descriptors {
        builder = builder.register_encoded_file_descriptor_set(descriptor);
    }
    // Only what is served here is shown (`dependencies.md` 4, pitfall 9).
    services.iter().chain(&OPEN_SERVICES).fold(builder, |builder, name| builder.with_service_name(*name))
}

/// The methods that stream either way.
fn streaming_paths() -> Result<HashSet<String>, ServerError> {
    let set = prost_types::FileDescriptorSet::decode(tandem_proto::descriptor::ALL)
        .map_err(tonic_reflection::server::Error::from)?;
    let mut paths = HashSet::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                if method.client_streaming() || method.server_streaming() {
                    paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
