//! The part of `billing.v1.BindingService` that takes more than one step: requested changes and moves.

use std::collections::BTreeSet;

use tandem_proto::billing::v1 as pb;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::binding::{Given, Service, message};
use super::named;
use crate::ops::request_change::WORKSPACES_MAX;
use crate::ops::{
    cancel_change, change_settlement, complete_change, move_workspace, request_change, send_move_codes,
    verify_purchase,
};
use crate::store::{account, settlement_change};

const REQUEST: &str = "/tandem.billing.v1.BindingService/RequestSettlementChange";
const COMPLETE: &str = "/tandem.billing.v1.BindingService/CompleteSettlementChange";
const CANCEL: &str = "/tandem.billing.v1.BindingService/CancelSettlementChange";
const SEND_CODES: &str = "/tandem.billing.v1.BindingService/SendMoveCodes";
const MOVE: &str = "/tandem.billing.v1.BindingService/MoveWorkspace";
/// Longest code that is looked at.
const CODE_CHARS_MAX: usize = 16;

pub(super) async fn request_settlement_change(
    service: &Service,
    request: Request<pb::RequestSettlementChangeRequest>,
) -> Result<Response<pb::RequestSettlementChangeResponse>, Status> {
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, REQUEST, &request.request_id, &request)?;
    let wish = wish(&request.billing_account_id, request.settlement_method, &request.workspace_ids)?;
    if let SettlementMethod::Cloud(vendor) = wish.method {
        // Nobody is sent to a market that nothing could be settled through.
        verify_purchase::settleable(&service.0, vendor)?;
    }
    let now = service.0.clock.now();
    let pending = match request_log::open(&service.0.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let requested = request_change::run(&pending.tx, &wish, now).await?;
    let bindings = requested.iter().map(|r| message(&r.workspace, &r.period, Some(&r.pending))).collect();
    Ok(Response::new(pending.finish(pb::RequestSettlementChangeResponse { bindings }, now).await?))
}

pub(super) async fn complete_settlement_change(
    service: &Service,
    request: Request<pb::CompleteSettlementChangeRequest>,
) -> Result<Response<pb::CompleteSettlementChangeResponse>, Status> {
    use pb::complete_settlement_change_request::Purchase;
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, COMPLETE, &request.request_id, &request)?;
    if let Some(answer) = request_log::replay(&service.0.db, &key).await? {
        return Ok(Response::new(answer));
    }
    let wish = wish(&request.billing_account_id, request.settlement_method, &request.workspace_ids)?;
    let given = request.purchase.map(|purchase| match purchase {
        Purchase::PurchaseIds(ids) => Given::Ids(ids),
        Purchase::LandingTicket(id) => Given::Ticket(id),
        Purchase::CloudAccountId(id) => Given::CloudAccount(id),
    });
    let now = service.0.clock.now();
    let prepared = async {
        let payer = account::find(&service.0.db.read, &wish.account).await?;
        let payer = payer.ok_or(Fault::new(Reason::WorkspaceNotBound))?;
        // Request and rules are looked at before the vendor is asked, as in a change that is made at once.
        let places: Vec<_> = wish.workspaces.iter().map(|id| (wish.account.clone(), id.clone())).collect();
        let waiting = settlement_change::find_all(&service.0.db.read, &places, now).await?;
        if !wish.workspaces.iter().all(|id| waiting.get(id).is_some_and(|c| c.method == wish.method)) {
            return Err(Fault::new(Reason::ChangeNotRequested));
        }
        for workspace in &wish.workspaces {
            change_settlement::check(&service.0, &wish.account, workspace, wish.method, now).await?;
        }
        service.claim(wish.method, given, payer.region, Some(payer.id), now).await
    };
    let claim = match prepared.await {
        Ok(Some(claim)) => claim,
        Ok(None) => return Err(Fault::field("settlement_method", "must be a cloud").into()),
        Err(fault) => return service.answered_meanwhile(&key, fault).await,
    };
    let pending = match request_log::open(&service.0.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let changed = complete_change::run(&pending.tx, &service.0, &wish, &claim, now).await?;
    let bindings = changed.iter().map(|c| message(&c.workspace, &c.period, None)).collect();
    let response = pending.finish(pb::CompleteSettlementChangeResponse { bindings }, now).await?;
    service.bound(changed.iter().find_map(|c| c.newly_known.as_ref()), now).await;
    Ok(Response::new(response))
}

