//! Monthly bills: which are open, which are fixed, and what they come to.
//!
//! A row exists from an account's first daily bill of a month on. Whoever adds daily bills or fixes a month holds the
//! account's lock; the row counts guard all the same.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, Money};
use tandem_proto::month::Month;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::bill::Bill;
use super::read::{self, Row, for_update, micros};
use crate::domain::monthly::{MonthKey, Progress, Totals};

const TABLE: &str = "monthly_bill";

/// An account's bill of a month.
#[derive(Debug, Clone)]
pub struct MonthlyBill {
    /// Which one.
    pub key: MonthKey,
    /// The region of its account.
    pub region: BillingRegion,
    /// How far its making is.
    pub progress: Progress,
    /// What it came to when it was generated; of an open one only a count of its bills that may lag behind.
    pub totals: Totals,
    /// Minor units that stand on invoices.
    pub invoiced: i64,
    /// The first daily bill that is not summed up yet: day and id; day 0 when none is.
    pub rolled: (i32, String),
    /// When it was generated.
    pub generated_at: Option<Timestamp>,
}

/// Counts daily bills into their months, which are opened where they are not.
///
/// Fails with a conflict when a month is fixed.
pub async fn count_in<'a>(tx: &Tx, bills: impl IntoIterator<Item = &'a Bill>) -> Result<(), StoreError> {
    let mut counts: BTreeMap<(&str, i32, &str), i64> = BTreeMap::new();
    for b in bills {
        *counts.entry((b.billing_account.as_str(), b.day.month(), b.currency.code())).or_default() += 1;
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("month", Kind::Int),
        ("currency", Kind::Text),
        ("bill_count", Kind::Int),
    ]);
    for ((account, month, currency), count) in counts {
        rows.push([account.into(), i64::from(month).into(), currency.into(), count.into()]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO monthly_bill (billing_account_id, month, currency, region, progress, bill_count) \
         SELECT r.billing_account_id, r.month, r.currency, a.region, 'open', r.bill_count FROM {} \
         JOIN billing_account a ON a.id = r.billing_account_id WHERE true \
         ON CONFLICT (billing_account_id, month, currency) \
         DO UPDATE SET bill_count = monthly_bill.bill_count + excluded.bill_count WHERE monthly_bill.progress = 'open'",
        rel.sql
    );
    let counted = tx.run(&text, rel.values).await?;
    if usize::try_from(counted) == Ok(rows.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// The newest fixed month of each account; no daily bill of it or of an earlier one can be made. Accounts without one
/// are left out.
pub async fn fixed_through(
    db: &impl ConnectionTrait,
    accounts: impl IntoIterator<Item = &BillingAccountId>,
) -> Result<HashMap<BillingAccountId, Month>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    accounts.into_iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT m.billing_account_id, MAX(m.month) AS month FROM {} JOIN monthly_bill m \
         ON m.billing_account_id = r.id WHERE m.progress <> 'open' GROUP BY m.billing_account_id",
        rel.sql
    );
    let found = read::all(db, &text, rel.values).await?;
    found
        .iter()
        .map(|row| Ok((Row(row, TABLE).parse("billing_account_id")?, month(Row(row, TABLE))?)))
        .collect()
}

/// The oldest month after another, and up to `through`, that a region has unfinished monthly bills of.
pub async fn next_open_month(
    db: &impl ConnectionTrait,
    region: BillingRegion,
    after: i32,
    through: Month,
) -> Result<Option<Month>, StoreError> {
    let text = "SELECT MIN(month) AS month FROM monthly_bill \
                WHERE region = ? AND progress <> 'generated' AND month > ? AND month <= ?";
    let values = [region.name().into(), after.into(), through.number().into()];
    let row = read::one(db, text, values).await?;
    let number = row.map(|row| Row(&row, TABLE).maybe_small("month")).transpose()?.flatten();
    number
        .map(|n| Month::from_number(n).map_err(|_| StoreError::Corrupt { table: TABLE, column: "month" }))
        .transpose()
}

