//! `billing.v1.MarketplaceService`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::marketplace_service_server::MarketplaceService;
use tandem_proto::ids::{BillingAccountId, MarketplaceEventId, MeteringRecordId, SubscriptionId};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate::{self, to_message};
use tonic::{Request, Response, Status};

use super::{convert_marketplace as convert, named};
use crate::context::Context;
use crate::domain::subscription::State;
use crate::ops::open_landing::{self, Arrival};
use crate::ops::reconcile::{self, Comparison};
use crate::ops::record_events::{self, EVENTS_MAX};
use crate::ops::resolve_metering::{self, Resolution};
use crate::ops::verify_purchase::{self, Purchase, Typed};
use crate::ops::{apply_event, replay_event};
use crate::store::marketplace_event::{self, Event, Recorded};
use crate::store::metering::{self, MeteringRecord};
use crate::store::{metering_queue, subscription};

const RECORD: &str = "/tandem.billing.v1.MarketplaceService/RecordMarketplaceEvents";
const OPEN_LANDING: &str = "/tandem.billing.v1.MarketplaceService/OpenLanding";
const REPLAY: &str = "/tandem.billing.v1.MarketplaceService/ReplayMarketplaceEvent";
const RESOLVE: &str = "/tandem.billing.v1.MarketplaceService/ResolveMeteringRecord";
const RECONCILE: &str = "/tandem.billing.v1.MarketplaceService/Reconcile";
/// How long one call compares; what is left stays due and the loop goes on with it.
const RECONCILE_MAX: Duration = Duration::from_secs(7);
/// Purchases read at a time while comparing all.
const RECONCILE_BATCH: i64 = 16;

