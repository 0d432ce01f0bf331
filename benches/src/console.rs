//! A Console on PostgreSQL, in this process and called over gRPC, with the workspaces that report usage.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_console::config::Config;
use tandem_console::domain::retention::Retention;
use tandem_console::domain::workspace::{
    Language, Plan, SettlementMethod, Standing, StandingCopy, Workspace, charge_start_of_new,
};
use tandem_console::store::workspace::{StandingChange, apply_standings, insert};
use tandem_console::{App, Wiring};
use tandem_proto::common::v1::Role;
use tandem_proto::console::v1::usage_service_client::UsageServiceClient;
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::clock::TestClock;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::identity::{Signer, SigningKey, Verifier};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::postgres::Database;
use crate::process::telemetry;

/// The business time: late in the day on the site, so that three days and most of a fourth are open.
const NOW: &str = "2026-03-10T09:30:00Z";
/// The first hour that is open then.
const FIRST_HOUR: &str = "2026-03-06T16:00:00Z";
/// The site all workspaces are on, and its zone.
const SITE: &str = "cn1";
const ZONE: &str = "Asia/Shanghai";
/// How many workspaces report.
const WORKSPACES: usize = 240;
/// Longest call; a stream of a round takes about a second.
const CALL_MAX: Duration = Duration::from_secs(60);

/// A running Console.
pub(crate) struct Console {
    /// Its workspaces' ids, sorted.
    pub(crate) workspaces: Vec<String>,
    url: String,
    source: Arc<Signer>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), tandem_console::AppError>>,
    _mail: tempfile::TempDir,
}

/// Clients of the usage service.
pub(crate) type Client = UsageServiceClient<InterceptedService<Channel, Token>>;

/// Adds a token to each call, as a client in any language does.
#[derive(Clone)]
pub(crate) struct Token(MetadataValue<Ascii>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Console {
    /// Starts it on an empty database, with the shipped defaults except what the bench must not depend on.
    ///
    /// Nobody answers at Billing's address, and what was recorded is not delivered while it is measured: the floors
    /// are about recording.
    pub(crate) async fn start(database: &Database) -> anyhow::Result<Console> {
        telemetry()?;
        let mail = tempfile::tempdir()?;
        let mut config = Config::load(None).context("the Console's configuration")?;
        config.database.url.clone_from(&database.url);
        config.billing.url = "http://127.0.0.1:9".to_owned();
        config.mail.directory = mail.path().to_owned();
        config.usage.deliver_every_secs = 24 * 3_600;
        config.usage.close_grace_secs = 30 * 24 * 3_600;

        let (source, key) = signer("source", Role::UsageSource)?;
        let mut verifier = Verifier::new("console");
        verifier.register("source", Role::UsageSource, &key)?;
        let (own, _) = signer("console", Role::Console)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let now: Timestamp = NOW.parse()?;
        let clock = Arc::new(TestClock::new(now));
        let identity = Some((Arc::new(verifier), own));
        let app = App::build(config, Wiring { listener, metrics: None, clock, identity }).await?;
        let workspaces = add_workspaces(&app).await?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        Ok(Console { workspaces, url, source, stop, running, _mail: mail })
    }

    /// A client with a connection of its own, for as long as a token holds: five minutes.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = format!("Bearer {}", self.source.token_now(&["console"])).parse()?;
        let endpoint = Endpoint::from_shared(self.url.clone())?.timeout(CALL_MAX).tcp_nodelay(true);
        Ok(UsageServiceClient::with_interceptor(endpoint.connect_lazy(), Token(token)))
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.running.await??)
    }
}

/// The first hour whose points are taken.
pub(crate) fn first_hour() -> anyhow::Result<Timestamp> {
    Ok(FIRST_HOUR.parse()?)
}

/// The zone of the workspaces' site.
pub(crate) fn zone() -> anyhow::Result<TimeZone> {
    Ok(TimeZone::get(ZONE)?)
}

/// A caller with a new key, and the public half of it.
pub(crate) fn signer(name: &str, role: Role) -> anyhow::Result<(Arc<Signer>, String)> {
    let key = SigningKey::generate()?;
    let public = key.public_key();
    Ok((Arc::new(Signer::new(name, role, key)), public))
}

/// Adds workspaces that are as old as the first hour: earlier points would be refused.
async fn add_workspaces(app: &App) -> anyhow::Result<Vec<String>> {
    let created_at = first_hour()?;
    let charge_start = charge_start_of_new(created_at, &zone()?);
    let copy = StandingCopy {
        standing: Standing::Active,
        lock_at: None,
        settlement_method: Some(SettlementMethod::BillingCenter),
        billing_account_id: None,
    };
    let db = &app.context().db;
    let tx = db.begin().await?;
    let mut ids = Vec::with_capacity(WORKSPACES);
    for number in 0..WORKSPACES {
        let id: WorkspaceId = fresh();
        let workspace = Workspace {
            id: id.clone(),
            name: format!("Production {number}"),
            site: SITE.to_owned(),
            language: Language::En,
            plan: Plan::Commercial,
            owner: fresh(),
            retention: Retention::of_new(Plan::Commercial),
            charge_start_at: Some(charge_start),
            profile_revision: 1,
            created_at,
        };
        insert(&tx, &workspace).await?;
        apply_standings(
            &tx,
            &[StandingChange { workspace_id: id.clone(), revision: 1, copy: copy.clone() }],
            created_at,
        )
        .await?;
        ids.push(id.as_str().to_owned());
    }
    tx.commit().await?;
    ids.sort();
    Ok(ids)
}