/// Which monthly bills of a month are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Due<'a> {
    /// Of accounts of this region.
    pub region: BillingRegion,
    /// The month.
    pub month: Month,
    /// Only of this account.
    pub account: Option<&'a BillingAccountId>,
    /// Only of accounts all of whose workspaces bound before an instant are on these sites; `None` takes all.
    pub ready: Option<(&'a [String], Timestamp)>,
}

/// Unfinished monthly bills of a month, in the order of accounts. One whose account has an earlier month unfinished is
/// left out: an account's months are made in order.
pub async fn due(
    db: &impl ConnectionTrait,
    due: Due<'_>,
    limit: i64,
) -> Result<Vec<MonthlyBill>, StoreError> {
    let (with, filter, mut values) = match due.ready {
        Some((sites, _)) => {
            let mut rows = Rows::new(&[("site", Kind::Text)]);
            sites.iter().for_each(|site| rows.push([site.as_str().into()]));
            let rel = rows.relation(db.get_database_backend(), "s", 1)?;
            let with = format!("WITH ready AS (SELECT s.site FROM {}) ", rel.sql);
            let filter = " AND NOT EXISTS (SELECT 1 FROM workspace w WHERE w.billing_account_id = m.billing_account_id \
                          AND w.bound_at < ? AND w.site NOT IN (SELECT site FROM ready))";
            (with, filter, rel.values)
        }
        None => (String::new(), "", Vec::new()),
    };
    let mut text = format!(
        "{with}SELECT m.* FROM monthly_bill m WHERE m.region = ? AND m.month = ? AND m.progress <> 'generated' \
         AND NOT EXISTS (SELECT 1 FROM monthly_bill e WHERE e.billing_account_id = m.billing_account_id \
         AND e.month < m.month AND e.progress <> 'generated')"
    );
    values.extend([Value::from(due.region.name()), due.month.number().into()]);
    if let Some(account) = due.account {
        text.push_str(" AND m.billing_account_id = ?");
        values.push(account.as_str().into());
    }
    text.push_str(filter);
    values.extend(due.ready.map(|(_, bound_before)| micros(bound_before)));
    text.push_str(" ORDER BY m.billing_account_id, m.currency LIMIT ?");
    values.push(limit.into());
    read::all(db, &text, values).await?.iter().map(monthly_bill).collect()
}

/// How many unfinished monthly bills there are up to a month, of one account or all.
pub async fn count_unfinished(
    db: &impl ConnectionTrait,
    region: BillingRegion,
    through: Month,
    account: Option<&BillingAccountId>,
) -> Result<i64, StoreError> {
    let mut text = String::from(
        "SELECT COUNT(*) AS waiting FROM monthly_bill WHERE region = ? AND progress <> 'generated' AND month <= ?",
    );
    let mut values: Vec<Value> = vec![region.name().into(), through.number().into()];
    if let Some(account) = account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    let row = read::one(db, &text, values).await?;
    row.map_or(Ok(0), |row| Row(&row, TABLE).int("waiting"))
}

/// Opens the months of an account's daily bills that have no row: bills that a release without monthly bills made while
/// this one was brought in.
pub async fn open_missing(tx: &Tx, account: &BillingAccountId) -> Result<u64, StoreError> {
    let text = "INSERT INTO monthly_bill (billing_account_id, month, currency, region, progress, bill_count) \
                SELECT b.billing_account_id, b.usage_day / 100, b.currency, a.region, 'open', COUNT(*) \
                FROM daily_bill b JOIN billing_account a ON a.id = b.billing_account_id \
                WHERE b.billing_account_id = ? \
                GROUP BY b.billing_account_id, b.usage_day / 100, b.currency, a.region \
                ON CONFLICT (billing_account_id, month, currency) DO NOTHING";
    tx.run(text, [account.as_str().into()]).await
}

