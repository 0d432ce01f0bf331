//! `billing.v1.ApprovalService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::approval_service_server::ApprovalService;
use tandem_proto::ids::ApprovalId;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::identity::Caller;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::convert_approval::{act, approval_message, state};
use crate::context::Context;
use crate::domain::approval::Decision;
use crate::ops::{decide_approval, request_approval};
use crate::store::approval::{self, Filter};

/// Longest reason or note.
const WORDS_CHARS_MAX: usize = 500;

/// Serves what takes two people.
pub struct Service(pub Arc<Context>);

/// What three methods do alike: each takes the id of a request and a note, and answers with the request.
macro_rules! decision {
    ($self:ident, $request:ident, $path:expr, $decision:expr, $note:expr, $response:ident) => {{
        let caller = caller(&$request)?;
        let request = $request.into_inner();
        let key = RequestKey::new(&caller, $path, &request.request_id, &request)?;
        let id = validate::parse("approval_id", &request.approval_id)?;
        let note = $note(&request.note)?;
        let now = $self.0.clock.now();
        let pending = match request_log::open(&$self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let decided = $self.decide(&pending.tx, &id, $decision, &caller, note, now).await?;
        let answer = pb::$response { approval: Some(decided) };
        let answer = pending.finish(answer, now).await?;
        $self.0.wakes.feed.notify_one();
        Ok(Response::new(answer))
    }};
}

#[tonic::async_trait]
impl ApprovalService for Service {
    async fn request_approval(
        &self,
        request: Request<pb::RequestApprovalRequest>,
    ) -> Result<Response<pb::RequestApprovalResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.ApprovalService/RequestApproval",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let reason = validate::text("reason", &request.reason, WORDS_CHARS_MAX)?.to_owned();
        let act = act(request.act)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let made = request_approval::run(&pending.tx, &account, act, reason, &caller.name, now).await?;
        let answer = pb::RequestApprovalResponse { approval: Some(approval_message(&made, now)) };
        Ok(Response::new(pending.finish(answer, now).await?))
    }

    async fn approve(
        &self,
        request: Request<pb::ApproveRequest>,
    ) -> Result<Response<pb::ApproveResponse>, Status> {
        let path = "/tandem.billing.v1.ApprovalService/Approve";
        decision!(self, request, path, Decision::Approve, optional_note, ApproveResponse)
    }

    async fn reject(
        &self,
        request: Request<pb::RejectRequest>,
    ) -> Result<Response<pb::RejectResponse>, Status> {
        let path = "/tandem.billing.v1.ApprovalService/Reject";
        decision!(self, request, path, Decision::Reject, required_note, RejectResponse)
    }

    async fn withdraw(
        &self,
        request: Request<pb::WithdrawRequest>,
    ) -> Result<Response<pb::WithdrawResponse>, Status> {
        let path = "/tandem.billing.v1.ApprovalService/Withdraw";
        decision!(self, request, path, Decision::Withdraw, optional_note, WithdrawResponse)
    }

    async fn list_approvals(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Result<Response<pb::ListApprovalsResponse>, Status> {
        let request = request.into_inner();
        let filter = Filter {
            billing_account: super::optional("billing_account_id", &request.billing_account_id)?,
            state: state(request.state)?,
        };
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let now = self.0.clock.now();
        let rows = approval::list(&self.0.db.read, &filter, &page.after, page.limit(), now).await?;
        let (rows, next_page_token) = page.cut(rows, |row| vec![row.id.as_str().to_owned()]);
        let approvals = rows.iter().map(|row| approval_message(row, now)).collect();
        Ok(Response::new(pb::ListApprovalsResponse { approvals, next_page_token }))
    }

    async fn get_approval(
        &self,
        request: Request<pb::GetApprovalRequest>,
    ) -> Result<Response<pb::GetApprovalResponse>, Status> {
        let id: ApprovalId = validate::parse("approval_id", &request.into_inner().approval_id)?;
        let found = approval::find(&self.0.db.read, &id).await?.ok_or(Fault::not_found("approval_id"))?;
        let approval = Some(approval_message(&found, self.0.clock.now()));
        Ok(Response::new(pb::GetApprovalResponse { approval }))
    }
}

impl Service {
    async fn decide(
        &self,
        tx: &tandem_service_kit::db::Tx,
        id: &ApprovalId,
        decision: Decision,
        caller: &Caller,
        note: String,
        now: jiff::Timestamp,
    ) -> Result<pb::Approval, Fault> {
        let decided = decide_approval::run(tx, &self.0, id, decision, &caller.name, note, now).await?;
        Ok(approval_message(&decided, now))
    }
}

fn required_note(note: &str) -> Result<String, Fault> {
    validate::text("note", note, WORDS_CHARS_MAX).map(str::to_owned)
}

fn optional_note(note: &str) -> Result<String, Fault> {
    if note.is_empty() { Ok(String::new()) } else { required_note(note) }
}
