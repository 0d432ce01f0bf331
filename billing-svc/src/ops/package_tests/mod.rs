//! Packages on both engines: bought, used, upgraded, ended; proved and tampered with.

mod orders;
mod proofs;
mod quotas;

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem::{self, ApmTrace, Collector, LogCount, RumPv, Sms, Trigger};
use tandem_proto::money::{Currency, Money};
use tandem_proto::page::Page;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::SettlementMethod;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;

use crate::domain::bill::{Line, LineKind};
use crate::domain::package::{Package, PackageState};
use crate::domain::wallet::LotKind;
use crate::ops::package_acts::{Ordered, PackageAct, Traffic};
use crate::ops::package_usage::{DayUsage, package_usage};
use crate::ops::prove_bills::prove_bills;
use crate::ops::prove_packages::prove_packages;
use crate::ops::wallet_acts::{Act, Done};
use crate::ops::{change_settlement, close_day, run_billing, warn_packages};
use crate::store::{bill, package};
use crate::testing::{Bench, at, both, day};

const FIRST: &str = "2026-03-01";
/// What a start-up package costs, in fen.
const START_UP: i64 = 4_200_000;
/// `domain.md` 4.9.
const DOCUMENTED: [(BillingItem, i32, i64); 5] = [
    (Collector, 0, 25),
    (LogCount, 30, 40_000_000),
    (ApmTrace, 14, 5_000_000),
    (RumPv, 14, 400_000),
    (Trigger, 0, 210_000),
];

fn order(annual: &str, traffic: &[(&str, i64, i32)], workspaces: &[&WorkspaceId]) -> Act {
    let traffic = traffic.iter().map(|(offer, multiple, percent)| Traffic {
        offer: (*offer).into(),
        multiple: *multiple,
        percent: *percent,
    });
    Act::Package(PackageAct::Order {
        annual: (!annual.is_empty()).then(|| annual.to_owned()),
        traffic: traffic.collect(),
        workspaces: workspaces.iter().map(|id| (*id).clone()).collect(),
        start_day: None,
    })
}

async fn buy(bench: &Bench, account: &BillingAccountId, act: Act) -> Result<Ordered, Fault> {
    match bench.act(account, act).await? {
        Done::Packages(ordered) => Ok(ordered),
        other => panic!("not packages: {other:?}"),
    }
}

/// Closes a day of a site and makes its bills. Returns how many.
async fn bill_site(bench: &Bench, site: &str, zone: &str, on: &str) -> usize {
    let tx = bench.db.begin().await.unwrap();
    close_day::close_day(&tx, site, day(on), zone, bench.ctx.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    run_billing::run(&bench.ctx, site, day(on)).await.unwrap()
}

/// Lives until a day of cn1 is over, and bills it.
async fn finish(bench: &Bench, on: &str) -> usize {
    let end = day(on).end(&tandem_proto::day::zone("Asia/Shanghai").unwrap());
    bench.clock.advance_to(end + SignedDuration::from_secs(600));
    bench.bill(on).await
}

/// The lines of a workspace's bill of a day; none without a bill.
async fn lines(bench: &Bench, account: &BillingAccountId, workspace: &WorkspaceId, on: &str) -> Vec<Line> {
    let bills = bill::list(&bench.db.read, account, Some(workspace), &[], 100).await.unwrap();
    let bills: Vec<_> = bills.into_iter().filter(|b| b.day == day(on)).collect();
    let mut found = bill::lines(&bench.db.read, &bills).await.unwrap();
    bills.iter().flat_map(|b| found.remove(&b.id).unwrap()).collect()
}

/// Kind, item and whole units.
fn shown(lines: &[Line]) -> Vec<(LineKind, BillingItem, i64)> {
    let line = |line: &Line| Some((line.kind, line.item?, line.quantity.hundredths / 100));
    lines.iter().filter_map(line).collect()
}

async fn usage(bench: &Bench, account: &BillingAccountId, on: &str) -> DayUsage {
    package_usage(&bench.db, account, day(on)).await.unwrap()
}

async fn payable(bench: &Bench) -> i64 {
    bench.number("SELECT CAST(COALESCE(SUM(payable), 0) AS BIGINT) FROM daily_bill").await
}

async fn prove(bench: &Bench) {
    bench.prove().await;
    let page = Page::from_request(500, "", 2).unwrap();
    assert_eq!(prove_packages(&bench.db, None, &page).await.unwrap().differences, []);
}
