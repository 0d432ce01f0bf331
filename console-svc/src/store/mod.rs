//! Queries, one file per aggregate. Functions take any connection, and the caller decides what is one transaction.

pub mod account;
pub mod ending;
pub mod entity;
pub mod feed;
pub mod member;
pub mod pending_activation;
pub mod retention_drop;
pub mod sign_in;
pub mod site_day;
pub mod usage_point;
pub mod usage_total;
pub mod workspace;

use jiff::Timestamp;
use tandem_service_kit::db::StoreError;

/// Reads microseconds as a time.
fn time(micros: i64, table: &'static str, column: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Corrupt { table, column })
}

/// Reads an id.
fn id<T: std::str::FromStr>(text: &str, table: &'static str, column: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { table, column })
}