/// Serves purchases in the clouds' markets.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl MarketplaceService for Service {
    async fn record_marketplace_events(
        &self,
        request: Request<pb::RecordMarketplaceEventsRequest>,
    ) -> Result<Response<pb::RecordMarketplaceEventsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, RECORD, &request.request_id, &request)?;
        if request.events.is_empty() || request.events.len() > EVENTS_MAX {
            return Err(Fault::field("events", format!("1 to {EVENTS_MAX} events")).into());
        }
        let events = request.events.into_iter().enumerate();
        let events = events.map(|(index, event)| convert::recorded(&format!("events[{index}]"), event));
        let events: Vec<Recorded> = events.collect::<Result<_, _>>()?;
        let now = self.0.clock.now();
        let recorded = match request_log::open::<pb::RecordMarketplaceEventsResponse>(&self.0.db, key).await?
        {
            Open::Answered(answer) => answer,
            Open::Fresh(pending) => {
                let taken = record_events::run(&pending.tx, &events, now).await?;
                let outcome = |t: &marketplace_event::Taken| pb::EventOutcome {
                    marketplace_event_id: t.id.as_str().to_owned(),
                    state: pb::MarketplaceEventState::Pending.into(),
                    duplicate: t.duplicate,
                    reason: String::new(),
                };
                let outcomes = taken.iter().map(outcome).collect();
                pending.finish(pb::RecordMarketplaceEventsResponse { outcomes }, now).await?
            }
        };
        Ok(Response::new(self.applied(recorded, now).await?))
    }

    async fn open_landing(
        &self,
        request: Request<pb::OpenLandingRequest>,
    ) -> Result<Response<pb::OpenLandingResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, OPEN_LANDING, &request.request_id, &request)?;
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let arrival = Arrival {
            vendor: named("vendor", Vendor::from_message(request.vendor))?,
            market: named("market", Market::from_message(request.market))?,
            vendor_instance_id: validate::text("vendor_instance_id", &request.vendor_instance_id, 128)?
                .to_owned(),
            vendor_account_id: request.vendor_account_id.trim().to_owned(),
            proof_digest: validate::text("proof_digest", &request.proof_digest, 255)?.to_owned(),
        };
        let now = self.0.clock.now();
        let unannounced = open_landing::prepare(&self.0, &arrival).await?;
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let opened = open_landing::run(&pending.tx, &arrival, unannounced.as_ref(), now).await?;
        let response = pb::OpenLandingResponse {
            landing_ticket: opened.ticket.id.as_str().to_owned(),
            expire_time: Some(to_message(opened.ticket.expires_at)),
            already_bound: opened.already_bound,
        };
        let response = pending.finish(response, now).await?;
        if opened.newly_known {
            let woken = apply_event::wake(&self.0, arrival.vendor, &arrival.vendor_instance_id, now).await?;
            apply_event::run_inline(&self.0, woken, now).await;
        }
        Ok(Response::new(response))
    }

    async fn verify_purchase(
        &self,
        request: Request<pb::VerifyPurchaseRequest>,
    ) -> Result<Response<pb::VerifyPurchaseResponse>, Status> {
        let request = request.into_inner();
        let ids = request.purchase_ids.ok_or_else(|| Fault::field("purchase_ids", "is required"))?;
        let typed = Typed {
            vendor: named("vendor", Vendor::from_message(request.vendor))?,
            market: named("market", Market::from_message(request.market))?,
            vendor_account_id: ids.vendor_account_id,
            vendor_instance_id: ids.vendor_instance_id,
            payer: super::optional("billing_account_id", &request.billing_account_id)?,
        };
        let purchase = verify_purchase::run(&self.0, &typed, self.0.clock.now()).await?;
        let subscription = Some(match &purchase.recorded {
            Some(recorded) => convert::subscription(recorded),
            None => unrecorded(&purchase),
        });
        Ok(Response::new(pb::VerifyPurchaseResponse { subscription }))
    }

    async fn list_cloud_accounts(
        &self,
        request: Request<pb::ListCloudAccountsRequest>,
    ) -> Result<Response<pb::ListCloudAccountsResponse>, Status> {
        let request = request.into_inner();
        let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let rows = subscription::list_cloud_accounts(&self.0.db.read, &account, &page).await?;
        let (rows, next_page_token) = page.cut(rows, |c| vec![c.id.as_str().to_owned()]);
        let cloud_accounts = rows.iter().map(convert::cloud_account).collect();
        Ok(Response::new(pb::ListCloudAccountsResponse { cloud_accounts, next_page_token }))
    }

    async fn get_subscription(
        &self,
        request: Request<pb::GetSubscriptionRequest>,
    ) -> Result<Response<pb::GetSubscriptionResponse>, Status> {
        let db = &self.0.db.read;
        let found = match request.into_inner().key {
            Some(pb::get_subscription_request::Key::SubscriptionId(id)) => {
                subscription::find(db, &validate::parse("subscription_id", &id)?).await?
            }
            Some(pb::get_subscription_request::Key::VendorInstance(instance)) => {
                let vendor = named("vendor_instance.vendor", Vendor::from_message(instance.vendor))?;
                let id = validate::maybe("vendor_instance.vendor_instance_id", &instance.vendor_instance_id)?;
                subscription::find_instance(db, vendor, id).await?
            }
            None => return Err(Fault::field("key", "is required").into()),
        };
        let found = found.ok_or(Fault::new(Reason::ObjectNotFound))?;
        Ok(Response::new(pb::GetSubscriptionResponse { subscription: Some(convert::subscription(&found)) }))
    }

    async fn list_subscriptions(
        &self,
        request: Request<pb::ListSubscriptionsRequest>,
    ) -> Result<Response<pb::ListSubscriptionsResponse>, Status> {
        let request = request.into_inner();
        let account: Option<BillingAccountId> =
            super::optional("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let rows = subscription::list(&self.0.db.read, account.as_ref(), &page).await?;
        let (rows, next_page_token) = page.cut(rows, |s| vec![s.id.as_str().to_owned()]);
        let subscriptions = rows.iter().map(convert::subscription).collect();
        Ok(Response::new(pb::ListSubscriptionsResponse { subscriptions, next_page_token }))
    }

    async fn list_marketplace_events(
        &self,
        request: Request<pb::ListMarketplaceEventsRequest>,
    ) -> Result<Response<pb::ListMarketplaceEventsResponse>, Status> {
        let request = request.into_inner();
        let state = convert::wished_event_state(request.state)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let instance = validate::maybe("vendor_instance_id", &request.vendor_instance_id)?;
        let rows = marketplace_event::list(&self.0.db.read, state, instance, &page).await?;
        let (rows, next_page_token) = page.cut(rows, |e| vec![e.id.as_str().to_owned()]);
        let events = rows.iter().map(convert::event).collect();
        Ok(Response::new(pb::ListMarketplaceEventsResponse { events, next_page_token }))
    }

    async fn replay_marketplace_event(
        &self,
        request: Request<pb::ReplayMarketplaceEventRequest>,
    ) -> Result<Response<pb::ReplayMarketplaceEventResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, REPLAY, &request.request_id, &request)?;
        let id: MarketplaceEventId = validate::parse("marketplace_event_id", &request.marketplace_event_id)?;
        let now = self.0.clock.now();
        match request_log::open::<pb::ReplayMarketplaceEventResponse>(&self.0.db, key).await? {
            Open::Answered(_) => {}
            Open::Fresh(pending) => {
                let revived = replay_event::run(&pending.tx, &id, now).await?;
                let response = pb::ReplayMarketplaceEventResponse { event: Some(convert::event(&revived)) };
                pending.finish(response, now).await?;
                tracing::info!(event.id = %id, caller = caller.name, "replays {id}");
            }
        }
        // Also after a repetition: what the first call did not come to is done now.
        apply_event::run_inline(&self.0, vec![id.clone()], now).await;
        let event = marketplace_event::find_all(&self.0.db.read, &[id]).await?;
        let event = event.first().map(convert::event);
        Ok(Response::new(pb::ReplayMarketplaceEventResponse { event }))
    }

    async fn list_metering_records(
        &self,
        request: Request<pb::ListMeteringRecordsRequest>,
    ) -> Result<Response<pb::ListMeteringRecordsResponse>, Status> {
        let request = request.into_inner();
        let state = convert::wished_metering_state(request.state)?;
        let id: Option<SubscriptionId> = super::optional("subscription_id", &request.subscription_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let rows = metering_queue::list(&self.0.db.read, state, id.as_ref(), &page).await?;
        let (rows, next_page_token) = page.cut(rows, |r| vec![r.id.as_str().to_owned()]);
        let records = self.with_bills(&rows).await?;
        Ok(Response::new(pb::ListMeteringRecordsResponse { records, next_page_token }))
    }

    async fn resolve_metering_record(
        &self,
        request: Request<pb::ResolveMeteringRecordRequest>,
    ) -> Result<Response<pb::ResolveMeteringRecordResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, RESOLVE, &request.request_id, &request)?;
        let id: MeteringRecordId = validate::parse("metering_record_id", &request.metering_record_id)?;
        let resolution = match request.resolution() {
            pb::MeteringResolution::Accepted => Resolution::Accepted,
            pb::MeteringResolution::BillingCenter => Resolution::BillingCenter,
            pb::MeteringResolution::Unspecified => {
                return Err(Fault::field("resolution", "is required").into());
            }
        };
        let note = validate::text("note", &request.note, 500)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let decided = resolve_metering::run(&pending.tx, &self.0, &id, resolution, note, now).await?;
        let place = [(decided.billing_account.clone(), decided.id.clone())];
        let bills = metering::bills_of(&pending.tx, &place).await?;
        let bills = bills.into_iter().map(|(_, bill, _)| bill.as_str().to_owned()).collect();
        let record = Some(convert::metering_record(&decided, bills));
        let response = pending.finish(pb::ResolveMeteringRecordResponse { record }, now).await?;
        self.0.wakes.feed.notify_one();
        tracing::info!(record.id = %id, state = decided.state.name(), caller = caller.name, "resolved {id}");
        Ok(Response::new(response))
    }

    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, RECONCILE, &request.request_id, &request)?;
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let now = self.0.clock.now();
        let found = match super::optional("subscription_id", &request.subscription_id)? {
            Some(id) => reconcile::one(&self.0, &id, SignedDuration::ZERO, now).await?,
            None => self.compare_all(now).await?,
        };
        let response = comparison(&found);
        Ok(Response::new(match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => answer,
            Open::Fresh(pending) => pending.finish(response, now).await?,
        }))
    }
}

