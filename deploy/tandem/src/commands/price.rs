//! `tandem price`: price lists and what usage costs by them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;
use tandem_billing::domain::price::{Price, PriceKey, PriceList};
use tandem_billing::domain::price_file;
use tandem_proto::billing::v1 as billing;
use tandem_proto::billing::v1::{
    GetPriceListRequest, ListPriceListsRequest, PriceListSummary, PublishPriceListRequest, QuotePriceRequest,
    QuotedUsage,
};
use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, LineAmount, parse_micros};
use tandem_proto::settlement::PriceZone;

use super::bill::lines_table;
use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Largest price file: a list of all items is a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Price lists: publish, list, show, quote.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem price show --csv > prices-2026-04.csv   start from the list in force
  tandem price publish prices-2026-04.csv --effective 2026-04-01
  tandem price list
  tandem price quote --zone CN --currency CNY LOG_COUNT:7=2000000 TRIGGER=20000")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Publish a list from a CSV file, for the usage days from a day on
    ///
    /// The file's first line names its columns: item,retention_days, then any of CN CNY, INTL CNY, CN USD, INTL USD. A
    /// dash is an item that is not sold there. The list must price all that the list before it does and all that is
    /// used; it can begin after the last billed day at the earliest, and never changes again.
    Publish {
        /// The CSV file
        file: PathBuf,
        /// First usage day it is used for
        #[arg(long, value_name = "YYYY-MM-DD")]
        effective: UsageDay,
        /// The list's name [default: the file's name without its ending]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Read and check the file only
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        once: Once,
    },
    /// List the published lists and the days each is used for
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a list: by its name, or the one in force on a day
    Show {
        /// The list's name
        #[arg(conflicts_with = "day")]
        name: Option<String>,
        /// The usage day [default: today in UTC]
        #[arg(long, value_name = "YYYY-MM-DD")]
        day: Option<UsageDay>,
        /// Write it as a file that can be published
        #[arg(long)]
        csv: bool,
    },
    /// Say what a day's usage costs, line by line as a bill would
    Quote {
        /// Which sites: CN for the mainland, INTL for Hong Kong and abroad
        #[arg(long)]
        zone: PriceZone,
        /// CNY or USD
        #[arg(long)]
        currency: Currency,
        /// The usage day [default: today in UTC]
        #[arg(long, value_name = "YYYY-MM-DD")]
        day: Option<UsageDay>,
        /// What is used: ITEM=QUANTITY, or ITEM:DAYS=QUANTITY for items priced by retention
        #[arg(required = true, value_name = "ITEM[:DAYS]=QUANTITY", value_parser = used)]
        usage: Vec<QuotedUsage>,
    },
}

/// Reads `LOG_COUNT:7=2000000` as usage.
fn used(text: &str) -> Result<QuotedUsage, String> {
    let right = "write ITEM=QUANTITY or ITEM:DAYS=QUANTITY, such as LOG_COUNT:7=2000000";
    let (what, quantity) = text.split_once('=').ok_or(right)?;
    let (item, days) = what.split_once(':').unwrap_or((what, "0"));
    let item: BillingItem = item.parse().map_err(|error| format!("{item} {error}"))?;
    let retention_days: i32 = days.parse().map_err(|_| right)?;
    let micros = parse_micros(quantity).filter(|micros| *micros > 0 && micros % 10_000 == 0);
    let micros = micros.ok_or("a quantity is above zero and has at most two decimals")?;
    Ok(QuotedUsage { item: item.to_message().into(), retention_days, quantity_hundredths: micros / 10_000 })
}

/// A day as a request has it; none is the service's own today.
fn day_text(day: Option<UsageDay>) -> String {
    day.map(|day| day.to_string()).unwrap_or_default()
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    match args.act {
        Act::Publish { file, effective, name, check, once } => {
            publish(global, &file, effective, name, check, &once).await
        }
        Act::List { limit } => {
            let clients = global.clients()?;
            let lists = all_pages(limit.limit, |page_token| {
                let mut prices = clients.prices();
                async move {
                    let request = ListPriceListsRequest { page_size: PAGE_SIZE, page_token };
                    let page = prices.list_price_lists(request).await?.into_inner();
                    Ok((page.price_lists, page.next_page_token))
                }
            });
            let lists = lists.await?;
            global.output().list(&summaries_table(&lists.rows), lists.more)
        }
        Act::Show { name, day, csv } => show(global, name, day, csv).await,
        Act::Quote { zone, currency, day, usage } => {
            let request = QuotePriceRequest {
                usage,
                price_zone: zone.to_message().into(),
                currency_code: currency.code().to_owned(),
                day: day_text(day),
            };
            let quote = global.clients()?.prices().quote_price(request).await?.into_inner();
            let total = Table::of_one(vec![
                ("total", Cell::money(quote.total.as_ref())),
                ("price_list", Cell::text(quote.price_list_version)),
            ]);
            let lines = lines_table(&billing::DailyBill { lines: quote.lines, ..Default::default() });
            let output = global.output();
            if global.json {
                let mut value = total.to_json()[0].take();
                value["lines"] = lines.to_json();
                return output.value(&value);
            }
            output.table(&lines)?;
            output.say("")?;
            output.record(&total)
        }
    }
}

