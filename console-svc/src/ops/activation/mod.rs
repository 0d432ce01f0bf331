//! Activation and upgrade: what needs Billing's consent before it becomes true here (`domain.md` 3.1, 3.2, 3.5).
//!
//! Three steps, each safe to repeat. One transaction records the request together with the exact request to Billing.
//! Then Billing is called; its request id makes a repetition harmless. One more transaction makes the change, stores the
//! answer and removes the record. A refusal removes the record, too; an open outcome leaves it, and the caller's
//! repetition or a worker goes on from there. Nothing half-made is ever visible.

mod finish;
mod start;

use std::time::Duration;

use opentelemetry::KeyValue;
use prost::Message;
use tandem_proto::billing::v1 as billing;
use tandem_proto::billing::v1::account_service_client::AccountServiceClient;
use tandem_proto::billing::v1::binding_service_client::BindingServiceClient;
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::lease;
use tandem_service_kit::peer::call_with_retry;
use tandem_service_kit::request_log::{RequestKey, replay};
use tonic::Status;

pub(super) use finish::{NewWorkspace, make};
pub use start::Wish;

use super::Context;
use crate::domain::workspace::{StandingCopy, Workspace};
use crate::store::pending_activation::{self, PendingActivation};

/// The path of `ActivateWorkspace`, under which its requests are recorded.
pub const ACTIVATE: &str = "/tandem.console.v1.RegistrationService/ActivateWorkspace";
/// The path of `UpgradeWorkspace`.
pub const UPGRADE: &str = "/tandem.console.v1.WorkspaceService/UpgradeWorkspace";
/// Tries of one call to Billing before the outcome is left open: a second one bridges a broken connection.
const TRIES: u32 = 2;
/// Longest time for all tries together: the caller is told within its ten seconds that the outcome is open.
const CALL_MAX: Duration = Duration::from_secs(9);

/// A workspace that was activated or upgraded.
#[derive(Debug, Clone)]
pub struct Activated {
    /// As it is now.
    pub workspace: Workspace,
    /// What Billing says of it.
    pub standing: StandingCopy,
    /// `bac_…`; empty without a billing account.
    pub billing_account_id: String,
}

/// What was asked, as it came.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A new workspace.
    Activate(console::ActivateWorkspaceRequest),
    /// An upgrade.
    Upgrade(console::UpgradeWorkspaceRequest),
}

impl Asked {
    fn encode(&self) -> Vec<u8> {
        match self {
            Asked::Activate(request) => request.encode_to_vec(),
            Asked::Upgrade(request) => request.encode_to_vec(),
        }
    }

    fn decode(pending: &PendingActivation) -> Result<Asked, StoreError> {
        let bytes = pending.request.as_slice();
        let asked = match pending.method.as_str() {
            ACTIVATE => console::ActivateWorkspaceRequest::decode(bytes).map(Asked::Activate),
            UPGRADE => console::UpgradeWorkspaceRequest::decode(bytes).map(Asked::Upgrade),
            _ => return Err(StoreError::Corrupt { table: "pending_activation", column: "method" }),
        };
        asked.map_err(|_| StoreError::Corrupt { table: "pending_activation", column: "request" })
    }

    /// Whether only an account is made at Billing, because a Free workspace is bound to nothing.
    fn account_only(&self) -> bool {
        match self {
            Asked::Activate(request) => matches!(request.activation, Some(Activation::Free(_))),
            Asked::Upgrade(_) => false,
        }
    }
}

/// Answers a request: from what was stored, from where an earlier try of it stopped, or from the beginning.
///
/// Fails with Billing's own reason when Billing refuses, and with `PEER_UNAVAILABLE` when the outcome is open; then the
/// same request has to be repeated, and a worker goes on meanwhile.
pub async fn run<R>(context: &Context, key: RequestKey, wish: Wish) -> Result<R, Fault>
where
    R: Message + Default + From<Activated>,
{
    if let Some(answer) = replay(&context.db, &key).await? {
        return Ok(answer);
    }
    let pending = match find(context, &key).await? {
        Some(pending) => pending,
        None => match start::record(context, &key, wish).await? {
            start::Recorded::Pending(pending) => pending,
            start::Recorded::Answered => {
                return replay(&context.db, &key).await?.ok_or(Fault::new(Reason::Conflict));
            }
        },
    };
    drive(context, &pending).await
}

/// The record of this very request. Fails with `REQUEST_ID_REUSED` when it was recorded with another body.
async fn find(context: &Context, key: &RequestKey) -> Result<Option<PendingActivation>, Fault> {
    let found =
        pending_activation::find(&context.db.write, key.principal(), key.method(), key.request_id()).await?;
    let Some(pending) = found else { return Ok(None) };
    if finish::key_of(&pending)?.digest() == key.digest() {
        Ok(Some(pending))
    } else {
        Err(Fault::new(Reason::RequestIdReused))
    }
}

