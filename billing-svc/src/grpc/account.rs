//! `billing.v1.AccountService`.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::account_service_server::AccountService;
use tandem_proto::common::v1::Company as CompanyMessage;
use tandem_proto::language::Language;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate::{self, to_message};
use tonic::{Request, Response, Status};

use super::{account_changes, named};
use crate::context::Context;
use crate::domain::account::{AccountStanding, BillingAccount, Company};
use crate::ops::create_account::{self, FirstPassword, NewAccount, Wish};
use crate::ops::send_code::{self, Purpose};
use crate::ops::{set_any_settlement, set_currency, sign_in};
use crate::store::account;

const CREATE: &str = "/tandem.billing.v1.AccountService/CreateAccount";
const SEND_CODE: &str = "/tandem.billing.v1.AccountService/SendVerificationCode";
const SET_ANY: &str = "/tandem.billing.v1.AccountService/SetAnySettlement";
const SET_CURRENCY: &str = "/tandem.billing.v1.AccountService/SetCurrency";

/// Serves accounts.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl AccountService for Service {
    async fn create_account(
        &self,
        request: Request<pb::CreateAccountRequest>,
    ) -> Result<Response<pb::CreateAccountResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, CREATE, &request.request_id, &request)?;
        // A repetition is answered before the password is hashed again.
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let now = self.0.clock.now();
        let new = new_account(request.account, now).await?;
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let made = create_account::run(&pending.tx, &self.0, &new, now).await?;
        let response = pb::CreateAccountResponse { account: Some(message(&made)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn get_account(
        &self,
        request: Request<pb::GetAccountRequest>,
    ) -> Result<Response<pb::GetAccountResponse>, Status> {
        let id = validate::parse("billing_account_id", &request.into_inner().billing_account_id)?;
        let found =
            account::find(&self.0.db.read, &id).await?.ok_or(Fault::not_found("billing_account_id"))?;
        Ok(Response::new(pb::GetAccountResponse { account: Some(message(&found)) }))
    }

    async fn look_up_account(
        &self,
        request: Request<pb::LookUpAccountRequest>,
    ) -> Result<Response<pb::LookUpAccountResponse>, Status> {
        let request = request.into_inner();
        let region = named("region", BillingRegion::from_message(request.region))?;
        let username = validate::required("username", &request.username)?;
        let found = account::find_by_username(&self.0.db.read, region, username).await?;
        let found = found.ok_or(Fault::not_found("username"))?;
        Ok(Response::new(pb::LookUpAccountResponse { account: Some(message(&found)) }))
    }

    async fn sign_in(
        &self,
        request: Request<pb::SignInRequest>,
    ) -> Result<Response<pb::SignInResponse>, Status> {
        let request = request.into_inner();
        let region = named("region", BillingRegion::from_message(request.region))?;
        let login_name = validate::text("login_name", &request.login_name, 254)?;
        if request.password.is_empty() || request.password.len() > 1024 {
            return Err(Fault::field("password", "is required, at most 1024 bytes").into());
        }
        let password = SecretString::from(request.password);
        let found = sign_in::run(&self.0, region, login_name, password, self.0.clock.now()).await?;
        Ok(Response::new(pb::SignInResponse { account: Some(message(&found)) }))
    }

    async fn send_verification_code(
        &self,
        request: Request<pb::SendVerificationCodeRequest>,
    ) -> Result<Response<pb::SendVerificationCodeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SEND_CODE, &request.request_id, &request)?;
        let region = named("region", BillingRegion::from_message(request.region))?;
        let username = validate::text("username", &request.username, 64)?;
        let language = named("language", Language::from_message(request.language))?;
        let purpose = match pb::VerificationPurpose::try_from(request.purpose) {
            Ok(pb::VerificationPurpose::Unspecified) => Purpose::Account,
            Ok(pb::VerificationPurpose::ChangePassword) => Purpose::Password,
            Err(_) => return Err(Fault::field("purpose", "must be a value of its enum").into()),
        };
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let (tx, ctx) = (&pending.tx, &self.0);
        let valid_seconds = send_code::run(tx, ctx, region, username, purpose, language, now).await?;
        let response = pb::SendVerificationCodeResponse { valid_seconds };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn send_contact_code(
        &self,
        request: Request<pb::SendContactCodeRequest>,
    ) -> Result<Response<pb::SendContactCodeResponse>, Status> {
        account_changes::send_contact_code(&self.0, request).await
    }

    async fn change_email(
        &self,
        request: Request<pb::ChangeEmailRequest>,
    ) -> Result<Response<pb::ChangeEmailResponse>, Status> {
        account_changes::change_email(&self.0, request).await
    }

    async fn change_phone(
        &self,
        request: Request<pb::ChangePhoneRequest>,
    ) -> Result<Response<pb::ChangePhoneResponse>, Status> {
        account_changes::change_phone(&self.0, request).await
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Result<Response<pb::ChangePasswordResponse>, Status> {
        account_changes::change_password(&self.0, request).await
    }

    async fn set_any_settlement(
        &self,
        request: Request<pb::SetAnySettlementRequest>,
    ) -> Result<Response<pb::SetAnySettlementResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SET_ANY, &request.request_id, &request)?;
        let id = validate::parse("billing_account_id", &request.billing_account_id)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let changed = set_any_settlement::run(&pending.tx, &id, request.allowed).await?;
        let response = pb::SetAnySettlementResponse { account: Some(message(&changed)) };
        let response = pending.finish(response, now).await?;
        tracing::info!(account.id = %id, allowed = request.allowed, caller = caller.name, "set any-settlement");
        Ok(Response::new(response))
    }

    async fn set_currency(
        &self,
        request: Request<pb::SetCurrencyRequest>,
    ) -> Result<Response<pb::SetCurrencyResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SET_CURRENCY, &request.request_id, &request)?;
        let id = validate::parse("billing_account_id", &request.billing_account_id)?;
        let currency = validate::parse("currency_code", &request.currency_code)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let changed = set_currency::run(&pending.tx, &id, currency, now).await?;
        let account = Some(message(&changed.account));
        let response = pb::SetCurrencyResponse { account, first_day: changed.first_day.to_string() };
        let response = pending.finish(response, now).await?;
        tracing::info!(account.id = %id, currency = %currency, caller = caller.name, "set the currency of {id}");
        Ok(Response::new(response))
    }
}

