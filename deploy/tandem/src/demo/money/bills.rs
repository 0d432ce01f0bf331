//! Part 3: adjustments, spending, months, exports, and the proof of one bill.

use std::path::Path;

use tandem_proto::billing::v1::export_bills_request::What;
use tandem_proto::billing::v1::{
    BillLineKind, ExportBillsRequest, ExportDailyLines, GetSpendRequest, MonthlyBillState, ProveBillRequest,
    SpendGroup,
};

use super::prices;
use super::tenant::{Tenant, must, tell_mails};
use crate::commands::{bill, bill_monthly, spend};
use crate::demo::stage::{Calendar, Stage};
use crate::failure::{Attempt as _, Result};

/// Months shown of an account.
const MONTHS_SHOWN: usize = 12;

/// What came late for the first day stands on the second day's bill.
pub async fn adjusted(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("3. Bills")?;
    stage.teller.step("What came late for the first day is an adjustment on the second day's bill")?;
    let workspace = &tenant.workspaces[0];
    let second = tenant.bill(stage, workspace, calendar.day(2)).await?;
    let adjusts = second.lines.iter().any(|line| line.kind() == BillLineKind::Adjustment);
    must(adjusts, || "the second bill has no adjustment".to_owned())?;
    let day = calendar.day(1).to_string();
    let (bills, _) = bill::list(&stage.portal, &tenant.account, workspace, MONTHS_SHOWN).await?;
    let first = bills.iter().find(|bill| bill.usage_day == day).map_or("", |bill| bill.id.as_str());
    let first = bill::show(&stage.portal, &tenant.account, first).await?;
    prices::kept(stage, &first, &second)?;

    stage.teller.step("The first bill is recomputed from its usage and its own price list")?;
    let proof = ProveBillRequest { bill_id: first.id.clone() };
    let proof = stage.operator.bills().prove_bill(proof).await?.into_inner();
    stage.teller.proof(proof.equal, &format!("{} is equal", first.id))?;
    must(proof.equal, || format!("{} differs: {:?}", first.id, proof.differences))?;

    stage.teller.step("What was spent, by item")?;
    let request = GetSpendRequest {
        billing_account_id: tenant.account.clone(),
        start_day: day,
        end_day: calendar.day(3).to_string(),
        group_by: SpendGroup::Item.into(),
        page_size: 100,
        ..Default::default()
    };
    let spent = stage.portal.bills().get_spend(request).await?.into_inner();
    stage.teller.table(&spend::rows_table(spend::By::Item, &spent.rows))?;
    tell_mails(stage)
}

/// Waits for an account's bill of the month and shows it.
pub async fn month(stage: &Stage, tenant: &Tenant, month: &str) -> Result<()> {
    let found = stage.until("the month's bill", async || {
        let months = bill_monthly::list(&stage.portal, &tenant.account, MONTHS_SHOWN).await?;
        Ok(months.rows.into_iter().find(|bill| bill.month == month && bill.state() != MonthlyBillState::Open))
    });
    stage.teller.table(&bill_monthly::bills_table(&[found.await?]))
}

/// Exports an account's lines of the first days as a file for spreadsheets.
pub async fn export(stage: &Stage, tenant: &Tenant, calendar: &Calendar, folder: &Path) -> Result<()> {
    stage.teller.step("Its lines as a file for spreadsheets")?;
    let lines = ExportDailyLines {
        start_day: calendar.day(1).to_string(),
        end_day: calendar.day(3).to_string(),
        workspace_id: String::new(),
    };
    let request = ExportBillsRequest {
        billing_account_id: tenant.account.clone(),
        what: Some(What::DailyLines(lines)),
    };
    let mut parts = stage.portal.bills().export_bills(request).await?.into_inner();
    let mut file = Vec::new();
    while let Some(part) = parts.message().await? {
        file.extend(part.data);
    }
    let path = folder.join("lines.csv");
    std::fs::write(&path, &file).attempt(|| format!("writing {}", path.display()))?;
    let text = String::from_utf8_lossy(&file);
    let lines = text.lines().count();
    stage.teller.tell(&format!("{}: {lines} lines, of which the first is", path.display()))?;
    stage.teller.tell(text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default())
}
