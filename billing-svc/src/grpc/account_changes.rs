//! The part of `billing.v1.AccountService` that changes how somebody is reached and signs in.

use std::sync::Arc;

use secrecy::SecretString;
use tandem_proto::billing::v1 as pb;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::language::Language;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::account::message;
use super::named;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::contact::{Contact, ContactKind};
use crate::ops::change_contact::{self, Wish};
use crate::ops::send_contact_code::{self, Proof, To};
use crate::ops::{change_password, create_account};

const SEND_CODE: &str = "/tandem.billing.v1.AccountService/SendContactCode";
const EMAIL: &str = "/tandem.billing.v1.AccountService/ChangeEmail";
const PHONE: &str = "/tandem.billing.v1.AccountService/ChangePhone";
const PASSWORD: &str = "/tandem.billing.v1.AccountService/ChangePassword";
/// Longest code that is looked at.
const CODE_CHARS_MAX: usize = 16;
/// Longest password that is looked at, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;

pub(super) async fn send_contact_code(
    ctx: &Arc<Context>,
    request: Request<pb::SendContactCodeRequest>,
) -> Result<Response<pb::SendContactCodeResponse>, Status> {
    use pb::send_contact_code_request::To as Asked;
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, SEND_CODE, &request.request_id, &request)?;
    if let Some(answer) = request_log::replay(&ctx.db, &key).await? {
        return Ok(Response::new(answer));
    }
    let account: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
    let language = named("language", Language::from_message(request.language))?;
    let to = match request.to {
        Some(Asked::Present(contact)) => To::Present(kind("present", contact)?),
        Some(Asked::NewEmail(new)) => To::New(email("new_email", &new)?, proof(request.proof)?),
        Some(Asked::NewPhone(new)) => To::New(phone("new_phone", &new)?, proof(request.proof)?),
        None => return Err(Fault::field("to", "is required: present, new_email or new_phone").into()),
    };
    let now = ctx.clock.now();
    if let To::New(_, proof) = &to
        && let Err(fault) = send_contact_code::prove(ctx, &account, proof, now).await
    {
        return answered_meanwhile(ctx, &key, fault).await;
    }
    let pending = match request_log::open(&ctx.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let valid_seconds = send_contact_code::run(&pending.tx, ctx, &account, &to, language, now).await?;
    Ok(Response::new(pending.finish(pb::SendContactCodeResponse { valid_seconds }, now).await?))
}

pub(super) async fn change_email(
    ctx: &Arc<Context>,
    request: Request<pb::ChangeEmailRequest>,
) -> Result<Response<pb::ChangeEmailResponse>, Status> {
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, EMAIL, &request.request_id, &request)?;
    let wish = Wish {
        account: validate::parse("billing_account_id", &request.billing_account_id)?,
        proof: proof(request.proof)?,
        contact: email("new_email", &request.new_email)?,
        code: validate::text("code", &request.code, CODE_CHARS_MAX)?.to_owned(),
    };
    change(ctx, key, wish, |account| pb::ChangeEmailResponse { account: Some(message(account)) }).await
}

pub(super) async fn change_phone(
    ctx: &Arc<Context>,
    request: Request<pb::ChangePhoneRequest>,
) -> Result<Response<pb::ChangePhoneResponse>, Status> {
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, PHONE, &request.request_id, &request)?;
    let wish = Wish {
        account: validate::parse("billing_account_id", &request.billing_account_id)?,
        proof: proof(request.proof)?,
        contact: phone("new_phone", &request.new_phone)?,
        code: validate::text("code", &request.code, CODE_CHARS_MAX)?.to_owned(),
    };
    change(ctx, key, wish, |account| pb::ChangePhoneResponse { account: Some(message(account)) }).await
}

