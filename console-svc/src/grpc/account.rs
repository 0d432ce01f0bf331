//! `tandem.console.v1.AccountService`.

use std::str::FromStr as _;

use secrecy::SecretString;
use tandem_proto::console::v1::account_service_server::AccountService;
use tandem_proto::console::v1::{
    ChangePasswordRequest, ChangePasswordResponse, GetAccountRequest, GetAccountResponse, ListSitesRequest,
    ListSitesResponse, LookUpAccountRequest, LookUpAccountResponse, SignInRequest, SignInResponse,
};
use tandem_proto::ids::ConsoleAccountId;
use tandem_proto::page::Page;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{Open, RequestKey, open, replay};
use tandem_service_kit::server::caller;
use tandem_service_kit::{password, validate, verification};
use tonic::{Request, Response, Status};

use super::convert;
use crate::domain::account::EMAIL_MAX;
use crate::ops::send_code::{Purpose, address_key};
use crate::ops::{Context, change_password, sign_in};
use crate::store;

/// Longest code of a site.
const SITE_CHARS_MAX: usize = 16;
const CHANGE_PASSWORD: &str = "/tandem.console.v1.AccountService/ChangePassword";

/// The service.
pub struct Accounts {
    context: Context,
}

impl Accounts {
    /// Makes the service.
    pub fn new(context: Context) -> Accounts {
        Accounts { context }
    }
}

fn not_found() -> Fault {
    Fault::not_found("console_account_id")
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let id = validate::parse("console_account_id", &request.into_inner().console_account_id)?;
        let account = store::account::find(&self.context.db.read, &id).await?.ok_or(not_found())?;
        Ok(Response::new(GetAccountResponse { account: Some(account.into()) }))
    }

    async fn look_up_account(
        &self,
        request: Request<LookUpAccountRequest>,
    ) -> Result<Response<LookUpAccountResponse>, Status> {
        let request = request.into_inner();
        let site = validate::text("site", &request.site, SITE_CHARS_MAX)?;
        let email = validate::text("email", &request.email, EMAIL_MAX)?;
        let account =
            store::account::find_by_email(&self.context.db.read, site, email).await?.ok_or(not_found())?;
        Ok(Response::new(LookUpAccountResponse { account: Some(account.into()) }))
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let request = request.into_inner();
        let site = validate::text("site", &request.site, SITE_CHARS_MAX)?;
        let email = convert::email(&request.email)?;
        validate::required("password", &request.password)?;
        // An unknown site is told like a wrong password: it costs the same and tells nothing.
        let account = sign_in::run(&self.context, site, &email, SecretString::from(request.password)).await?;
        Ok(Response::new(SignInResponse { account: Some(account.into()) }))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, CHANGE_PASSWORD, &request.request_id, &request)?;
        let id = ConsoleAccountId::from_str(&request.console_account_id)
            .map_err(|error| Fault::field("console_account_id", error.to_string()))?;
        let code = validate::required("email_code", &request.email_code)?.to_owned();
        password::check_policy(&request.new_password).map_err(rename)?;
        if let Some(answer) = replay(&self.context.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let account = store::account::find(&self.context.db.read, &id).await?.ok_or(not_found())?;
        let (now, address) = (self.context.now(), address_key(&account.site, &account.email));
        // Checked on its own first, so that a wrong try counts although the call is refused.
        verification::check(&self.context.db, Purpose::ChangePassword.name(), &address, &code, now).await?;
        let hash = password::hash(SecretString::from(request.new_password)).await?;
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                change_password::run(&call.tx, &account, &code, &hash, now).await?;
                Ok(Response::new(call.finish(ChangePasswordResponse {}, now).await?))
            }
        }
    }

    async fn list_sites(
        &self,
        request: Request<ListSitesRequest>,
    ) -> Result<Response<ListSitesResponse>, Status> {
        let request = request.into_inner();
        let page = Page::from_request(request.page_size, &request.page_token, 1)
            .map_err(|error| Fault::field("page_token", error.to_string()))?;
        let after = page.after.first().cloned().unwrap_or_default();
        let rest = self.context.sites.iter().filter(|site| site.code > after);
        let rest: Vec<_> = rest.take(usize::from(page.size) + 1).collect();
        let (sites, next_page_token) = page.cut(rest, |site| vec![site.code.clone()]);
        let sites = sites.into_iter().map(Into::into).collect();
        Ok(Response::new(ListSitesResponse { sites, next_page_token }))
    }
}

/// The policy names the field as registration calls it.
fn rename(mut fault: Fault) -> Fault {
    for (name, _) in &mut fault.fields {
        *name = "new_password".to_owned();
    }
    fault
}
