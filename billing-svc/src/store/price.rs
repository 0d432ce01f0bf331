//! Price lists. The shipped default list is stored at the first start; stored lists never change.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use sha2::{Digest as _, Sha256};
use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, LineAmount, parse_micros};
use tandem_proto::settlement::PriceZone;
use tandem_service_kit::db::{Database, Kind, Rows, StoreError};

use super::read::{self, Row, micros};
use crate::domain::price::{Price, PriceKey, PriceList};

const DEFAULT_LIST: &str = include_str!("../../data/price-list.csv");
/// The shipped list's version; another list gets another version.
const DEFAULT_VERSION: &str = "default-2026-01";
/// The shipped list is in force for every usage day there can be.
const DEFAULT_EFFECTIVE: i32 = 20_000_101;
/// The four price columns of the data file, in its order (`domain.md` 2.1, 4.6).
const COLUMNS: [(PriceZone, Currency); 4] = [
    (PriceZone::Cn, Currency::Cny),
    (PriceZone::Intl, Currency::Cny),
    (PriceZone::Cn, Currency::Usd),
    (PriceZone::Intl, Currency::Usd),
];

/// What is wrong with a price file.
#[derive(Debug, thiserror::Error)]
#[error("price list, line {line}: {message}")]
pub struct BadPriceFile {
    /// From 1.
    pub line: usize,
    /// What would be right.
    pub message: &'static str,
}

/// Reads a price file: item, retention, then a price for each of the four columns.
pub fn parse(version: &str, effective_day: UsageDay, text: &str) -> Result<PriceList, BadPriceFile> {
    let mut list = PriceList { version: version.to_owned(), effective_day, prices: Default::default() };
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    for (line, text) in
        lines.filter(|(_, text)| !text.is_empty() && !text.starts_with(['#']) && !text.starts_with("item,"))
    {
        let bad = |message| BadPriceFile { line, message };
        let cells: Vec<&str> = text.split(',').collect();
        let [item, retention, prices @ ..] = cells.as_slice() else {
            return Err(bad("six cells are wanted"));
        };
        let item: BillingItem = item.parse().map_err(|_| bad("the first cell must be a billing item"))?;
        let retention_days = retention.parse().map_err(|_| bad("the second cell must be days, or 0"))?;
        if prices.len() != COLUMNS.len() {
            return Err(bad("four prices are wanted, a dash where the item is not sold"));
        }
        for (price, (zone, currency)) in prices.iter().zip(COLUMNS) {
            if *price == "-" {
                continue;
            }
            let micros =
                parse_micros(price).ok_or_else(|| bad("a price is a decimal with at most six places"))?;
            let price = Price { unit_size: item.unit_size(), unit_price: LineAmount { micros, currency } };
            if list.prices.insert(PriceKey { zone, currency, item, retention_days }, price).is_some() {
                return Err(bad("this item and retention stands in the file twice"));
            }
        }
    }
    Ok(list)
}

/// The shipped default list.
pub fn shipped() -> Result<PriceList, BadPriceFile> {
    let day = UsageDay::from_number(DEFAULT_EFFECTIVE);
    let day = day.map_err(|_| BadPriceFile { line: 0, message: "the effective day is no day" })?;
    parse(DEFAULT_VERSION, day, DEFAULT_LIST)
}

