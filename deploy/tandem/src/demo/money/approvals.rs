//! Part 10: what moves money without a bill takes a reason and two people, and every attempt is recorded.

use tandem_proto::billing::v1::request_approval_request::Act;
use tandem_proto::billing::v1::{Adjustment, AdjustmentDirection, ApproveRequest, RequestApprovalRequest};
use tandem_proto::common::v1::{AuditOutcome, ListAuditRequest};
use tandem_proto::reason::Reason;

use super::tenant::{Tenant, tell_mails};
use crate::client::present;
use crate::commands::approval;
use crate::commands::audit::{self, Service};
use crate::demo::customer::cny;
use crate::demo::stage::Stage;
use crate::failure::{Failure, Result};

/// A credit for an outage: asked for by one operator, given by another.
pub async fn credit(stage: &Stage, tenant: &Tenant) -> Result<()> {
    stage.teller.part("10. Two people")?;
    stage.teller.step("An operator asks for a credit; approving one's own request is refused")?;
    let act =
        Adjustment { direction: AdjustmentDirection::Credit.into(), amount: Some(cny(1_500).to_message()) };
    let ask = RequestApprovalRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        reason: "outage".to_owned(),
        act: Some(Act::Adjustment(act)),
    };
    let asked = stage.operator.approvals().request_approval(ask).await?.into_inner();
    let id = present(asked.approval, "approval")?.id;
    let approve = || ApproveRequest {
        request_id: stage.request_id(),
        approval_id: id.clone(),
        note: "seen the incident".to_owned(),
    };
    let own = stage.operator.approvals().approve(approve()).await.map_err(Failure::from);
    stage.refused(own, Some(Reason::ApproverIsRequester))?;
    stage.teller.step("A second one approves")?;
    let done = stage.approver.approvals().approve(approve()).await?.into_inner();
    stage.teller.table(&approval::approvals_table(&[present(done.approval, "approval")?]))?;
    tenant.show_wallet(stage, false).await?;
    tell_mails(stage)?;

    stage.teller.step("The audit knows what was refused, too")?;
    let refused =
        ListAuditRequest { outcome: AuditOutcome::Refused.into(), page_size: 20, ..Default::default() };
    let rows = stage.until("the refused approval to be recorded", async || {
        let rows = stage.operator.billing_audit().list_audit(refused.clone()).await?.into_inner().rows;
        Ok(rows.iter().any(|row| row.method.ends_with("/Approve")).then_some(rows))
    });
    let rows: Vec<_> = rows.await?.into_iter().map(|row| (Service::Billing, row)).collect();
    stage.teller.table(&audit::rows_table(&rows))
}
