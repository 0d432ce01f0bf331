//! `billing.v1.PackageService`.

use std::collections::HashSet;
use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::package_service_server::PackageService;
use tandem_proto::common::v1::Role;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::identity::Caller;
use tandem_service_kit::request_log::RequestKey;
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use super::convert_package as convert;
use crate::context::Context;
use crate::domain::card;
use crate::domain::package::FULL_PERCENT;
use crate::ops::package_acts::{Ordered, PackageAct, Traffic};
use crate::ops::wallet_acts::{Act, Done};
use crate::ops::{package_usage, prove_packages, wallet_lane};
use crate::store::package_catalogue::shipped;
use crate::store::{account, package};

/// Most workspaces of a package: their bills of a day are made in one transaction.
const WORKSPACES_MAX: usize = 100;
/// Most traffic packages in an order.
const TRAFFIC_MAX: usize = 20;
/// Most base sizes of a traffic package.
const MULTIPLE_MAX: i32 = 1_000_000;

/// Serves packages.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl PackageService for Service {
    async fn list_package_offers(
        &self,
        request: Request<pb::ListPackageOffersRequest>,
    ) -> Result<Response<pb::ListPackageOffersResponse>, Status> {
        let request = request.into_inner();
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let catalogue = shipped().map_err(|error| {
            tracing::error!(error = %error, "{error}");
            Fault::new(Reason::Internal)
        })?;
        let after = page.after.first().map(String::as_str).unwrap_or_default();
        let seen = catalogue.offers.iter().position(|offer| offer.code == after).map_or(0, |place| place + 1);
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let rows: Vec<_> = catalogue.offers.iter().skip(seen).take(limit).collect();
        let (rows, next_page_token) = page.cut(rows, |offer| vec![offer.code.clone()]);
        let offers = rows.into_iter().map(convert::offer).collect();
        Ok(Response::new(pb::ListPackageOffersResponse { offers, next_page_token }))
    }

    async fn order_package(
        &self,
        request: Request<pb::OrderPackageRequest>,
    ) -> Result<Response<pb::OrderPackageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.PackageService/OrderPackage",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let annual = (!request.annual_offer.is_empty()).then_some(request.annual_offer);
        if annual.is_none() && request.traffic.is_empty() {
            return Err(Fault::field("annual_offer", "is required unless traffic packages are bought").into());
        }
        let start_day = super::optional("start_day", &request.start_day)?;
        let traffic = traffic(&caller, request.traffic)?;
        let workspaces = workspaces(&request.workspace_ids)?;
        let act = PackageAct::Order { annual, traffic, workspaces, start_day };
        let ordered = |ordered: &Ordered, today| pb::OrderPackageResponse {
            order_id: ordered.order.as_str().to_owned(),
            packages: ordered.packages.iter().map(|p| convert::package(p, today)).collect(),
            charged: Some(ordered.charged.to_message()),
            paid_by: convert::paid_by(ordered),
        };
        self.act(account, key, act, ordered).await
    }

    async fn upgrade_package(
        &self,
        request: Request<pb::UpgradePackageRequest>,
    ) -> Result<Response<pb::UpgradePackageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key = RequestKey::new(
            &caller,
            "/tandem.billing.v1.PackageService/UpgradePackage",
            &request.request_id,
            &request,
        )?;
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let package = validate::parse("package_id", &request.package_id)?;
        let offer = validate::required("offer", &request.offer)?.to_owned();
        let act = PackageAct::Upgrade { package, offer };
        let upgraded = |ordered: &Ordered, today| pb::UpgradePackageResponse {
            order_id: ordered.order.as_str().to_owned(),
            package: ordered.packages.first().map(|p| convert::package(p, today)),
            charged: Some(ordered.charged.to_message()),
            paid_by: convert::paid_by(ordered),
        };
        self.act(account, key, act, upgraded).await
    }

    async fn list_packages(
        &self,
        request: Request<pb::ListPackagesRequest>,
    ) -> Result<Response<pb::ListPackagesResponse>, Status> {
        let request = request.into_inner();
        let id: BillingAccountId = validate::parse("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 1)?;
        let db = &self.0.db.read;
        let region = account::find(db, &id).await?.ok_or(Fault::not_found("billing_account_id"))?.region;
        let today = card::today(region, self.0.clock.now());
        let rows = package::list(db, &id, &page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |p| vec![p.id.as_str().to_owned()]);
        let packages = rows.iter().map(|p| convert::package(p, today)).collect();
        Ok(Response::new(pb::ListPackagesResponse { packages, next_page_token }))
    }

    async fn get_package_usage(
        &self,
        request: Request<pb::GetPackageUsageRequest>,
    ) -> Result<Response<pb::GetPackageUsageResponse>, Status> {
        let request = request.into_inner();
        let account = validate::parse("billing_account_id", &request.billing_account_id)?;
        let day = validate::parse("usage_day", &request.usage_day)?;
        let usage = package_usage::package_usage(&self.0.db, &account, day).await?;
        Ok(Response::new(convert::day_usage(&usage)))
    }

    async fn prove_packages(
        &self,
        request: Request<pb::ProvePackagesRequest>,
    ) -> Result<Response<pb::ProvePackagesResponse>, Status> {
        let request = request.into_inner();
        let account = super::optional("billing_account_id", &request.billing_account_id)?;
        let page = super::page(request.page_size, &request.page_token, 2)?;
        let proof = prove_packages::prove_packages(&self.0.db, account.as_ref(), &page).await?;
        Ok(Response::new(pb::ProvePackagesResponse {
            proved_count: i32::try_from(proof.proved).unwrap_or(i32::MAX),
            differences: proof.differences.into_iter().map(convert::difference).collect(),
            next_page_token: proof.next_page_token,
        }))
    }
}

