//! `tandem.console.v1.RegistrationService`.

use secrecy::SecretString;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::registration_service_server::RegistrationService;
use tandem_proto::console::v1::{
    ActivateWorkspaceRequest, ActivateWorkspaceResponse, RegisterAccountRequest, RegisterAccountResponse,
    SendVerificationCodeRequest, SendVerificationCodeResponse, VerificationPurpose,
};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{Open, RequestKey, open, replay};
use tandem_service_kit::server::caller;
use tandem_service_kit::{password, validate, verification};
use tonic::{Request, Response, Status};

use super::convert;
use crate::domain::account::{is_phone, is_username};
use crate::ops::activation::{self, ACTIVATE, Wish};
use crate::ops::register_account::{self, Registration as Filled};
use crate::ops::send_code::{self, Purpose, address_key};
use crate::ops::{Context, activate_free};

const SEND_CODE: &str = "/tandem.console.v1.RegistrationService/SendVerificationCode";
const REGISTER: &str = "/tandem.console.v1.RegistrationService/RegisterAccount";

/// The service.
pub struct Registration {
    context: Context,
}

impl Registration {
    /// Makes the service.
    pub fn new(context: Context) -> Registration {
        Registration { context }
    }
}

#[tonic::async_trait]
impl RegistrationService for Registration {
    async fn send_verification_code(
        &self,
        request: Request<SendVerificationCodeRequest>,
    ) -> Result<Response<SendVerificationCodeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, SEND_CODE, &request.request_id, &request)?;
        let purpose = match VerificationPurpose::try_from(request.purpose) {
            Ok(VerificationPurpose::Register) => Purpose::Register,
            Ok(VerificationPurpose::ChangePassword) => Purpose::ChangePassword,
            Ok(VerificationPurpose::DissolveWorkspace) => Purpose::DissolveWorkspace,
            Ok(VerificationPurpose::Unspecified) | Err(_) => {
                return Err(Fault::field("purpose", "must be a purpose").into());
            }
        };
        let site = validate::required("site", &request.site)?;
        let email = convert::email(&request.email)?;
        let language = convert::language(request.language)?;
        let now = self.context.now();
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                send_code::run(&call.tx, &self.context, purpose, site, &email, language, now).await?;
                let valid_seconds = i32::try_from(verification::GOOD_FOR.as_secs()).unwrap_or(i32::MAX);
                Ok(Response::new(call.finish(SendVerificationCodeResponse { valid_seconds }, now).await?))
            }
        }
    }

    async fn register_account(
        &self,
        request: Request<RegisterAccountRequest>,
    ) -> Result<Response<RegisterAccountResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, REGISTER, &request.request_id, &request)?;
        let mut filled = fill(&request)?;
        if !request.agreements_accepted {
            return Err(Fault::new(Reason::AgreementMissing).into());
        }
        self.context.site(&filled.site)?;
        if let Some(answer) = replay(&self.context.db, &key).await? {
            return Ok(Response::new(answer));
        }
        let (now, address) = (self.context.now(), address_key(&filled.site, &filled.email));
        // Checked on its own first, so that a wrong try counts although the call is refused.
        verification::check(&self.context.db, Purpose::Register.name(), &address, &filled.email_code, now)
            .await?;
        filled.password_hash = password::hash(SecretString::from(request.password)).await?;
        match open(&self.context.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(call) => {
                let account = register_account::run(&call.tx, filled, now).await?;
                let answer = RegisterAccountResponse { account: Some(account.into()) };
                Ok(Response::new(call.finish(answer, now).await?))
            }
        }
    }

    async fn activate_workspace(
        &self,
        request: Request<ActivateWorkspaceRequest>,
    ) -> Result<Response<ActivateWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, ACTIVATE, &request.request_id, &request)?;
        let owner = validate::parse("console_account_id", &request.console_account_id)?;
        let name = convert::workspace_name(&request.workspace_name)?;
        let language = convert::language(request.language)?;
        let activation = request.activation.clone();
        let activation =
            activation.ok_or_else(|| Fault::field("activation", "must be free or commercial"))?;
        if !request.agreements_accepted {
            return Err(Fault::new(Reason::AgreementMissing).into());
        }
        let wish = match activation {
            Activation::Free(free) if !free.create_billing_account => {
                let now = self.context.now();
                return match open(&self.context.db, key).await? {
                    Open::Answered(answer) => Ok(Response::new(answer)),
                    Open::Fresh(call) => {
                        let made =
                            activate_free::run(&call.tx, &self.context, &owner, name, language, now).await?;
                        Ok(Response::new(call.finish(made.into(), now).await?))
                    }
                };
            }
            Activation::Free(_) => Wish::FreeWithAccount { owner, language, request },
            Activation::Commercial(terms) => {
                convert::terms("commercial", &terms)?;
                Wish::Commercial { owner, name, language, terms, request }
            }
        };
        Ok(Response::new(activation::run(&self.context, key, wish).await?))
    }
}

/// Checks the fields; the password is hashed later.
fn fill(request: &RegisterAccountRequest) -> Result<Filled, Fault> {
    let username = request.username.trim();
    if !is_username(username) {
        return Err(Fault::field("username", "3–32 of A–Z, a–z, 0–9, `_`, `.`, `-`, starting with a letter"));
    }
    let phone = request.phone.trim();
    if !is_phone(phone) {
        return Err(Fault::field("phone", "5–20 digits, with an optional leading +"));
    }
    password::check_policy(&request.password)?;
    Ok(Filled {
        site: validate::required("site", &request.site)?.to_owned(),
        username: username.to_owned(),
        password_hash: String::new(),
        email: convert::email(&request.email)?,
        email_code: validate::required("email_code", &request.email_code)?.to_owned(),
        phone: phone.to_owned(),
        company: convert::company(request.company.clone())?,
    })
}
