//! Price lists, quotes and log modes from messages and back.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_proto::billing::v1 as pb;
use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;
use tandem_proto::money::LineAmount;
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::PriceZone;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use super::named;
use crate::domain::log_mode::LogMode;
use crate::domain::price::{Price, PriceKey, PriceList, Scheduled};
use crate::domain::price_check::{BadEntry, Entry, check};
use crate::ops::quote_price::Wish;
use crate::store::log_mode::LogModePeriod;

/// Most prices of a list: several times what all items, retentions, zones and currencies come to.
const ENTRIES_MAX: usize = 2_000;
/// Most quantities of one quote.
const QUOTED_MAX: usize = 500;
/// Longest name of a list.
const VERSION_CHARS_MAX: usize = 64;
/// How far ahead a list may begin; later is a slip in the year.
const AHEAD_DAYS_MAX: i32 = 3_653;
/// Most bad entries that are told at once.
const FAULTS_MAX: usize = 20;

/// Reads a list that is to be published now; every bad entry is named.
pub(super) fn published(request: &pb::PublishPriceListRequest, now: Timestamp) -> Result<PriceList, Fault> {
    let version = validate::text("version", &request.version, VERSION_CHARS_MAX)?;
    if !version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(Fault::field("version", "letters, digits, full stops, underscores and hyphens"));
    }
    let effective_day: UsageDay = validate::parse("effective_day", &request.effective_day)?;
    if effective_day > UsageDay::of(now, &TimeZone::UTC).plus_days(AHEAD_DAYS_MAX) {
        return Err(Fault::field("effective_day", "at most ten years ahead"));
    }
    if request.prices.is_empty() || request.prices.len() > ENTRIES_MAX {
        return Err(Fault::field("prices", format!("must be 1 to {ENTRIES_MAX} prices")));
    }
    let entries = request.prices.iter().enumerate().map(|(index, message)| entry(index, message));
    let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
    let prices = check(&entries).map_err(|bad| bad_entries(&bad))?;
    Ok(PriceList { version: version.to_owned(), effective_day, published_at: now, prices })
}

fn entry(index: usize, message: &pb::Price) -> Result<Entry, Fault> {
    let field = |name: &str| format!("prices[{index}].{name}");
    let unit_price = message.unit_price.as_ref().and_then(LineAmount::from_message);
    let unit_price =
        unit_price.ok_or_else(|| Fault::field(field("unit_price"), "is required, in CNY or USD"))?;
    let key = PriceKey {
        zone: named(&field("price_zone"), PriceZone::from_message(message.price_zone))?,
        currency: unit_price.currency,
        item: named(&field("item"), BillingItem::from_message(message.item))?,
        retention_days: message.retention_days,
    };
    Ok(Entry { key, price: Price { unit_size: message.unit_size, unit_price } })
}

fn bad_entries(bad: &[(usize, BadEntry)]) -> Fault {
    let mut faults = bad.iter().take(FAULTS_MAX).map(|(place, error)| {
        let name = match error {
            BadEntry::StatisticsOnly(_) => ".item",
            BadEntry::RetentionWanted(_) | BadEntry::NoRetention(_) => ".retention_days",
            BadEntry::UnitSize(..) => ".unit_size",
            BadEntry::Currency(_) | BadEntry::OutOfRange => ".unit_price",
            BadEntry::Twice { .. } => "",
        };
        (format!("prices[{place}]{name}"), error.to_string())
    });
    let (field, right) = faults.next().unwrap_or_default();
    let fault =
        faults.fold(Fault::field(field, right), |fault, (field, right)| fault.and_field(field, right));
    match bad.len().saturating_sub(FAULTS_MAX) {
        0 => fault,
        more => fault.and_field("prices", format!("and {more} more")),
    }
}

/// Reads what is to be quoted for a day.
pub(super) fn quoted(request: &pb::QuotePriceRequest, day: UsageDay) -> Result<Wish, Fault> {
    if request.usage.is_empty() || request.usage.len() > QUOTED_MAX {
        return Err(Fault::field("usage", format!("must be 1 to {QUOTED_MAX} quantities")));
    }
    let one = |(index, message): (usize, &pb::QuotedUsage)| {
        let item = named(&format!("usage[{index}].item"), BillingItem::from_message(message.item))?;
        Ok((item, message.retention_days, Quantity { hundredths: message.quantity_hundredths }))
    };
    Ok(Wish {
        day,
        zone: named("price_zone", PriceZone::from_message(request.price_zone))?,
        currency: validate::parse("currency_code", &request.currency_code)?,
        usage: request.usage.iter().enumerate().map(one).collect::<Result<_, Fault>>()?,
    })
}

/// A list with its prices, in the order of bills.
pub(super) fn list_message(list: &PriceList) -> pb::PriceList {
    let mut prices: Vec<(&PriceKey, &Price)> = list.prices.iter().collect();
    prices.sort_by_key(|(key, _)| (key.item, key.retention_days, key.zone, key.currency));
    let price = |(key, price): (&PriceKey, &Price)| pb::Price {
        item: key.item.to_message().into(),
        retention_days: key.retention_days,
        price_zone: key.zone.to_message().into(),
        unit_size: price.unit_size,
        unit_price: Some(price.unit_price.to_message()),
    };
    pb::PriceList {
        version: list.version.clone(),
        effective_day: list.effective_day.to_string(),
        prices: prices.into_iter().map(price).collect(),
    }
}

/// A list without its prices.
pub(super) fn summary(scheduled: &Scheduled<'_>) -> pb::PriceListSummary {
    pb::PriceListSummary {
        version: scheduled.list.version.clone(),
        effective_day: scheduled.list.effective_day.to_string(),
        last_day: scheduled.last_day.map(|day| day.to_string()).unwrap_or_default(),
        superseded: scheduled.superseded,
        price_count: i32::try_from(scheduled.list.prices.len()).unwrap_or(i32::MAX),
        publish_time: Some(to_message(scheduled.list.published_at)),
    }
}

/// Reads a log mode.
pub(super) fn mode(field: &str, number: i32) -> Result<LogMode, Fault> {
    let mode = match pb::LogMode::try_from(number) {
        Ok(pb::LogMode::Count) => Some(LogMode::Count),
        Ok(pb::LogMode::Ingest) => Some(LogMode::Ingest),
        Ok(pb::LogMode::Unspecified) | Err(_) => None,
    };
    named(field, mode)
}

/// A log mode, and since when; without an entry it was so from the beginning.
pub(super) fn period_message(mode: LogMode, period: Option<&LogModePeriod>) -> pb::LogModePeriod {
    pb::LogModePeriod {
        log_mode: match mode {
            LogMode::Count => pb::LogMode::Count,
            LogMode::Ingest => pb::LogMode::Ingest,
        }
        .into(),
        start_day: period.map(|p| p.effective_day.to_string()).unwrap_or_default(),
        set_time: period.map(|p| to_message(p.set_at)),
        set_by: period.map(|p| p.set_by.clone()).unwrap_or_default(),
    }
}
