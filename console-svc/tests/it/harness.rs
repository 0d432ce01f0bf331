//! Starts a Console for a test, and says the frequent things shortly.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sea_orm::ConnectionTrait as _;
use tandem_console::config::Config;
use tandem_console::ops::Context;
use tandem_console::{App, Wiring};
use tandem_proto::common::v1::{Company, Role};
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::account_service_client::AccountServiceClient;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::registration_service_client::RegistrationServiceClient;
use tandem_proto::console::v1::usage_service_client::UsageServiceClient;
use tandem_proto::console::v1::workspace_service_client::WorkspaceServiceClient;
use tandem_proto::reason::Reason;
use tandem_service_kit::clock::{Clock as _, TestClock};
use tandem_service_kit::config::load_from;
use tandem_service_kit::db::{get, statement};
use tandem_service_kit::fault::reason_of;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::identity::{Signer, SigningKey, Verifier};
use tandem_service_kit::peer::{Peer, PeerChannel};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::billing::FakeBilling;

pub(crate) const PASSWORD: &str = "Correct-Horse-1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

pub(crate) const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// A running Console and everything around it.
pub(crate) struct Harness {
    pub(crate) billing: FakeBilling,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) context: Context,
    pub(crate) mail: PathBuf,
    portal: PeerChannel,
    source: PeerChannel,
    operator: PeerChannel,
    config: Config,
    stop: CancellationToken,
    running: JoinHandle<()>,
    folder: Arc<tempfile::TempDir>,
    database: Option<TestDatabase>,
}

/// A database that is dropped with the test, also when the test fails.
struct TestDatabase(String);

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let text = format!("DROP DATABASE {} WITH (FORCE)", self.0);
        // A thread of its own, because the test's runtime may be the one that unwinds.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(admin(text));
        });
        drop(dropping.join());
    }
}

fn admin_url() -> String {
    std::env::var("TANDEM_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://root@127.0.0.1:5432/postgres".to_owned())
}

async fn admin(text: String) {
    use sqlx::Connection as _;
    let mut connection =
        sqlx::PgConnection::connect(&admin_url()).await.expect("PostgreSQL is needed for this test");
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
}

impl Harness {
    /// Starts at ten o'clock in the morning of 1 March 2026, UTC.
    pub(crate) async fn start(engine: Engine) -> Harness {
        Harness::start_with(engine, "2026-03-01T10:00:00Z", "").await
    }

    pub(crate) async fn start_with(engine: Engine, now: &str, more: &str) -> Harness {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let (url, database) = match engine {
            Engine::Sqlite => (format!("sqlite:{}", folder.path().join("console.db").display()), None),
            Engine::Postgres => {
                let name = format!("console_{}", fresh_uuid().simple());
                admin(format!("CREATE DATABASE {name}")).await;
                let (base, _) =
                    admin_url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
                (format!("{base}/{name}"), Some(TestDatabase(name)))
            }
        };
        let (billing, billing_url) = FakeBilling::start().await;
        let mail = folder.path().join("mail");
        let text = format!(
            "database.url = {url:?}\nbilling.url = {billing_url:?}\nmail.directory = {:?}\nmail.brand_name = \"Acme\"\n\
             server.drain_secs = 2\nusage.deliver_every_secs = 1\nsites.time_zone.us1 = \"America/New_York\"\n{more}",
            mail.display().to_string(),
        );
        let config: Config =
            load_from(tandem_console::config::DEFAULTS, Some(("test".to_owned(), &text)), "NONE", [])
                .unwrap();
        let clock = Arc::new(TestClock::frozen(now.parse().unwrap()));
        Harness::run(billing, clock, config, folder, database).await
    }

