//! One running service: a task of this process, or a child process.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use tandem_service_kit::clock::SharedClock;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::configs::{self, Addresses};
use crate::system::Service;

/// How long a service may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Tells a child process after which commit it dies.
pub const DIE_AFTER_COMMITS: &str = "TANDEM_TEST_DIE_AFTER_COMMITS";

/// A running service.
#[derive(Debug)]
pub enum Running {
    /// In this process.
    Task(CancellationToken, JoinHandle<anyhow::Result<()>>),
    /// In a process of its own.
    Child(Child),
}

/// Starts a service in this process.
pub async fn task(
    service: Service,
    folder: &Path,
    addresses: &Addresses,
    clock: SharedClock,
) -> anyhow::Result<Running> {
    let (stop, file) = (CancellationToken::new(), configs::path(folder, service));
    let token = stop.clone();
    let grpc = listen(service.address(addresses)).await?;
    let handle = match service {
        Service::Console => {
            let wiring = tandem_console::Wiring { listener: grpc, metrics: None, clock, identity: None };
            let app = tandem_console::App::build(tandem_console::config::Config::load(Some(&file))?, wiring)
                .await?;
            tokio::spawn(async move { Ok(app.run(token).await?) })
        }
        Service::Billing => {
            let listeners = tandem_billing::Listeners { grpc, metrics: None };
            let config = tandem_billing::config::Config::load(Some(&file))?;
            let app = tandem_billing::App::build(config, listeners, clock).await?;
            tokio::spawn(async move { app.run(token).await })
        }
        Service::Gateway => {
            let http = listen(addresses.callbacks).await?;
            let listeners = tandem_gateway::Listeners { http, grpc, metrics: None };
            let config = tandem_gateway::config::Config::load(Some(&file))?;
            let app = tandem_gateway::App::build(config, listeners, clock)?;
            tokio::spawn(async move { Ok(app.run(token).await?) })
        }
    };
    Ok(Running::Task(stop, handle))
}

/// Starts a service as a child process, on a clock that starts at `now` and runs on. Its output goes to a file in
/// `folder`. `limit_kib` is the most that one file of it may grow to; `commits` the one after which it dies.
pub fn child(
    program: &Path,
    service: Service,
    folder: &Path,
    now: Timestamp,
    limit_kib: Option<u64>,
    commits: Option<u64>,
) -> anyhow::Result<Running> {
    let log = File::options().create(true).append(true).open(log_path(folder, service))?;
    let mut command = match limit_kib {
        // The soft limit only, so that it can be lifted while the process runs; SIGXFSZ ignored makes writes fail with
        // EFBIG, as a full disk makes them fail with ENOSPC.
        Some(kib) => {
            let mut command = Command::new("bash");
            command
                .arg("-c")
                .arg(format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$@\""))
                .arg("bash")
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    if let Some(commits) = commits {
        command.env(DIE_AFTER_COMMITS, commits.to_string());
    }
    let child = command
        .arg(service.name())
        .arg(configs::path(folder, service))
        .arg(now.to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(Running::Child(child))
}

/// Where a child's output goes.
pub fn log_path(folder: &Path, service: Service) -> std::path::PathBuf {
    folder.join(format!("{}.log", service.name()))
}

async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

impl Running {
    /// Asks it to stop and waits until it has.
    ///
    /// Fails when it broke off, or does not stop in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self {
            Running::Task(stop, handle) => {
                stop.cancel();
                tokio::time::timeout(STOP_LIMIT, handle).await.context("a service does not stop")??
            }
            Running::Child(mut child) => {
                let Some(id) = child.id() else { bail!("a service ended by itself") };
                let kill = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
                ensure!(kill.success(), "a service could not be asked to stop");
                let status = tokio::time::timeout(STOP_LIMIT, child.wait())
                    .await
                    .context("a service does not stop")??;
                ensure!(status.success(), "a service stopped with {status}");
                Ok(())
            }
        }
    }

    /// Kills a child process without any warning, unless it is dead.
    pub async fn kill(self) -> anyhow::Result<()> {
        match self {
            Running::Task(..) => bail!("only a process of its own can be killed"),
            Running::Child(mut child) => {
                // One that has died by itself is dead enough.
                if matches!(child.try_wait(), Ok(None)) {
                    child.kill().await?;
                }
                Ok(())
            }
        }
    }

    /// The process's number, when it has one of its own.
    pub fn process_id(&self) -> Option<u32> {
        match self {
            Running::Task(..) => None,
            Running::Child(child) => child.id(),
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        match self {
            Running::Task(_, handle) => handle.is_finished(),
            Running::Child(child) => !matches!(child.try_wait(), Ok(None)),
        }
    }
}
