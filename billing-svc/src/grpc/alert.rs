//! `billing.v1.AlertService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::alert_service_server::AlertService;
use tandem_proto::common::v1::BillingItem as ItemMessage;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::item::BillingItem;
use tandem_proto::money::{LineAmount, Money};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::convert_wallet::amount;
use crate::context::Context;
use crate::domain::alert::{Watched, period_text};
use crate::ops::set_alert::{self, Wish};
use crate::store::alert::{self, Sent, SpendAlert};

/// Serves spend alerts.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl AlertService for Service {
    async fn set_spend_alert(
        &self,
        request: Request<pb::SetSpendAlertRequest>,
    ) -> Result<Response<pb::SetSpendAlertResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.AlertService/SetSpendAlert",
            &request.request_id,
            &request,
        )?;
        let wish = Wish {
            workspace: validate::parse("workspace_id", &request.workspace_id)?,
            watched: watched(request.item)?,
            threshold: amount("threshold", request.threshold.as_ref())?,
            notify: request.notify,
        };
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let set = set_alert::set(&pending.tx, wish, now).await?;
        let response = pb::SetSpendAlertResponse { alert: Some(message(&set, None)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn list_spend_alerts(
        &self,
        request: Request<pb::ListSpendAlertsRequest>,
    ) -> Result<Response<pb::ListSpendAlertsResponse>, Status> {
        let request = request.into_inner();
        let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
        let workspace = super::optional("workspace_id", &request.workspace_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let db = &self.0.db.read;
        let rows = alert::list(db, &account, workspace.as_ref(), &page.after, page.limit()).await?;
        let (alerts, next_page_token) = page.cut(rows, |(alert, _)| vec![alert.id.as_str().to_owned()]);
        let alerts = alerts.iter().map(|(alert, sent)| message(alert, *sent)).collect();
        Ok(Response::new(pb::ListSpendAlertsResponse { alerts, next_page_token }))
    }

    async fn delete_spend_alert(
        &self,
        request: Request<pb::DeleteSpendAlertRequest>,
    ) -> Result<Response<pb::DeleteSpendAlertResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.AlertService/DeleteSpendAlert",
            &request.request_id,
            &request,
        )?;
        let workspace = validate::parse("workspace_id", &request.workspace_id)?;
        let id = validate::parse("alert_id", &request.alert_id)?;
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        set_alert::delete(&pending.tx, &workspace, &id).await?;
        let now = self.0.clock.now();
        Ok(Response::new(pending.finish(pb::DeleteSpendAlertResponse {}, now).await?))
    }
}

fn watched(item: i32) -> Result<Watched, Fault> {
    if item == i32::from(ItemMessage::Unspecified) {
        return Ok(Watched::Total);
    }
    let item = BillingItem::from_message(item);
    let item = item.ok_or_else(|| Fault::field("item", "must be unspecified or a value of its enum"))?;
    Ok(Watched::Item(item))
}

fn message(alert: &SpendAlert, sent: Option<Sent>) -> pb::SpendAlert {
    let money = |minor| Some(Money { minor, currency: alert.currency }.to_message());
    let notice = sent.map(|sent| pb::SpendAlertNotice {
        period: period_text(alert.watched, sent.period),
        threshold: money(sent.threshold),
        spent: Some(LineAmount { micros: sent.spent, currency: alert.currency }.to_message()),
        notice_time: Some(validate::to_message(sent.sent_at)),
    });
    pb::SpendAlert {
        id: alert.id.as_str().to_owned(),
        workspace_id: alert.workspace.as_str().to_owned(),
        item: match alert.watched {
            Watched::Total => ItemMessage::Unspecified.into(),
            Watched::Item(item) => item.to_message().into(),
        },
        threshold: money(alert.threshold),
        notify: alert.notify.clone(),
        last_notice: notice,
    }
}
