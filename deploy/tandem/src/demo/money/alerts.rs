//! Part 5: thresholds of spending are watched while the day still runs.

use tandem_proto::billing::v1::{ListSpendAlertsRequest, SetSpendAlertRequest, SpendAlert};
use tandem_proto::common::v1::BillingItem;

use super::tenant::Tenant;
use crate::commands::alert;
use crate::demo::customer::cny;
use crate::demo::stage::Stage;
use crate::failure::Result;

/// Watches the month's total and one item's day; both thresholds are below the documented day.
pub async fn watch(stage: &Stage, tenant: &Tenant) -> Result<()> {
    stage.teller.part("5. Spend alerts")?;
    stage
        .teller
        .step("Whoever spends more than 13.00 CNY in the month, or 2.00 CNY a day on logs, is told")?;
    for (item, minor) in [(BillingItem::Unspecified, 1_300), (BillingItem::LogCount, 200)] {
        let set = SetSpendAlertRequest {
            request_id: stage.request_id(),
            workspace_id: tenant.workspaces[0].clone(),
            item: item.into(),
            threshold: Some(cny(minor).to_message()),
            notify: vec!["finance@teahouse.example".to_owned()],
        };
        stage.portal.alerts().set_spend_alert(set).await?;
    }
    stage.teller.table(&alert::alerts_table(&alerts(stage, tenant).await?))
}

/// Waits until both were exceeded, before any bill is made.
pub async fn told(stage: &Stage, tenant: &Tenant) -> Result<()> {
    stage.teller.part("5. Spend alerts go out")?;
    stage.teller.step("The running day exceeds both: the owner and the finance team are told, once each")?;
    let told = stage.until("the alerts", async || {
        let alerts = alerts(stage, tenant).await?;
        Ok(alerts.iter().all(|alert| alert.last_notice.is_some()).then_some(alerts))
    });
    stage.teller.table(&alert::alerts_table(&told.await?))?;
    let recipients = ["finance@teahouse.example", tenant.person.email.as_str()];
    let mails = stage.mails_about("the alerts' mails", "13.00", &recipients).await?;
    let mut alerts = mails.iter().filter(|mail| recipients.contains(&mail.to.as_str()));
    alerts.try_for_each(|mail| stage.teller.mail(mail))
}

async fn alerts(stage: &Stage, tenant: &Tenant) -> Result<Vec<SpendAlert>> {
    let request = ListSpendAlertsRequest {
        billing_account_id: tenant.account.clone(),
        page_size: 100,
        ..Default::default()
    };
    Ok(stage.portal.alerts().list_spend_alerts(request).await?.into_inner().alerts)
}