pub(super) async fn cancel_settlement_change(
    service: &Service,
    request: Request<pb::CancelSettlementChangeRequest>,
) -> Result<Response<pb::CancelSettlementChangeResponse>, Status> {
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, CANCEL, &request.request_id, &request)?;
    let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
    let workspace: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
    let now = service.0.clock.now();
    let pending = match request_log::open(&service.0.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let (found, period) = cancel_change::run(&pending.tx, &account, &workspace, now).await?;
    let binding = Some(message(&found, &period, None));
    Ok(Response::new(pending.finish(pb::CancelSettlementChangeResponse { binding }, now).await?))
}

pub(super) async fn send_move_codes(
    service: &Service,
    request: Request<pb::SendMoveCodesRequest>,
) -> Result<Response<pb::SendMoveCodesResponse>, Status> {
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, SEND_CODES, &request.request_id, &request)?;
    let workspace: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
    let username = validate::text("to_username", &request.to_username, 64)?;
    let now = service.0.clock.now();
    let pending = match request_log::open(&service.0.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let valid_seconds = send_move_codes::run(&pending.tx, &service.0, &workspace, username, now).await?;
    Ok(Response::new(pending.finish(pb::SendMoveCodesResponse { valid_seconds }, now).await?))
}

pub(super) async fn move_workspace(
    service: &Service,
    request: Request<pb::MoveWorkspaceRequest>,
) -> Result<Response<pb::MoveWorkspaceResponse>, Status> {
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, MOVE, &request.request_id, &request)?;
    // The codes of a repetition are used up, so it is answered before they are looked at.
    if let Some(answer) = request_log::replay(&service.0.db, &key).await? {
        return Ok(Response::new(answer));
    }
    let wish = move_workspace::Wish {
        workspace: validate::parse("workspace_id", &request.workspace_id)?,
        to_username: validate::text("to_username", &request.to_username, 64)?.to_owned(),
        from_code: validate::text("from_code", &request.from_code, CODE_CHARS_MAX)?.to_owned(),
        to_code: validate::text("to_code", &request.to_code, CODE_CHARS_MAX)?.to_owned(),
    };
    let now = service.0.clock.now();
    let proved = match move_workspace::prove(&service.0, &wish, now).await {
        Ok(proved) => proved,
        Err(fault) => return service.answered_meanwhile(&key, fault).await,
    };
    let pending = match request_log::open(&service.0.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let moved = move_workspace::run(&pending.tx, &service.0, &wish, &proved, now).await?;
    let response = pb::MoveWorkspaceResponse {
        binding: Some(message(&moved.workspace, &moved.period, None)),
        first_day: moved.first_day.to_string(),
    };
    let response = pending.finish(response, now).await?;
    service.0.wakes.feed.notify_one();
    Ok(Response::new(response))
}

/// Reads which workspaces are to be changed to which cloud.
fn wish(account: &str, method: i32, workspaces: &[String]) -> Result<request_change::Wish, Fault> {
    let method = named("settlement_method", SettlementMethod::from_message(method))?;
    if method == SettlementMethod::BillingCenter {
        let right = "must be a cloud; use ChangeSettlementMethod for the Billing Center";
        return Err(Fault::field("settlement_method", right));
    }
    if workspaces.is_empty() || workspaces.len() > WORKSPACES_MAX {
        return Err(Fault::field("workspace_ids", format!("1 to {WORKSPACES_MAX} workspaces")));
    }
    let workspaces =
        workspaces.iter().map(|id| validate::parse("workspace_ids", id)).collect::<Result<Vec<_>, _>>()?;
    if workspaces.iter().collect::<BTreeSet<_>>().len() != workspaces.len() {
        return Err(Fault::field("workspace_ids", "must name each workspace once"));
    }
    Ok(request_change::Wish { account: validate::parse("billing_account_id", account)?, workspaces, method })
}
