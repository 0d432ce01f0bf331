//! `billing.v1.BindingService`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::binding_service_server::BindingService;
use tandem_proto::common::v1::PurchaseIds;
use tandem_proto::day::zone;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::language::Language;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::{BillingRegion, Market, PriceZone, SettlementMethod};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate::{self, to_message};
use tonic::{Request, Response, Status};

use super::{account as accounts, binding_changes, named};
use crate::context::Context;
use crate::domain::binding::{Cause, PendingChange, Period, Settlement};
use crate::domain::subscription::Subscription;
use crate::ops::attach_purchase::Claim;
use crate::ops::bind_workspace::{self, Payer, Profile};
use crate::ops::verify_purchase::{self, Typed};
use crate::ops::{apply_event, change_settlement, create_account, update_profile};
use crate::store::workspace::{self, Workspace};
use crate::store::{binding, settlement_change};

const BIND: &str = "/tandem.billing.v1.BindingService/BindWorkspace";
const CHANGE: &str = "/tandem.billing.v1.BindingService/ChangeSettlementMethod";
const UPDATE: &str = "/tandem.billing.v1.BindingService/UpdateWorkspaceProfile";
/// Most methods a site may allow: more than there are.
const METHODS_MAX: usize = 16;

/// Serves bindings.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl BindingService for Service {
    async fn bind_workspace(
        &self,
        request: Request<pb::BindWorkspaceRequest>,
    ) -> Result<Response<pb::BindWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, BIND, &request.request_id, &request)?;
        // A repetition is answered before anything slow or outside is asked again.
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let now = self.0.clock.now();
        let profile = profile(request.workspace)?;
        let method = named("settlement_method", SettlementMethod::from_message(request.settlement_method))?;
        let given = match request.purchase {
            Some(pb::bind_workspace_request::Purchase::PurchaseIds(ids)) => Some(Given::Ids(ids)),
            Some(pb::bind_workspace_request::Purchase::LandingTicket(id)) => Some(Given::Ticket(id)),
            Some(pb::bind_workspace_request::Purchase::CloudAccountId(id)) => Some(Given::CloudAccount(id)),
            None => None,
        };
        let prepared = async {
            let (payer, payer_id) = self.payer(request.payer, profile.billing_region, now).await?;
            Ok((payer, self.claim(method, given, profile.billing_region, payer_id, now).await?))
        };
        let (payer, claim) = match prepared.await {
            Ok(prepared) => prepared,
            Err(fault) => return self.answered_meanwhile(&key, fault).await,
        };
        let wish = bind_workspace::Wish { profile, payer, method, claim };
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let bound = bind_workspace::run(&pending.tx, &self.0, &wish, now).await?;
        let response = pb::BindWorkspaceResponse {
            binding: Some(message(&bound.workspace, &bound.period, None)),
            account: Some(accounts::message(&bound.account)),
        };
        let response = pending.finish(response, now).await?;
        self.bound(bound.newly_known.as_ref(), now).await;
        Ok(Response::new(response))
    }

    async fn get_binding(
        &self,
        request: Request<pb::GetBindingRequest>,
    ) -> Result<Response<pb::GetBindingResponse>, Status> {
        let id: WorkspaceId = validate::parse("workspace_id", &request.into_inner().workspace_id)?;
        let db = &self.0.db.read;
        let not_bound = || Fault::new(Reason::WorkspaceNotBound);
        let found = workspace::find(db, &id).await?.ok_or_else(not_bound)?;
        let period = binding::current(db, &id).await?.ok_or_else(not_bound)?;
        let place = (found.billing_account.clone(), id);
        let waiting = settlement_change::find_all(db, &[place], self.0.clock.now()).await?;
        let binding = message(&found, &period, waiting.get(&found.id));
        Ok(Response::new(pb::GetBindingResponse { binding: Some(binding) }))
    }

    async fn list_bindings(
        &self,
        request: Request<pb::ListBindingsRequest>,
    ) -> Result<Response<pb::ListBindingsResponse>, Status> {
        let request = request.into_inner();
        let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let db = &self.0.db.read;
        let periods = binding::current_of_account(db, &account, &page).await?;
        let (periods, next_page_token) = page.cut(periods, |p| vec![p.workspace.as_str().to_owned()]);
        let ids: Vec<WorkspaceId> = periods.iter().map(|p| p.workspace.clone()).collect();
        let found = workspace::find_all(db, &ids).await?;
        let found: HashMap<&WorkspaceId, &Workspace> = found.iter().map(|w| (&w.id, w)).collect();
        let places: Vec<_> = ids.iter().map(|id| (account.clone(), id.clone())).collect();
        let waiting = settlement_change::find_all(db, &places, self.0.clock.now()).await?;
        let bindings = periods
            .iter()
            .filter_map(|p| found.get(&p.workspace).map(|w| message(w, p, waiting.get(&p.workspace))))
            .collect();
        Ok(Response::new(pb::ListBindingsResponse { bindings, next_page_token }))
    }

    async fn list_binding_history(
        &self,
        request: Request<pb::ListBindingHistoryRequest>,
    ) -> Result<Response<pb::ListBindingHistoryResponse>, Status> {
        let request = request.into_inner();
        let id: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let periods = binding::history(&self.0.db.read, &id, &page).await?;
        let (periods, next_page_token) = page.cut(periods, |p| vec![p.from.as_microsecond().to_string()]);
        let periods = periods.iter().map(period_message).collect();
        Ok(Response::new(pb::ListBindingHistoryResponse { periods, next_page_token }))
    }

    async fn change_settlement_method(
        &self,
        request: Request<pb::ChangeSettlementMethodRequest>,
    ) -> Result<Response<pb::ChangeSettlementMethodResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, CHANGE, &request.request_id, &request)?;
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let now = self.0.clock.now();
        let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
        let workspace: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let method = named("settlement_method", SettlementMethod::from_message(request.settlement_method))?;
        let given = match request.purchase {
            Some(pb::change_settlement_method_request::Purchase::PurchaseIds(ids)) => Some(Given::Ids(ids)),
            Some(pb::change_settlement_method_request::Purchase::LandingTicket(id)) => {
                Some(Given::Ticket(id))
            }
            Some(pb::change_settlement_method_request::Purchase::CloudAccountId(id)) => {
                Some(Given::CloudAccount(id))
            }
            None => None,
        };
        let prepared = async {
            let payer = change_settlement::check(&self.0, &account, &workspace, method, now).await?;
            self.claim(method, given, payer.region, Some(payer.id), now).await
        };
        let claim = match prepared.await {
            Ok(claim) => claim,
            Err(fault) => return self.answered_meanwhile(&key, fault).await,
        };
        let wish = change_settlement::Wish { account, workspace, method, claim };
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let changed = change_settlement::run(&pending.tx, &self.0, &wish, now).await?;
        let binding = Some(message(&changed.workspace, &changed.period, None));
        let response = pending.finish(pb::ChangeSettlementMethodResponse { binding }, now).await?;
        self.bound(changed.newly_known.as_ref(), now).await;
        Ok(Response::new(response))
    }

    async fn request_settlement_change(
        &self,
        request: Request<pb::RequestSettlementChangeRequest>,
    ) -> Result<Response<pb::RequestSettlementChangeResponse>, Status> {
        binding_changes::request_settlement_change(self, request).await
    }

    async fn complete_settlement_change(
        &self,
        request: Request<pb::CompleteSettlementChangeRequest>,
    ) -> Result<Response<pb::CompleteSettlementChangeResponse>, Status> {
        binding_changes::complete_settlement_change(self, request).await
    }

    async fn cancel_settlement_change(
        &self,
        request: Request<pb::CancelSettlementChangeRequest>,
    ) -> Result<Response<pb::CancelSettlementChangeResponse>, Status> {
        binding_changes::cancel_settlement_change(self, request).await
    }

    async fn send_move_codes(
        &self,
        request: Request<pb::SendMoveCodesRequest>,
    ) -> Result<Response<pb::SendMoveCodesResponse>, Status> {
        binding_changes::send_move_codes(self, request).await
    }

    async fn move_workspace(
        &self,
        request: Request<pb::MoveWorkspaceRequest>,
    ) -> Result<Response<pb::MoveWorkspaceResponse>, Status> {
        binding_changes::move_workspace(self, request).await
    }

    async fn update_workspace_profile(
        &self,
        request: Request<pb::UpdateWorkspaceProfileRequest>,
    ) -> Result<Response<pb::UpdateWorkspaceProfileResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, UPDATE, &request.request_id, &request)?;
        let profile = profile(request.workspace)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        update_profile::run(&pending.tx, &profile).await?;
        Ok(Response::new(pending.finish(pb::UpdateWorkspaceProfileResponse {}, now).await?))
    }
}

