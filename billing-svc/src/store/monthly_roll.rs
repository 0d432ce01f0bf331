//! Sums daily bills up into their months. Set-based: the number of statements does not depend on the number of bills.

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row};
use crate::domain::monthly::MonthKey;

/// A stretch of an account's daily bills of a month, in the order of usage day and id; half open.
#[derive(Debug, Clone)]
pub struct Span {
    /// Whose, of which month.
    pub key: MonthKey,
    /// The first one: day and id.
    pub from: (UsageDay, String),
    /// The first one that is no longer part of it.
    pub until: (UsageDay, String),
}

impl Span {
    /// All of a month.
    pub fn whole(key: &MonthKey) -> Span {
        let (first, end) = (key.month.first_day(), key.month.next().first_day());
        Span { key: key.clone(), from: (first, String::new()), until: (end, String::new()) }
    }

    /// What is left of a month from a daily bill on.
    pub fn rest(key: &MonthKey, day: UsageDay, id: &str) -> Span {
        Span { from: (day, id.to_owned()), ..Span::whole(key) }
    }
}

/// Spans as a relation `r` for [`BILLS`].
pub(super) fn spans_relation(spans: &[Span]) -> Rows {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("month", Kind::Int),
        ("currency", Kind::Text),
        ("from_day", Kind::Int),
        ("from_id", Kind::Text),
        ("until_day", Kind::Int),
        ("until_id", Kind::Text),
    ]);
    for Span { key, from, until } in spans {
        rows.push([
            key.billing_account.as_str().into(),
            i64::from(key.month.number()).into(),
            key.currency.code().into(),
            i64::from(from.0.number()).into(),
            from.1.as_str().into(),
            i64::from(until.0.number()).into(),
            until.1.as_str().into(),
        ]);
    }
    rows
}

/// Joins the daily bills `b` of spans `r`.
pub(super) const BILLS: &str = "JOIN daily_bill b ON b.billing_account_id = r.billing_account_id \
    AND b.currency = r.currency AND b.usage_day >= r.from_day AND b.usage_day <= r.until_day \
    AND (b.usage_day, b.id) >= (r.from_day, r.from_id) AND (b.usage_day, b.id) < (r.until_day, r.until_id)";

/// What clouds have still to take over of a daily bill `b`.
pub(super) const IN_CLOUD: &str =
    "CASE WHEN b.state IN ('submitted', 'rejected') THEN b.payable - b.paid ELSE 0 END";

/// The name on the newest of several bills `b`: days have eight digits, so the greatest begins with the newest day.
pub(super) const NEWEST_NAME: &str = "SUBSTR(MAX(CAST(b.usage_day AS TEXT) || b.workspace_name), 9)";

/// The daily bill so many after a place, if the month has one: where the next step begins.
pub async fn place_after(tx: &Tx, span: &Span, most: i64) -> Result<Option<(UsageDay, String)>, StoreError> {
    let text = "SELECT usage_day, id FROM daily_bill WHERE billing_account_id = ? AND currency = ? AND usage_day >= ? \
                AND usage_day < ? AND (usage_day, id) >= (?, ?) ORDER BY usage_day, id LIMIT 1 OFFSET ?";
    let from = span.from.0.number();
    let values = [
        span.key.billing_account.as_str().into(),
        span.key.currency.code().into(),
        from.into(),
        span.until.0.number().into(),
        from.into(),
        span.from.1.as_str().into(),
        most.into(),
    ];
    let row = read::one(tx, text, values).await?;
    row.map(|row| Ok((Row(&row, "daily_bill").day("usage_day")?, Row(&row, "daily_bill").text("id")?)))
        .transpose()
}

/// Adds what spans come to to the totals of their months: by workspace, by workspace and item, by instrument.
pub async fn add(tx: &Tx, spans: &[Span]) -> Result<(), StoreError> {
    let rel = spans_relation(spans).relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO monthly_bill_workspace (billing_account_id, month, currency, workspace_id, workspace_name, \
         bill_count, payable, paid, in_cloud) SELECT r.billing_account_id, r.month, r.currency, b.workspace_id, \
         {NEWEST_NAME}, COUNT(*), CAST(SUM(b.payable) AS BIGINT), CAST(SUM(b.paid) AS BIGINT), \
         CAST(SUM({IN_CLOUD}) AS BIGINT) FROM {} {BILLS} WHERE true \
         GROUP BY r.billing_account_id, r.month, r.currency, b.workspace_id \
         ON CONFLICT (billing_account_id, month, currency, workspace_id) DO UPDATE SET \
         workspace_name = excluded.workspace_name, \
         bill_count = monthly_bill_workspace.bill_count + excluded.bill_count, \
         payable = monthly_bill_workspace.payable + excluded.payable, \
         paid = monthly_bill_workspace.paid + excluded.paid, \
         in_cloud = monthly_bill_workspace.in_cloud + excluded.in_cloud",
        rel.sql
    );
    tx.run(&text, rel.values.clone()).await?;
    let text = format!(
        "INSERT INTO monthly_bill_item (billing_account_id, month, currency, workspace_id, item, amount) \
         SELECT r.billing_account_id, r.month, r.currency, b.workspace_id, l.item, CAST(SUM(l.amount) AS BIGINT) \
         FROM {} {BILLS} JOIN bill_line l ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
         WHERE true GROUP BY r.billing_account_id, r.month, r.currency, b.workspace_id, l.item \
         ON CONFLICT (billing_account_id, month, currency, workspace_id, item) \
         DO UPDATE SET amount = monthly_bill_item.amount + excluded.amount",
        rel.sql
    );
    tx.run(&text, rel.values.clone()).await?;
    let text = format!(
        "INSERT INTO monthly_bill_payment (billing_account_id, month, currency, instrument, amount) \
         SELECT r.billing_account_id, r.month, r.currency, p.instrument, CAST(SUM(p.amount) AS BIGINT) \
         FROM {} {BILLS} JOIN bill_payment p ON p.billing_account_id = b.billing_account_id AND p.bill_id = b.id \
         WHERE true GROUP BY r.billing_account_id, r.month, r.currency, p.instrument \
         ON CONFLICT (billing_account_id, month, currency, instrument) \
         DO UPDATE SET amount = monthly_bill_payment.amount + excluded.amount",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}