impl Service {
    /// Applies recorded events and says where each stands now.
    async fn applied(
        &self,
        mut recorded: pb::RecordMarketplaceEventsResponse,
        now: Timestamp,
    ) -> Result<pb::RecordMarketplaceEventsResponse, Fault> {
        let ids = recorded
            .outcomes
            .iter()
            .map(|o| validate::parse("marketplace_event_id", &o.marketplace_event_id));
        let ids: Vec<MarketplaceEventId> = ids.collect::<Result<_, _>>()?;
        apply_event::run_inline(&self.0, ids.clone(), now).await;
        let events = marketplace_event::find_all(&self.0.db.read, &ids).await?;
        let events: HashMap<&str, &Event> = events.iter().map(|e| (e.id.as_str(), e)).collect();
        for outcome in &mut recorded.outcomes {
            if let Some(event) = events.get(outcome.marketplace_event_id.as_str()) {
                outcome.state = convert::event_state(event.state).into();
                outcome.reason = event.reason.clone();
            }
        }
        Ok(recorded)
    }

    async fn with_bills(&self, rows: &[MeteringRecord]) -> Result<Vec<pb::MeteringRecord>, Fault> {
        let places: Vec<_> = rows.iter().map(|r| (r.billing_account.clone(), r.id.clone())).collect();
        let mut bills: HashMap<MeteringRecordId, Vec<String>> = HashMap::new();
        for (record, bill, _) in metering::bills_of(&self.0.db.read, &places).await? {
            bills.entry(record).or_default().push(bill.as_str().to_owned());
        }
        Ok(rows
            .iter()
            .map(|r| convert::metering_record(r, bills.remove(&r.id).unwrap_or_default()))
            .collect())
    }

