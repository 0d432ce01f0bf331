//! What `tandem workspace` changes: dissolve, unlock, and the link that shows what would unlock.

use tandem_proto::billing::v1::{IssueUnlockLinkRequest, UnlockWorkspaceRequest};
use tandem_proto::console::v1::{
    DissolveWorkspaceRequest, GetAccountRequest, GetWorkspaceRequest, SendVerificationCodeRequest,
    VerificationPurpose, Workspace,
};

use crate::cli::{Global, Once};
use crate::client::{Clients, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Dissolves a workspace for good; without a code, mails one to the owner.
///
/// It takes no data any more and what it held is deleted; what was used until then, its last day included, is still
/// billed. The owner confirms: by the workspace's name, typed exactly, and by the mailed code.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem workspace dissolve wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --name 'Tea house'
  tandem workspace dissolve wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --name 'Tea house' --code 123456")]
pub struct Dissolve {
    /// The workspace, wks_…
    workspace: String,
    /// Its name, exactly as it is written
    #[arg(long)]
    name: String,
    /// The six digits that the owner was mailed
    #[arg(long, value_name = "DIGITS")]
    code: Option<String>,
    #[command(flatten)]
    once: Once,
}

/// Unlocks a locked workspace once nothing is owed any more; it starts empty.
#[derive(Debug, clap::Args)]
pub struct Unlock {
    /// The workspace, wks_…
    workspace: String,
    #[command(flatten)]
    once: Once,
}

/// Makes a link that shows, without signing in, what is owed and what would unlock a workspace.
#[derive(Debug, clap::Args)]
pub struct UnlockLink {
    /// The workspace, wks_…
    workspace: String,
    /// How long it works, in minutes, at most a day
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(i32).range(1..=1440))]
    minutes: i32,
}

/// Dissolves, or mails the code.
pub async fn dissolve(global: &Global, args: Dissolve) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let request = GetWorkspaceRequest { workspace_id: args.workspace, acting_account_id: String::new() };
    let answer = clients.workspaces().get_workspace(request).await?.into_inner();
    let workspace = present(answer.workspace, "workspace")?;
    let request_id = args.once.id();
    let Some(email_code) = args.code else {
        let email = send_code(&clients, &workspace, &request_id).await?;
        output.say("a code was mailed to the owner; repeat the command with --code")?;
        return output.record(&Table::of_one(vec![
            ("workspace_id", Cell::text(&workspace.id)),
            ("code_mailed_to", Cell::text(email)),
        ]));
    };
    let request = DissolveWorkspaceRequest {
        request_id: request_id.clone(),
        workspace_id: workspace.id.clone(),
        acting_account_id: workspace.owner_account_id.clone(),
        confirm_name: args.name,
        email_code,
    };
    let answer = clients.workspaces().dissolve_workspace(request).await;
    let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    let dissolved = present(answer.workspace, "workspace")?;
    output.record(&Table::of_one(vec![
        ("id", Cell::text(&dissolved.id)),
        ("name", Cell::text(&dissolved.name)),
        ("standing", Cell::name(dissolved.standing().as_str_name(), "WORKSPACE_STANDING_")),
    ]))
}

async fn send_code(clients: &Clients, workspace: &Workspace, request_id: &str) -> Result<String> {
    let request = GetAccountRequest { console_account_id: workspace.owner_account_id.clone() };
    let answer = clients.console_accounts().get_account(request).await?.into_inner();
    let owner = present(answer.account, "account")?;
    let request = SendVerificationCodeRequest {
        request_id: format!("{request_id}-code"),
        purpose: VerificationPurpose::DissolveWorkspace.into(),
        site: workspace.site.clone(),
        email: owner.email.clone(),
        language: workspace.language,
    };
    let sent = clients.registration().send_verification_code(request).await;
    sent.map_err(|status| Failure::of_act(status, request_id))?;
    Ok(owner.email)
}

/// Unlocks.
pub async fn unlock(global: &Global, args: Unlock) -> Result<()> {
    let request_id = args.once.id();
    let request =
        UnlockWorkspaceRequest { request_id: request_id.clone(), workspace_id: args.workspace.clone() };
    let answer = global.clients()?.standing().unlock_workspace(request).await;
    let unlocked = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    global.output().record(&Table::of_one(vec![
        ("workspace_id", Cell::text(args.workspace)),
        ("billing_account_id", Cell::text(&unlocked.billing_account_id)),
        ("standing", Cell::name(unlocked.standing().as_str_name(), "WORKSPACE_STANDING_")),
        ("locks_at", Cell::time(unlocked.lock_time)),
    ]))
}

/// Makes the link. Where Billing is not told the pages' public address, the gateway's own is used.
pub async fn unlock_link(global: &Global, args: UnlockLink) -> Result<()> {
    let request = IssueUnlockLinkRequest {
        workspace_id: args.workspace,
        valid_seconds: args.minutes.saturating_mul(60),
    };
    let link = global.clients()?.standing().issue_unlock_link(request).await?.into_inner();
    let url = match link.url.as_str() {
        "" => format!("{}/unlock/{}", global.endpoints().callbacks.trim_end_matches('/'), link.token),
        url => url.to_owned(),
    };
    global
        .output()
        .record(&Table::of_one(vec![("url", Cell::text(url)), ("works_until", Cell::time(link.expire_time))]))
}
