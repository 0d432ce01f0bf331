//! Price lists, log modes and currencies on both engines.

mod currency;
mod lists;
mod log_modes;
mod walk;

use jiff::SignedDuration;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::price_service_server::PriceService as _;
use tandem_proto::common::v1 as common;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, LineAmount};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::PriceZone;
use tandem_service_kit::fault::{Fault, reason_of};
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::identity::Caller;
use tonic::{Request, Response, Status};

use crate::domain::bill::Line;
use crate::domain::log_mode::LogMode;
use crate::domain::price::PriceList;
use crate::domain::price_check::COLUMNS;
use crate::grpc::price::Service;
use crate::ops::{prove_bills, set_log_mode};
use crate::store::log_mode::LogModePeriod;
use crate::store::{bill, price};
use crate::testing::{Bench, at, day};

/// A request by a caller whom the guard has let in.
fn by_operator<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller { name: "tester".to_owned(), role: common::Role::Operator });
    request
}

fn refusal<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> (Reason, Fault) {
    let status = answer.unwrap_err();
    let fault = Fault::from_status(&status).unwrap();
    (reason_of(&status).unwrap(), fault)
}

fn prices(list: &PriceList) -> Vec<pb::Price> {
    let mut prices: Vec<pb::Price> = list
        .prices
        .iter()
        .map(|(key, price)| pb::Price {
            item: key.item.to_message().into(),
            retention_days: key.retention_days,
            price_zone: key.zone.to_message().into(),
            unit_size: 0,
            unit_price: Some(price.unit_price.to_message()),
        })
        .collect();
    prices.sort_by_key(|p| {
        (p.item, p.retention_days, p.price_zone, p.unit_price.clone().map(|u| u.currency_code))
    });
    prices
}

/// The shipped list with other prices for one item, in every column it is sold in.
fn with_price(item: BillingItem, micros: i64) -> PriceList {
    let mut list = price::shipped().unwrap();
    for (key, price) in list.prices.iter_mut().filter(|(key, _)| key.item == item) {
        price.unit_price = LineAmount { micros, currency: key.currency };
    }
    list
}

async fn publish(
    bench: &Bench,
    version: &str,
    effective_day: &str,
    list: &PriceList,
) -> Result<Response<pb::PublishPriceListResponse>, Status> {
    let request = pb::PublishPriceListRequest {
        request_id: fresh_uuid().to_string(),
        version: version.to_owned(),
        effective_day: effective_day.to_owned(),
        prices: prices(list),
    };
    Service(bench.ctx.clone()).publish_price_list(by_operator(request)).await
}

async fn set_mode(bench: &Bench, workspace: &WorkspaceId, mode: LogMode) -> Option<LogModePeriod> {
    let tx = bench.db.begin().await.unwrap();
    let set = set_log_mode::run(&tx, workspace, mode, "tester", bench.ctx.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    set
}

/// The lines of an account's bill of a day, without rounding.
async fn lines(bench: &Bench, account: &BillingAccountId, on: &str) -> Vec<Line> {
    let bills = bill::list(&bench.db.read, account, None, &[], 500).await.unwrap();
    let mut found = bill::lines(&bench.db.read, &bills).await.unwrap();
    let of_day = bills.iter().filter(|b| b.day == day(on));
    of_day.flat_map(|b| found.remove(&b.id).unwrap()).filter(|line| line.item.is_some()).collect()
}

/// What differs when every bill is proved.
async fn differences(bench: &Bench) -> Vec<String> {
    let page = tandem_proto::page::Page::from_request(500, "", 2).unwrap();
    let proof = prove_bills::prove_bills(&bench.db, None, None, &page).await.unwrap();
    proof.differences.into_iter().map(|d| d.what).collect()
}

/// Moves the clock past the end of a day on cn1.
fn end_of(bench: &Bench, on: &str) {
    bench.clock.advance_to(at(&format!("{on}T16:10:00Z")));
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

const CN_CNY: (PriceZone, Currency) = COLUMNS[0];
