//! A whole Tandem with databases, keys, ports and a folder of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use tandem_adapters::payment::sandbox::PaymentSandbox;
use tandem_adapters::sandbox::{Sandbox, SandboxConfig, SandboxHandle};
use tandem_proto::common::v1::clock_service_client::ClockServiceClient;
use tandem_proto::common::v1::{AdvanceClockRequest, Role};
use tandem_service_kit::clock::{Clock as _, SharedClock, TestClock};
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::validate::to_message;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clients::Clients;
use crate::configs::{self, Addresses, Keys};
use crate::engine::{Databases, Engine};
use crate::payments;
use crate::rows::Rows;
use crate::running::{self, Running};

/// How long a service may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Most lives of a service that dies at each commit.
const LIVES_MAX: u64 = 20;
/// Time between two tries of a callback: short, because tests wait for it.
const CALLBACK_SPACING: Duration = Duration::from_millis(100);

/// One of the three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The Console.
    Console,
    /// Billing.
    Billing,
    /// The marketplace gateway.
    Gateway,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 3] = [Service::Console, Service::Billing, Service::Gateway];

    /// Its name, role and audience.
    pub fn name(self) -> &'static str {
        match self {
            Service::Console => "console",
            Service::Billing => "billing",
            Service::Gateway => "gateway",
        }
    }

    /// Where it answers gRPC.
    pub fn address(self, addresses: &Addresses) -> SocketAddr {
        match self {
            Service::Console => addresses.console,
            Service::Billing => addresses.billing,
            Service::Gateway => addresses.gateway,
        }
    }
}

/// What a system is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    engine: Engine,
    start: Timestamp,
    program: Option<PathBuf>,
    pub(crate) time_zones: Vec<(String, String)>,
    pub(crate) otlp_endpoint: Option<String>,
    pub(crate) log_filter: String,
    limits_kib: BTreeMap<Service, u64>,
}

impl Setup {
    /// A system in this process, on a clock that stands at noon of 2026-03-01 in Shanghai.
    pub fn new(engine: Engine) -> Setup {
        Setup {
            engine,
            // 2026-03-01T04:00:00Z.
            start: Timestamp::from_second(1_772_337_600).unwrap_or_default(),
            program: None,
            time_zones: Vec::new(),
            otlp_endpoint: None,
            log_filter: "off".to_owned(),
            limits_kib: BTreeMap::new(),
        }
    }

    /// Starts the clock elsewhere.
    #[must_use]
    pub fn at(mut self, start: Timestamp) -> Setup {
        self.start = start;
        self
    }

    /// Runs each service as a child process of this program, on a clock that runs on.
    #[must_use]
    pub fn processes(mut self, program: impl Into<PathBuf>) -> Setup {
        self.program = Some(program.into());
        "warn".clone_into(&mut self.log_filter);
        self
    }

    /// Puts a site into another zone.
    #[must_use]
    pub fn time_zone(mut self, site: &str, zone: &str) -> Setup {
        self.time_zones.push((site.to_owned(), zone.to_owned()));
        self
    }

    /// Sends traces to a collector; only for child processes, because telemetry is one for a process.
    #[must_use]
    pub fn traces_to(mut self, endpoint: String) -> Setup {
        self.otlp_endpoint = Some(endpoint);
        "info".clone_into(&mut self.log_filter);
        self
    }

    /// Limits how far any one file of a child process may grow.
    #[must_use]
    pub fn file_limit(mut self, service: Service, kib: u64) -> Setup {
        self.limits_kib.insert(service, kib);
        self
    }

    /// Starts everything.
    pub async fn run(self) -> anyhow::Result<System> {
        System::start(self).await
    }
}

/// A running system. What it made ends with it.
pub struct System {
    /// What its databases run on.
    pub engine: Engine,
    /// The one business clock.
    pub clock: Arc<TestClock>,
    /// The sandbox cloud.
    pub sandbox: SandboxHandle,
    /// The sandbox payment provider.
    pub provider: PaymentSandbox,
    /// Where everything listens.
    pub addresses: Addresses,
    /// Who may call.
    pub keys: Keys,
    setup: Setup,
    running: Mutex<BTreeMap<Service, Running>>,
    limits_kib: Mutex<BTreeMap<Service, u64>>,
    clients: Mutex<BTreeMap<i32, Arc<Clients>>>,
    pub(crate) console_rows: OnceCell<Rows>,
    pub(crate) billing_rows: OnceCell<Rows>,
    _sandbox_stop: DropGuard,
    /// The databases' URLs.
    pub databases: Databases,
    folder: TempDir,
}

