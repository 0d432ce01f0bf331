//! `tandem.console.v1.UsageService`.

use std::collections::VecDeque;

use tandem_proto::console::v1::usage_service_server::UsageService;
use tandem_proto::console::v1::{
    CloseUsageDayRequest, CloseUsageDayResponse, DailyUsage, GetQuotaRequest, GetQuotaResponse,
    GetUsageSummaryRequest, GetUsageSummaryResponse, ItemQuota, ItemUsage, ListUsageRequest,
    ListUsageResponse, RecordUsageRequest, RecordUsageResponse, RecordUsageStreamRequest,
    RecordUsageStreamResponse,
};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{Open, RequestKey, open, replay};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use super::workspace::{optional_acting, page};
use crate::domain::item::Item;
use crate::domain::usage_day::UsageDay;
use crate::ops::record_usage::{Answer, Recorder, answered};
use crate::ops::{Context, access, close_day, get_quota, roll_up, summarise_usage};
use crate::store::usage_total::{self, Scope, Total, TotalKey};

const RECORD: &str = "/tandem.console.v1.UsageService/RecordUsage";
const RECORD_STREAM: &str = "/tandem.console.v1.UsageService/RecordUsageStream";
const CLOSE_DAY: &str = "/tandem.console.v1.UsageService/CloseUsageDay";
/// Batches of one stream that may wait for their answers: while one is written the next ones are read and judged.
const STREAM_BATCHES_MAX: usize = 8;
/// Refused points named in a stream's answer (contract).
const STREAM_REFUSED_MAX: usize = 1_000;

/// The service.
pub struct Usage {
    context: Context,
    recorder: Recorder,
}

impl Usage {
    /// Makes the service.
    pub fn new(context: Context, recorder: Recorder) -> Usage {
        Usage { context, recorder }
    }
}

#[tonic::async_trait]
impl UsageService for Usage {
    async fn record_usage(
        &self,
        request: Request<RecordUsageRequest>,
    ) -> Result<Response<RecordUsageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::bulk(&caller, RECORD, &request.request_id, &request)?;
        let points = request.points.into_iter().map(Into::into).collect();
        Ok(Response::new(self.recorder.record(key, points).await?))
    }

    async fn record_usage_stream(
        &self,
        request: Request<Streaming<RecordUsageStreamRequest>>,
    ) -> Result<Response<RecordUsageStreamResponse>, Status> {
        let caller = caller(&request)?;
        let mut batches = request.into_inner();
        let lane = self.recorder.lane();
        let mut sums = StreamSums::default();
        let mut waiting: VecDeque<(i64, oneshot::Receiver<Answer>)> = VecDeque::new();
        let mut base = 0_i64;
        while let Some(batch) = batches.message().await? {
            let key = RequestKey::bulk(&caller, RECORD_STREAM, &batch.request_id, &batch)?;
            let points: Vec<_> = batch.points.into_iter().map(Into::into).collect();
            let count = i64::try_from(points.len()).unwrap_or(i64::MAX);
            waiting.push_back((base, lane.take(key, points).await?));
            base = base.saturating_add(count);
            if waiting.len() >= STREAM_BATCHES_MAX
                && let Some((base, answer)) = waiting.pop_front()
            {
                sums.add(base, answered(answer).await?);
            }
        }
        for (base, answer) in waiting {
            sums.add(base, answered(answer).await?);
        }
        Ok(Response::new(sums.0))
    }

    async fn get_usage_summary(
        &self,
        request: Request<GetUsageSummaryRequest>,
    ) -> Result<Response<GetUsageSummaryResponse>, Status> {
        let request = request.into_inner();
        let workspace = self.visible(&request.workspace_id, &request.acting_account_id).await?;
        let (today, sums) = summarise_usage::run(&self.context, &workspace, self.context.now()).await?;
        let items = sums.into_iter().map(|(item, sums)| ItemUsage {
            item: i32::from(item.number()),
            today_hundredths: sums.today.hundredths,
            yesterday_hundredths: sums.yesterday.hundredths,
            month_hundredths: sums.month.hundredths,
        });
        Ok(Response::new(GetUsageSummaryResponse { today: today.to_string(), items: items.collect() }))
    }

    async fn list_usage(
        &self,
        request: Request<ListUsageRequest>,
    ) -> Result<Response<ListUsageResponse>, Status> {
        let request = request.into_inner();
        let days =
            (convert::day("start_day", &request.start_day)?, convert::day("end_day", &request.end_day)?);
        let page = page(request.page_size, &request.page_token, 4)?;
        let after = match page.after.as_slice() {
            [day, item, retention, sub_key] => {
                Some(after(&request.workspace_id, [day, item, retention, sub_key])?)
            }
            _ => None,
        };
        let workspace = self.visible(&request.workspace_id, &request.acting_account_id).await?;
        // What was recorded a moment ago has to be seen (I-36).
        roll_up::all(&self.context.db, Scope::Workspace(workspace.id.as_str())).await?;
        let db = &self.context.db.read;
        let rows = usage_total::list(db, workspace.id.as_str(), days, &page, after.as_ref()).await?;
        let (rows, next_page_token) = page.cut(rows, |total| {
            let key = &total.key;
            let numbers = [key.usage_day, i32::from(key.item.number()), i32::from(key.retention_days)];
            numbers.iter().map(ToString::to_string).chain([key.sub_key.clone()]).collect()
        });
        let usage = rows.into_iter().map(daily).collect::<Result<_, _>>()?;
        Ok(Response::new(ListUsageResponse { usage, next_page_token }))
    }

    async fn get_quota(
        &self,
        request: Request<GetQuotaRequest>,
    ) -> Result<Response<GetQuotaResponse>, Status> {
        let request = request.into_inner();
        let workspace = self.visible(&request.workspace_id, &request.acting_account_id).await?;
        let quotas = get_quota::run(&self.context, &workspace, self.context.now()).await?;
        let quotas = quotas.into_iter().map(|quota| ItemQuota {
            item: i32::from(quota.item.number()),
            limit: quota.limit,
            used: quota.used,
        });
        Ok(Response::new(GetQuotaResponse { quotas: quotas.collect() }))
    }

    async fn close_usage_day(
        &self,
        request: Request<CloseUsageDayRequest>,
    ) -> Result<Response<CloseUsageDayResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, CLOSE_DAY, &request.request_id, &request)?;
        let site = validate::required("site", &request.site)?;
        let day = convert::day("usage_day", &request.usage_day)?;
        if let Some(answer) = replay(&self.context.db, &key).await? {
            return Ok(Response::new(answer));
        }
        // Nothing is open while Billing is called; closing a closed day changes nothing, so a twin does no harm.
        let site = self.context.site(site)?;
        let delivered_count = close_day::up_to(&self.context, site, day).await?;
        let now = self.context.now();
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                Ok(Response::new(call.finish(CloseUsageDayResponse { delivered_count }, now).await?))
            }
        }
    }
}

