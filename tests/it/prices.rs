//! All four price columns, and days of 23, 24 and 25 hours (D23, I-12).

use anyhow::ensure;
use tandem_proto::billing::v1::{BillLineKind, SetCurrencyRequest};
use tandem_proto::common::v1::BillingItem;
use tandem_proto::console::v1::UsagePoint;
use tandem_tests::customer::Paid;
use tandem_tests::day::{amounts, day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

on_both_engines! {
    all_four_price_columns;
    days_of_23_and_25_hours_are_billed_hour_by_hour_once;
}

/// One unit of four items.
fn usage(workspace: &str, hour: jiff::Timestamp) -> Vec<UsagePoint> {
    let by_retention =
        |item, days, quantity| UsagePoint { retention_days: days, ..point(workspace, hour, item, quantity) };
    vec![
        by_retention(BillingItem::TimeSeries, 3, 1_000),
        by_retention(BillingItem::LogCount, 7, 1_000_000),
        point(workspace, hour, BillingItem::NetworkHost, 1),
        point(workspace, hour, BillingItem::Pipeline, 1_000_000_000),
    ]
}

/// Moves an account to a currency, as an operator does.
async fn settle_in(system: &System, account: &str, currency: &str) -> anyhow::Result<()> {
    let request = SetCurrencyRequest {
        request_id: request_id("currency"),
        billing_account_id: account.to_owned(),
        currency_code: currency.to_owned(),
    };
    let changed = system.operator()?.billing_accounts().set_currency(request).await?.into_inner();
    ensure!(changed.account.is_some_and(|account| account.currency_code == currency), "{account}");
    Ok(())
}

async fn all_four_price_columns(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    // `domain.md` 4.6, per unit in millionths: series for 3 days, logs for 7, hosts, the pipeline; then the total.
    let columns: [(&str, &str, [i64; 4], i64); 4] = [
        ("cn1", "CNY", [600_000, 1_200_000, 2_000_000, 100_000], 390),
        ("us1", "CNY", [1_600_000, 2_400_000, 4_000_000, 200_000], 820),
        ("cn1", "USD", [90_000, 170_000, 290_000, 14_000], 56),
        ("us1", "USD", [230_000, 400_000, 600_000, 28_000], 126),
    ];
    let first = day("2026-03-02")?;
    let mut paids: Vec<Paid> = Vec::new();
    for (site, currency, ..) in columns {
        let name = format!("{site}-{}", currency.to_lowercase());
        let (_, paid) = system.direct_customer(site, &name).await?;
        settle_in(&system, &paid.account, currency).await?;
        system.recharge(&paid.account, currency, 1_000).await?;
        paids.push(paid);
    }
    // The mainland's day is over first.
    let hour = hours(first, "Asia/Shanghai")?[20];
    system.advance_to(hour).await?;
    for paid in &paids {
        system.record_all(usage(&paid.workspace, hour)).await?;
    }
    system.finish_day("cn1", first).await?;
    system.finish_day("us1", first).await?;
    for ((site, currency, prices, total), paid) in columns.iter().zip(&paids) {
        let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
        let mut lines: Vec<(String, i64)> = ["TIME_SERIES/3", "LOG_COUNT/7", "NETWORK_HOST", "PIPELINE"]
            .into_iter()
            .map(str::to_owned)
            .zip(*prices)
            .collect();
        let rounding = total * 10_000 - prices.iter().sum::<i64>();
        if rounding != 0 {
            lines.push(("ROUNDING".to_owned(), rounding));
        }
        lines.sort();
        let mut billed = amounts(&bill);
        billed.sort();
        ensure!(billed == lines, "{site} in {currency}: {billed:?} instead of {lines:?}");
        ensure!(payable(&bill) == *total, "{site} in {currency}: {bill:?}");
        let one_currency = bill
            .lines
            .iter()
            .all(|line| line.amount.as_ref().is_some_and(|amount| amount.currency_code == *currency));
        ensure!(one_currency, "I-06: {bill:?}");
        ensure!(system.wallet(&paid.account).await? == (1_000 - total, 0));
    }
    system.check_converged().await
}

async fn days_of_23_and_25_hours_are_billed_hour_by_hour_once(engine: Engine) -> anyhow::Result<()> {
    for (start, days) in [
        ("2026-03-06T12:00:00Z", [("2026-03-07", 24), ("2026-03-08", 23), ("2026-03-09", 24)]),
        ("2026-10-30T12:00:00Z", [("2026-10-31", 24), ("2026-11-01", 25), ("2026-11-02", 24)]),
    ] {
        let system = Setup::new(engine).at(start.parse()?).time_zone("us1", "America/New_York").run().await?;
        let (_, here) = system.direct_customer("us1", "new-york").await?;
        let (_, there) = system.direct_customer("cn1", "shanghai").await?;
        let (mut sent, mut billed) = (0_i64, 0_i64);
        let mut quantity = 10_000_i64;
        for (text, count) in days {
            let day = day(text)?;
            // Shanghai's day ends first, and is recorded before it can be closed.
            let shanghai = hours(day, "Asia/Shanghai")?;
            ensure!(shanghai.len() == 24, "Shanghai has no summer time");
            system.advance_to(shanghai[23]).await?;
            let points =
                shanghai.iter().map(|hour| point(&there.workspace, *hour, BillingItem::Trigger, 10_000));
            system.record_all(points.collect()).await?;
            let hours_here = hours(day, "America/New_York")?;
            ensure!(hours_here.len() == count, "{text} has {} hours", hours_here.len());
            system.advance_to(hours_here[count - 1]).await?;
            let mut points = Vec::new();
            for hour in hours_here {
                // Each hour its own quantity, so that one counted twice cannot make up for one left out.
                quantity += 1;
                sent += quantity;
                points.push(point(&here.workspace, hour, BillingItem::Trigger, quantity));
            }
            system.record_all(points.clone()).await?;
            system.record(points).await?;
        }
        for (text, _) in days {
            system.finish_day("cn1", day(text)?).await?;
            system.finish_day("us1", day(text)?).await?;
            let bill = system.bill(&there.account, &there.workspace, text).await?;
            ensure!(payable(&bill) == 2_400, "{bill:?}");
            let bill = system.bill(&here.account, &here.workspace, text).await?;
            let usage = bill.lines.iter().filter(|line| line.kind() == BillLineKind::PayAsYouGo);
            billed += usage.map(|line| line.quantity_hundredths).sum::<i64>();
        }
        ensure!(billed == sent * 100, "I-12: {sent} were sent, {billed} hundredths were billed");
        system.check_converged().await?;
    }
    Ok(())
}
