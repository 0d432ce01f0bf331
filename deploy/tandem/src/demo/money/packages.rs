//! Part 7: the documented package day (`domain.md` 4.9): 132, and 123 with a traffic package.

use tandem_proto::billing::v1::{
    GetPackageUsageRequest, GetPackageUsageResponse, OrderPackageRequest, TrafficOrder,
};
use tandem_proto::item::BillingItem;

use super::tenant::{Tenant, must};
use crate::client::Clients;
use crate::commands::package;
use crate::demo::customer;
use crate::demo::stage::{Calendar, Stage};
use crate::demo::usage::{self, Use};
use crate::failure::Result;
use crate::output::{Cell, Table};

/// What a start-up package costs, in fen.
const START_UP: i64 = 4_200_000;
/// 30 M logs a day at 80 % of 1.5 CNY a million, for 372 days, in fen.
const LOGS: i64 = 36 * 372 * 100;
/// For the excess and a prepaid card, in fen.
const REST: i64 = 50_000;
/// The documented day.
const DAY: [Use; 5] = [
    Use { item: BillingItem::Collector, retention_days: 0, units: 25 },
    Use { item: BillingItem::LogCount, retention_days: 30, units: 40_000_000 },
    Use { item: BillingItem::ApmTrace, retention_days: 14, units: 5_000_000 },
    Use { item: BillingItem::RumPv, retention_days: 14, units: 400_000 },
    Use { item: BillingItem::Trigger, retention_days: 0, units: 210_000 },
];

/// One customer buys a start-up package, the other one with a traffic package at an agreed price.
pub async fn order(stage: &Stage, plain: &Tenant, agreed: &Tenant) -> Result<()> {
    stage.teller.part("7. Packages")?;
    stage.teller.step(&format!("{} buys a start-up package for a year", plain.person.company))?;
    customer::recharge(stage, &plain.account, START_UP + REST, "PACKAGE-1").await?;
    buy(stage, &stage.portal, plain, Vec::new()).await?;
    stage.teller.step(&format!(
        "{} buys one, too, and 30 M logs a day, for which sales agreed on 80 %",
        agreed.person.company
    ))?;
    customer::recharge(stage, &agreed.account, START_UP + LOGS + REST, "PACKAGE-2").await?;
    let logs = TrafficOrder { offer: "logs".to_owned(), multiple: 30, price_percent: 80 };
    buy(stage, &stage.operator, agreed, vec![logs]).await
}

async fn buy(stage: &Stage, clients: &Clients, tenant: &Tenant, traffic: Vec<TrafficOrder>) -> Result<()> {
    let order = OrderPackageRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        annual_offer: "start-up".to_owned(),
        traffic,
        workspace_ids: tenant.workspaces.clone(),
        start_day: String::new(),
    };
    let bought = clients.packages().order_package(order).await?.into_inner();
    stage.teller.table(&package::packages_table(&bought.packages))
}

/// Both use the documented day.
pub async fn use_documented_day(
    stage: &Stage,
    plain: &Tenant,
    agreed: &Tenant,
    calendar: &Calendar,
) -> Result<()> {
    for tenant in [plain, agreed] {
        usage::record(stage, &tenant.workspaces[0], calendar, 1, 0..24, &DAY).await?;
    }
    Ok(())
}

/// What went beyond the packages is what the documents say.
pub async fn billed(stage: &Stage, plain: &Tenant, agreed: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("7. Packages are drawn")?;
    for (tenant, documented) in [(plain, 132), (agreed, 123)] {
        stage.teller.step(&format!(
            "{} pays {documented} CNY beyond its annual package for the documented day",
            tenant.person.company
        ))?;
        tenant.bill(stage, &tenant.workspaces[0], calendar.day(1)).await?;
        let used = usage_of(stage, tenant, calendar).await?;
        stage.teller.table(&package::usage_table(&used))?;
        stage.teller.record(&Table::of_one(vec![
            ("traffic_day_price", Cell::amount(used.traffic_day_price.as_ref())),
            ("excess", Cell::amount(used.excess.as_ref())),
            ("beyond_annual", Cell::amount(used.beyond_annual.as_ref())),
        ]))?;
        let beyond = used.beyond_annual.as_ref().map_or(0, |amount| amount.micros);
        must(beyond == documented * 1_000_000, || format!("{beyond} micros are not {documented} CNY"))?;
    }
    Ok(())
}

async fn usage_of(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<GetPackageUsageResponse> {
    let request = GetPackageUsageRequest {
        billing_account_id: tenant.account.clone(),
        usage_day: calendar.day(1).to_string(),
    };
    Ok(stage.portal.packages().get_package_usage(request).await?.into_inner())
}
