//! `tandem.console.v1.WorkspaceService`.

use tandem_proto::console::v1::workspace_service_server::WorkspaceService;
use tandem_proto::console::v1::{
    AddMemberRequest, AddMemberResponse, DissolveWorkspaceRequest, DissolveWorkspaceResponse,
    GetWorkspaceRequest, GetWorkspaceResponse, IssueUnlockLinkRequest, IssueUnlockLinkResponse,
    ListMembersRequest, ListMembersResponse, ListWorkspacesRequest, ListWorkspacesResponse,
    RemoveMemberRequest, RemoveMemberResponse, SetMemberRoleRequest, SetMemberRoleResponse,
    SetRetentionRequest, SetRetentionResponse, UpgradeWorkspaceRequest, UpgradeWorkspaceResponse,
};
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::page::Page;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{Open, RequestKey, open, replay};
use tandem_service_kit::server::caller;
use tandem_service_kit::{validate, verification};
use tonic::{Request, Response, Status};

use super::convert;
use crate::domain::member::Role;
use crate::ops::activation::{self, UPGRADE, Wish};
use crate::ops::send_code::{Purpose, address_key};
use crate::ops::{
    Context, access, add_member, dissolve_workspace, issue_unlock_link, remove_member, set_member_role,
    set_retention,
};
use crate::store;

const SET_RETENTION: &str = "/tandem.console.v1.WorkspaceService/SetRetention";
const DISSOLVE: &str = "/tandem.console.v1.WorkspaceService/DissolveWorkspace";
const ADD_MEMBER: &str = "/tandem.console.v1.WorkspaceService/AddMember";
const SET_MEMBER_ROLE: &str = "/tandem.console.v1.WorkspaceService/SetMemberRole";
const REMOVE_MEMBER: &str = "/tandem.console.v1.WorkspaceService/RemoveMember";

/// The service.
pub struct Workspaces {
    context: Context,
}

impl Workspaces {
    /// Makes the service.
    pub fn new(context: Context) -> Workspaces {
        Workspaces { context }
    }
}

fn workspace_id(value: &str) -> Result<WorkspaceId, Fault> {
    validate::parse("workspace_id", value)
}

fn acting(value: &str) -> Result<ConsoleAccountId, Fault> {
    validate::parse("acting_account_id", value)
}

/// An acting account that may be left out, when the calling service asks for itself.
pub(super) fn optional_acting(value: &str) -> Result<Option<ConsoleAccountId>, Fault> {
    if value.is_empty() { Ok(None) } else { acting(value).map(Some) }
}

pub(super) fn page(size: i32, token: &str, parts: usize) -> Result<Page, Fault> {
    Page::from_request(size, token, parts).map_err(|error| Fault::field("page_token", error.to_string()))
}

#[tonic::async_trait]
impl WorkspaceService for Workspaces {
    async fn get_workspace(
        &self,
        request: Request<GetWorkspaceRequest>,
    ) -> Result<Response<GetWorkspaceResponse>, Status> {
        let request = request.into_inner();
        let (id, acting) =
            (workspace_id(&request.workspace_id)?, optional_acting(&request.acting_account_id)?);
        let db = &self.context.db.read;
        let workspace = access::visible(db, &id, acting.as_ref()).await?;
        let standing = store::workspace::standing(db, &id).await?;
        let workspace = convert::workspace((workspace, standing), self.context.now());
        Ok(Response::new(GetWorkspaceResponse { workspace: Some(workspace) }))
    }

