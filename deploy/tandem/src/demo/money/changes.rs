//! Part 6: what a customer changes: retention, who pays a workspace, the address, the method of settlement.

use tandem_adapters::sandbox::Buy;
use tandem_proto::billing::v1::complete_settlement_change_request::Purchase;
use tandem_proto::billing::v1::send_contact_code_request::To;
use tandem_proto::billing::v1::{
    ChangeEmailRequest, ChangeSettlementMethodRequest, CompleteSettlementChangeRequest, ContactKind,
    ContactProof, MoveWorkspaceRequest, RequestSettlementChangeRequest, SendContactCodeRequest,
    SendMoveCodesRequest,
};
use tandem_proto::common::v1::{PurchaseIds, SettlementMethod as Method};
use tandem_proto::console::v1::SetRetentionRequest;
use tandem_proto::item::BillingItem;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::SettlementMethod;

use super::tenant::{Tenant, must, tell_mails};
use crate::client::present;
use crate::commands::workspace;
use crate::demo::stage::{Calendar, Stage};
use crate::demo::usage::{self, Use};
use crate::failure::{Failure, Result};

/// More periods than a workspace of the story has.
const PERIODS_MAX: usize = 100;
/// Days that logs are kept by default, and from noon on.
const KEPT_DAYS: [i32; 2] = [14, 30];

/// Keeps logs longer from noon of the first day on.
pub async fn retention_at_noon(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("6. Changes")?;
    stage.teller.step("At noon the owner has logs kept 30 days instead of 14")?;
    let logs = [Use { item: BillingItem::LogCount, retention_days: 0, units: 2_000_000 }];
    usage::record(stage, &tenant.workspaces[1], calendar, 1, 0..12, &logs).await?;
    let set = SetRetentionRequest {
        request_id: stage.request_id(),
        workspace_id: tenant.workspaces[1].clone(),
        acting_account_id: tenant.console_account.clone(),
        item: BillingItem::LogCount.to_message().into(),
        retention_days: KEPT_DAYS[1],
    };
    stage.portal.workspaces().set_retention(set).await?;
    stage.teller.tell("the change acts with the next full hour")
}

/// Uses logs after the change, too.
pub async fn use_in_the_afternoon(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    let logs = [Use { item: BillingItem::LogCount, retention_days: 0, units: 3_000_000 }];
    usage::record(stage, &tenant.workspaces[1], calendar, 1, 13..23, &logs).await
}

/// The day has two lines of logs, each at its own price.
pub async fn two_lines(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("6. Changes are billed")?;
    stage.teller.step("The day of the change has two lines of logs, each at its own price")?;
    let bill = tenant.bill(stage, &tenant.workspaces[1], calendar.day(1)).await?;
    let kept: Vec<_> = bill.lines.iter().map(|line| line.retention_days).collect();
    must(kept == KEPT_DAYS, || format!("logs kept {KEPT_DAYS:?} days must be billed, not {kept:?}"))?;
    tell_mails(stage)
}

/// Moves the second workspace to another account, with a code from each side.
pub async fn move_workspace(stage: &Stage, from: &Tenant, to: &Tenant) -> Result<()> {
    stage
        .teller
        .step(&format!("The second workspace moves to {}, with a code from each side", to.person.company))?;
    let workspace_id = from.workspaces[1].clone();
    let mut portal = stage.portal.bindings();
    let codes = SendMoveCodesRequest {
        request_id: stage.request_id(),
        workspace_id: workspace_id.clone(),
        to_username: to.person.username.clone(),
    };
    portal.send_move_codes(codes).await?;
    let request = MoveWorkspaceRequest {
        request_id: stage.request_id(),
        workspace_id: workspace_id.clone(),
        to_username: to.person.username.clone(),
        from_code: stage.code_for(&from.person.email).await?,
        to_code: stage.code_for(&to.person.email).await?,
    };
    let moved = portal.move_workspace(request).await?.into_inner();
    stage.teller.tell(&format!("{} pays from {} on", to.person.company, moved.first_day))?;
    let periods = workspace::history(&stage.portal, &workspace_id, PERIODS_MAX).await?;
    stage.teller.table(&workspace::history_table(&periods.rows))
}

/// Changes the account's address, with a code to the old one and one to the new one.
pub async fn change_email(stage: &Stage, tenant: &mut Tenant) -> Result<()> {
    stage.teller.step("The account's address changes, with a code to the old one and one to the new one")?;
    let new_email = format!("accounts{}@teahouse.example", stage.suffix);
    let mut portal = stage.portal.accounts();
    let code = |to, proof| SendContactCodeRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        language: tenant.person.language.into(),
        to: Some(to),
        proof,
    };
    portal.send_contact_code(code(To::Present(ContactKind::Email.into()), None)).await?;
    let old_code = stage.code_for(&tenant.person.email).await?;
    let proof = ContactProof { contact: ContactKind::Email.into(), code: old_code };
    portal.send_contact_code(code(To::NewEmail(new_email.clone()), Some(proof.clone()))).await?;
    let change = ChangeEmailRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        proof: Some(proof),
        new_email: new_email.clone(),
        code: stage.code_for(&new_email).await?,
    };
    let changed = portal.change_email(change).await?.into_inner();
    stage.teller.tell(&format!("bills go to {}", present(changed.account, "account")?.email))?;
    tenant.person.email = new_email;
    Ok(())
}

/// Chooses a cloud, buys in its market, and settles through it from then on.
pub async fn settle_through_cloud(stage: &Stage, tenant: &Tenant) -> Result<()> {
    stage
        .teller
        .step("The first workspace is to be settled through a cloud; the change waits for the purchase")?;
    let method = i32::from(SettlementMethod::Cloud(stage.vendor).to_message());
    let workspace_ids = vec![tenant.workspaces[0].clone()];
    let mut portal = stage.portal.bindings();
    let ask = RequestSettlementChangeRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        workspace_ids: workspace_ids.clone(),
        settlement_method: method,
    };
    let waiting = portal.request_settlement_change(ask).await?.into_inner().bindings;
    stage.teller.table(&workspace::bindings_table(&waiting))?;
    let vendor_account_id = format!("1745000000{}", stage.digits());
    let buy = Buy { account_id: vendor_account_id.clone(), ..Buy::default() };
    let vendor_instance_id = stage.sandbox.buy(&buy).await?.instance_id;
    stage.sandbox.settle(std::time::Duration::from_secs(10)).await?;
    let complete = CompleteSettlementChangeRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        settlement_method: method,
        workspace_ids,
        purchase: Some(Purchase::PurchaseIds(PurchaseIds { vendor_account_id, vendor_instance_id })),
    };
    let changed = portal.complete_settlement_change(complete).await?.into_inner().bindings;
    stage.teller.table(&workspace::bindings_table(&changed))?;
    let back = ChangeSettlementMethodRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        workspace_id: tenant.workspaces[0].clone(),
        settlement_method: Method::BillingCenter.into(),
        purchase: None,
    };
    let back = portal.change_settlement_method(back).await.map_err(Failure::from);
    stage.refused(back, Some(Reason::CloudSubscriptionLive))?;
    tell_mails(stage)
}
