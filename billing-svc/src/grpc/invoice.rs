//! `billing.v1.InvoiceService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::invoice_service_server::InvoiceService;
use tandem_proto::common::v1::Role;
use tandem_proto::ids::{BillingAccountId, DeliveryAddressId, InvoiceId, InvoiceProfileId};
use tandem_proto::money::Money;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::convert_invoice::{
    self as convert, TEXT_CHARS_MAX, address_message, invoice_message, invoiceable_message, optional_text,
    profile_message, verification_message, verification_state,
};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::invoice::InvoiceState;
use crate::domain::verification::{Decision, VerificationState};
use crate::domain::wallet::LotKind;
use crate::ops::invoice_profiles::Titled;
use crate::ops::move_invoice::{self, Act};
use crate::ops::request_invoice::{Wish, first_open_month};
use crate::ops::{
    decide_verification, delivery_addresses, invoice_profiles, request_invoice, submit_verification,
};
use crate::store::{account, invoice, invoice_profile, invoiceable, lot, verification};

/// Serves invoices.
pub struct Service(pub Arc<Context>);

/// The start of every changing method: the request's body, its key and whose account it is about.
macro_rules! opened {
    ($request:ident, $method:literal) => {{
        let caller = caller(&$request)?;
        let body = $request.into_inner();
        let path = concat!("/tandem.billing.v1.InvoiceService/", $method);
        let key = RequestKey::new(&caller, path, &body.request_id, &body)?;
        let account: BillingAccountId = validate::parse("billing_account_id", &body.billing_account_id)?;
        (body, key, account)
    }};
}

/// The transaction of a new call; a repeated one gets its stored answer here.
macro_rules! fresh {
    ($service:expr, $key:expr) => {
        match request_log::open(&$service.0.db, $key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        }
    };
}

