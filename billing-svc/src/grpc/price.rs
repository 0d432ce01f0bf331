//! `billing.v1.PriceService`.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::price_service_server::PriceService;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::convert_bill::line;
use super::convert_price::{list_message, mode, period_message, published, quoted, summary};
use super::page;
use crate::context::Context;
use crate::domain::price::{in_force, schedule};
use crate::ops::{publish_price_list, quote_price, set_log_mode};
use crate::store::{log_mode, price, workspace};

const PUBLISH: &str = "/tandem.billing.v1.PriceService/PublishPriceList";
const SET_LOG_MODE: &str = "/tandem.billing.v1.PriceService/SetLogMode";

/// Serves price lists and log modes.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl PriceService for Service {
    async fn publish_price_list(
        &self,
        request: Request<pb::PublishPriceListRequest>,
    ) -> Result<Response<pb::PublishPriceListResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, PUBLISH, &request.request_id, &request)?;
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let now = self.0.clock.now();
        let list = published(&request, now)?;
        publish_price_list::check(&self.0.db.read, &list).await?;
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let lists = publish_price_list::run(&pending.tx, &list, now).await?;
        let scheduled = schedule(&lists).into_iter().find(|s| s.list.version == list.version);
        let response = pb::PublishPriceListResponse { price_list: scheduled.as_ref().map(summary) };
        let response = pending.finish(response, now).await?;
        let (version, day) = (&list.version, list.effective_day);
        tracing::info!(version, effective_day = %day, prices = list.prices.len(), caller = caller.name, "published price list {version}");
        Ok(Response::new(response))
    }

    async fn get_price_list(
        &self,
        request: Request<pb::GetPriceListRequest>,
    ) -> Result<Response<pb::GetPriceListResponse>, Status> {
        let request = request.into_inner();
        let lists = price::all(&self.0.db.read).await?;
        let list = if request.version.is_empty() {
            in_force(&lists, self.day(&request.day)?)
        } else {
            lists.iter().find(|list| list.version == request.version)
        };
        let list = list.ok_or(Fault::not_found("version"))?;
        Ok(Response::new(pb::GetPriceListResponse { price_list: Some(list_message(list)) }))
    }

    async fn list_price_lists(
        &self,
        request: Request<pb::ListPriceListsRequest>,
    ) -> Result<Response<pb::ListPriceListsResponse>, Status> {
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token, 3)?;
        let lists = price::all(&self.0.db.read).await?;
        // Few rows in memory already; the place is a list's whole rank, so that a publication meanwhile moves nothing.
        let place = |s: &pb::PriceListSummary| {
            let at =
                s.publish_time.map(|at| format!("{:020}.{:09}", at.seconds, at.nanos)).unwrap_or_default();
            vec![s.effective_day.clone(), at, s.version.clone()]
        };
        let summaries = schedule(&lists).into_iter().map(|s| summary(&s));
        let after = |s: &pb::PriceListSummary| page.after.is_empty() || place(s) < page.after;
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let rows: Vec<pb::PriceListSummary> = summaries.filter(after).take(limit).collect();
        let (price_lists, next_page_token) = page.cut(rows, place);
        Ok(Response::new(pb::ListPriceListsResponse { price_lists, next_page_token }))
    }

    async fn quote_price(
        &self,
        request: Request<pb::QuotePriceRequest>,
    ) -> Result<Response<pb::QuotePriceResponse>, Status> {
        let request = request.into_inner();
        let wish = quoted(&request, self.day(&request.day)?)?;
        let draft = quote_price::run(&self.0.db.read, &wish).await?;
        Ok(Response::new(pb::QuotePriceResponse {
            lines: (1..).zip(&draft.lines).map(|(number, l)| line(number, l)).collect(),
            total: Some(draft.payable.to_message()),
            price_list_version: draft.price_list_version,
        }))
    }

    async fn set_log_mode(
        &self,
        request: Request<pb::SetLogModeRequest>,
    ) -> Result<Response<pb::SetLogModeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SET_LOG_MODE, &request.request_id, &request)?;
        let id: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let wanted = mode("log_mode", request.log_mode)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let period = set_log_mode::run(&pending.tx, &id, wanted, &caller.name, now).await?;
        let response = pb::SetLogModeResponse { period: Some(period_message(wanted, period.as_ref())) };
        let response = pending.finish(response, now).await?;
        tracing::info!(workspace.id = %id, mode = wanted.name(), caller = caller.name, "set the log mode of {id}");
        Ok(Response::new(response))
    }

    async fn list_log_modes(
        &self,
        request: Request<pb::ListLogModesRequest>,
    ) -> Result<Response<pb::ListLogModesResponse>, Status> {
        let request = request.into_inner();
        let id: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let page = page(request.page_size, &request.page_token, 1)?;
        let db = &self.0.db.read;
        workspace::find(db, &id).await?.ok_or(Fault::new(Reason::WorkspaceNotBound))?;
        let after = page.after.first().and_then(|day| day.parse().ok()).unwrap_or(i32::MIN);
        let rows = log_mode::list(db, &id, after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |row| vec![row.effective_day.number().to_string()]);
        let periods = rows.iter().map(|row| period_message(row.mode, Some(row))).collect();
        Ok(Response::new(pb::ListLogModesResponse { periods, next_page_token }))
    }
}

impl Service {
    /// A usage day; without one today in UTC.
    fn day(&self, text: &str) -> Result<UsageDay, Fault> {
        if text.is_empty() {
            return Ok(UsageDay::of(self.0.clock.now(), &TimeZone::UTC));
        }
        validate::parse("day", text)
    }
}