async fn change<R: prost::Message + Default>(
    ctx: &Arc<Context>,
    key: RequestKey,
    wish: Wish,
    response: impl FnOnce(&BillingAccount) -> R,
) -> Result<Response<R>, Status> {
    // The codes of a repetition are used up, so it is answered before they are looked at.
    if let Some(answer) = request_log::replay(&ctx.db, &key).await? {
        return Ok(Response::new(answer));
    }
    let now = ctx.clock.now();
    if let Err(fault) = change_contact::check(ctx, &wish, now).await {
        return answered_meanwhile(ctx, &key, fault).await;
    }
    let pending = match request_log::open(&ctx.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let changed = change_contact::run(&pending.tx, ctx, &wish, now).await?;
    Ok(Response::new(pending.finish(response(&changed), now).await?))
}

pub(super) async fn change_password(
    ctx: &Arc<Context>,
    request: Request<pb::ChangePasswordRequest>,
) -> Result<Response<pb::ChangePasswordResponse>, Status> {
    use pb::change_password_request::Proof as Asked;
    let caller = caller(&request)?;
    let request = request.into_inner();
    let key = RequestKey::new(&caller, PASSWORD, &request.request_id, &request)?;
    if let Some(answer) = request_log::replay(&ctx.db, &key).await? {
        return Ok(Response::new(answer));
    }
    let region = named("region", BillingRegion::from_message(request.region))?;
    let username = validate::text("username", &request.username, 64)?;
    let proof = match request.proof {
        Some(Asked::CurrentPassword(current)) => {
            change_password::Proof::Current(password("current_password", current)?)
        }
        Some(Asked::Code(code)) => {
            change_password::Proof::Code(validate::text("code", &code, CODE_CHARS_MAX)?.to_owned())
        }
        None => return Err(Fault::field("proof", "is required: current_password or code").into()),
    };
    let new = password("new_password", request.new_password)?;
    let now = ctx.clock.now();
    let proved = match change_password::prove(ctx, region, username, proof, new, now).await {
        Ok(proved) => proved,
        Err(fault) => return answered_meanwhile(ctx, &key, fault).await,
    };
    let pending = match request_log::open(&ctx.db, key).await? {
        Open::Answered(answer) => return Ok(Response::new(answer)),
        Open::Fresh(pending) => pending,
    };
    let changed = change_password::run(&pending.tx, ctx, &proved, now).await?;
    let response = pb::ChangePasswordResponse { account: Some(message(&changed)) };
    Ok(Response::new(pending.finish(response, now).await?))
}

/// A twin may have committed in this moment and used the codes up: then its answer is the answer.
async fn answered_meanwhile<R: prost::Message + Default>(
    ctx: &Arc<Context>,
    key: &RequestKey,
    refusal: Fault,
) -> Result<Response<R>, Status> {
    match request_log::replay(&ctx.db, key).await? {
        Some(answer) => Ok(Response::new(answer)),
        None => Err(refusal.into()),
    }
}

fn kind(field: &str, number: i32) -> Result<ContactKind, Fault> {
    match pb::ContactKind::try_from(number) {
        Ok(pb::ContactKind::Email) => Ok(ContactKind::Email),
        Ok(pb::ContactKind::Phone) => Ok(ContactKind::Phone),
        Ok(pb::ContactKind::Unspecified) | Err(_) => named(field, None),
    }
}

fn proof(message: Option<pb::ContactProof>) -> Result<Proof, Fault> {
    let given = message.ok_or_else(|| Fault::field("proof", "is required"))?;
    Ok(Proof {
        contact: kind("proof.contact", given.contact)?,
        code: validate::text("proof.code", &given.code, CODE_CHARS_MAX)?.to_owned(),
    })
}

fn email(field: &str, value: &str) -> Result<Contact, Fault> {
    Ok(Contact { kind: ContactKind::Email, value: create_account::checked_email(field, value)? })
}

fn phone(field: &str, value: &str) -> Result<Contact, Fault> {
    let value = create_account::checked_phone(field, value)?;
    let value = value.ok_or_else(|| Fault::field(field, "is required"))?;
    Ok(Contact { kind: ContactKind::Phone, value })
}

fn password(field: &str, value: String) -> Result<SecretString, Fault> {
    if value.is_empty() || value.len() > PASSWORD_BYTES_MAX {
        return Err(Fault::field(field, format!("is required, at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(SecretString::from(value))
}
