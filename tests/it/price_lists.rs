//! Price lists, log modes and currencies through what is served: publish, quote, bill, adjust, prove.

use anyhow::{Context as _, ensure};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, PriceZone, SettlementMethod};
use tandem_proto::console::v1::{ListUsageRequest, UsagePoint};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::{Fault, reason_of};
use tandem_tests::day::{amounts, day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

on_both_engines! {
    a_new_list_is_published_quoted_and_billed;
    logs_are_charged_by_count_or_by_volume_never_by_both;
    a_currency_changes_only_when_nothing_is_open;
}

/// The list in force, with another price for triggers.
async fn dearer(system: &System, micros: i64) -> anyhow::Result<Vec<billing::Price>> {
    let request = billing::GetPriceListRequest::default();
    let list = system.portal()?.prices().get_price_list(request).await?.into_inner().price_list;
    let mut prices = list.context("price_list")?.prices;
    for price in prices.iter_mut().filter(|price| price.item() == BillingItem::Trigger) {
        price.unit_price.as_mut().context("unit_price")?.micros = micros;
    }
    Ok(prices)
}

fn publish(version: &str, day: &str, prices: Vec<billing::Price>) -> billing::PublishPriceListRequest {
    billing::PublishPriceListRequest {
        request_id: request_id("publish"),
        version: version.to_owned(),
        effective_day: day.to_owned(),
        prices,
    }
}

async fn a_new_list_is_published_quoted_and_billed(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "listed").await?;
    system.recharge(&paid.account, "CNY", 100_000).await?;
    let mut prices = system.operator()?.prices();
    let first = day("2026-03-02")?;
    let (hours_1, hours_2) = (hours(first, "Asia/Shanghai")?, hours(first.next(), "Asia/Shanghai")?);
    let triggers = |hour, quantity| vec![point(&paid.workspace, hour, BillingItem::Trigger, quantity)];
    system.advance_to(hours_1[20]).await?;
    system.record_all(triggers(hours_1[8], 20_000)).await?;
    system.finish_day("cn1", first).await?;

    let dear = dearer(&system, 5_000_000).await?;
    let late = prices.publish_price_list(publish("march", "2026-03-02", dear.clone())).await;
    ensure!(late.as_ref().err().and_then(reason_of) == Some(Reason::PriceDayBilled), "{late:?}");
    let mut lacking = dear.clone();
    lacking.retain(|price| price.item() != BillingItem::Report);
    let refused = prices.publish_price_list(publish("march", "2026-03-03", lacking)).await;
    let fault = refused.err().as_ref().and_then(Fault::from_status).context("a list without reports")?;
    ensure!(fault.reason == Reason::PriceMissing, "{fault:?}");
    ensure!(fault.fields.iter().any(|(_, what)| what.contains("REPORT in CN CNY, INTL USD")), "{fault:?}");
    let published = prices.publish_price_list(publish("march", "2026-03-03", dear)).await?.into_inner();
    let published = published.price_list.context("price_list")?;
    ensure!(published.effective_day == "2026-03-03" && !published.superseded, "{published:?}");
    let request = billing::ListPriceListsRequest::default();
    let listed = system.portal()?.prices().list_price_lists(request).await?.into_inner().price_lists;
    let days: Vec<_> = listed.iter().map(|l| (l.version.as_str(), l.last_day.as_str())).collect();
    ensure!(days == [("march", ""), ("default-2026-01", "2026-03-02")], "{days:?}");

    // The quote for the day is what its bill says; what comes late for the day before keeps the old price.
    let quote = billing::QuotePriceRequest {
        usage: vec![billing::QuotedUsage {
            item: BillingItem::Trigger.into(),
            retention_days: 0,
            quantity_hundredths: 1_000_000,
        }],
        price_zone: PriceZone::Cn.into(),
        currency_code: "CNY".to_owned(),
        day: "2026-03-03".to_owned(),
    };
    let quoted = system.portal()?.prices().quote_price(quote).await?.into_inner();
    ensure!(quoted.price_list_version == "march", "{quoted:?}");
    ensure!(quoted.total.as_ref().is_some_and(|total| total.minor_units == 500), "{quoted:?}");
    system.advance_to(hours_2[20]).await?;
    system.record_all(triggers(hours_2[8], 10_000)).await?;
    system.record_all(triggers(hours_1[9], 30_000)).await?;
    system.finish_day("cn1", first.next()).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-03").await?;
    ensure!(bill.price_list_version == "march", "{bill:?}");
    let lines = amounts(&bill);
    let expected = vec![("TRIGGER".to_owned(), 5_000_000), ("TRIGGER of 2026-03-02".to_owned(), 3_000_000)];
    ensure!(lines == expected, "{lines:?}");
    let old = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(old.price_list_version == "default-2026-01" && payable(&old) == 200, "{old:?}");
    system.check_converged().await
}

