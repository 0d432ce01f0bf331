//! Dissolves a workspace for good, when its owner has confirmed it (`domain.md` 3.12, 5.2).
//!
//! The owner's word is enough, so nothing waits for Billing: one transaction ends the workspace here, and a loop tells
//! Billing until Billing has taken it (`tell_dissolved`). What was recorded before is delivered and billed as usual.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::mail::{Mail, outgoing};
use tandem_service_kit::{outbox, verification};

use super::send_code::{Purpose, address_key};
use super::{Context, access};
use crate::domain::account::Account;
use crate::domain::member::Role;
use crate::domain::workspace::{Language, Plan, Standing, StandingCopy, Workspace};
use crate::store::{self, ending, pending_activation};

/// What the owner has to say.
pub struct Wish {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Must be its owner.
    pub acting: ConsoleAccountId,
    /// Must be its name, exactly.
    pub confirm_name: String,
    /// The six digits mailed to the owner.
    pub email_code: String,
}

/// Checks everything but the code, without changing anything, and returns the owner.
///
/// Fails with `OBJECT_NOT_FOUND`, `NOT_OWNER`, `WORKSPACE_DISSOLVED` and, for another name, `INVALID_FIELD`.
pub async fn check(db: &impl ConnectionTrait, wish: &Wish) -> Result<Account, Fault> {
    let (workspace, member) = access::as_member(db, &wish.workspace, &wish.acting).await?;
    may_dissolve(&workspace, member.role, wish)?;
    access::alive(db, &wish.workspace).await?;
    store::account::find(db, &wish.acting).await?.ok_or(Fault::not_found("acting_account_id"))
}

/// Uses the code up and dissolves the workspace. The code must have been checked before, so that a wrong try counts.
///
/// Fails as [`check`], with `CODE_INVALID`, and with `CONFLICT` while an upgrade of the workspace is under way.
pub async fn run(
    tx: &Tx,
    context: &Context,
    wish: &Wish,
    now: Timestamp,
) -> Result<(Workspace, StandingCopy), Fault> {
    let (workspace, member) = access::as_member_locked(tx, &wish.workspace, &wish.acting).await?;
    may_dissolve(&workspace, member.role, wish)?;
    let owner = store::account::find(tx, &wish.acting).await?;
    let owner = owner.ok_or(Fault::not_found("acting_account_id"))?;
    let address = address_key(&owner.site, &owner.email);
    verification::redeem(tx, Purpose::DissolveWorkspace.name(), &address, &wish.email_code, now).await?;
    if pending_activation::any_of_workspace(tx, &workspace.id).await? {
        return Err(Fault::new(Reason::Conflict));
    }
    // Billing knows Commercial workspaces only, and mails account and owner itself.
    let bound = workspace.plan == Plan::Commercial;
    ending::dissolve(tx, &workspace.id, bound, now).await?;
    if !bound {
        let (subject, text) = content(&context.mail.brand_name, &workspace.name, workspace.language);
        let message_id = format!("dissolved.{}@{}", workspace.id, context.mail.message_id_domain);
        let mail = Mail { message_id, from: None, to: owner.email, subject, text };
        outbox::add(tx, &[outgoing(&mail, workspace.id.to_string())], now).await?;
    }
    let copy = StandingCopy {
        standing: Standing::Dissolved,
        lock_at: None,
        ..store::workspace::standing(tx, &workspace.id).await?
    };
    tracing::info!(workspace.id = %workspace.id, "dissolved {}", workspace.id);
    Ok((workspace, copy))
}

fn may_dissolve(workspace: &Workspace, role: Role, wish: &Wish) -> Result<(), Fault> {
    if role != Role::Owner {
        return Err(Fault::new(Reason::NotOwner));
    }
    if wish.confirm_name != workspace.name {
        return Err(Fault::field("confirm_name", "must be the workspace's name, exactly as it is written"));
    }
    Ok(())
}

fn content(brand: &str, name: &str, language: Language) -> (String, String) {
    match language {
        Language::Zh => (
            format!("【{brand}】工作空间已解散"),
            format!(
                "您好，\n\n您的工作空间“{name}”已解散，此操作不可恢复。该工作空间不再接收数据，原有数据将被清除。\n\n{brand}\n"
            ),
        ),
        Language::En => (
            format!("{brand}: a workspace has been dissolved"),
            format!(
                "Hello,\n\nyour workspace \"{name}\" has been dissolved, for good. It takes no data any more, and what it held is deleted.\n\n{brand}\n"
            ),
        ),
    }
}