impl Usage {
    async fn visible(
        &self,
        workspace: &str,
        acting: &str,
    ) -> Result<crate::domain::workspace::Workspace, Fault> {
        let workspace: WorkspaceId = validate::parse("workspace_id", workspace)?;
        let db = &self.context.db.read;
        let visible = access::visible(db, &workspace, optional_acting(acting)?.as_ref()).await?;
        access::usable(db, &workspace).await?;
        Ok(visible)
    }
}

/// A stream's answer as it grows.
#[derive(Default)]
struct StreamSums(RecordUsageStreamResponse);

impl StreamSums {
    fn add(&mut self, base: i64, batch: RecordUsageResponse) {
        let sums = &mut self.0;
        sums.accepted_count += i64::from(batch.accepted_count);
        sums.duplicate_count += i64::from(batch.duplicate_count);
        sums.replaced_count += i64::from(batch.replaced_count);
        sums.refused_count += i64::from(batch.refused_count);
        let room = STREAM_REFUSED_MAX.saturating_sub(sums.refused.len());
        for mut point in batch.refused.into_iter().take(room) {
            point.index = point.index.saturating_add(base);
            sums.refused.push(point);
        }
    }
}

fn daily(total: Total) -> Result<DailyUsage, StoreError> {
    let corrupt = StoreError::Corrupt { table: "usage_total", column: "usage_day" };
    Ok(DailyUsage {
        usage_day: UsageDay::from_number(total.key.usage_day).map_err(|_| corrupt)?.to_string(),
        item: i32::from(total.key.item.number()),
        retention_days: i32::from(total.key.retention_days),
        sub_key: total.key.sub_key,
        quantity_hundredths: total.quantity.hundredths,
        revision: total.revision,
        delivered: total.delivered_revision >= total.revision,
    })
}

fn after(workspace: &str, [day, item, retention, sub_key]: [&String; 4]) -> Result<TotalKey, Fault> {
    let bad =
        || Fault::field("page_token", "must be the `next_page_token` of the previous response, unchanged");
    Ok(TotalKey {
        workspace_id: workspace.to_owned(),
        usage_day: day.parse().map_err(|_| bad())?,
        item: item.parse().ok().and_then(Item::from_number).ok_or_else(bad)?,
        retention_days: retention.parse().map_err(|_| bad())?,
        sub_key: sub_key.clone(),
    })
}