async fn logs_are_charged_by_count_or_by_volume_never_by_both(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "logs").await?;
    system.recharge(&paid.account, "CNY", 100_000).await?;
    let first = day("2026-03-02")?;
    let logs = |hour| {
        let by = |item, quantity| UsagePoint {
            retention_days: 14,
            ..point(&paid.workspace, hour, item, quantity)
        };
        vec![by(BillingItem::LogCount, 1_000_000), by(BillingItem::LogIngest, 2_000_000_000)]
    };
    let hours_1 = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours_1[12]).await?;
    system.record_all(logs(hours_1[8])).await?;
    let request = billing::SetLogModeRequest {
        request_id: request_id("mode"),
        workspace_id: paid.workspace.clone(),
        log_mode: billing::LogMode::Ingest.into(),
    };
    let set = system.operator()?.prices().set_log_mode(request).await?.into_inner();
    ensure!(set.period.as_ref().is_some_and(|period| period.start_day == "2026-03-03"), "{set:?}");
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(amounts(&bill) == [("LOG_COUNT/14".to_owned(), 1_500_000)], "{bill:?}");
    let hours_2 = hours(first.next(), "Asia/Shanghai")?;
    system.advance_to(hours_2[12]).await?;
    system.record_all(logs(hours_2[8])).await?;
    system.record_all(logs(hours_1[9])).await?;
    system.finish_day("cn1", first.next()).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-03").await?;
    let expected =
        vec![("LOG_INGEST/14".to_owned(), 2_000_000), ("LOG_COUNT of 2026-03-02".to_owned(), 1_500_000)];
    ensure!(amounts(&bill) == expected, "{bill:?}");
    // The Console's statistics have both.
    let request = ListUsageRequest {
        workspace_id: paid.workspace.clone(),
        start_day: "2026-03-02".to_owned(),
        end_day: "2026-03-03".to_owned(),
        ..Default::default()
    };
    let usage = system.operator()?.usage().list_usage(request).await?.into_inner().usage;
    ensure!(usage.len() == 4, "{usage:?}");
    let request = billing::ListLogModesRequest { workspace_id: paid.workspace.clone(), ..Default::default() };
    let modes = system.portal()?.prices().list_log_modes(request).await?.into_inner().periods;
    ensure!(modes.len() == 1 && modes[0].log_mode() == billing::LogMode::Ingest, "{modes:?}");
    system.check_converged().await
}

async fn a_currency_changes_only_when_nothing_is_open(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "dollars").await?;
    let change = |currency: &str| billing::SetCurrencyRequest {
        request_id: request_id("currency"),
        billing_account_id: paid.account.clone(),
        currency_code: currency.to_owned(),
    };
    let mut accounts = system.operator()?.billing_accounts();
    system.recharge(&paid.account, "CNY", 500).await?;
    let refused = accounts.set_currency(change("USD")).await.err().context("cash is open")?;
    let fault = Fault::from_status(&refused).context("a reason")?;
    ensure!(fault.reason == Reason::CurrencyInUse, "{fault:?}");
    ensure!(fault.metadata == [("lots".to_owned(), "1".to_owned())], "{fault:?}");
    let wrong = accounts.set_currency(change("EUR")).await.err().context("no currency of ours")?;
    ensure!(reason_of(&wrong) == Some(Reason::InvalidField), "{wrong:?}");
    // Used up to the last fen.
    let first = day("2026-03-02")?;
    let hours_1 = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours_1[12]).await?;
    system.record_all(vec![point(&paid.workspace, hours_1[8], BillingItem::Trigger, 50_000)]).await?;
    system.finish_day("cn1", first).await?;
    let changed = accounts.set_currency(change("USD")).await?.into_inner();
    ensure!(changed.first_day == "2026-03-03", "{changed:?}");
    let hours_2 = hours(first.next(), "Asia/Shanghai")?;
    system.advance_to(hours_2[12]).await?;
    system.record_all(vec![point(&paid.workspace, hours_2[8], BillingItem::Trigger, 50_000)]).await?;
    system.finish_day("cn1", first.next()).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-03").await?;
    let total = bill.payable.clone().context("payable")?;
    ensure!((total.currency_code.as_str(), total.minor_units) == ("USD", 70), "{bill:?}");
    ensure!(system.wallet(&paid.account).await? == (0, -70), "the debt is in dollars");
    system.recharge(&paid.account, "USD", 70).await?;
    system.check_converged().await?;
    // A purchase on the mainland's market is charged in yuan: this account cannot settle through one.
    let purchase = system.buy("1744000000000001").await?;
    let request = billing::ChangeSettlementMethodRequest {
        request_id: request_id("change"),
        billing_account_id: paid.account.clone(),
        workspace_id: paid.workspace.clone(),
        settlement_method: SettlementMethod::AlibabaCloud.into(),
        purchase: Some(billing::change_settlement_method_request::Purchase::PurchaseIds(
            tandem_tests::customer::ids(&purchase),
        )),
    };
    let refused = system.operator()?.bindings().change_settlement_method(request).await;
    let refused = refused.err().context("settled through another currency's market")?;
    ensure!(reason_of(&refused) == Some(Reason::CurrencyMismatch), "{refused:?}");
    system.check_invariants().await
}
