//! `billing.v1.PaymentService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::payment_service_server::PaymentService;
use tandem_proto::ids::PaymentId;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::convert_payment::{announced, payment_message, wished_state};
use crate::context::Context;
use crate::domain::payment::Announced;
use crate::ops::record_payment::record_payment;
use crate::ops::resolve_payment::{Decision, Resolution, resolve_payment};
use crate::store::payment;

const RECORD: &str = "/tandem.billing.v1.PaymentService/RecordPayment";
const RESOLVE: &str = "/tandem.billing.v1.PaymentService/ResolvePayment";
/// Longest note.
const NOTE_CHARS_MAX: usize = 500;

/// Serves payments.
pub struct Service(pub Arc<Context>);

/// Records a payment, and tells of it once it is durable.
async fn record(
    ctx: Arc<Context>,
    key: RequestKey,
    announced: Announced,
) -> Result<pb::RecordPaymentResponse, Fault> {
    let now = ctx.clock.now();
    let pending = match request_log::open(&ctx.db, key).await? {
        Open::Answered(answer) => return Ok(answer),
        Open::Fresh(pending) => pending,
    };
    let recorded = record_payment(&pending.tx, &ctx, &announced, now).await?;
    let payment = Some(payment_message(&recorded.payment));
    let response = pending.finish(pb::RecordPaymentResponse { payment }, now).await?;
    recorded.tell(&ctx);
    Ok(response)
}

#[tonic::async_trait]
impl PaymentService for Service {
    async fn record_payment(
        &self,
        request: Request<pb::RecordPaymentRequest>,
    ) -> Result<Response<pb::RecordPaymentResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, RECORD, &request.request_id, &request)?;
        let announced = announced(&request)?;
        // A task of its own: a gateway that leaves must not keep an operator from hearing of what was parked.
        let recording = tokio::spawn(record(Arc::clone(&self.0), key, announced).in_current_span());
        Ok(Response::new(recording.await.map_err(|_| Fault::new(Reason::Conflict))??))
    }

    async fn list_payments(
        &self,
        request: Request<pb::ListPaymentsRequest>,
    ) -> Result<Response<pb::ListPaymentsResponse>, Status> {
        let request = request.into_inner();
        let state = wished_state(request.state)?;
        let account = super::optional("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let rows = payment::list(&self.0.db.read, state, account.as_ref(), &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |p| vec![p.id.as_str().to_owned()]);
        let payments = rows.iter().map(payment_message).collect();
        Ok(Response::new(pb::ListPaymentsResponse { payments, next_page_token }))
    }

    async fn resolve_payment(
        &self,
        request: Request<pb::ResolvePaymentRequest>,
    ) -> Result<Response<pb::ResolvePaymentResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(&caller, RESOLVE, &request.request_id, &request)?;
        let id: PaymentId = validate::parse("payment_id", &request.payment_id)?;
        let account = super::optional("billing_account_id", &request.billing_account_id)?;
        let resolution = match (request.resolution(), account) {
            (pb::PaymentResolution::Book, account) => Resolution::Book(account),
            (pb::PaymentResolution::Dismiss, None) => Resolution::Dismiss,
            (pb::PaymentResolution::Dismiss, Some(_)) => {
                let right = "must be empty: nothing is booked to any account";
                return Err(Fault::field("billing_account_id", right).into());
            }
            (pb::PaymentResolution::Unspecified, _) => {
                return Err(Fault::field("resolution", "is required").into());
            }
        };
        let note = validate::text("note", &request.note, NOTE_CHARS_MAX)?;
        let now = self.0.clock.now();
        let pending = match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => return Ok(Response::new(answer)),
            Open::Fresh(pending) => pending,
        };
        let decision = Decision { resolver: &caller.name, note };
        let decided = resolve_payment(&pending.tx, &self.0, &id, &resolution, decision, now).await?;
        let payment = Some(payment_message(&decided));
        let response = pending.finish(pb::ResolvePaymentResponse { payment }, now).await?;
        self.0.wakes.feed.notify_one();
        tracing::info!(payment.id = %id, state = decided.state.name(), caller = caller.name, "decided {id}");
        Ok(Response::new(response))
    }
}