/// Reads monthly bills again and locks those that are unfinished. The accounts must be locked.
pub async fn lock_unfinished(tx: &Tx, keys: &[MonthKey]) -> Result<Vec<MonthlyBill>, StoreError> {
    let rel = keys_relation(keys).relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF m" };
    let text = format!(
        "SELECT m.* FROM {} JOIN monthly_bill m ON m.billing_account_id = r.billing_account_id AND m.month = r.month \
         AND m.currency = r.currency WHERE m.progress <> 'generated' \
         ORDER BY m.billing_account_id, m.month, m.currency{lock}",
        rel.sql
    );
    read::all(tx, &text, rel.values).await?.iter().map(monthly_bill).collect()
}

/// Reads monthly bills by their keys, in their order.
pub async fn read_again(
    db: &impl ConnectionTrait,
    keys: &[MonthKey],
) -> Result<Vec<MonthlyBill>, StoreError> {
    let rel = keys_relation(keys).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT m.* FROM {} JOIN monthly_bill m ON m.billing_account_id = r.billing_account_id AND m.month = r.month \
         AND m.currency = r.currency ORDER BY m.billing_account_id, m.month, m.currency",
        rel.sql
    );
    read::all(db, &text, rel.values).await?.iter().map(monthly_bill).collect()
}