    async fn list_workspaces(
        &self,
        request: Request<ListWorkspacesRequest>,
    ) -> Result<Response<ListWorkspacesResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("console_account_id", &request.console_account_id)?;
        let page = page(request.page_size, &request.page_token, 1)?;
        let rows = store::workspace::list_of_member(&self.context.db.read, &account, &page).await?;
        let (rows, next_page_token) = page.cut(rows, |(workspace, _)| vec![workspace.id.to_string()]);
        let now = self.context.now();
        let workspaces = rows.into_iter().map(|row| convert::workspace(row, now)).collect();
        Ok(Response::new(ListWorkspacesResponse { workspaces, next_page_token }))
    }

    async fn upgrade_workspace(
        &self,
        request: Request<UpgradeWorkspaceRequest>,
    ) -> Result<Response<UpgradeWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, UPGRADE, &request.request_id, &request)?;
        let (workspace, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let terms = request.commercial.clone().ok_or_else(|| Fault::field("commercial", "is required"))?;
        convert::terms("commercial", &terms)?;
        let wish = Wish::Upgrade { workspace, acting, terms, request };
        Ok(Response::new(activation::run(&self.context, key, wish).await?))
    }

    async fn set_retention(
        &self,
        request: Request<SetRetentionRequest>,
    ) -> Result<Response<SetRetentionResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SET_RETENTION, &request.request_id, &request)?;
        let (workspace, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let item = convert::item(request.item)?;
        let now = self.context.now();
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                let (sites, change) = (&self.context.sites, (item, request.retention_days));
                let changed = set_retention::run(&call.tx, sites, &workspace, &acting, change, now).await?;
                let answer = SetRetentionResponse { workspace: Some(convert::workspace(changed, now)) };
                Ok(Response::new(call.finish(answer, now).await?))
            }
        }
    }

    async fn dissolve_workspace(
        &self,
        request: Request<DissolveWorkspaceRequest>,
    ) -> Result<Response<DissolveWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, DISSOLVE, &request.request_id, &request)?;
        let wish = dissolve_workspace::Wish {
            workspace: workspace_id(&request.workspace_id)?,
            acting: acting(&request.acting_account_id)?,
            confirm_name: validate::required("confirm_name", &request.confirm_name)?.to_owned(),
            email_code: validate::required("email_code", &request.email_code)?.to_owned(),
        };
        if let Some(answer) = replay(&self.context.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let now = self.context.now();
        let owner = dissolve_workspace::check(&self.context.db.read, &wish).await?;
        let address = address_key(&owner.site, &owner.email);
        // Checked on its own first, so that a wrong try counts although the call is refused.
        let purpose = Purpose::DissolveWorkspace.name();
        verification::check(&self.context.db, purpose, &address, &wish.email_code, now).await?;
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                let dissolved = dissolve_workspace::run(&call.tx, &self.context, &wish, now).await?;
                let answer =
                    DissolveWorkspaceResponse { workspace: Some(convert::workspace(dissolved, now)) };
                Ok(Response::new(call.finish(answer, now).await?))
            }
        }
    }

    async fn issue_unlock_link(
        &self,
        request: Request<IssueUnlockLinkRequest>,
    ) -> Result<Response<IssueUnlockLinkResponse>, Status> {
        let request = request.into_inner();
        let (id, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let link = issue_unlock_link::run(&self.context, &id, &acting).await?;
        Ok(Response::new(IssueUnlockLinkResponse {
            url: link.url,
            token: link.token,
            expire_time: link.expire_time,
        }))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<AddMemberResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, ADD_MEMBER, &request.request_id, &request)?;
        let (workspace, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let account = validate::parse("console_account_id", &request.console_account_id)?;
        let role = convert::role(request.role)?;
        if role == Role::Owner {
            return Err(Fault::field(
                "role",
                "must not be the owner's; use SetMemberRole to hand ownership over",
            )
            .into());
        }
        let now = self.context.now();
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                let member = add_member::run(&call.tx, &workspace, &acting, account, role, now).await?;
                let answer = AddMemberResponse { member: Some(member.into()) };
                Ok(Response::new(call.finish(answer, now).await?))
            }
        }
    }

    async fn set_member_role(
        &self,
        request: Request<SetMemberRoleRequest>,
    ) -> Result<Response<SetMemberRoleResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SET_MEMBER_ROLE, &request.request_id, &request)?;
        let (workspace, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let account = validate::parse("console_account_id", &request.console_account_id)?;
        let role = convert::role(request.role)?;
        let now = self.context.now();
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                let context = &self.context;
                let member =
                    set_member_role::run(&call.tx, context, &workspace, &acting, &account, role, now).await?;
                let answer = SetMemberRoleResponse { member: Some(member.into()) };
                Ok(Response::new(call.finish(answer, now).await?))
            }
        }
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, REMOVE_MEMBER, &request.request_id, &request)?;
        let (workspace, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let account = validate::parse("console_account_id", &request.console_account_id)?;
        let now = self.context.now();
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                remove_member::run(&call.tx, &workspace, &acting, &account).await?;
                Ok(Response::new(call.finish(RemoveMemberResponse {}, now).await?))
            }
        }
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let request = request.into_inner();
        let (workspace, acting) = (workspace_id(&request.workspace_id)?, acting(&request.acting_account_id)?);
        let page = page(request.page_size, &request.page_token, 2)?;
        let after = match page.after.as_slice() {
            [joined_at, account] => Some((validate::parse("page_token", joined_at)?, account.as_str())),
            _ => None,
        };
        let db = &self.context.db.read;
        access::as_member(db, &workspace, &acting).await?;
        let rows = store::member::list(db, &workspace, &page, after).await?;
        let key = |member: &crate::domain::member::Member| {
            vec![member.joined_at.as_microsecond().to_string(), member.account_id.to_string()]
        };
        let (rows, next_page_token) = page.cut(rows, key);
        let members = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListMembersResponse { members, next_page_token }))
    }
}