#[tonic::async_trait]
impl InvoiceService for Service {
    async fn submit_verification(
        &self,
        request: Request<pb::SubmitVerificationRequest>,
    ) -> Result<Response<pb::SubmitVerificationResponse>, Status> {
        let (body, key, account) = opened!(request, "SubmitVerification");
        let company = convert::company_name(&body.company_name)?;
        let taxpayer_id = validate::text("taxpayer_id", &body.taxpayer_id, TEXT_CHARS_MAX)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let made = submit_verification::run(&pending.tx, &account, &company, taxpayer_id, now).await?;
        let response = pb::SubmitVerificationResponse { verification: Some(verification_message(&made)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn get_verification(
        &self,
        request: Request<pb::GetVerificationRequest>,
    ) -> Result<Response<pb::GetVerificationResponse>, Status> {
        let account = self.known_account(&request.into_inner().billing_account_id).await?.id;
        let last = verification::last(&self.0.db.read, &account).await?;
        let none = || pb::CompanyVerification {
            billing_account_id: account.as_str().to_owned(),
            state: pb::VerificationState::None.into(),
            ..Default::default()
        };
        let verification = Some(last.as_ref().map_or_else(none, verification_message));
        Ok(Response::new(pb::GetVerificationResponse { verification }))
    }

    async fn list_verifications(
        &self,
        request: Request<pb::ListVerificationsRequest>,
    ) -> Result<Response<pb::ListVerificationsResponse>, Status> {
        let request = request.into_inner();
        let state = match pb::VerificationState::try_from(request.state) {
            Ok(pb::VerificationState::Unspecified) => None,
            Ok(pb::VerificationState::Pending) => Some(VerificationState::Pending),
            Ok(pb::VerificationState::Verified) => Some(VerificationState::Verified),
            Ok(pb::VerificationState::Rejected) => Some(VerificationState::Rejected),
            Ok(pb::VerificationState::None) | Err(_) => {
                return Err(Fault::field("state", "must be PENDING, VERIFIED or REJECTED").into());
            }
        };
        let page = super::page(request.page_size, &request.page_token, 3)?;
        let rows = verification::list(&self.0.db.read, state, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, verification::place);
        let verifications = rows.iter().map(verification_message).collect();
        Ok(Response::new(pb::ListVerificationsResponse { verifications, next_page_token }))
    }

    async fn decide_verification(
        &self,
        request: Request<pb::DecideVerificationRequest>,
    ) -> Result<Response<pb::DecideVerificationResponse>, Status> {
        let (body, key, account) = opened!(request, "DecideVerification");
        let decision = match pb::VerificationState::try_from(body.decision) {
            Ok(pb::VerificationState::Verified) => Decision::Verify,
            Ok(pb::VerificationState::Rejected) => Decision::Reject,
            _ => return Err(Fault::field("decision", "must be VERIFIED or REJECTED").into()),
        };
        let reason = optional_text("reason", &body.reason, TEXT_CHARS_MAX)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let decided =
            decide_verification::run(&pending.tx, &self.0, &account, decision, &reason, now).await?;
        let response = pb::DecideVerificationResponse { verification: Some(verification_message(&decided)) };
        let response = pending.finish(response, now).await?;
        tracing::info!(account.id = %account, state = decided.state.name(), "decided on a company");
        Ok(Response::new(response))
    }

    async fn create_invoice_profile(
        &self,
        request: Request<pb::CreateInvoiceProfileRequest>,
    ) -> Result<Response<pb::CreateInvoiceProfileResponse>, Status> {
        let (body, key, account) = opened!(request, "CreateInvoiceProfile");
        let details = convert::details(body.details)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let made = invoice_profiles::create(&pending.tx, &account, details, now).await?;
        let response = pb::CreateInvoiceProfileResponse { profile: Some(profile_message(&made)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn update_invoice_profile(
        &self,
        request: Request<pb::UpdateInvoiceProfileRequest>,
    ) -> Result<Response<pb::UpdateInvoiceProfileResponse>, Status> {
        let (body, key, account) = opened!(request, "UpdateInvoiceProfile");
        let id: InvoiceProfileId = validate::parse("profile_id", &body.profile_id)?;
        let details = convert::details(body.details)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let changed = invoice_profiles::update(&pending.tx, &account, &id, details).await?;
        let response = pb::UpdateInvoiceProfileResponse { profile: Some(profile_message(&changed)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn delete_invoice_profile(
        &self,
        request: Request<pb::DeleteInvoiceProfileRequest>,
    ) -> Result<Response<pb::DeleteInvoiceProfileResponse>, Status> {
        let (body, key, account) = opened!(request, "DeleteInvoiceProfile");
        let id: InvoiceProfileId = validate::parse("profile_id", &body.profile_id)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        invoice_profiles::delete(&pending.tx, &account, &id).await?;
        Ok(Response::new(pending.finish(pb::DeleteInvoiceProfileResponse {}, now).await?))
    }

    async fn list_invoice_profiles(
        &self,
        request: Request<pb::ListInvoiceProfilesRequest>,
    ) -> Result<Response<pb::ListInvoiceProfilesResponse>, Status> {
        let request = request.into_inner();
        let account = self.known_account(&request.billing_account_id).await?.id;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let db = &self.0.db.read;
        let rows = invoice_profile::profiles(db, &account, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |p| vec![p.id.as_str().to_owned()]);
        // Profiles exist only since a company was verified, so there is one; the last handed in is the title to be.
        let last = verification::last(db, &account).await?;
        let titled = |profile| Some(Titled { profile, company: last.clone()? });
        let profiles = rows.into_iter().filter_map(titled).map(|t| profile_message(&t)).collect();
        Ok(Response::new(pb::ListInvoiceProfilesResponse { profiles, next_page_token }))
    }

    async fn create_delivery_address(
        &self,
        request: Request<pb::CreateDeliveryAddressRequest>,
    ) -> Result<Response<pb::CreateDeliveryAddressResponse>, Status> {
        let (body, key, account) = opened!(request, "CreateDeliveryAddress");
        let (_, address) = convert::address(body.address)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let made = delivery_addresses::create(&pending.tx, &account, address, now).await?;
        let response = pb::CreateDeliveryAddressResponse { address: Some(address_message(&made)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn update_delivery_address(
        &self,
        request: Request<pb::UpdateDeliveryAddressRequest>,
    ) -> Result<Response<pb::UpdateDeliveryAddressResponse>, Status> {
        let (body, key, account) = opened!(request, "UpdateDeliveryAddress");
        let (id, address) = convert::address(body.address)?;
        let id: DeliveryAddressId = validate::parse("address.id", &id)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let changed = delivery_addresses::update(&pending.tx, &account, &id, address).await?;
        let response = pb::UpdateDeliveryAddressResponse { address: Some(address_message(&changed)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn delete_delivery_address(
        &self,
        request: Request<pb::DeleteDeliveryAddressRequest>,
    ) -> Result<Response<pb::DeleteDeliveryAddressResponse>, Status> {
        let (body, key, account) = opened!(request, "DeleteDeliveryAddress");
        let id: DeliveryAddressId = validate::parse("address_id", &body.address_id)?;
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        delivery_addresses::delete(&pending.tx, &account, &id).await?;
        Ok(Response::new(pending.finish(pb::DeleteDeliveryAddressResponse {}, now).await?))
    }

    async fn list_delivery_addresses(
        &self,
        request: Request<pb::ListDeliveryAddressesRequest>,
    ) -> Result<Response<pb::ListDeliveryAddressesResponse>, Status> {
        let request = request.into_inner();
        let account = self.known_account(&request.billing_account_id).await?.id;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let rows = invoice_profile::addresses(&self.0.db.read, &account, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |a| vec![a.id.as_str().to_owned()]);
        let addresses = rows.iter().map(address_message).collect();
        Ok(Response::new(pb::ListDeliveryAddressesResponse { addresses, next_page_token }))
    }

    async fn get_invoiceable(
        &self,
        request: Request<pb::GetInvoiceableRequest>,
    ) -> Result<Response<pb::GetInvoiceableResponse>, Status> {
        let request = request.into_inner();
        let payer = self.known_account(&request.billing_account_id).await?;
        let page = super::page(request.page_size, &request.page_token, 2)?;
        let db = &self.0.db.read;
        let open = first_open_month(&payer, self.0.clock.now());
        let with_all = request.with_invoiced;
        let rows = invoiceable::list(db, &payer, open, with_all, &page.after, page.limit()).await?;
        let (rows, next_page_token) =
            page.cut(rows, |i| vec![i.source.kind().name().to_owned(), i.source.id()]);
        let money = |minor| Some(Money { minor, currency: payer.currency }.to_message());
        let last = verification::last(db, &payer.id).await?;
        Ok(Response::new(pb::GetInvoiceableResponse {
            items: rows.iter().map(|i| invoiceable_message(i, payer.currency)).collect(),
            next_page_token,
            open_total: money(invoiceable::open_total(db, &payer, open).await?),
            cash: money(lot::wallet_of(db, &payer.id, &[LotKind::Cash]).await?.total(LotKind::Cash)),
            verification_state: verification_state(last.map(|v| v.state)).into(),
        }))
    }

    async fn request_invoice(
        &self,
        request: Request<pb::RequestInvoiceRequest>,
    ) -> Result<Response<pb::RequestInvoiceResponse>, Status> {
        let (body, key, account) = opened!(request, "RequestInvoice");
        let wish = Wish {
            profile: validate::parse("profile_id", &body.profile_id)?,
            address: validate::parse("address_id", &body.address_id)?,
            sources: convert::sources(&body.months, &body.card_ids)?,
        };
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let (made, lines) = request_invoice::run(&pending.tx, &account, &wish, now).await?;
        let response = pb::RequestInvoiceResponse { invoice: Some(invoice_message(&made, &lines)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn issue_invoice(
        &self,
        request: Request<pb::IssueInvoiceRequest>,
    ) -> Result<Response<pb::IssueInvoiceResponse>, Status> {
        let (body, key, account) = opened!(request, "IssueInvoice");
        let id: InvoiceId = validate::parse("invoice_id", &body.invoice_id)?;
        let act = Act::Issue(convert::invoice_number(&body.invoice_number)?);
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let (moved, lines) = move_invoice::run(&pending.tx, &self.0, &account, &id, act, now).await?;
        let response = pb::IssueInvoiceResponse { invoice: Some(invoice_message(&moved, &lines)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn send_invoice(
        &self,
        request: Request<pb::SendInvoiceRequest>,
    ) -> Result<Response<pb::SendInvoiceResponse>, Status> {
        let (body, key, account) = opened!(request, "SendInvoice");
        let id: InvoiceId = validate::parse("invoice_id", &body.invoice_id)?;
        let act = Act::Send(convert::tracking(&body.tracking)?);
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let (moved, lines) = move_invoice::run(&pending.tx, &self.0, &account, &id, act, now).await?;
        let response = pb::SendInvoiceResponse { invoice: Some(invoice_message(&moved, &lines)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn reject_invoice(
        &self,
        request: Request<pb::RejectInvoiceRequest>,
    ) -> Result<Response<pb::RejectInvoiceResponse>, Status> {
        let (body, key, account) = opened!(request, "RejectInvoice");
        let id: InvoiceId = validate::parse("invoice_id", &body.invoice_id)?;
        let act = Act::Reject(validate::text("reason", &body.reason, TEXT_CHARS_MAX)?.to_owned());
        let now = self.0.clock.now();
        let pending = fresh!(self, key);
        let (moved, lines) = move_invoice::run(&pending.tx, &self.0, &account, &id, act, now).await?;
        let response = pb::RejectInvoiceResponse { invoice: Some(invoice_message(&moved, &lines)) };
        Ok(Response::new(pending.finish(response, now).await?))
    }

    async fn get_invoice(
        &self,
        request: Request<pb::GetInvoiceRequest>,
    ) -> Result<Response<pb::GetInvoiceResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let id = validate::parse("invoice_id", &request.invoice_id)?;
        let db = &self.0.db.read;
        let found = invoice::find(db, &account, &id).await?.ok_or(Fault::not_found("invoice_id"))?;
        let lines = invoice::lines(db, &account, &id).await?;
        Ok(Response::new(pb::GetInvoiceResponse { invoice: Some(invoice_message(&found, &lines)) }))
    }

    async fn list_invoices(
        &self,
        request: Request<pb::ListInvoicesRequest>,
    ) -> Result<Response<pb::ListInvoicesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let account = super::optional("billing_account_id", &request.billing_account_id)?;
        if account.is_none() && caller.role != Role::Operator {
            return Err(Fault::field("billing_account_id", "is required unless an operator asks").into());
        }
        let state = match pb::InvoiceState::try_from(request.state) {
            Ok(pb::InvoiceState::Unspecified) => None,
            Ok(pb::InvoiceState::Requested) => Some(InvoiceState::Requested),
            Ok(pb::InvoiceState::Issued) => Some(InvoiceState::Issued),
            Ok(pb::InvoiceState::Sent) => Some(InvoiceState::Sent),
            Ok(pb::InvoiceState::Rejected) => Some(InvoiceState::Rejected),
            Err(_) => return Err(Fault::field("state", "must be a value of InvoiceState").into()),
        };
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let db = &self.0.db.read;
        let rows = invoice::list(db, account.as_ref(), state, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |i| vec![i.id.as_str().to_owned()]);
        let invoices = rows.iter().map(|i| invoice_message(i, &[])).collect();
        Ok(Response::new(pb::ListInvoicesResponse { invoices, next_page_token }))
    }
}

impl Service {
    async fn known_account(&self, id: &str) -> Result<BillingAccount, Fault> {
        let id: BillingAccountId = validate::parse("billing_account_id", id)?;
        let found = account::find(&self.0.db.read, &id).await?;
        found.ok_or(Fault::not_found("billing_account_id"))
    }
}
