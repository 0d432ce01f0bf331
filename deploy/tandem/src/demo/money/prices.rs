//! Part 2: price lists are published ahead, complete or not at all, and a bill keeps the one it was made with; logs are
//! charged by count or by volume.

use tandem_proto::billing::v1::{
    DailyBill, GetPriceListRequest, ListPriceListsRequest, LogMode, Price, PublishPriceListRequest,
    QuotePriceRequest, QuotedUsage, SetLogModeRequest,
};
use tandem_proto::common::v1::{BillingItem, PriceZone};
use tandem_proto::money::{Currency, LineAmount};
use tandem_proto::reason::Reason;

use super::tenant::{Tenant, must};
use crate::client::present;
use crate::commands::price;
use crate::demo::stage::{Calendar, Stage};
use crate::failure::{Failure, Result};

/// Publishes a list for the second day that makes texts a tenth dearer.
pub async fn publish(stage: &Stage, calendar: &Calendar) -> Result<()> {
    stage.teller.part("2. Price lists")?;
    stage.teller.step("A new list is refused when it lacks what is in use, with the items named")?;
    let mut portal = stage.portal.prices();
    let current = portal.get_price_list(GetPriceListRequest::default()).await?.into_inner();
    let mut prices = present(current.price_list, "price_list")?.prices;
    for price in prices.iter_mut().filter(|price| price.item() == BillingItem::Sms) {
        if let Some(amount) = price.unit_price.as_mut() {
            amount.micros += amount.micros / 10;
        }
    }
    let publish = |prices: Vec<Price>| PublishPriceListRequest {
        request_id: stage.request_id(),
        version: format!("spring{}", stage.suffix),
        effective_day: calendar.day(2).to_string(),
        prices,
    };
    let lacking = prices.iter().filter(|price| price.item() != BillingItem::Report).cloned().collect();
    let refused = stage.operator.prices().publish_price_list(publish(lacking)).await;
    let refused = refused.map_err(Failure::from);
    if let Err(failure) = &refused {
        failure.block().lines().try_for_each(|line| stage.teller.tell(line))?;
    }
    stage.refused(refused, Some(Reason::PriceMissing))?;

    stage.teller.step(&format!("The whole list is published, for {} on", calendar.day(2)))?;
    stage.operator.prices().publish_price_list(publish(prices)).await?;
    let listed = ListPriceListsRequest { page_size: 20, page_token: String::new() };
    let listed = portal.list_price_lists(listed).await?.into_inner().price_lists;
    stage.teller.table(&price::summaries_table(&listed))?;

    stage.teller.step("A customer asks what a thousand texts would cost")?;
    let (before, after) = (quote(stage, calendar, 1).await?, quote(stage, calendar, 2).await?);
    for (day, micros) in [(1, before), (2, after)] {
        let amount = LineAmount { micros, currency: Currency::Cny };
        stage.teller.tell(&format!("{}: {amount}", calendar.day(day)))?;
    }
    must(after == before + before / 10, || "the new list is not a tenth dearer".to_owned())
}

/// Has a workspace's logs charged by volume.
pub async fn by_volume(stage: &Stage, tenant: &Tenant) -> Result<()> {
    stage.teller.step("The second workspace's logs are charged by volume from the next day on")?;
    let mode = SetLogModeRequest {
        request_id: stage.request_id(),
        workspace_id: tenant.workspaces[1].clone(),
        log_mode: LogMode::Ingest.into(),
    };
    let set = stage.operator.prices().set_log_mode(mode).await?.into_inner();
    let start = present(set.period, "period")?.start_day;
    stage.teller.tell(&format!("{} from {start}", LogMode::Ingest.as_str_name()))
}

async fn quote(stage: &Stage, calendar: &Calendar, day: u32) -> Result<i64> {
    let usage =
        QuotedUsage { item: BillingItem::Sms.into(), retention_days: 0, quantity_hundredths: 100_000 };
    let request = QuotePriceRequest {
        usage: vec![usage],
        price_zone: PriceZone::Cn.into(),
        currency_code: "CNY".to_owned(),
        day: calendar.day(day).to_string(),
    };
    let quoted = stage.portal.prices().quote_price(request).await?.into_inner();
    Ok(quoted.lines.iter().filter_map(|line| line.amount.as_ref()).map(|amount| amount.micros).sum())
}

/// The second day's bill is made with the new list, and what it adjusts of the first with the old one.
pub fn kept(stage: &Stage, first: &DailyBill, second: &DailyBill) -> Result<()> {
    let price = |bill: &DailyBill, adjusted: bool| {
        let mut lines = bill.lines.iter().filter(|line| line.item() == BillingItem::Sms);
        let line = lines.find(|line| line.adjusted_day.is_empty() != adjusted);
        line.and_then(|line| line.unit_price.as_ref()).map(|amount| amount.micros)
    };
    let (old, new, late) = (price(first, false), price(second, false), price(second, true));
    must(old.is_some() && old == late && new > old, || {
        format!("prices of texts: {old:?} first, {new:?} then, {late:?} for what came late")
    })?;
    let (was, is) = (&first.price_list_version, &second.price_list_version);
    stage.teller.tell(&format!("the first bill stays with {was}; the second is made with {is}"))
}
