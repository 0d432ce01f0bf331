//! Price lists. The shipped default list is stored at the first start; stored lists never change.

use std::collections::HashSet;

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use sha2::{Digest as _, Sha256};
use tandem_proto::day::UsageDay;
use tandem_proto::money::LineAmount;
use tandem_service_kit::db::{Database, Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, micros};
use crate::domain::price::{Price, PriceKey, PriceList};
use crate::domain::price_check::Column;
use crate::domain::price_file::{self, BadFile};

const LIST: &str = "price_list";
/// Accounts whose usage one statement looks at: some hundred thousand rows of a day, far below the statement time limit.
const ACCOUNTS_AT_ONCE: i64 = 5_000;
const DEFAULT_LIST: &str = include_str!("../../data/price-list.csv");
/// The shipped list's version; another list gets another version.
const DEFAULT_VERSION: &str = "default-2026-01";
/// The shipped list is in force for every usage day there can be.
const DEFAULT_EFFECTIVE: i32 = 20_000_101;
/// What is wrong with a price file.
#[derive(Debug, thiserror::Error)]
pub enum BadPriceList {
    /// The file is no list.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The shipped day is none.
    #[error("the shipped list's effective day is no day")]
    Day,
}

/// The shipped default list.
pub fn shipped() -> Result<PriceList, BadPriceList> {
    let effective_day = UsageDay::from_number(DEFAULT_EFFECTIVE).map_err(|_| BadPriceList::Day)?;
    let entries = price_file::read(DEFAULT_LIST)?;
    let prices = entries.iter().map(|entry| (entry.key, entry.price)).collect();
    let version = DEFAULT_VERSION.to_owned();
    Ok(PriceList { version, effective_day, published_at: Timestamp::UNIX_EPOCH, prices })
}

/// Stores the shipped list, unless other lists are there: a later release's list must not change prices by itself.
///
/// Fails with a conflict when the stored list of its version has other prices.
pub async fn install(db: &Database, shipped: &PriceList, now: Timestamp) -> Result<(), StoreError> {
    let text = "SELECT COUNT(*) AS lists, COALESCE(SUM(CASE WHEN version = ? THEN 1 ELSE 0 END), 0) AS same FROM price_list";
    let row = read::one(&db.read, text, [shipped.version.as_str().into()]).await?;
    let counts =
        row.map(|row| Ok::<_, StoreError>((Row(&row, LIST).int("lists")?, Row(&row, LIST).int("same")?)));
    match counts.transpose()? {
        Some((lists, 0)) if lists > 0 => Ok(()),
        _ => store(db, shipped, now).await,
    }
}

