//! `billing.v1.DocumentService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::document_service_server::DocumentService;
use tandem_proto::billing::v1::get_bill_document_request::Bill;
use tandem_proto::common::v1 as common;
use tandem_proto::language::Language;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::ops::get_document;

/// Serves documents.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl DocumentService for Service {
    async fn get_bill_document(
        &self,
        request: Request<pb::GetBillDocumentRequest>,
    ) -> Result<Response<pb::GetBillDocumentResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let language = language(request.language)?;
        let made = match request.bill {
            Some(Bill::BillId(id)) => {
                let id = validate::parse("bill_id", &id)?;
                get_document::of_bill(&self.0, &account, &id, language).await?
            }
            Some(Bill::Month(month)) => {
                let month = validate::parse("month", &month)?;
                get_document::of_month(&self.0, &account, month, language, self.0.clock.now()).await?
            }
            None => return Err(Fault::field("bill", "bill_id or month is required").into()),
        };
        let response = pb::GetBillDocumentResponse { pdf: made.pdf.into(), file_name: made.file_name };
        Ok(Response::new(response))
    }

    async fn get_invoice_document(
        &self,
        request: Request<pb::GetInvoiceDocumentRequest>,
    ) -> Result<Response<pb::GetInvoiceDocumentResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let id = validate::parse("invoice_id", &request.invoice_id)?;
        let language = language(request.language)?;
        let made = get_document::of_invoice(&self.0, &account, &id, language).await?;
        let response = pb::GetInvoiceDocumentResponse { pdf: made.pdf.into(), file_name: made.file_name };
        Ok(Response::new(response))
    }
}

/// The wished language; `None` leaves it to the account.
fn language(number: i32) -> Result<Option<Language>, Fault> {
    if number == i32::from(common::Language::Unspecified) {
        return Ok(None);
    }
    let known = Language::from_message(number);
    known.map(Some).ok_or_else(|| Fault::field("language", "must be a value of Language"))
}