/// Stores a list; one that is there already stays as it is.
///
/// Fails with a conflict when the stored list of this version has other prices.
pub async fn store(db: &Database, list: &PriceList, now: Timestamp) -> Result<(), StoreError> {
    let digest = digest(list);
    let tx = db.begin().await?;
    let text = "INSERT INTO price_list (version, effective_day, digest, created_at) VALUES (?, ?, ?, ?) \
                ON CONFLICT (version) DO NOTHING";
    let values = [
        list.version.as_str().into(),
        list.effective_day.number().into(),
        digest.as_str().into(),
        micros(now),
    ];
    if tx.run(text, values).await? == 0 {
        let row =
            read::one(&tx, "SELECT digest FROM price_list WHERE version = ?", [list.version.as_str().into()])
                .await?;
        let stored = row.map(|row| Row(&row, "price_list").text("digest")).transpose()?;
        tx.rollback().await;
        return if stored.as_deref() == Some(&digest) { Ok(()) } else { Err(StoreError::Conflict) };
    }
    let mut rows = Rows::new(&[
        ("price_zone", Kind::Text),
        ("currency", Kind::Text),
        ("item", Kind::Text),
        ("retention_days", Kind::Int),
        ("unit_size", Kind::Int),
        ("unit_price", Kind::Int),
    ]);
    for (key, price) in &list.prices {
        rows.push([
            key.zone.name().into(),
            key.currency.code().into(),
            key.item.name().into(),
            i64::from(key.retention_days).into(),
            price.unit_size.into(),
            price.unit_price.micros.into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 2)?;
    let text = format!(
        "INSERT INTO price (version, price_zone, currency, item, retention_days, unit_size, unit_price) \
         SELECT {}, price_zone, currency, item, retention_days, unit_size, unit_price FROM {} WHERE true",
        if tx.get_database_backend() == sea_orm::DbBackend::Postgres { "$1::text" } else { "?1" },
        rel.sql
    );
    tx.run(&text, std::iter::once(list.version.as_str().into()).chain(rel.values)).await?;
    tx.commit().await
}

fn digest(list: &PriceList) -> String {
    let mut lines: Vec<String> = list
        .prices
        .iter()
        .map(|(k, p)| {
            let place = format!("{} {} {} {}", k.zone.name(), k.currency, k.item, k.retention_days);
            format!("{place} {} {}", p.unit_size, p.unit_price.micros)
        })
        .collect();
    lines.sort();
    hex::encode(Sha256::digest(format!("{}\n{}", list.effective_day, lines.join("\n"))))
}

/// Every stored list.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<PriceList>, StoreError> {
    let text = "SELECT version, effective_day FROM price_list ORDER BY version";
    let mut lists = Vec::new();
    for row in read::all(db, text, []).await? {
        let row = Row(&row, "price_list");
        let effective_day = row.day("effective_day")?;
        lists.push(PriceList { version: row.text("version")?, effective_day, prices: Default::default() });
    }
    let text = "SELECT version, price_zone, currency, item, retention_days, unit_size, unit_price FROM price";
    for row in read::all(db, text, []).await? {
        let row = Row(&row, "price");
        let version = row.text("version")?;
        let list = lists.iter_mut().find(|list| list.version == version).ok_or(row.corrupt("version"))?;
        let currency = row.parse("currency")?;
        let key = PriceKey {
            zone: row.parse("price_zone")?,
            currency,
            item: row.parse("item")?,
            retention_days: row.small("retention_days")?,
        };
        let unit_price = LineAmount { micros: row.int("unit_price")?, currency };
        list.prices.insert(key, Price { unit_size: row.int("unit_size")?, unit_price });
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_has_all_four_columns() {
        let list = shipped().unwrap();
        let find = |zone, currency, item, retention_days| {
            list.find(&PriceKey { zone, currency, item, retention_days })
                .map(|p| p.unit_price.to_string())
                .ok()
        };
        use BillingItem::{ApmTrace, Sms, TimeSeries};
        assert_eq!(find(PriceZone::Cn, Currency::Cny, TimeSeries, 3).as_deref(), Some("0.60 CNY"));
        assert_eq!(find(PriceZone::Intl, Currency::Cny, ApmTrace, 60).as_deref(), Some("64.80 CNY"));
        assert_eq!(find(PriceZone::Cn, Currency::Usd, TimeSeries, 180).as_deref(), Some("0.58 USD"));
        assert_eq!(find(PriceZone::Intl, Currency::Usd, ApmTrace, 30).as_deref(), Some("5.14 USD"));
        assert_eq!(find(PriceZone::Intl, Currency::Usd, Sms, 0), None);
        assert_eq!(list.prices.len(), 39 * 4 - 3);
    }

    #[test]
    fn a_bad_line_is_named() {
        let day = UsageDay::from_number(20_260_301).unwrap();
        for (text, line) in [("NOPE,0,1,1,1,1", 1), ("SMS,0,1,1,1", 1), ("# x\nSMS,0,1,1,1,1.1234567", 2)] {
            assert_eq!(parse("v", day, text).unwrap_err().line, line);
        }
    }
}