async fn publish(
    global: &Global,
    file: &Path,
    effective: UsageDay,
    name: Option<String>,
    check: bool,
    once: &Once,
) -> Result<()> {
    let stem = || file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let version = name.unwrap_or_else(stem);
    let what = || format!("reading {}", file.display());
    if std::fs::metadata(file).attempt(what)?.len() > FILE_BYTES_MAX {
        return Err(Failure::failed(format!("{} is no price list: it has over a megabyte", file.display())));
    }
    let text = std::fs::read_to_string(file).attempt(what)?;
    let entries = price_file::read(&text).attempt(what)?;
    let price = |key: &PriceKey, price: &Price| billing::Price {
        item: key.item.to_message().into(),
        retention_days: key.retention_days,
        price_zone: key.zone.to_message().into(),
        unit_size: price.unit_size,
        unit_price: Some(price.unit_price.to_message()),
    };
    let prices: Vec<billing::Price> = entries.iter().map(|e| price(&e.key, &e.price)).collect();
    let output = global.output();
    if check {
        let count = i64::try_from(prices.len()).unwrap_or(i64::MAX);
        let values = vec![("version", Cell::text(version)), ("price_count", Cell::Number(count))];
        return output.record(&Table::of_one(values));
    }
    let request_id = once.id();
    let effective_day = effective.to_string();
    let request = PublishPriceListRequest { request_id: request_id.clone(), version, effective_day, prices };
    let answer = global.clients()?.prices().publish_price_list(request).await;
    let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    output.record(&summaries_table(&[present(answer.price_list, "price_list")?]))
}

async fn show(global: &Global, name: Option<String>, day: Option<UsageDay>, csv: bool) -> Result<()> {
    let list = get(&global.clients()?, name, day).await?;
    let output = global.output();
    if csv && !global.json {
        return output.say(price_file::write(&from_message(&list)?).trim_end());
    }
    let table = prices_table(&list);
    if global.json {
        let prices = table.to_json();
        return output.value(
            &json!({ "version": list.version, "effective_day": list.effective_day, "prices": prices }),
        );
    }
    output.record(&Table::of_one(vec![
        ("version", Cell::text(&list.version)),
        ("effective_day", Cell::text(&list.effective_day)),
    ]))?;
    output.say("")?;
    output.table(&table)
}

async fn get(clients: &Clients, name: Option<String>, day: Option<UsageDay>) -> Result<billing::PriceList> {
    let request = match name {
        Some(version) => GetPriceListRequest { version, day: String::new() },
        None => GetPriceListRequest { version: String::new(), day: day_text(day) },
    };
    present(clients.prices().get_price_list(request).await?.into_inner().price_list, "price_list")
}

/// A list as the rules know it.
fn from_message(list: &billing::PriceList) -> Result<PriceList> {
    let foreign = || Failure::failed("the service's list has values that this release does not know");
    let mut prices = std::collections::HashMap::new();
    for price in &list.prices {
        let unit_price = price.unit_price.as_ref().and_then(LineAmount::from_message).ok_or_else(foreign)?;
        let key = PriceKey {
            zone: PriceZone::from_message(price.price_zone).ok_or_else(foreign)?,
            currency: unit_price.currency,
            item: BillingItem::from_message(price.item).ok_or_else(foreign)?,
            retention_days: price.retention_days,
        };
        prices.insert(key, Price { unit_size: price.unit_size, unit_price });
    }
    let effective_day = list.effective_day.parse().map_err(|_| foreign())?;
    Ok(PriceList {
        version: list.version.clone(),
        effective_day,
        published_at: Timestamp::UNIX_EPOCH,
        prices,
    })
}

fn prices_table(list: &billing::PriceList) -> Table {
    let mut table = Table::new(&["item", "retention_days", "zone", "unit_size", "unit_price"]);
    for price in &list.prices {
        table.row([
            Cell::name(price.item().as_str_name(), "BILLING_ITEM_"),
            if price.retention_days == 0 { Cell::Absent } else { Cell::Number(price.retention_days.into()) },
            Cell::name(price.price_zone().as_str_name(), "PRICE_ZONE_"),
            Cell::Number(price.unit_size),
            Cell::amount(price.unit_price.as_ref()),
        ]);
    }
    table
}

/// Price lists as a table, without their prices.
pub fn summaries_table(lists: &[PriceListSummary]) -> Table {
    let mut table =
        Table::new(&["version", "effective_day", "last_day", "superseded", "price_count", "published_at"]);
    for list in lists {
        table.row([
            Cell::text(&list.version),
            Cell::text(&list.effective_day),
            Cell::text(&list.last_day),
            Cell::Flag(list.superseded),
            Cell::Number(list.price_count.into()),
            Cell::time(list.publish_time),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly_or_refused() {
        let read = used("LOG_COUNT:7=2000000").unwrap();
        assert_eq!((read.retention_days, read.quantity_hundredths), (7, 200_000_000));
        assert_eq!(used("APM_TRACE:3=0.1").unwrap().quantity_hundredths, 10);
        for bad in ["LOG_COUNT", "NOPE=1", "SMS=0", "SMS=-1", "SMS=0.001", "SMS:x=1", "="] {
            assert!(used(bad).is_err(), "accepted {bad}");
        }
    }
}