    /// Compares every purchase that has not ended, as many as fit into the call's time.
    async fn compare_all(&self, now: Timestamp) -> Result<Comparison, Fault> {
        let started = Instant::now();
        let mut found = Comparison::default();
        subscription::make_all_due(&self.0.db.write).await?;
        while started.elapsed() < RECONCILE_MAX {
            let due =
                subscription::due_for_reconcile(&self.0.db.read, Timestamp::UNIX_EPOCH, RECONCILE_BATCH)
                    .await?;
            if due.is_empty() {
                break;
            }
            for purchase in &due {
                if started.elapsed() < RECONCILE_MAX {
                    reconcile::run(&self.0, purchase, SignedDuration::ZERO, now, &mut found).await?;
                }
            }
        }
        Ok(found)
    }
}

fn comparison(found: &Comparison) -> pb::ReconcileResponse {
    let difference = |(id, ours, theirs): &(SubscriptionId, State, State)| pb::ReconcileDifference {
        subscription_id: id.as_str().to_owned(),
        ours: convert::subscription_state(*ours).into(),
        theirs: convert::subscription_state(*theirs).into(),
    };
    pb::ReconcileResponse {
        compared_count: found.compared,
        unanswered_count: found.unanswered,
        differences: found.differences.iter().map(difference).collect(),
    }
}

/// A purchase that the vendor confirms and that is new to us.
fn unrecorded(purchase: &Purchase) -> pb::MarketplaceSubscription {
    pb::MarketplaceSubscription { id: String::new(), ..convert::subscription(&purchase.unannounced()) }
}