/// Stores a list in a transaction of its own; one that is there already stays as it is.
///
/// Fails with a conflict when the stored list of this version has other prices.
pub async fn store(db: &Database, list: &PriceList, now: Timestamp) -> Result<(), StoreError> {
    let tx = db.begin().await?;
    if insert(&tx, list, now).await? {
        return tx.commit().await;
    }
    let text = "SELECT digest FROM price_list WHERE version = ?";
    let row = read::one(&tx, text, [list.version.as_str().into()]).await?;
    let stored = row.map(|row| Row(&row, LIST).text("digest")).transpose()?;
    tx.rollback().await;
    if stored.as_deref() == Some(&digest(list)) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Adds a list with its prices, published now; `false` when its version is taken.
pub async fn insert(tx: &Tx, list: &PriceList, now: Timestamp) -> Result<bool, StoreError> {
    let text = "INSERT INTO price_list (version, effective_day, digest, created_at) VALUES (?, ?, ?, ?) \
                ON CONFLICT (version) DO NOTHING";
    let (version, day) = (list.version.as_str(), list.effective_day.number());
    if tx.run(text, [version.into(), day.into(), digest(list).into(), micros(now)]).await? == 0 {
        return Ok(false);
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
    tx.run(&text, std::iter::once(version.into()).chain(rel.values)).await?;
    Ok(true)
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
    let text = "SELECT version, effective_day, created_at FROM price_list ORDER BY version";
    let mut lists = Vec::new();
    for row in read::all(db, text, []).await? {
        let row = Row(&row, LIST);
        lists.push(PriceList {
            version: row.text("version")?,
            effective_day: row.day("effective_day")?,
            published_at: row.time("created_at")?,
            prices: Default::default(),
        });
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

/// The lists whose stored prices are not those that were published.
pub async fn altered(db: &impl ConnectionTrait, lists: &[PriceList]) -> Result<Vec<String>, StoreError> {
    let mut altered = Vec::new();
    for row in read::all(db, "SELECT version, digest FROM price_list", []).await? {
        let row = Row(&row, LIST);
        let (version, stored) = (row.text("version")?, row.text("digest")?);
        if lists.iter().find(|list| list.version == version).is_none_or(|list| digest(list) != stored) {
            altered.push(version);
        }
    }
    Ok(altered)
}

/// Every list, for a transaction that makes bills: until it ends, nothing is published.
///
/// The last lock of such a transaction. Others that make bills are not held up.
pub async fn all_for_bills(tx: &Tx) -> Result<Vec<PriceList>, StoreError> {
    if tx.get_database_backend() == sea_orm::DbBackend::Postgres {
        read::one(tx, "SELECT name FROM price_gate WHERE name = 'prices' FOR SHARE", []).await?;
    }
    all(tx).await
}

/// Waits until no bill is being made, and lets none be made until the transaction ends. SQLite's one writer needs none.
pub async fn lock_for_publishing(tx: &Tx) -> Result<(), StoreError> {
    let text = format!("SELECT name FROM price_gate WHERE name = 'prices'{}", for_update(tx));
    read::one(tx, &text, []).await?.ok_or(StoreError::Corrupt { table: "price_gate", column: "name" })?;
    Ok(())
}

/// The greatest usage day that bills were made for: a day's run that has begun counts whole, even where nothing was to
/// be paid.
pub async fn last_billed_day(db: &impl ConnectionTrait) -> Result<Option<UsageDay>, StoreError> {
    let text = "SELECT MAX(usage_day) AS usage_day FROM (\
                    SELECT usage_day FROM site_day WHERE billed_at IS NOT NULL OR run_cursor <> '' \
                    UNION ALL SELECT usage_day FROM daily_bill WHERE kind = 'final') AS days";
    let row = read::one(db, text, []).await?;
    let number = row.map(|row| Row(&row, "site_day").maybe_small("usage_day")).transpose()?.flatten();
    let day = |n| {
        UsageDay::from_number(n).map_err(|_| StoreError::Corrupt { table: "site_day", column: "usage_day" })
    };
    number.map(day).transpose()
}

/// The columns that customers are in: each workspace's zone with its account's currency (D23).
pub async fn columns_in_use(db: &impl ConnectionTrait) -> Result<HashSet<Column>, StoreError> {
    let text = "SELECT DISTINCT w.price_zone, a.currency FROM workspace w \
                JOIN billing_account a ON a.id = w.billing_account_id";
    let column = |row| {
        let row = Row(row, "workspace");
        Ok((row.parse("price_zone")?, row.parse("currency")?))
    };
    read::all(db, text, []).await?.iter().map(column).collect()
}

/// What is used and does not stand on a bill yet: the prices the next bills will ask for.
///
/// Read in ranges of accounts, so that no statement's work grows with the number of customers.
pub async fn keys_in_use(db: &impl ConnectionTrait) -> Result<HashSet<PriceKey>, StoreError> {
    let end =
        "SELECT MAX(id) AS id FROM (SELECT id FROM billing_account WHERE id > ? ORDER BY id LIMIT ?) AS part";
    let text = "SELECT DISTINCT w.price_zone, a.currency, u.item, u.retention_days FROM billing_account a \
                JOIN usage_day u ON u.billing_account_id = a.id \
                JOIN workspace w ON w.billing_account_id = u.billing_account_id AND w.workspace_id = u.workspace_id \
                WHERE a.id > ? AND a.id <= ? AND u.quantity <> u.billed AND NOT u.set_aside";
    let (mut keys, mut after) = (HashSet::new(), String::new());
    loop {
        let row = read::one(db, end, [after.as_str().into(), ACCOUNTS_AT_ONCE.into()]).await?;
        let last = row.map(|row| Row(&row, "billing_account").maybe_text("id")).transpose()?.flatten();
        let Some(last) = last else { return Ok(keys) };
        for row in read::all(db, text, [after.as_str().into(), last.as_str().into()]).await? {
            let row = Row(&row, "usage_day");
            keys.insert(PriceKey {
                zone: row.parse("price_zone")?,
                currency: row.parse("currency")?,
                item: row.parse("item")?,
                retention_days: row.small("retention_days")?,
            });
        }
        after = last;
    }
}

#[cfg(test)]
mod tests {
    use tandem_proto::item::BillingItem;
    use tandem_proto::money::Currency;
    use tandem_proto::settlement::PriceZone;

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
}
