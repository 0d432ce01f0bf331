//! `billing.v1.StandingService`.

use std::sync::Arc;

use jiff::SignedDuration;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::standing_service_server::StandingService;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate::{self, to_message};
use tonic::{Request, Response, Status};

use super::account::standing_message;
use crate::context::Context;
use crate::domain::standing::Remedy;
use crate::ops::view_debt::{self, Debt, HeldWorkspace};
use crate::ops::{dissolve_workspace, stand};
use crate::store::workspace;

const DISSOLVE: &str = "/tandem.billing.v1.StandingService/DissolveWorkspace";
const UNLOCK: &str = "/tandem.billing.v1.StandingService/UnlockWorkspace";
/// How long a link works when the caller does not say.
const LINK_SECS: i64 = 3_600;
/// Longest token that is looked at.
const TOKEN_CHARS_MAX: usize = 512;

/// Serves what is owed and what is locked.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl StandingService for Service {
    async fn get_debt(
        &self,
        request: Request<pb::GetDebtRequest>,
    ) -> Result<Response<pb::GetDebtResponse>, Status> {
        let id: BillingAccountId =
            validate::parse("billing_account_id", &request.into_inner().billing_account_id)?;
        let debt = view_debt::of_account(&self.0.db.read, &id).await?;
        Ok(Response::new(pb::GetDebtResponse { debt: Some(message(debt)) }))
    }

    async fn dissolve_workspace(
        &self,
        request: Request<pb::DissolveWorkspaceRequest>,
    ) -> Result<Response<pb::DissolveWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, DISSOLVE, &request.request_id, &request)?;
        let id: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let dissolved = dissolve_workspace::run(&pending.tx, &self.0, &id, now).await?;
        let answer = pb::DissolveWorkspaceResponse {
            billing_account_id: dissolved.billing_account.as_str().to_owned(),
            standing: dissolved.standing.state.to_message().into(),
        };
        let answer = pending.finish(answer, now).await?;
        self.0.wakes.feed.notify_one();
        Ok(Response::new(answer))
    }

    async fn unlock_workspace(
        &self,
        request: Request<pb::UnlockWorkspaceRequest>,
    ) -> Result<Response<pb::UnlockWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, UNLOCK, &request.request_id, &request)?;
        let id: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let (unlocked, _) = stand::unlock(&pending.tx, &self.0, &id, false, now).await?;
        let answer = pb::UnlockWorkspaceResponse {
            billing_account_id: unlocked.billing_account.as_str().to_owned(),
            standing: unlocked.standing.state.to_message().into(),
            lock_time: unlocked.standing.lock_at.map(to_message),
        };
        let answer = pending.finish(answer, now).await?;
        self.0.wakes.feed.notify_one();
        Ok(Response::new(answer))
    }

    async fn issue_unlock_link(
        &self,
        request: Request<pb::IssueUnlockLinkRequest>,
    ) -> Result<Response<pb::IssueUnlockLinkResponse>, Status> {
        let request = request.into_inner();
        let id: WorkspaceId = validate::parse("workspace_id", &request.workspace_id)?;
        let life = match i64::from(request.valid_seconds) {
            0 => LINK_SECS,
            seconds if seconds < 0 => {
                return Err(Fault::field("valid_seconds", "must be 0 or more, at most 86400").into());
            }
            seconds => seconds,
        };
        let found = workspace::find(&self.0.db.read, &id).await?;
        let found = found.ok_or(Fault::new(Reason::WorkspaceNotBound))?;
        let link =
            self.0.links.unlock(found.id.as_str(), SignedDuration::from_secs(life), self.0.clock.now());
        Ok(Response::new(pb::IssueUnlockLinkResponse {
            token: link.token,
            url: link.url,
            expire_time: Some(to_message(link.expires_at)),
        }))
    }

    async fn open_unlock_link(
        &self,
        request: Request<pb::OpenUnlockLinkRequest>,
    ) -> Result<Response<pb::OpenUnlockLinkResponse>, Status> {
        let request = request.into_inner();
        let token = validate::text("token", &request.token, TOKEN_CHARS_MAX)
            .map_err(|_| Fault::new(Reason::LinkInvalid))?;
        let (subject, expires_at) = self.0.links.open_unlock(token, self.0.clock.now())?;
        let db = &self.0.db.read;
        let found = match (subject.parse::<BillingAccountId>(), subject.parse::<WorkspaceId>()) {
            (Ok(account), _) => view_debt::of_account(db, &account).await,
            (_, Ok(workspace)) => view_debt::of_workspace(db, &workspace).await,
            (Err(_), Err(_)) => Err(Fault::new(Reason::LinkInvalid)),
        };
        let debt = found.map_err(|fault| match fault.reason {
            Reason::ObjectNotFound => Fault::new(Reason::LinkInvalid),
            _ => fault,
        })?;
        let language = debt.account.language.to_message().into();
        Ok(Response::new(pb::OpenUnlockLinkResponse {
            debt: Some(message(debt)),
            expire_time: Some(to_message(expires_at)),
            language,
            billing_center_url: self.0.letterhead.portal().to_owned(),
            support_address: self.0.letterhead.support().to_owned(),
        }))
    }
}

fn message(debt: Debt) -> pb::Debt {
    let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
    pb::Debt {
        billing_account_id: debt.account.id.as_str().to_owned(),
        username: debt.account.username,
        standing: standing_message(debt.account.standing).into(),
        owed: Some(debt.owed.to_message()),
        owed_bill_count: count(debt.owed_bills),
        arrears_start_time: debt.account.arrears_since.map(to_message),
        settle_by_time: debt.lock_at.map(to_message),
        workspaces: debt.workspaces.into_iter().map(held).collect(),
        workspace_count: count(debt.workspace_count),
    }
}

fn held(held: HeldWorkspace) -> pb::HeldWorkspace {
    let workspace = held.workspace;
    pb::HeldWorkspace {
        workspace_id: workspace.id.as_str().to_owned(),
        name: workspace.name,
        settlement_method: held.method.to_message().into(),
        standing: workspace.standing.state.to_message().into(),
        lock_time: workspace.standing.lock_at.map(to_message),
        time_zone: workspace.time_zone,
        remedies: held.remedies.into_iter().map(|remedy| remedy_message(remedy).into()).collect(),
    }
}

fn remedy_message(remedy: Remedy) -> pb::Remedy {
    match remedy {
        Remedy::Recharge => pb::Remedy::Recharge,
        Remedy::BindCloud => pb::Remedy::BindCloud,
        Remedy::ChooseBillingCenter => pb::Remedy::ChooseBillingCenter,
        Remedy::RestoreSubscription => pb::Remedy::RestoreSubscription,
        Remedy::Operator => pb::Remedy::Operator,
    }
}
