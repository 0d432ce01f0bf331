//! `billing.v1.UsageService`.

use std::collections::HashSet;
use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::usage_service_server::UsageService;
use tandem_proto::item::BillingItem;
use tandem_proto::page::Page;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::ops::{close_day, deliver_usage};
use crate::store::usage::{self, Delivered, ListedUsage};

/// Quantities in one delivery.
const DELIVERY_MAX: usize = 5_000;
/// Longest sub key.
const SUB_KEY_CHARS_MAX: usize = 64;

/// Serves usage.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl UsageService for Service {
    async fn deliver_usage(
        &self,
        request: Request<pb::DeliverUsageRequest>,
    ) -> Result<Response<pb::DeliverUsageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.UsageService/DeliverUsage",
            &request.request_id,
            &request,
        )?;
        let usage = delivered(&request.usage)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let refused = deliver_usage::deliver_usage(&pending.tx, &usage).await?;
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let response = pb::DeliverUsageResponse {
            taken_count: count(usage.len() - refused.len()),
            refused: refused
                .iter()
                .map(|r| pb::RefusedUsage { index: count(r.index), reason: r.reason.name().to_owned() })
                .collect(),
        };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn close_usage_day(
        &self,
        request: Request<pb::CloseUsageDayRequest>,
    ) -> Result<Response<pb::CloseUsageDayResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.UsageService/CloseUsageDay",
            &request.request_id,
            &request,
        )?;
        let site = validate::text("site", validate::required("site", &request.site)?, 32)?;
        let day = validate::parse("usage_day", &request.usage_day)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let closed = close_day::close_day(&pending.tx, site, day, &request.time_zone, now).await?;
        let response = pb::CloseUsageDayResponse { close_time: Some(validate::to_message(closed.closed_at)) };
        let response = pending.finish(response, now).await?;
        self.0.wakes.billing.notify_one();
        Ok(Response::new(response))
    }

    async fn list_usage_days(
        &self,
        request: Request<pb::ListUsageDaysRequest>,
    ) -> Result<Response<pb::ListUsageDaysResponse>, Status> {
        let request = request.into_inner();
        let workspace = validate::parse("workspace_id", &request.workspace_id)?;
        let days = (
            validate::parse("start_day", &request.start_day)?,
            validate::parse("end_day", &request.end_day)?,
        );
        let page = super::page(request.page_size, &request.page_token, 4)?;
        let account = super::optional("billing_account_id", &request.billing_account_id)?;
        let rows =
            usage::list(&self.0.db.read, account.as_ref(), &workspace, days, &page.after, page.limit())
                .await?;
        let (rows, next_page_token) = cut(&page, rows);
        let usage = rows.iter().map(|row| to_message(&request.workspace_id, row)).collect();
        Ok(Response::new(pb::ListUsageDaysResponse { usage, next_page_token }))
    }
}

fn cut(page: &Page, rows: Vec<ListedUsage>) -> (Vec<ListedUsage>, String) {
    page.cut(rows, |row| {
        let u = &row.usage;
        vec![
            u.day.number().to_string(),
            u.item.name().to_owned(),
            u.retention_days.to_string(),
            u.sub_key.clone(),
        ]
    })
}

fn to_message(workspace: &str, row: &ListedUsage) -> pb::UsageDay {
    let u = &row.usage;
    pb::UsageDay {
        delivered: Some(pb::DeliveredUsage {
            workspace_id: workspace.to_owned(),
            usage_day: u.day.to_string(),
            item: u.item.to_message().into(),
            retention_days: u.retention_days,
            sub_key: u.sub_key.clone(),
            quantity_hundredths: u.quantity.hundredths,
            revision: row.revision,
        }),
        billed_hundredths: u.billed.hundredths,
    }
}

/// Reads a delivery; a malformed quantity refuses all of it, because it is a fault of the sender's code.
fn delivered(messages: &[pb::DeliveredUsage]) -> Result<Vec<Delivered>, Fault> {
    if messages.is_empty() || messages.len() > DELIVERY_MAX {
        return Err(Fault::field("usage", format!("must be 1 to {DELIVERY_MAX} quantities")));
    }
    let mut keys = HashSet::new();
    let mut usage = Vec::with_capacity(messages.len());
    for (index, m) in messages.iter().enumerate() {
        let field = |name: &str| format!("usage[{index}].{name}");
        let item = BillingItem::from_message(m.item);
        let item = item.ok_or_else(|| Fault::field(field("item"), "must be a billing item"))?;
        if m.quantity_hundredths < 0 {
            return Err(Fault::field(field("quantity_hundredths"), "must be at least 0"));
        }
        if m.revision < 1 {
            return Err(Fault::field(field("revision"), "must be at least 1"));
        }
        // May be empty, and is part of the key: taken as it is.
        if m.sub_key.chars().count() > SUB_KEY_CHARS_MAX || m.sub_key.chars().any(char::is_control) {
            return Err(Fault::field(field("sub_key"), "at most 64 characters, no control characters"));
        }
        if !(0..=3_650).contains(&m.retention_days) {
            return Err(Fault::field(field("retention_days"), "must be 0 to 3650"));
        }
        let one = Delivered {
            workspace: validate::parse(&field("workspace_id"), &m.workspace_id)?,
            day: validate::parse(&field("usage_day"), &m.usage_day)?,
            item,
            retention_days: m.retention_days,
            sub_key: m.sub_key.clone(),
            quantity: Quantity { hundredths: m.quantity_hundredths },
            revision: m.revision,
        };
        if !keys.insert((one.workspace.clone(), one.day, item, m.retention_days, m.sub_key.as_str())) {
            return Err(Fault::field(
                format!("usage[{index}]"),
                "must be the only quantity of its key in the delivery",
            ));
        }
        usage.push(one);
    }
    Ok(usage)
}
