//! `billing.v1.BillService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::bill_service_server::BillService;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::{convert_bill, export, monthly, spend};
use crate::context::Context;
use crate::ops::{prove_bill, prove_bills, run_billing};
use crate::store::bill;

/// Serves bills.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl BillService for Service {
    type ExportBillsStream = export::Parts;

    async fn list_daily_bills(
        &self,
        request: Request<pb::ListDailyBillsRequest>,
    ) -> Result<Response<pb::ListDailyBillsResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let workspace = super::optional("workspace_id", &request.workspace_id)?;
        let page = super::page(request.page_size, &request.page_token, 2)?;
        let db = &self.0.db.read;
        let rows = bill::list(db, &account, workspace.as_ref(), &page.after, page.limit()).await?;
        let (bills, next_page_token) =
            page.cut(rows, |b| vec![b.day.number().to_string(), b.id.as_str().to_owned()]);
        let payments = bill::payments(db, &bills).await?;
        let paid_by = |b: &bill::Bill| payments.get(&b.id).map(Vec::as_slice).unwrap_or_default();
        let bills = bills.iter().map(|b| convert_bill::bill(b, paid_by(b), &[])).collect();
        Ok(Response::new(pb::ListDailyBillsResponse { bills, next_page_token }))
    }

    async fn get_daily_bill(
        &self,
        request: Request<pb::GetDailyBillRequest>,
    ) -> Result<Response<pb::GetDailyBillResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let id = validate::parse("bill_id", &request.bill_id)?;
        let db = &self.0.db.read;
        let found = bill::find(db, &account, &id).await?.ok_or(Fault::not_found("bill_id"))?;
        let found = [found];
        let (lines, payments) = (bill::lines(db, &found).await?, bill::payments(db, &found).await?);
        let lines = lines.get(&id).map(Vec::as_slice).unwrap_or_default();
        let payments = payments.get(&id).map(Vec::as_slice).unwrap_or_default();
        let bill = found.first().map(|b| convert_bill::bill(b, payments, lines));
        Ok(Response::new(pb::GetDailyBillResponse { bill }))
    }

    async fn run_billing(
        &self,
        request: Request<pb::RunBillingRequest>,
    ) -> Result<Response<pb::RunBillingResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.BillService/RunBilling",
            &request.request_id,
            &request,
        )?;
        let site = validate::required("site", &request.site)?;
        let day = validate::parse("usage_day", &request.usage_day)?;
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        // The run has its own transactions and remembers itself how far it came; the answer is stored after it.
        let issued = run_billing::run(&self.0, site, day).await?;
        let response = pb::RunBillingResponse { issued_count: i64::try_from(issued).unwrap_or(i64::MAX) };
        let now = self.0.clock.now();
        match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(pending) => Ok(Response::new(pending.finish(response, now).await?)),
        }
    }

    async fn prove_bills(
        &self,
        request: Request<pb::ProveBillsRequest>,
    ) -> Result<Response<pb::ProveBillsResponse>, Status> {
        let request = request.into_inner();
        let account = super::optional("billing_account_id", &request.billing_account_id)?;
        let bill = super::optional("bill_id", &request.bill_id)?;
        let page = super::page(request.page_size, &request.page_token, 2)?;
        let proof = prove_bills::prove_bills(&self.0.db, account.as_ref(), bill.as_ref(), &page).await?;
        Ok(Response::new(pb::ProveBillsResponse {
            proved_count: i32::try_from(proof.proved).unwrap_or(i32::MAX),
            differences: proof.differences.into_iter().map(difference).collect(),
            next_page_token: proof.next_page_token,
        }))
    }

    async fn prove_bill(
        &self,
        request: Request<pb::ProveBillRequest>,
    ) -> Result<Response<pb::ProveBillResponse>, Status> {
        let id = validate::parse("bill_id", &request.into_inner().bill_id)?;
        let proved = prove_bill::prove_bill(&self.0.db, &id).await?;
        Ok(Response::new(pb::ProveBillResponse {
            bill: Some(convert_bill::bill(&proved.bill, &proved.payments, &proved.lines)),
            equal: proved.differences.is_empty(),
            differences: proved.differences.into_iter().map(difference).collect(),
        }))
    }

    async fn list_monthly_bills(
        &self,
        request: Request<pb::ListMonthlyBillsRequest>,
    ) -> Result<Response<pb::ListMonthlyBillsResponse>, Status> {
        Ok(Response::new(monthly::list(&self.0, request.into_inner()).await?))
    }

    async fn get_monthly_bill(
        &self,
        request: Request<pb::GetMonthlyBillRequest>,
    ) -> Result<Response<pb::GetMonthlyBillResponse>, Status> {
        Ok(Response::new(monthly::get(&self.0, request.into_inner()).await?))
    }

    async fn list_monthly_bill_workspaces(
        &self,
        request: Request<pb::ListMonthlyBillWorkspacesRequest>,
    ) -> Result<Response<pb::ListMonthlyBillWorkspacesResponse>, Status> {
        Ok(Response::new(monthly::list_workspaces(&self.0, request.into_inner()).await?))
    }

    async fn run_monthly_billing(
        &self,
        request: Request<pb::RunMonthlyBillingRequest>,
    ) -> Result<Response<pb::RunMonthlyBillingResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(monthly::run(&self.0, &caller, request.into_inner()).await?))
    }

    async fn prove_monthly_bills(
        &self,
        request: Request<pb::ProveMonthlyBillsRequest>,
    ) -> Result<Response<pb::ProveMonthlyBillsResponse>, Status> {
        Ok(Response::new(monthly::prove(&self.0, request.into_inner()).await?))
    }

    async fn get_spend(
        &self,
        request: Request<pb::GetSpendRequest>,
    ) -> Result<Response<pb::GetSpendResponse>, Status> {
        Ok(Response::new(spend::get(&self.0, request.into_inner()).await?))
    }

    async fn export_bills(
        &self,
        request: Request<pb::ExportBillsRequest>,
    ) -> Result<Response<Self::ExportBillsStream>, Status> {
        Ok(Response::new(export::export(&self.0, request.into_inner()).await?))
    }
}

fn difference(d: prove_bills::Difference) -> pb::BillDifference {
    pb::BillDifference { bill_id: d.bill.into(), what: d.what, stored: d.stored, recomputed: d.recomputed }
}