impl System {
    async fn start(setup: Setup) -> anyhow::Result<System> {
        // Tells the one TLS library which cryptography to use; a second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let databases = Databases::create(setup.engine, folder.path()).await?;
        let addresses = Addresses::free().await?;
        let keys = Keys::generate(folder.path())?;
        configs::write(folder.path(), &setup, &addresses, &databases, &keys)?;
        let clock = match &setup.program {
            Some(_) => TestClock::new(setup.start),
            None => TestClock::frozen(setup.start),
        };
        let clock = Arc::new(clock);
        let stop = CancellationToken::new();
        let provider = payments::sandbox(&addresses, &keys, &clock, CALLBACK_SPACING)?;
        let sandbox = sandbox(&addresses, &keys, &clock, &provider, stop.clone()).await?;
        let limits_kib = Mutex::new(setup.limits_kib.clone());
        let system = System {
            engine: setup.engine,
            clock,
            sandbox,
            provider,
            addresses,
            keys,
            setup,
            running: Mutex::default(),
            limits_kib,
            clients: Mutex::default(),
            console_rows: OnceCell::new(),
            billing_rows: OnceCell::new(),
            _sandbox_stop: stop.drop_guard(),
            databases,
            folder,
        };
        for service in Service::ALL {
            system.start_service(service).await?;
        }
        Ok(system)
    }