    async fn run(
        billing: FakeBilling,
        clock: Arc<TestClock>,
        config: Config,
        folder: Arc<tempfile::TempDir>,
        database: Option<TestDatabase>,
    ) -> Harness {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut verifier = Verifier::new("console");
        let mut peer = |name: &str, role: Role| {
            let key = SigningKey::generate().unwrap();
            verifier.register(name, role, &key.public_key()).unwrap();
            let signer = Arc::new(Signer::new(name, role, key));
            Peer::connect_lazy(&url, signer, "console", Duration::from_secs(10)).unwrap().channel()
        };
        let portal = peer("portal", Role::Portal);
        let source = peer("counter", Role::UsageSource);
        let operator = peer("operator", Role::Operator);
        let own = Arc::new(Signer::new("console", Role::Console, SigningKey::generate().unwrap()));
        let identity = Some((Arc::new(verifier), own));
        let wiring = Wiring { listener, metrics: None, clock: clock.clone(), identity };
        let app = App::build(config.clone(), wiring).await.unwrap();
        let context = app.context().clone();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = tokio::spawn(async move { app.run(token).await.unwrap() });
        let mail = config.mail.directory.clone();
        Harness {
            billing,
            clock,
            context,
            mail,
            portal,
            source,
            operator,
            config,
            stop,
            running,
            folder,
            database,
        }
    }

    /// Stops the process and starts it again on the same database.
    pub(crate) async fn restart(self) -> Harness {
        self.stop.cancel();
        self.running.await.unwrap();
        Harness::run(self.billing, self.clock, self.config, self.folder, self.database).await
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        drop(self.database);
    }

    pub(crate) fn registration(&self) -> RegistrationServiceClient<PeerChannel> {
        RegistrationServiceClient::new(self.portal.clone())
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<PeerChannel> {
        AccountServiceClient::new(self.portal.clone())
    }

    pub(crate) fn workspaces(&self) -> WorkspaceServiceClient<PeerChannel> {
        WorkspaceServiceClient::new(self.portal.clone())
    }

    /// Usage, as the portal reads it.
    pub(crate) fn usage(&self) -> UsageServiceClient<PeerChannel> {
        UsageServiceClient::new(self.portal.clone())
    }

    /// Usage, as a counter writes it.
    pub(crate) fn counter(&self) -> UsageServiceClient<PeerChannel> {
        UsageServiceClient::new(self.source.clone())
    }

    pub(crate) fn operator(&self) -> UsageServiceClient<PeerChannel> {
        UsageServiceClient::new(self.operator.clone())
    }

    /// Asks for a code and takes it from the mail.
    pub(crate) async fn code(
        &self,
        purpose: console::VerificationPurpose,
        site: &str,
        email: &str,
    ) -> String {
        let request = console::SendVerificationCodeRequest {
            request_id: request_id(),
            purpose: purpose.into(),
            site: site.to_owned(),
            email: email.to_owned(),
            language: 2,
        };
        self.registration().send_verification_code(request).await.unwrap();
        // The mail's row holds the code as soon as the answer is there.
        let text = "SELECT payload FROM outbox WHERE topic = 'mail' ORDER BY id DESC LIMIT 1";
        let row = self.context.db.read.query_one_raw(statement(self.context.db.backend(), text, [])).await;
        let payload: Vec<u8> = get(&row.unwrap().unwrap(), "outbox", "payload").unwrap();
        let mail: tandem_service_kit::mail::Mail = serde_json::from_slice(&payload).unwrap();
        assert_eq!(mail.to, email);
        let digits = mail.text.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 6);
        digits.unwrap().to_owned()
    }

    /// Registers an account.
    pub(crate) async fn account(&self, site: &str, name: &str) -> console::ConsoleAccount {
        let email = format!("{name}@mail.example.com");
        let code = self.code(console::VerificationPurpose::Register, site, &email).await;
        let request = register(site, name, &email, &code);
        self.registration().register_account(request).await.unwrap().into_inner().account.unwrap()
    }

    /// Registers an account and makes a Free workspace.
    pub(crate) async fn free(&self, site: &str, name: &str) -> console::Workspace {
        let owner = self.account(site, name).await.id;
        let activation = Activation::Free(console::FreeActivation { create_billing_account: false });
        self.activate(&owner, activation).await.unwrap().workspace.unwrap()
    }

