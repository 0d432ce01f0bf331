//! What was paid in cash, and how much of it is invoiced.
//!
//! Months come from the payments of daily bills. A payment by cash is cash whether it paid a bill at once or repaid
//! what was owed of it; what vouchers, cards and clouds paid has other instruments. Everything here is in the account's
//! currency: what was paid before an operator changed that is not mixed in.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, Value};
use tandem_proto::ids::BillingAccountId;
use tandem_service_kit::db::{Kind, Rows, StoreError, get};

use super::read::{self, Row};
use crate::domain::account::BillingAccount;
use crate::domain::invoice::{Invoiceable, Month, Source, SourceKind};

const TABLE: &str = "invoice_line";

/// What was paid in cash by month: `source_kind`, `source_id`, `paid`, for an account, a currency and the days before
/// one. The one place that knows how a month's cash is found.
const MONTHS: &str = "SELECT 'month' AS source_kind, \
    SUBSTR(CAST(m.month AS TEXT), 1, 4) || '-' || SUBSTR(CAST(m.month AS TEXT), 5, 2) AS source_id, m.paid \
    FROM (SELECT b.usage_day / 100 AS month, CAST(SUM(p.amount) AS BIGINT) AS paid FROM bill_payment p \
    JOIN daily_bill b ON b.billing_account_id = p.billing_account_id AND b.id = p.bill_id \
    WHERE p.billing_account_id = ? AND b.currency = ? AND p.instrument = 'cash' AND b.usage_day < ? \
    GROUP BY b.usage_day / 100) m";
/// What cards cost, alike, for an account and a currency. A card is sold for cash at its face value.
const CARDS: &str = "SELECT 'card' AS source_kind, id AS source_id, face AS paid FROM lot \
    WHERE billing_account_id = ? AND currency = ? AND kind = 'prepaid_card'";
/// What stands on invoices, for an account and a currency.
const INVOICED: &str = "SELECT source_kind, source_id, CAST(SUM(amount) AS BIGINT) AS invoiced FROM invoice_line \
    WHERE billing_account_id = ? AND currency = ? AND NOT released GROUP BY source_kind, source_id";

/// What of an account may be invoiced of the months before `first_open` and of cards: months first, the newest first,
/// after a place.
pub async fn list(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    first_open: Month,
    with_invoiced: bool,
    after: &[String],
    limit: u64,
) -> Result<Vec<Invoiceable>, StoreError> {
    let mut text = joined();
    text.push_str(" WHERE (? OR s.paid > COALESCE(i.invoiced, 0))");
    let mut values = joined_values(payer, first_open);
    values.push(with_invoiced.into());
    if let [kind, id] = after {
        text.push_str(" AND (s.source_kind, s.source_id) < (?, ?)");
        values.extend([Value::from(kind.as_str()), id.as_str().into()]);
    }
    text.push_str(" ORDER BY s.source_kind DESC, s.source_id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(|row| invoiceable(Row(row, TABLE))).collect()
}

/// Minor units that are open in all.
pub async fn open_total(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    first_open: Month,
) -> Result<i64, StoreError> {
    let text =
        format!("SELECT CAST(COALESCE(SUM(t.paid - t.invoiced), 0) AS BIGINT) AS open FROM ({}) t", joined());
    let row = read::one(db, &text, joined_values(payer, first_open)).await?;
    row.map_or(Ok(0), |row| get(&row, TABLE, "open"))
}

/// How much of the chosen is invoiced. What was never paid is missing.
///
/// Read for a decision under the account's lock, which every payment of its bills takes as well.
pub async fn find(
    db: &impl ConnectionTrait,
    payer: &BillingAccount,
    first_open: Month,
    chosen: &[Source],
) -> Result<Vec<Invoiceable>, StoreError> {
    let mut rows = Rows::new(&[("source_kind", Kind::Text), ("source_id", Kind::Text)]);
    chosen.iter().for_each(|s| rows.push([s.kind().name().into(), s.id().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT t.* FROM {} JOIN ({}) t ON t.source_kind = r.source_kind AND t.source_id = r.source_id",
        rel.sql,
        joined()
    );
    let values = rel.values.into_iter().chain(joined_values(payer, first_open));
    read::all(db, &text, values).await?.iter().map(|row| invoiceable(Row(row, TABLE))).collect()
}

/// The number of the next invoice line of each source that has any; released lines count.
pub async fn next_numbers(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    sources: &[Source],
) -> Result<HashMap<Source, i32>, StoreError> {
    let mut rows = Rows::new(&[("source_kind", Kind::Text), ("source_id", Kind::Text)]);
    sources.iter().for_each(|s| rows.push([s.kind().name().into(), s.id().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT l.source_kind, l.source_id, MAX(l.number) AS number FROM {} JOIN invoice_line l \
         ON l.source_kind = r.source_kind AND l.source_id = r.source_id WHERE l.billing_account_id = ? \
         GROUP BY l.source_kind, l.source_id",
        rel.sql
    );
    let values = rel.values.into_iter().chain([account.as_str().into()]);
    let found = read::all(db, &text, values).await?;
    found
        .iter()
        .map(|row| Ok((source(Row(row, TABLE))?, Row(row, TABLE).small("number")?.saturating_add(1))))
        .collect()
}

fn joined() -> String {
    format!(
        "SELECT s.source_kind, s.source_id, s.paid, COALESCE(i.invoiced, 0) AS invoiced \
         FROM ({MONTHS} UNION ALL {CARDS}) s LEFT JOIN ({INVOICED}) i \
         ON i.source_kind = s.source_kind AND i.source_id = s.source_id"
    )
}

fn joined_values(payer: &BillingAccount, first_open: Month) -> Vec<Value> {
    let id = || Value::from(payer.id.as_str());
    let currency = || Value::from(payer.currency.code());
    vec![id(), currency(), first_open.first_day().number().into(), id(), currency(), id(), currency()]
}

fn invoiceable(row: Row<'_>) -> Result<Invoiceable, StoreError> {
    Ok(Invoiceable { source: source(row)?, paid: row.int("paid")?, invoiced: row.int("invoiced")? })
}

/// The source a row is about.
pub(super) fn source(row: Row<'_>) -> Result<Source, StoreError> {
    let kind: SourceKind = row.parse("source_kind")?;
    Source::from_columns(kind, &row.text("source_id")?).ok_or_else(|| row.corrupt("source_id"))
}