    /// Starts a service that does not run, on its own port and database, and waits until it answers.
    pub async fn start_service(&self, service: Service) -> anyhow::Result<()> {
        let running = match &self.setup.program {
            None => {
                let clock: SharedClock = self.clock.clone();
                running::task(service, self.folder(), &self.addresses, clock).await?
            }
            Some(program) => {
                let limit = self.limits().get(&service).copied();
                running::child(program, service, self.folder(), self.clock.now(), limit, None)?
            }
        };
        self.lock().insert(service, running);
        let start = std::time::Instant::now();
        while !self.answers(service).await {
            let ended = self.lock().get_mut(&service).is_none_or(Running::has_ended);
            ensure!(!ended, "{} ended while it started\n{}", service.name(), self.log_tail());
            ensure!(start.elapsed() < START_LIMIT, "{} does not answer\n{}", service.name(), self.log_tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Stops a service as an operator would.
    pub async fn stop_service(&self, service: Service) -> anyhow::Result<()> {
        self.take(service)?.stop().await.with_context(|| format!("stopping {}", service.name()))
    }

    /// Kills a service's process without any warning.
    pub async fn kill_service(&self, service: Service) -> anyhow::Result<()> {
        self.take(service)?.kill().await
    }

    /// Lets a service die right after its first commit, after its second when it has started again, and so on, until
    /// `done` holds; then it lives on. Returns how often it died. Before it starts, it must run as a child process.
    ///
    /// The walk is bounded, because the loops of an idle service commit as well, without end.
    pub async fn die_at_each_commit(
        &self,
        service: Service,
        what: &str,
        mut done: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<u64> {
        let program = self.setup.program.as_ref().context("only a process of its own can die")?;
        self.kill_service(service).await?;
        let mut deaths = 0;
        for commits in 1..=LIVES_MAX {
            let now = self.clock.now();
            let child = running::child(program, service, self.folder(), now, None, Some(commits))?;
            self.lock().insert(service, child);
            let reached = self
                .eventually(what, async || match self.has_ended(service) {
                    true => Ok(Some(false)),
                    false => Ok(done().await?.then_some(true)),
                })
                .await?;
            if reached {
                break;
            }
            deaths += 1;
        }
        self.kill_service(service).await?;
        self.start_service(service).await?;
        Ok(deaths)
    }

    /// Lifts the limit of a service's files while it runs, and for its next starts.
    pub async fn lift_file_limit(&self, service: Service) -> anyhow::Result<()> {
        self.limits().remove(&service);
        let process = self.lock().get(&service).and_then(Running::process_id).context("no process")?;
        let mut command = tokio::process::Command::new("prlimit");
        command.args(["--pid", &process.to_string(), "--fsize=unlimited:unlimited"]);
        let status = command.status().await.context("prlimit, of util-linux, is needed")?;
        ensure!(status.success(), "the limit could not be lifted");
        Ok(())
    }

    /// Whether a service's process has ended by itself.
    pub fn has_ended(&self, service: Service) -> bool {
        self.lock().get_mut(&service).is_none_or(Running::has_ended)
    }

    /// Moves business time forward, everywhere.
    pub async fn advance(&self, span: SignedDuration) -> anyhow::Result<()> {
        self.advance_to(self.clock.now() + span).await
    }

    /// Moves business time forward to an instant; one that has passed changes nothing.
    pub async fn advance_to(&self, time: Timestamp) -> anyhow::Result<()> {
        let now = self.clock.advance_to(time);
        if self.setup.program.is_none() {
            return Ok(());
        }
        for service in Service::ALL {
            if self.lock().contains_key(&service) {
                let request =
                    AdvanceClockRequest { request_id: request_id("advance"), to_time: Some(to_message(now)) };
                let channel = self.as_role(Role::Operator)?.of(service);
                // One that is being killed starts again on the clock as it is then.
                let _ = ClockServiceClient::new(channel).advance_clock(request).await;
            }
        }
        Ok(())
    }

    /// The business time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Clients that call in the name of a role.
    pub fn as_role(&self, role: Role) -> anyhow::Result<Arc<Clients>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = clients.get(&i32::from(role)) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(Clients::connect(&self.addresses, &self.keys.signer(role)?)?);
        clients.insert(role.into(), Arc::clone(&made));
        Ok(made)
    }

    /// Clients of a person who runs the system.
    pub fn operator(&self) -> anyhow::Result<Arc<Clients>> {
        self.as_role(Role::Operator)
    }

    /// Clients of a second person who runs the system.
    pub fn approver(&self) -> anyhow::Result<Clients> {
        Clients::connect(&self.addresses, &self.keys.approver())
    }

    /// Clients of the back end of the customers' pages.
    pub fn portal(&self) -> anyhow::Result<Arc<Clients>> {
        self.as_role(Role::Portal)
    }

    /// Where configuration, SQLite databases, mail and output are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines that child processes wrote, for the text of a failure.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        for service in Service::ALL {
            let log = std::fs::read_to_string(running::log_path(self.folder(), service)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            for line in lines.iter().rev() {
                text.push_str(&format!("{}: {line}\n", service.name()));
            }
        }
        text
    }

    async fn answers(&self, service: Service) -> bool {
        crate::clients::health(service.address(&self.addresses)).await.is_ok()
    }

    fn take(&self, service: Service) -> anyhow::Result<Running> {
        self.lock().remove(&service).ok_or_else(|| anyhow!("{} does not run", service.name()))
    }

    fn limits(&self) -> std::sync::MutexGuard<'_, BTreeMap<Service, u64>> {
        self.limits_kib.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Service, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for (_, running) in std::mem::take(&mut *self.lock()) {
            if let Running::Task(stop, handle) = running {
                stop.cancel();
                handle.abort();
            }
        }
    }
}

/// Makes a request id that was never used.
pub fn request_id(what: &str) -> String {
    format!("{what}.{}", fresh_uuid().simple())
}

async fn sandbox(
    addresses: &Addresses,
    keys: &Keys,
    clock: &Arc<TestClock>,
    provider: &PaymentSandbox,
    stop: CancellationToken,
) -> anyhow::Result<SandboxHandle> {
    let settings = configs::market_settings(addresses);
    let url = configs::callback_url(addresses);
    let mut config = SandboxConfig::matching(configs::VENDOR, &settings, keys.market.clone(), url)?;
    config.callback_spacing = CALLBACK_SPACING;
    let clock = Arc::clone(clock);
    let sandbox = Sandbox::new(config, Arc::new(move || clock.now()))?.beside(provider.router());
    tokio::spawn(stop.clone().run_until_cancelled_owned(provider.clone().deliver()));
    let handle = sandbox.handle();
    let listener = TcpListener::bind(addresses.sandbox).await?;
    tokio::spawn(sandbox.serve(listener, stop.cancelled_owned()));
    Ok(handle)
}