/// Reads, checks and hashes what a new account is made of.
pub(super) async fn new_account(new: Option<pb::NewAccount>, now: Timestamp) -> Result<NewAccount, Fault> {
    let new = new.ok_or_else(|| Fault::field("account", "is required"))?;
    let password = match new.first_password {
        Some(pb::new_account::FirstPassword::Password(plain)) => {
            FirstPassword::Plain(SecretString::from(plain))
        }
        Some(pb::new_account::FirstPassword::PasswordHash(hash)) => FirstPassword::Hash(hash),
        None => return Err(Fault::field("account.first_password", "is required")),
    };
    let company = new.company.unwrap_or_default();
    let CompanyMessage { name, industry, region, description } = company;
    let wish = Wish {
        username: new.username,
        email: new.email,
        phone: new.phone,
        company: Company { name, industry, region, description },
        region: named("account.region", BillingRegion::from_message(new.region))?,
        language: named("account.language", Language::from_message(new.language))?,
        password,
    };
    create_account::prepare(wish, now).await
}

/// An account as a message.
pub(super) fn message(a: &BillingAccount) -> pb::BillingAccount {
    pb::BillingAccount {
        id: a.id.as_str().to_owned(),
        username: a.username.clone(),
        email: a.email.clone(),
        phone: a.phone.clone().unwrap_or_default(),
        company: Some(CompanyMessage {
            name: a.company.name.clone(),
            industry: a.company.industry.clone(),
            region: a.company.region.clone(),
            description: a.company.description.clone(),
        }),
        region: a.region.to_message().into(),
        currency_code: a.currency.code().to_owned(),
        any_settlement_allowed: a.any_settlement_allowed,
        standing: standing_message(a.standing).into(),
        arrears_start_time: a.arrears_since.map(to_message),
        create_time: Some(to_message(a.created_at)),
    }
}

/// An account's standing as a message.
pub(super) fn standing_message(standing: AccountStanding) -> pb::AccountStanding {
    match standing {
        AccountStanding::Good => pb::AccountStanding::Good,
        AccountStanding::Arrears => pb::AccountStanding::Arrears,
        AccountStanding::Overdue => pb::AccountStanding::Overdue,
    }
}
