//! Part 4: from a bill that nothing paid to the lock, and the ways out.

use jiff::SignedDuration;
use tandem_proto::billing::v1::UnlockWorkspaceRequest;
use tandem_proto::common::v1::WorkspaceStanding;
use tandem_proto::console::v1::{
    DissolveWorkspaceRequest, GetWorkspaceRequest, IssueUnlockLinkRequest, RecordUsageRequest,
    SendVerificationCodeRequest, UsagePoint, VerificationPurpose, Workspace,
};
use tandem_proto::item::BillingItem;
use tandem_service_kit::validate;

use super::tenant::{Tenant, must, tell_mails};
use super::wallet;
use crate::client::http::open_page;
use crate::client::present;
use crate::demo::stage::{Calendar, Stage};
use crate::demo::usage::{self, Use};
use crate::failure::{Attempt as _, Result};

/// Days before a lock at which the customer is reminded.
const REMINDED: [i64; 3] = [7, 3, 1];
/// What both workspaces use on the first day: 3.00 and 1.00 CNY.
const USED: [Use; 2] = [
    Use { item: BillingItem::Trigger, retention_days: 0, units: 30_000 },
    Use { item: BillingItem::Trigger, retention_days: 0, units: 10_000 },
];

/// Uses the product on the first morning without having paid anything, and dissolves the second workspace.
pub async fn use_and_dissolve(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("4. Debt begins")?;
    stage.teller.step(&format!("{} uses the product and has paid nothing", tenant.person.company))?;
    for (workspace, used) in tenant.workspaces.iter().zip(USED) {
        usage::record(stage, workspace, calendar, 1, 0..10, &[used]).await?;
    }
    stage.teller.step("The second workspace is dissolved, confirmed by its name and a mailed code")?;
    let gone = workspace(stage, &tenant.workspaces[1]).await?;
    let send = SendVerificationCodeRequest {
        request_id: stage.request_id(),
        purpose: VerificationPurpose::DissolveWorkspace.into(),
        site: tenant.person.site.to_owned(),
        email: tenant.person.email.clone(),
        language: tenant.person.language.into(),
    };
    stage.portal.registration().send_verification_code(send).await?;
    let dissolve = DissolveWorkspaceRequest {
        request_id: stage.request_id(),
        workspace_id: gone.id,
        acting_account_id: tenant.console_account.clone(),
        confirm_name: gone.name,
        email_code: stage.code_for(&tenant.person.email).await?,
    };
    let gone = stage.portal.workspaces().dissolve_workspace(dissolve).await?.into_inner();
    tell_standing(stage, &present(gone.workspace, "workspace")?)
}

/// The bills of the first day cannot be paid: the account is in arrears.
pub async fn arrears(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("4. Debt")?;
    stage
        .teller
        .step("Nothing pays the first day's bills; the dissolved workspace's last day is billed, too")?;
    for workspace in &tenant.workspaces {
        tenant.bill(stage, workspace, calendar.day(1)).await?;
    }
    stands(stage, &tenant.workspaces[0], WorkspaceStanding::LockCountdown).await?;
    tenant.show_debt(stage).await?;
    tell_mails(stage)
}

/// Reminders, the lock, what it forbids, the link that shows the way out, and the recharge that takes it.
pub async fn lock_and_unlock(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("4. Debt grows old")?;
    let held = &tenant.workspaces[0];
    let Workspace { name, lock_time: lock, .. } = workspace(stage, held).await?;
    let lock = validate::timestamp("lock_time", lock).attempt(|| "reading the lock time".to_owned())?;
    for days in REMINDED {
        let at = lock.checked_sub(SignedDuration::from_hours(24 * days));
        let at = at.attempt(|| "counting back from the lock".to_owned())?;
        let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        stage.teller.step(&format!("{days} before the lock the customer is reminded"))?;
        stage.move_to(at, &at.to_string()).await?;
        let mails = stage.mails_about("the reminder", &name, &[&tenant.person.email]).await?;
        mails.iter().try_for_each(|mail| stage.teller.mail(mail))?;
    }

    stage
        .teller
        .step("The 14 days are over: the workspace is locked, and the Console takes no more usage")?;
    stage.move_to(lock, &lock.to_string()).await?;
    stands(stage, held, WorkspaceStanding::Locked).await?;
    tell_mails(stage)?;
    let point = UsagePoint {
        workspace_id: held.clone(),
        hour_start_time: Some(validate::to_message(calendar.hour(3, 0))),
        item: BillingItem::Trigger.to_message().into(),
        measure: 0,
        retention_days: 0,
        sub_key: String::new(),
        quantity: 1,
    };
    let request = RecordUsageRequest { request_id: stage.request_id(), points: vec![point] };
    let answer = stage.source.usage().record_usage(request).await?.into_inner();
    let refused = answer.refused.first();
    must(refused.is_some(), || "a locked workspace took usage".to_owned())?;
    if let Some(refused) = refused {
        stage.teller.tell(&format!("refused: {} — {}", refused.reason, refused.message))?;
    }

    stage.teller.step("The owner opens the unlock link, which shows what is owed without signing in")?;
    let link = IssueUnlockLinkRequest {
        workspace_id: held.clone(),
        acting_account_id: tenant.console_account.clone(),
    };
    let link = stage.portal.workspaces().issue_unlock_link(link).await?.into_inner();
    let page = open_page(&link.url).await?;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    must(page.status.is_success() && text.contains("4.00 CNY"), || format!("the page: {}", page.status))?;
    let address = link.url.split_inclusive("/unlock/").next().unwrap_or_default();
    stage.teller.tell(&format!("{address}… shows that 4.00 CNY are owed, and what would unlock it"))?;

    wallet::pay_online(stage, tenant, 10_000).await?;
    stage.teller.step(
        "The recharge paid the bills, oldest first; after a lock an operator lets the workspace go on",
    )?;
    let unlock = UnlockWorkspaceRequest { request_id: stage.request_id(), workspace_id: held.clone() };
    stage.operator.standing().unlock_workspace(unlock).await?;
    stands(stage, held, WorkspaceStanding::Active).await?;
    tenant.show_debt(stage).await?;
    tell_mails(stage)
}

async fn workspace(stage: &Stage, id: &str) -> Result<Workspace> {
    let request = GetWorkspaceRequest { workspace_id: id.to_owned(), acting_account_id: String::new() };
    present(stage.portal.workspaces().get_workspace(request).await?.into_inner().workspace, "workspace")
}

async fn stands(stage: &Stage, id: &str, standing: WorkspaceStanding) -> Result<()> {
    let found = stage.until("the standing", async || {
        let found = workspace(stage, id).await?;
        Ok((found.standing() == standing).then_some(found))
    });
    tell_standing(stage, &found.await?)
}

fn tell_standing(stage: &Stage, workspace: &Workspace) -> Result<()> {
    let standing = workspace.standing().as_str_name().trim_start_matches("WORKSPACE_STANDING_");
    stage.teller.tell(&format!("{} ({}) is {standing}", workspace.id, workspace.name))
}
