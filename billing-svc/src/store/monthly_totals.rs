//! What monthly bills come to: as stored when they were generated, or as their daily bills are now.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::StoreError;

use super::monthly_bill::{key, keys_relation};
use super::monthly_roll::{BILLS, IN_CLOUD, Span, spans_relation};
use super::read::{self, Row};
use super::spend::{ItemAmount, WorkspaceTotals, ids, item_amount, items_by_workspace, workspace_totals};
use crate::domain::deduction::Instrument;
use crate::domain::monthly::{MonthKey, Totals};

/// What one kind of instrument paid of a month, in minor units.
pub type Paid = (MonthKey, Instrument, i64);

/// What months' daily bills come to now. Months without bills are left out.
pub async fn live(
    db: &impl ConnectionTrait,
    keys: &[MonthKey],
) -> Result<HashMap<MonthKey, Totals>, StoreError> {
    let spans: Vec<Span> = keys.iter().map(Span::whole).collect();
    let rel = spans_relation(&spans).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT r.billing_account_id, r.month, r.currency, COUNT(*) AS bill_count, \
         CAST(SUM(b.payable) AS BIGINT) AS payable, CAST(SUM(b.paid) AS BIGINT) AS paid, \
         CAST(SUM({IN_CLOUD}) AS BIGINT) AS in_cloud FROM {} {BILLS} \
         GROUP BY r.billing_account_id, r.month, r.currency",
        rel.sql
    );
    let total = |row: &QueryResult| {
        let row = Row(row, "daily_bill");
        let totals = Totals {
            bill_count: row.int("bill_count")?,
            payable: row.int("payable")?,
            paid: row.int("paid")?,
            in_cloud: row.int("in_cloud")?,
        };
        Ok((handed_over(row)?, totals))
    };
    read::all(db, &text, rel.values).await?.iter().map(total).collect()
}

/// What has paid months' daily bills until now.
pub async fn paid_live(db: &impl ConnectionTrait, keys: &[MonthKey]) -> Result<Vec<Paid>, StoreError> {
    let spans: Vec<Span> = keys.iter().map(Span::whole).collect();
    let rel = spans_relation(&spans).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT r.billing_account_id, r.month, r.currency, p.instrument, CAST(SUM(p.amount) AS BIGINT) AS amount \
         FROM {} {BILLS} JOIN bill_payment p ON p.billing_account_id = b.billing_account_id AND p.bill_id = b.id \
         GROUP BY r.billing_account_id, r.month, r.currency, p.instrument",
        rel.sql
    );
    let paid = |row: &QueryResult| {
        let row = Row(row, "bill_payment");
        Ok((handed_over(row)?, row.parse("instrument")?, row.int("amount")?))
    };
    sorted(read::all(db, &text, rel.values).await?.iter().map(paid).collect())
}

/// What had paid months when they were generated.
pub async fn paid_stored(db: &impl ConnectionTrait, keys: &[MonthKey]) -> Result<Vec<Paid>, StoreError> {
    let rel = keys_relation(keys).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT p.* FROM {} JOIN monthly_bill_payment p ON p.billing_account_id = r.billing_account_id \
         AND p.month = r.month AND p.currency = r.currency",
        rel.sql
    );
    let paid = |row: &QueryResult| {
        let row = Row(row, "monthly_bill_payment");
        Ok((key(row)?, row.parse("instrument")?, row.int("amount")?))
    };
    sorted(read::all(db, &text, rel.values).await?.iter().map(paid).collect())
}

fn sorted(found: Result<Vec<Paid>, StoreError>) -> Result<Vec<Paid>, StoreError> {
    let mut paid = found?;
    paid.sort();
    Ok(paid)
}

/// What the items of generated months cost.
pub async fn items(
    db: &impl ConnectionTrait,
    keys: &[MonthKey],
) -> Result<HashMap<MonthKey, Vec<ItemAmount>>, StoreError> {
    let rel = keys_relation(keys).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT i.billing_account_id, i.month, i.currency, i.item, CAST(SUM(i.amount) AS BIGINT) AS amount FROM {} \
         JOIN monthly_bill_item i ON i.billing_account_id = r.billing_account_id AND i.month = r.month \
         AND i.currency = r.currency GROUP BY i.billing_account_id, i.month, i.currency, i.item",
        rel.sql
    );
    let mut found: HashMap<MonthKey, Vec<ItemAmount>> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        found.entry(key(Row(&row, "monthly_bill_item"))?).or_default().push(item_amount(&row)?);
    }
    found.values_mut().for_each(|items| super::spend::sort_items(items));
    Ok(found)
}

/// How many workspaces generated months have.
pub async fn workspace_counts(
    db: &impl ConnectionTrait,
    keys: &[MonthKey],
) -> Result<HashMap<MonthKey, i64>, StoreError> {
    let rel = keys_relation(keys).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT w.billing_account_id, w.month, w.currency, COUNT(*) AS workspaces FROM {} \
         JOIN monthly_bill_workspace w ON w.billing_account_id = r.billing_account_id AND w.month = r.month \
         AND w.currency = r.currency GROUP BY w.billing_account_id, w.month, w.currency",
        rel.sql
    );
    let count = |row: &QueryResult| {
        let row = Row(row, "monthly_bill_workspace");
        Ok((key(row)?, row.int("workspaces")?))
    };
    read::all(db, &text, rel.values).await?.iter().map(count).collect()
}

/// What the workspaces of a generated month come to, after a workspace, in the order of ids.
pub async fn workspaces(
    db: &impl ConnectionTrait,
    key: &MonthKey,
    after: &str,
    limit: u64,
) -> Result<Vec<WorkspaceTotals>, StoreError> {
    let text = "SELECT * FROM monthly_bill_workspace WHERE billing_account_id = ? AND month = ? AND currency = ? \
                AND workspace_id > ? ORDER BY workspace_id LIMIT ?";
    let values = [
        key.billing_account.as_str().into(),
        key.month.number().into(),
        key.currency.code().into(),
        after.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let rows = read::all(db, text, values).await?;
    rows.iter().map(|row| workspace_totals(Row(row, "monthly_bill_workspace"))).collect()
}

/// What the items of some workspaces of a generated month cost.
pub async fn workspace_items(
    db: &impl ConnectionTrait,
    key: &MonthKey,
    workspaces: &[WorkspaceId],
) -> Result<HashMap<WorkspaceId, Vec<ItemAmount>>, StoreError> {
    let rel = ids(workspaces).relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT i.workspace_id, i.item, i.amount FROM {} JOIN monthly_bill_item i ON i.workspace_id = r.workspace_id \
         WHERE i.billing_account_id = ? AND i.month = ? AND i.currency = ?",
        rel.sql
    );
    let values = [key.billing_account.as_str().into(), key.month.number().into(), key.currency.code().into()];
    items_by_workspace(read::all(db, &text, rel.values.into_iter().chain(values)).await?)
}

/// A key whose month came out of rows handed over: there it is a 64-bit number on one engine.
pub fn handed_over(row: Row<'_>) -> Result<MonthKey, StoreError> {
    let month = i32::try_from(row.int("month")?).ok();
    let month = month.and_then(|n| tandem_proto::month::Month::from_number(n).ok());
    Ok(MonthKey {
        billing_account: row.parse("billing_account_id")?,
        month: month.ok_or(row.corrupt("month"))?,
        currency: row.parse("currency")?,
    })
}