/// Goes on with a recorded request, for a worker.
pub async fn resume(context: &Context, pending: &PendingActivation) -> Result<(), Fault> {
    match Asked::decode(pending)? {
        Asked::Activate(_) => drive::<console::ActivateWorkspaceResponse>(context, pending).await.map(drop),
        Asked::Upgrade(_) => drive::<console::UpgradeWorkspaceResponse>(context, pending).await.map(drop),
    }
}

async fn drive<R>(context: &Context, pending: &PendingActivation) -> Result<R, Fault>
where
    R: Message + Default + From<Activated>,
{
    // One try at a time: a second one could be refused for what the first has just done, and undo it.
    let now = context.now();
    let pause = lease::LEASE.max(lease::backoff(pending.attempts));
    if !pending_activation::postpone(&context.db.write, pending, lease::after(now, pause), None).await? {
        return Err(Fault::new(Reason::Conflict));
    }
    let called = tokio::time::timeout(CALL_MAX, call(context, pending)).await;
    match called.unwrap_or_else(|_| Err(Status::deadline_exceeded("Billing did not answer in time"))) {
        Ok(consent) => {
            context.meters.activations.add(1, &[KeyValue::new("outcome", "consented")]);
            finish::settle(context, pending, consent).await
        }
        Err(status) if is_open(&status) => {
            context.meters.activations.add(1, &[KeyValue::new("outcome", "open")]);
            let reason = Fault::from_status(&status).map_or("none", |fault| fault.reason.name());
            tracing::warn!(
                workspace.id = %pending.workspace_id, attempts = pending.attempts, code = ?status.code(), reason,
                "the outcome of an activation at Billing is open; it will be tried again"
            );
            let counted =
                PendingActivation { attempts: pending.attempts.saturating_add(1), ..pending.clone() };
            let next = lease::after(context.now(), lease::backoff(counted.attempts));
            pending_activation::postpone(&context.db.write, &counted, next, Some(reason)).await?;
            context.resume.notify_one();
            Err(Fault::new(Reason::PeerUnavailable))
        }
        Err(status) => {
            context.meters.activations.add(1, &[KeyValue::new("outcome", "refused")]);
            let tx = context.db.begin().await?;
            pending_activation::delete(&tx, pending).await?;
            tx.commit().await?;
            // A status without a reason of ours is open, so there is one.
            Err(Fault::from_status(&status).unwrap_or(Fault::new(Reason::Internal)))
        }
    }
}

/// What Billing agreed to.
struct Consent {
    billing_account_id: String,
    binding: Option<billing::WorkspaceBinding>,
}

async fn call(context: &Context, pending: &PendingActivation) -> Result<Consent, Status> {
    let corrupt =
        |_| Status::from(StoreError::Corrupt { table: "pending_activation", column: "peer_request" });
    let bytes = pending.peer_request.as_slice();
    if Asked::decode(pending)?.account_only() {
        let request = billing::CreateAccountRequest::decode(bytes).map_err(corrupt)?;
        let client = AccountServiceClient::new(context.billing.clone());
        let call = || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.create_account(request).await }
        };
        let response = call_with_retry(TRIES, call).await?;
        let account = response.account.ok_or_else(|| Status::unknown("the answer has no account"))?;
        return Ok(Consent { billing_account_id: account.id, binding: None });
    }
    let request = billing::BindWorkspaceRequest::decode(bytes).map_err(corrupt)?;
    let client = BindingServiceClient::new(context.billing.clone());
    let call = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.bind_workspace(request).await }
    };
    let response = call_with_retry(TRIES, call).await?;
    let binding = response.binding.ok_or_else(|| Status::unknown("the answer has no binding"))?;
    Ok(Consent { billing_account_id: binding.billing_account_id.clone(), binding: Some(binding) })
}

/// Whether a failed call may have had an effect, or may still get one: everything but a refusal by Billing's rules.
///
/// `VENDOR_UNAVAILABLE` is a refusal: it says that nothing was decided, and the customer should learn it.
fn is_open(status: &Status) -> bool {
    let Some(fault) = Fault::from_status(status) else { return true };
    matches!(
        fault.reason,
        Reason::Conflict
            | Reason::Overloaded
            | Reason::StorageUnavailable
            | Reason::PeerUnavailable
            | Reason::Internal
            | Reason::TokenInvalid
            | Reason::RoleNotAllowed
            | Reason::RequestIdReused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_by_the_rules_is_final() {
        for status in [
            Status::unavailable("x"),
            Status::deadline_exceeded("x"),
            Status::cancelled("x"),
            Status::unknown("x"),
        ] {
            assert!(is_open(&status), "{status}");
        }
        for reason in [Reason::Conflict, Reason::Overloaded, Reason::Internal, Reason::TokenInvalid] {
            assert!(is_open(&Fault::new(reason).into()), "{}", reason.name());
        }
        for reason in
            [Reason::CodeInvalid, Reason::UsernameTaken, Reason::PurchaseNotFound, Reason::VendorUnavailable]
        {
            assert!(!is_open(&Fault::new(reason).into()), "{}", reason.name());
        }
    }
}