/// How a caller shows which purchase is meant, in either request.
pub(super) enum Given {
    Ids(PurchaseIds),
    Ticket(String),
    CloudAccount(String),
}

impl Service {
    /// Answers a call that was refused before its transaction. A twin may have committed in this moment, and what it did
    /// must not be the reason to refuse: then its answer is the answer.
    pub(super) async fn answered_meanwhile<R: prost::Message + Default>(
        &self,
        key: &RequestKey,
        refusal: Fault,
    ) -> Result<Response<R>, Status> {
        match request_log::replay(&self.0.db, key).await? {
            Some(answer) => Ok(Response::new(answer)),
            None => Err(refusal.into()),
        }
    }

    async fn payer(
        &self,
        payer: Option<pb::bind_workspace_request::Payer>,
        region: BillingRegion,
        now: Timestamp,
    ) -> Result<(Payer, Option<BillingAccountId>), Fault> {
        match payer {
            Some(pb::bind_workspace_request::Payer::NewAccount(new)) => {
                let new = accounts::new_account(Some(new), now).await?;
                if new.region() != region {
                    return Err(Fault::new(Reason::RegionMismatch));
                }
                Ok((Payer::New(Box::new(new)), None))
            }
            Some(pb::bind_workspace_request::Payer::ProvedAccount(proved)) => {
                let username = validate::text("proved_account.username", &proved.username, 64)?;
                let code = validate::text("proved_account.code", &proved.code, 16)?;
                let found = bind_workspace::prove(&self.0, region, username, code, now).await?;
                let payer = Payer::Proved { account: found.id.clone(), code: code.to_owned() };
                Ok((payer, Some(found.id)))
            }
            None => Err(Fault::field("payer", "is required: new_account or proved_account")),
        }
    }

