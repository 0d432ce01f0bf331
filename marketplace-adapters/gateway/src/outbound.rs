//! `tandem.marketplace.v1.MarketplaceGatewayService`: what Billing asks of the clouds, one to one. Never repeats a
//! submission, decides nothing.

use std::sync::Arc;
use std::time::Duration;

use tandem_adapters::error::ClientError;
use tandem_adapters::event::Market;
use tandem_adapters::usage::{SubmittedRecord, UsageRecord};
use tandem_proto::marketplace::v1 as pb;
use tandem_proto::marketplace::v1::marketplace_gateway_service_server::{
    MarketplaceGatewayService, MarketplaceGatewayServiceServer,
};
use tandem_proto::reason::Reason;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::server::{DECODE_MAX, ENCODE_MAX};
use tandem_service_kit::validate;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, error, info};

use crate::Gateway;
use crate::convert;
use crate::markets::Served;
use crate::status;

/// Longest time for a look-up, all its calls together: below the ten seconds of every call between our services, so that
/// the caller hears why.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(8);
/// Longest id that is passed on; vendors' ids are far shorter.
const ID_CHARS_MAX: usize = 128;

/// The service.
pub(crate) struct Outbound {
    gateway: Arc<Gateway>,
}

impl Outbound {
    /// Makes the service, with its message limits.
    pub(crate) fn server(gateway: Arc<Gateway>) -> MarketplaceGatewayServiceServer<Outbound> {
        MarketplaceGatewayServiceServer::new(Outbound { gateway })
            .max_decoding_message_size(DECODE_MAX)
            .max_encoding_message_size(ENCODE_MAX)
    }

    /// The market a call is about, and room for the call. Each market has room of its own, so that one that does not
    /// answer never holds up another.
    fn enter(&self, vendor: i32, market: i32) -> Result<Call, Fault> {
        let (vendor, market): (Vendor, Market) = convert::market_from_message(vendor, market)?;
        let served =
            self.gateway.markets.get(vendor, market).ok_or(Fault::new(Reason::VendorNotConfigured))?;
        let place = Arc::clone(&served.outbound).try_acquire_owned().map_err(|_| {
            self.gateway.meters.shed("outbound");
            Fault::new(Reason::Overloaded)
        })?;
        Ok(Call { gateway: Arc::clone(&self.gateway), served: Arc::clone(served), _place: place })
    }
}

/// One call to a market.
struct Call {
    gateway: Arc<Gateway>,
    served: Arc<Served>,
    _place: OwnedSemaphorePermit,
}

impl Call {
    /// Waits for an answer to a question, and counts how it went.
    async fn ask<T>(
        &self,
        name: &'static str,
        question: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Fault> {
        let late = || ClientError::Unavailable { code: "too_slow".to_owned() };
        let answer = tokio::time::timeout(LOOK_UP_TIME_MAX, question).await.unwrap_or_else(|_| Err(late()));
        let outcome = answer.as_ref().map_or_else(status::client_error_name, |_| "answered");
        self.gateway.meters.vendor_call(&self.served, name, outcome);
        answer.map_err(|problem| {
            let (vendor, market) =
                (self.served.connection.vendor.name(), self.served.connection.market.name());
            match problem {
                ClientError::Denied { .. } => {
                    self.gateway.meters.alarm(&self.served, "vendor_denies_us");
                    error!(
                        alarm = "vendor_denies_us",
                        vendor,
                        market,
                        call = name,
                        "{vendor} refuses us: {problem}"
                    );
                }
                ClientError::Unavailable { .. } | ClientError::Unclear { .. } => {
                    info!(vendor, market, call = name, "no clear answer from {vendor}: {problem}");
                }
            }
            status::client_fault(&problem)
        })
    }

    /// Hands records over and keeps a line of what became of each, because only the vendor could tell it again.
    async fn submit(self, request_id: String, records: Vec<UsageRecord>) -> Vec<SubmittedRecord> {
        let results = self.served.connection.client.submit_usage(&request_id, &records).await;
        for result in &results {
            let outcome = convert::submit_outcome_name(result.outcome);
            self.gateway.meters.vendor_call(&self.served, "submit_usage", outcome);
            let (vendor, record, code) =
                (self.served.connection.vendor.name(), &result.id, &result.vendor_code);
            info!(vendor, request.id = request_id, record, outcome, code, "usage record {record}: {outcome}");
        }
        results
    }
}

#[tonic::async_trait]
impl MarketplaceGatewayService for Outbound {
    async fn look_up_purchase(
        &self,
        request: Request<pb::LookUpPurchaseRequest>,
    ) -> Result<Response<pb::LookUpPurchaseResponse>, Status> {
        let request = request.into_inner();
        let call = self.enter(request.vendor, request.market)?;
        let instance = validate::text("vendor_instance_id", &request.vendor_instance_id, ID_CHARS_MAX)?;
        let connection = &call.served.connection;
        let account = match request.vendor_account_id.trim() {
            // A purchase whose end was announced first has no account yet; the vendor judges the instance alone.
            "" => "",
            account => {
                let account = validate::text("vendor_account_id", account, ID_CHARS_MAX)?;
                connection.adapter.check_ids(account, instance).map_err(status::id_fault)?;
                account
            }
        };
        let found =
            call.ask("look_up_purchase", connection.client.look_up_purchase(instance, account)).await?;
        Ok(Response::new(convert::purchase_to_message(found)))
    }

    async fn submit_usage(
        &self,
        request: Request<pb::SubmitUsageRequest>,
    ) -> Result<Response<pb::SubmitUsageResponse>, Status> {
        let request = request.into_inner();
        let request_id = validate::request_id(&request.request_id)?.to_owned();
        let call = self.enter(request.vendor, request.market)?;
        let most = call.served.connection.adapter.capabilities().metering.records_per_call_max;
        if request.records.is_empty() || request.records.len() > most {
            return Err(Fault::field("records", format!("1 to {most} records")).into());
        }
        let read = |(place, record)| convert::record_from_message(place, record);
        let records: Vec<UsageRecord> =
            request.records.into_iter().enumerate().map(read).collect::<Result<_, Fault>>()?;
        // A task of its own: a caller who leaves must not cut a submission in the middle, where nobody would know whether
        // it was taken.
        let submission = tokio::spawn(call.submit(request_id, records).in_current_span());
        let results = submission.await.map_err(|_| {
            error!("a submission broke off; what became of it is not known");
            Fault::new(Reason::Internal)
        })?;
        let results = results.into_iter().map(convert::submitted_to_message).collect();
        Ok(Response::new(pb::SubmitUsageResponse { results }))
    }

    async fn get_submitted_usage(
        &self,
        request: Request<pb::GetSubmittedUsageRequest>,
    ) -> Result<Response<pb::GetSubmittedUsageResponse>, Status> {
        let request = request.into_inner();
        let call = self.enter(request.vendor, request.market)?;
        let instance = validate::text("vendor_instance_id", &request.vendor_instance_id, ID_CHARS_MAX)?;
        let start = validate::timestamp("start_time", request.start_time)?;
        let end = validate::timestamp("end_time", request.end_time)?;
        if end <= start {
            return Err(Fault::field("end_time", "must be after start_time").into());
        }
        let client = &call.served.connection.client;
        let records =
            call.ask("get_submitted_usage", client.get_submitted_usage(instance, start, end)).await?;
        Ok(Response::new(convert::recorded_to_message(records)))
    }
}
