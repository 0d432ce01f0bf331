//! Packages through the RPCs: the documented day of `domain.md` 4.9, 132 and 123; R4; who may agree on less.

use anyhow::{Context as _, ensure};
use tandem_proto::billing::v1 as billing;
use tandem_proto::billing::v1::BillLineKind;
use tandem_proto::common::v1::{BillingItem, SettlementMethod};
use tandem_proto::console::v1::UsagePoint;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::customer::{Paid, ids};
use tandem_tests::day::{day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

const DAY: &str = "2026-03-02";
/// A start-up package, and 30 M logs a day at 80 %, in fen.
const START_UP: i64 = 4_200_000;
const LOGS: i64 = 36 * 372 * 100;

on_both_engines! {
    the_documented_package_day_costs_132;
    with_a_traffic_package_it_costs_123;
    a_workspace_with_a_package_stays_with_the_billing_center;
}

fn order(paid: &Paid, traffic: Vec<billing::TrafficOrder>) -> billing::OrderPackageRequest {
    billing::OrderPackageRequest {
        request_id: request_id("order"),
        billing_account_id: paid.account.clone(),
        annual_offer: "start-up".to_owned(),
        traffic,
        workspace_ids: vec![paid.workspace.clone()],
        start_day: String::new(),
    }
}

/// The documented day, in two hours.
async fn record(system: &System, workspace: &str) -> anyhow::Result<()> {
    let hours = hours(day(DAY)?, "Asia/Shanghai")?;
    system.advance_to(*hours.last().context("hours")?).await?;
    let kept = |days, point: UsagePoint| UsagePoint { retention_days: days, ..point };
    let mut points = Vec::new();
    for hour in [hours[3], hours[17]] {
        points.extend([
            kept(30, point(workspace, hour, BillingItem::LogCount, 20_000_000)),
            kept(14, point(workspace, hour, BillingItem::ApmTrace, 2_500_000)),
            kept(14, point(workspace, hour, BillingItem::RumPv, 200_000)),
            point(workspace, hour, BillingItem::Trigger, 105_000),
            // The greatest hour counts.
            point(workspace, hour, BillingItem::Collector, 25),
        ]);
    }
    system.record_all(points).await
}

async fn usage(system: &System, paid: &Paid) -> anyhow::Result<billing::GetPackageUsageResponse> {
    let request = billing::GetPackageUsageRequest {
        billing_account_id: paid.account.clone(),
        usage_day: DAY.to_owned(),
    };
    Ok(system.portal()?.packages().get_package_usage(request).await?.into_inner())
}

fn micros(amount: Option<&tandem_proto::common::v1::LineAmount>) -> i64 {
    amount.map_or(0, |amount| amount.micros)
}

async fn check_proofs(system: &System) -> anyhow::Result<()> {
    let request = billing::ProvePackagesRequest::default();
    let proof = system.operator()?.packages().prove_packages(request).await?.into_inner();
    ensure!(proof.differences.is_empty() && proof.proved_count > 0, "{proof:?}");
    system.check_converged().await
}

async fn the_documented_package_day_costs_132(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "startup").await?;
    system.recharge(&paid.account, "CNY", START_UP + 13_200).await?;
    let bought = system.portal()?.packages().order_package(order(&paid, vec![])).await?.into_inner();
    ensure!(bought.charged.as_ref().is_some_and(|money| money.minor_units == START_UP), "{bought:?}");
    ensure!(bought.paid_by.iter().all(|p| p.instrument() == billing::PaymentInstrument::Cash), "{bought:?}");
    record(&system, &paid.workspace).await?;
    system.finish_day("cn1", day(DAY)?).await?;
    let bill = system.bill(&paid.account, &paid.workspace, DAY).await?;
    ensure!(payable(&bill) == 13_200, "{bill:?}");
    ensure!(bill.state() == billing::BillState::Paid, "{bill:?}");
    let mut excess = Vec::new();
    for line in &bill.lines {
        ensure!(line.package_id == bought.packages[0].id, "{line:?}");
        match line.kind() {
            BillLineKind::PayAsYouGo => excess.push((line.item(), micros(line.amount.as_ref()) / 1_000_000)),
            BillLineKind::AnnualPackage => ensure!(micros(line.amount.as_ref()) == 0, "{line:?}"),
            other => anyhow::bail!("a line is {other:?}"),
        }
    }
    use BillingItem::{ApmTrace, Collector, LogCount, RumPv, Trigger};
    let documented = [(LogCount, 60), (ApmTrace, 15), (RumPv, 40), (Trigger, 2), (Collector, 15)];
    ensure!(excess == documented, "{excess:?}");
    ensure!(system.wallet(&paid.account).await? == (0, 0), "the wallet");
    let usage = usage(&system, &paid).await?;
    ensure!(micros(usage.beyond_annual.as_ref()) == 132_000_000, "{usage:?}");
    system
        .eventually("the order is mailed", async || {
            let mails = system.mails_to(&customer.email)?;
            Ok(mails.iter().any(|mail| mail.text.contains("start-up")).then_some(()))
        })
        .await?;
    check_proofs(&system).await
}