fn traffic(caller: &Caller, orders: Vec<pb::TrafficOrder>) -> Result<Vec<Traffic>, Fault> {
    if orders.len() > TRAFFIC_MAX {
        return Err(Fault::field("traffic", format!("must have at most {TRAFFIC_MAX} entries")));
    }
    let read = |(index, order): (usize, pb::TrafficOrder)| {
        let field = |name: &str| format!("traffic[{index}].{name}");
        let offer = validate::required(&field("offer"), &order.offer)?.to_owned();
        if !(1..=MULTIPLE_MAX).contains(&order.multiple) {
            return Err(Fault::field(field("multiple"), format!("must be 1 to {MULTIPLE_MAX}")));
        }
        let percent = match order.price_percent {
            0 => FULL_PERCENT,
            percent if (1..=FULL_PERCENT).contains(&percent) => percent,
            _ => return Err(Fault::field(field("price_percent"), "must be 1 to 100, or 0 for 100")),
        };
        // Only staff agrees on less.
        if percent != FULL_PERCENT && caller.role != Role::Operator {
            let right = "below 100 is for operators only";
            return Err(Fault::new(Reason::RoleNotAllowed).and_field(field("price_percent"), right));
        }
        Ok(Traffic { offer, multiple: order.multiple.into(), percent })
    };
    orders.into_iter().enumerate().map(read).collect()
}

fn workspaces(ids: &[String]) -> Result<Vec<WorkspaceId>, Fault> {
    if ids.is_empty() || ids.len() > WORKSPACES_MAX {
        return Err(Fault::field("workspace_ids", format!("must have 1 to {WORKSPACES_MAX} entries")));
    }
    let mut seen = HashSet::new();
    let read = |(index, id): (usize, &String)| {
        let field = format!("workspace_ids[{index}]");
        let id: WorkspaceId = validate::parse(&field, id)?;
        if seen.insert(id.clone()) { Ok(id) } else { Err(Fault::field(field, "is there twice")) }
    };
    ids.iter().enumerate().map(read).collect()
}

impl Service {
    /// Makes an act on an account's wallet, with others' that come at the same time.
    async fn act<R: prost::Message + Default + 'static>(
        &self,
        id: BillingAccountId,
        key: RequestKey,
        act: PackageAct,
        answer: fn(&Ordered, tandem_proto::day::UsageDay) -> R,
    ) -> Result<Response<R>, Status> {
        let found = account::find(&self.0.db.read, &id).await?;
        let region = found.ok_or(Fault::not_found("billing_account_id"))?.region;
        let encode = move |done: &Done| match done {
            Done::Packages(ordered) => answer(ordered, card::today(region, ordered.at)).encode_to_vec(),
            Done::Recharged { .. } | Done::Card { .. } | Done::Voucher(_) => Vec::new(),
        };
        let reply = wallet_lane::act(&self.0, id, key, Act::Package(act), Box::new(encode)).await?;
        let reply = R::decode(reply.as_slice())
            .map_err(|_| Fault::from(StoreError::Corrupt { table: "request_log", column: "reply" }))?;
        Ok(Response::new(reply))
    }
}