    /// Registers an account and makes a Commercial workspace settled by the Billing Center.
    pub(crate) async fn commercial(&self, site: &str, name: &str) -> console::Workspace {
        let owner = self.account(site, name).await.id;
        self.activate(&owner, Activation::Commercial(terms())).await.unwrap().workspace.unwrap()
    }

    pub(crate) async fn activate(
        &self,
        owner: &str,
        activation: Activation,
    ) -> Result<console::ActivateWorkspaceResponse, Status> {
        let request = activation_request(owner, activation);
        self.registration().activate_workspace(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn workspace(&self, id: &str) -> console::Workspace {
        let request =
            console::GetWorkspaceRequest { workspace_id: id.to_owned(), acting_account_id: String::new() };
        self.workspaces().get_workspace(request).await.unwrap().into_inner().workspace.unwrap()
    }

    pub(crate) async fn record(&self, points: Vec<console::UsagePoint>) -> console::RecordUsageResponse {
        self.record_as(&request_id(), points).await.unwrap()
    }

    pub(crate) async fn record_as(
        &self,
        request_id: &str,
        points: Vec<console::UsagePoint>,
    ) -> Result<console::RecordUsageResponse, Status> {
        let request = console::RecordUsageRequest { request_id: request_id.to_owned(), points };
        self.counter().record_usage(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn count(&self, text: &str) -> i64 {
        let text = format!("SELECT COUNT(*) AS n FROM {text}");
        let row = self.context.db.write.query_one_raw(statement(self.context.db.backend(), &text, [])).await;
        get(&row.unwrap().unwrap(), "test", "n").unwrap()
    }

    pub(crate) fn advance_to(&self, time: &str) {
        self.clock.advance_to(time.parse().unwrap());
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits until Billing's state is as wanted.
    pub(crate) async fn billing_has(&self, wanted: impl Fn(&crate::billing::State) -> bool) {
        eventually(async || wanted(&self.billing.state.lock().unwrap())).await;
    }
}

/// Waits for a condition, looking again and again; fails after a time that no healthy run needs.
pub(crate) async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "the condition never came true");
        looks.tick().await;
    }
}

pub(crate) fn request_id() -> String {
    fresh_uuid().to_string()
}

pub(crate) fn register(site: &str, name: &str, email: &str, code: &str) -> console::RegisterAccountRequest {
    console::RegisterAccountRequest {
        request_id: request_id(),
        site: site.to_owned(),
        username: name.to_owned(),
        password: PASSWORD.to_owned(),
        email: email.to_owned(),
        email_code: code.to_owned(),
        phone: "+8613800000000".to_owned(),
        company: Some(Company { name: "Acme".to_owned(), ..Company::default() }),
        agreements_accepted: true,
    }
}

/// A new billing account, settled by the Billing Center.
pub(crate) fn terms() -> console::CommercialActivation {
    console::CommercialActivation {
        payer: Some(console::commercial_activation::Payer::CreateBillingAccount(true)),
        settlement_method: 1,
        purchase: None,
    }
}

pub(crate) fn activation_request(owner: &str, activation: Activation) -> console::ActivateWorkspaceRequest {
    console::ActivateWorkspaceRequest {
        request_id: request_id(),
        console_account_id: owner.to_owned(),
        workspace_name: "Production".to_owned(),
        language: 1,
        agreements_accepted: true,
        activation: Some(activation),
    }
}

/// A point of an item in an hour.
pub(crate) fn point(workspace: &str, hour: &str, item: i32, quantity: i64) -> console::UsagePoint {
    let hour: Timestamp = hour.parse().unwrap();
    console::UsagePoint {
        workspace_id: workspace.to_owned(),
        hour_start_time: Some(prost_types::Timestamp { seconds: hour.as_second(), nanos: 0 }),
        item,
        measure: 0,
        retention_days: 0,
        sub_key: String::new(),
        quantity,
    }
}

#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    let status = result.unwrap_err();
    reason_of(&status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}