async fn with_a_traffic_package_it_costs_123(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "traffic").await?;
    system.recharge(&paid.account, "CNY", START_UP + LOGS + 8_700).await?;
    let agreed = || {
        order(
            &paid,
            vec![billing::TrafficOrder { offer: "logs".to_owned(), multiple: 30, price_percent: 80 }],
        )
    };
    let refused = system.portal()?.packages().order_package(agreed()).await.err().context("80 % for all")?;
    ensure!(reason_of(&refused) == Some(Reason::RoleNotAllowed), "{refused:?}");
    let bought = system.operator()?.packages().order_package(agreed()).await?.into_inner();
    ensure!(bought.charged.as_ref().is_some_and(|money| money.minor_units == START_UP + LOGS), "{bought:?}");
    record(&system, &paid.workspace).await?;
    system.finish_day("cn1", day(DAY)?).await?;
    let bill = system.bill(&paid.account, &paid.workspace, DAY).await?;
    ensure!(payable(&bill) == 8_700, "{bill:?}");
    let usage = usage(&system, &paid).await?;
    ensure!(micros(usage.traffic_day_price.as_ref()) == 36_000_000, "{usage:?}");
    ensure!(micros(usage.excess.as_ref()) == 87_000_000, "{usage:?}");
    ensure!(micros(usage.beyond_annual.as_ref()) == 123_000_000, "{usage:?}");
    check_proofs(&system).await
}

/// R4, from both sides.
async fn a_workspace_with_a_package_stays_with_the_billing_center(engine: Engine) -> anyhow::Result<()> {
    const ACCOUNT: &str = "1744000000000007";
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "stays").await?;
    system.recharge(&paid.account, "CNY", START_UP).await?;
    system.portal()?.packages().order_package(order(&paid, vec![])).await?;
    let purchase = system.buy(ACCOUNT).await?;
    let change = billing::ChangeSettlementMethodRequest {
        request_id: request_id("change"),
        billing_account_id: paid.account.clone(),
        workspace_id: paid.workspace.clone(),
        settlement_method: SettlementMethod::AlibabaCloud.into(),
        purchase: Some(billing::change_settlement_method_request::Purchase::PurchaseIds(ids(&purchase))),
    };
    let refused = system.portal()?.bindings().change_settlement_method(change).await;
    let refused = refused.err().context("a cloud was accepted")?;
    ensure!(reason_of(&refused) == Some(Reason::PackageRunning), "{refused:?}");
    ensure!(system.binding(&paid.workspace).await?.settlement_method() == SettlementMethod::BillingCenter);

    let (_, cloud) = system.cloud_customer("cn1", "cloudy", &purchase).await?;
    system.recharge(&cloud.account, "CNY", START_UP).await?;
    let refused = system.portal()?.packages().order_package(order(&cloud, vec![])).await;
    let refused = refused.err().context("a package was sold to a cloud's workspace")?;
    ensure!(reason_of(&refused) == Some(Reason::PackageNeedsBillingCenter), "{refused:?}");
    ensure!(system.wallet(&cloud.account).await? == (START_UP, 0), "a refusal costs nothing");
    system.check_invariants().await
}