    /// Reads the purchase; ids are verified with the vendor, outside of any transaction (I-26).
    pub(super) async fn claim(
        &self,
        method: SettlementMethod,
        given: Option<Given>,
        region: BillingRegion,
        payer: Option<BillingAccountId>,
        now: Timestamp,
    ) -> Result<Option<Claim>, Fault> {
        let (vendor, given) = match (method, given) {
            (SettlementMethod::BillingCenter, None) => return Ok(None),
            (SettlementMethod::Cloud(vendor), Some(given)) => (vendor, given),
            (SettlementMethod::BillingCenter, Some(_)) | (SettlementMethod::Cloud(_), None) => {
                return Err(Fault::field(
                    "purchase",
                    "is required for a cloud, and absent for the Billing Center",
                ));
            }
        };
        verify_purchase::settleable(&self.0, vendor)?;
        Ok(Some(match given {
            Given::Ids(ids) => {
                let typed = Typed {
                    vendor,
                    market: Market::of(region),
                    vendor_account_id: ids.vendor_account_id,
                    vendor_instance_id: ids.vendor_instance_id,
                    payer,
                };
                Claim::Verified(Box::new(verify_purchase::run(&self.0, &typed, now).await?))
            }
            Given::Ticket(id) => Claim::Ticket(id.parse().map_err(|_| Fault::new(Reason::TicketInvalid))?),
            Given::CloudAccount(id) => Claim::CloudAccount(validate::parse("cloud_account_id", &id)?),
        }))
    }