/// Notes how far a month in many steps is summed up: everything before a daily bill.
pub async fn save_place(tx: &Tx, key: &MonthKey, day: UsageDay, id: &str) -> Result<(), StoreError> {
    let text = "UPDATE monthly_bill SET progress = 'closing', rolled_day = ?, rolled_id = ? \
                WHERE billing_account_id = ? AND month = ? AND currency = ?";
    let values = [
        day.number().into(),
        id.into(),
        key.billing_account.as_str().into(),
        key.month.number().into(),
        key.currency.code().into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Marks months as generated, with what their workspaces come to.
pub async fn finish(tx: &Tx, keys: &[MonthKey], now: Timestamp) -> Result<(), StoreError> {
    let rel = keys_relation(keys).relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE monthly_bill SET progress = 'generated', generated_at = {}, bill_count = s.bill_count, \
         payable = s.payable, paid = s.paid, in_cloud = s.in_cloud FROM (\
            SELECT w.billing_account_id, w.month, w.currency, CAST(SUM(w.bill_count) AS BIGINT) AS bill_count, \
            CAST(SUM(w.payable) AS BIGINT) AS payable, CAST(SUM(w.paid) AS BIGINT) AS paid, \
            CAST(SUM(w.in_cloud) AS BIGINT) AS in_cloud FROM {} JOIN monthly_bill_workspace w \
            ON w.billing_account_id = r.billing_account_id AND w.month = r.month AND w.currency = r.currency \
            GROUP BY w.billing_account_id, w.month, w.currency) AS s \
         WHERE monthly_bill.billing_account_id = s.billing_account_id AND monthly_bill.month = s.month \
         AND monthly_bill.currency = s.currency AND monthly_bill.progress <> 'generated'",
        now.as_microsecond(),
        rel.sql
    );
    let finished = tx.run(&text, rel.values).await?;
    if usize::try_from(finished) == Ok(keys.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// An account's monthly bills, newest month first, after a place: month and currency.
pub async fn list(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    after: &[String],
    limit: u64,
) -> Result<Vec<MonthlyBill>, StoreError> {
    let mut text = String::from("SELECT * FROM monthly_bill WHERE billing_account_id = ?");
    let mut values: Vec<Value> = vec![account.as_str().into()];
    if let [month, currency] = after {
        text.push_str(" AND (month, currency) < (?, ?)");
        values.extend([Value::from(month.parse().unwrap_or(i32::MIN)), currency.as_str().into()]);
    }
    text.push_str(" ORDER BY month DESC, currency DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(monthly_bill).collect()
}

/// An account's monthly bills of some months, oldest first, after a place: month and currency.
pub async fn of_months(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    months: (Month, Month),
    after: (i32, &str),
    limit: i64,
) -> Result<Vec<MonthlyBill>, StoreError> {
    let text = "SELECT * FROM monthly_bill WHERE billing_account_id = ? AND month BETWEEN ? AND ? \
                AND (month, currency) > (?, ?) ORDER BY month, currency LIMIT ?";
    let values = [
        account.as_str().into(),
        months.0.number().into(),
        months.1.number().into(),
        after.0.into(),
        after.1.into(),
        limit.into(),
    ];
    read::all(db, text, values).await?.iter().map(monthly_bill).collect()
}

/// Generated monthly bills in the order of their keys, after a place, for proofs.
pub async fn list_generated(
    db: &impl ConnectionTrait,
    account: Option<&BillingAccountId>,
    month: Option<Month>,
    after: &[String],
    limit: u64,
) -> Result<Vec<MonthlyBill>, StoreError> {
    let mut text = String::from("SELECT * FROM monthly_bill WHERE progress = 'generated'");
    let mut values: Vec<Value> = Vec::new();
    if let Some(account) = account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    if let Some(month) = month {
        text.push_str(" AND month = ?");
        values.push(month.number().into());
    }
    if let [account, month, currency] = after {
        text.push_str(" AND (billing_account_id, month, currency) > (?, ?, ?)");
        let month: i32 = month.parse().unwrap_or(i32::MAX);
        values.extend([Value::from(account.as_str()), month.into(), currency.as_str().into()]);
    }
    text.push_str(" ORDER BY billing_account_id, month, currency LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(monthly_bill).collect()
}

/// Finds an account's bill of a month.
pub async fn find(db: &impl ConnectionTrait, key: &MonthKey) -> Result<Option<MonthlyBill>, StoreError> {
    let text = "SELECT * FROM monthly_bill WHERE billing_account_id = ? AND month = ? AND currency = ?";
    let values = [key.billing_account.as_str().into(), key.month.number().into(), key.currency.code().into()];
    read::one(db, text, values).await?.as_ref().map(monthly_bill).transpose()
}

/// What cash has paid of each month's daily bills until now: what can be invoiced of the month (`domain.md` 3.15).
/// Months of which cash has paid nothing are left out.
pub async fn paid_from_cash(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    months: &[(Month, Currency)],
) -> Result<HashMap<(Month, Currency), Money>, StoreError> {
    let key = |(month, currency): &(Month, Currency)| MonthKey {
        billing_account: account.clone(),
        month: *month,
        currency: *currency,
    };
    let keys: Vec<MonthKey> = months.iter().map(key).collect();
    let paid = super::monthly_totals::paid_live(db, &keys).await?;
    let cash = paid
        .into_iter()
        .filter(|(_, instrument, _)| *instrument == crate::domain::deduction::Instrument::Cash);
    let money = |(key, _, minor): (MonthKey, _, i64)| {
        ((key.month, key.currency), Money { minor, currency: key.currency })
    };
    Ok(cash.map(money).collect())
}

/// Rows of keys.
pub(super) fn keys_relation<'a>(keys: impl IntoIterator<Item = &'a MonthKey>) -> Rows {
    let mut rows =
        Rows::new(&[("billing_account_id", Kind::Text), ("month", Kind::Int), ("currency", Kind::Text)]);
    for key in keys {
        let month = i64::from(key.month.number());
        rows.push([key.billing_account.as_str().into(), month.into(), key.currency.code().into()]);
    }
    rows
}

/// The key of a row.
pub(super) fn key(row: Row<'_>) -> Result<MonthKey, StoreError> {
    Ok(MonthKey {
        billing_account: row.parse("billing_account_id")?,
        month: month(row)?,
        currency: row.parse("currency")?,
    })
}

fn month(row: Row<'_>) -> Result<Month, StoreError> {
    Month::from_number(row.small("month")?).map_err(|_| row.corrupt("month"))
}

fn monthly_bill(row: &QueryResult) -> Result<MonthlyBill, StoreError> {
    let row = Row(row, TABLE);
    Ok(MonthlyBill {
        key: key(row)?,
        region: row.parse("region")?,
        progress: row.parse("progress")?,
        totals: Totals {
            bill_count: row.int("bill_count")?,
            payable: row.int("payable")?,
            paid: row.int("paid")?,
            in_cloud: row.int("in_cloud")?,
        },
        invoiced: row.int("invoiced")?,
        rolled: (row.small("rolled_day")?, row.text("rolled_id")?),
        generated_at: row.maybe_time("generated_at")?,
    })
}
