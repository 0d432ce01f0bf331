//! `tandem up` as people start it: how long until it answers on databases that are there, and what it holds when
//! nobody calls.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::SecretString;
use tandem_proto::billing::v1::GetAccountRequest;
use tandem_proto::billing::v1::account_service_client::AccountServiceClient;
use tandem_proto::common::v1::Role;
use tandem_proto::console::v1::GetWorkspaceRequest;
use tandem_proto::console::v1::workspace_service_client::WorkspaceServiceClient;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::identity::{Signer, SigningKey};
use tandem_service_kit::peer::Peer;
use tonic::{Code, Status};

use crate::Sizes;
use crate::process::{memory_kib, stop, workspace_root};
use crate::report::{Better, Measure};
use crate::stats::mebibytes;

/// What may not be passed (issue, "Speed to reach").
const MEMORY_MIB: f64 = 80.0;
const START_SECS: f64 = 1.0;
/// Longest wait for a first answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How soon to ask again; short against what is measured.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Builds the release binary, beside this one.
pub(crate) async fn build() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tokio::process::Command::new(cargo);
    // The whole workspace, so that features and with them the built dependencies are those of this binary.
    command.args(["build", "--release", "--bin", "tandem"]).current_dir(workspace_root());
    let done = command.status().await.context("cannot run cargo")?;
    anyhow::ensure!(done.success(), "tandem cannot be built");
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from);
    Ok(workspace_root().join(folder).join("release/tandem"))
}

/// Starts it some times; after the last start it is left alone before its memory is read.
pub(crate) async fn run(tandem: &Path, sizes: Sizes) -> anyhow::Result<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    // The first start makes the databases and the keys.
    drop(Running::start(tandem, folder.path()).await?);
    let (mut starts, mut memories) = (Vec::new(), Vec::new());
    for _ in 0..sizes.starts {
        let running = Running::start(tandem, folder.path()).await?;
        starts.push((running.answered_after.as_secs_f64(), START_SECS));
        if starts.len() == sizes.starts {
            tokio::time::sleep(Duration::from_secs(sizes.idle_secs)).await;
            memories.push((mebibytes(memory_kib(&running.child.id().to_string(), "VmRSS")?), MEMORY_MIB));
        }
    }
    // Both are held against what the issue allows, so that a ratio of one is the limit.
    let (floor, better) = (1.0, Better::Lower);
    Ok(vec![
        Measure { name: "idle_memory", floor, better, unit: "MiB", pairs: memories },
        Measure { name: "start_to_first_answer", floor, better, unit: "s", pairs: starts },
    ])
}

/// A running `tandem up`; stopped when dropped.
struct Running {
    child: Child,
    answered_after: Duration,
}

impl Drop for Running {
    fn drop(&mut self) {
        stop(&mut self.child, "TERM");
    }
}

impl Running {
    async fn start(tandem: &Path, data: &Path) -> anyhow::Result<Running> {
        let ports = free_ports()?;
        let mut command = Command::new(tandem);
        command.arg("--data").arg(data).arg("up");
        for (name, port) in ["console", "billing", "gateway", "http", "sandbox", "metrics"].iter().zip(ports)
        {
            command.arg(format!("--{name}-port")).arg(port.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", tandem.display()))?;
        let mut running = Running { child, answered_after: Duration::ZERO };
        let [console, billing, ..] = ports;
        let answers = answers(data, console, billing);
        tokio::time::timeout(ANSWER_MAX, answers).await.context("tandem up does not answer")??;
        running.answered_after = begun.elapsed();
        if let Some(status) = running.child.try_wait()? {
            anyhow::bail!("tandem up ended with {status}");
        }
        Ok(running)
    }
}

/// Six ports that are free now; they are told to `tandem up` so that asking can begin before it says where it listens.
fn free_ports() -> anyhow::Result<[u16; 6]> {
    let mut held = Vec::new();
    let mut ports = [0; 6];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Asks both services for something that has to be looked up in their databases, until both have answered.
async fn answers(data: &Path, console: u16, billing: u16) -> anyhow::Result<()> {
    let key = data.join("keys/identity.key");
    let operator = loop {
        match std::fs::read_to_string(&key) {
            Ok(text) => {
                break Signer::new(
                    "operator",
                    Role::Operator,
                    SigningKey::from_secret(&SecretString::from(text))?,
                );
            }
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    };
    let operator = Arc::new(operator);
    let peer = |port: u16, audience: &str| {
        Peer::connect_lazy(&format!("http://127.0.0.1:{port}"), Arc::clone(&operator), audience, ANSWER_MAX)
    };
    let workspaces = WorkspaceServiceClient::new(peer(console, "console")?.channel());
    let accounts = AccountServiceClient::new(peer(billing, "billing")?.channel());
    let workspace_id = fresh::<WorkspaceId>().as_str().to_owned();
    let billing_account_id = fresh::<BillingAccountId>().as_str().to_owned();
    let workspace = async || {
        let request =
            GetWorkspaceRequest { workspace_id: workspace_id.clone(), ..GetWorkspaceRequest::default() };
        workspaces.clone().get_workspace(request).await.map(drop)
    };
    let account = async || {
        let request = GetAccountRequest { billing_account_id: billing_account_id.clone() };
        accounts.clone().get_account(request).await.map(drop)
    };
    tokio::try_join!(until_answered(workspace), until_answered(account))?;
    Ok(())
}

/// Repeats a call until the service itself says that there is no such thing.
async fn until_answered(call: impl AsyncFn() -> Result<(), Status>) -> anyhow::Result<()> {
    loop {
        match call().await.map_err(|status| status.code()) {
            Ok(()) | Err(Code::NotFound) => return Ok(()),
            Err(Code::Unavailable) => tokio::time::sleep(ASK_AGAIN).await,
            Err(code) => anyhow::bail!("an unexpected first answer: {code:?}"),
        }
    }
}
