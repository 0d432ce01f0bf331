//! Which usage days of a site are closed. The watermark is the last of them; it never moves back.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_service_kit::db::{StoreError, get, statement};

use super::time;
use crate::domain::usage_day::UsageDay;

const TABLE: &str = "site_day";

/// The last closed day of a site.
pub async fn last_closed(db: &impl ConnectionTrait, site: &str) -> Result<Option<UsageDay>, StoreError> {
    let text = "SELECT MAX(usage_day) AS usage_day FROM site_day WHERE site = ?";
    let row = db.query_one_raw(statement(db.get_database_backend(), text, [site.into()])).await?;
    let Some(row) = row else { return Ok(None) };
    let number: Option<i32> = get(&row, TABLE, "usage_day")?;
    let corrupt = StoreError::Corrupt { table: TABLE, column: "usage_day" };
    number.map(|number| UsageDay::from_number(number).map_err(|_| corrupt)).transpose()
}

/// Records that a day is closed; a day that was recorded before stays as it was.
pub async fn record(
    db: &impl ConnectionTrait,
    site: &str,
    day: UsageDay,
    delivered: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "INSERT INTO site_day (site, usage_day, delivered_count, closed_at) VALUES (?, ?, ?, ?) \
                ON CONFLICT (site, usage_day) DO NOTHING";
    let values = [site.into(), day.number().into(), delivered.into(), now.as_microsecond().into()];
    db.execute_raw(statement(db.get_database_backend(), text, values)).await?;
    Ok(())
}

/// When the first workspace of a site began to be charged; `None` when none is.
pub async fn first_charge(db: &impl ConnectionTrait, site: &str) -> Result<Option<Timestamp>, StoreError> {
    let text =
        "SELECT MIN(charge_start_at) AS first FROM workspace WHERE site = ? AND charge_start_at IS NOT NULL";
    let row = db.query_one_raw(statement(db.get_database_backend(), text, [site.into()])).await?;
    let Some(row) = row else { return Ok(None) };
    let first: Option<i64> = get(&row, "workspace", "first")?;
    first.map(|first| time(first, "workspace", "charge_start_at")).transpose()
}