    /// Wakes the loops after a binding was committed; a lost wake only costs time.
    pub(super) async fn bound(&self, newly_known: Option<&Subscription>, now: Timestamp) {
        self.0.wakes.feed.notify_one();
        if let Some(known) = newly_known
            && let Err(fault) = apply_event::wake(&self.0, known.vendor, &known.vendor_instance_id, now).await
        {
            tracing::warn!(
                reason = fault.reason.name(),
                "events that wait for {} are left to their own time",
                known.id
            );
        }
        self.0.wakes.inbox.notify_one();
    }
}

fn profile(message: Option<pb::WorkspaceProfile>) -> Result<Profile, Fault> {
    let w = message.ok_or_else(|| Fault::field("workspace", "is required"))?;
    let time_zone = validate::text("workspace.time_zone", &w.time_zone, 64)?;
    if zone(time_zone).is_none() {
        return Err(Fault::field("workspace.time_zone", "must be an IANA zone such as Asia/Shanghai"));
    }
    if w.default_settlement_methods.len() > METHODS_MAX {
        return Err(Fault::field("workspace.default_settlement_methods", format!("at most {METHODS_MAX}")));
    }
    let method =
        |number: &i32| named("workspace.default_settlement_methods", SettlementMethod::from_message(*number));
    Ok(Profile {
        id: validate::parse("workspace.workspace_id", &w.workspace_id)?,
        name: validate::text("workspace.name", &w.name, 64)?.to_owned(),
        site: validate::text("workspace.site", &w.site, 32)?.to_owned(),
        time_zone: time_zone.to_owned(),
        price_zone: named("workspace.price_zone", PriceZone::from_message(w.price_zone))?,
        billing_region: named("workspace.billing_region", BillingRegion::from_message(w.billing_region))?,
        default_methods: w.default_settlement_methods.iter().map(method).collect::<Result<_, _>>()?,
        language: named("workspace.language", Language::from_message(w.language))?,
        owner_email: create_account::checked_email("workspace.owner_email", &w.owner_email)?,
        revision: w.revision,
    })
}

/// A binding as a message.
pub(super) fn message(w: &Workspace, p: &Period, pending: Option<&PendingChange>) -> pb::WorkspaceBinding {
    let (cloud_account_id, subscription_id) = cloud(&p.settlement);
    pb::WorkspaceBinding {
        workspace_id: w.id.as_str().to_owned(),
        workspace_name: w.name.clone(),
        site: w.site.clone(),
        billing_account_id: p.billing_account.as_str().to_owned(),
        settlement_method: p.settlement.method().to_message().into(),
        cloud_account_id,
        subscription_id,
        bind_time: Some(to_message(w.bound_at)),
        method_start_time: Some(to_message(p.from)),
        standing: w.standing.state.to_message().into(),
        lock_time: w.standing.lock_at.map(to_message),
        pending_change: pending.map(|c| pb::PendingSettlementChange {
            settlement_method: c.method.to_message().into(),
            request_time: Some(to_message(c.requested_at)),
            expire_time: Some(to_message(c.expires_at)),
        }),
    }
}

fn period_message(p: &Period) -> pb::SettlementPeriod {
    let (cloud_account_id, subscription_id) = cloud(&p.settlement);
    pb::SettlementPeriod {
        billing_account_id: p.billing_account.as_str().to_owned(),
        start_time: Some(to_message(p.from)),
        end_time: p.to.map(to_message),
        settlement_method: p.settlement.method().to_message().into(),
        cloud_account_id,
        subscription_id,
        cause: match p.cause {
            Cause::Bound => pb::PeriodCause::Bound,
            Cause::Changed => pb::PeriodCause::Changed,
            Cause::FallBack => pb::PeriodCause::FallBack,
            Cause::SubscriptionReplaced => pb::PeriodCause::SubscriptionReplaced,
            Cause::Moved => pb::PeriodCause::Moved,
        }
        .into(),
    }
}

fn cloud(settlement: &Settlement) -> (String, String) {
    match settlement {
        Settlement::BillingCenter => (String::new(), String::new()),
        Settlement::Cloud { cloud_account, subscription, .. } => {
            (cloud_account.as_str().to_owned(), subscription.as_str().to_owned())
        }
    }
}
