//! Opening databases safely and using them so that nothing acknowledged is lost, on SQLite and PostgreSQL alike.
//!
//! Statement texts are written once for both engines: [`Rows`] hands over a table of rows as parameters, [`statement`]
//! numbers the placeholders. Changes run in a [`Tx`] from [`Database::begin`], or as one statement on `db.write`.

mod connect;
mod error;
mod migrate;
mod migration;
#[cfg(target_os = "linux")]
mod nodelay;
mod rows;
mod tx;

pub use connect::Database;
pub use error::StoreError;
pub use migrate::{append_only, migrations, run};
pub use rows::{Kind, Relation, Rows};
pub use tx::Tx;

use jiff::Timestamp;
use sea_orm::{DbBackend, QueryResult, Statement, TryGetable, Value};

/// Numbers the placeholders of a text (`$n` on PostgreSQL, `?n` on SQLite), so that it is written once, with `?`.
///
/// The number is one more than the greatest that stands before it, so that bare `?` and the numbered parameters of a
/// [`Relation`] mix alike on both engines (the SQLite driver alone would bind such a mixture wrongly). A `?` inside
/// quotes counts as well: hand texts over as parameters, never inside the statement.
pub fn sql(backend: DbBackend, text: &str) -> String {
    let mark = if backend == DbBackend::Postgres { '$' } else { '?' };
    let mut numbered = String::with_capacity(text.len() + 16);
    let mut greatest = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '?' && (c != '$' || !chars.peek().is_some_and(char::is_ascii_digit)) {
            numbered.push(c);
            continue;
        }
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let number = digits.parse().unwrap_or(greatest + 1);
        greatest = greatest.max(number);
        numbered.push(mark);
        numbered.push_str(&number.to_string());
    }
    numbered
}

/// Makes a statement from a text with `?` placeholders and their values.
pub fn statement(backend: DbBackend, text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(backend, sql(backend, text), values)
}

/// Reads a column; a wrong type is a [`StoreError::Corrupt`] that names table and column.
pub fn get<T: TryGetable>(
    row: &QueryResult,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    row.try_get("", column).map_err(|_| StoreError::Corrupt { table, column })
}

/// Reads a column of microseconds as a time.
pub fn get_time(
    row: &QueryResult,
    table: &'static str,
    column: &'static str,
) -> Result<Timestamp, StoreError> {
    let micros: i64 = get(row, table, column)?;
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Corrupt { table, column })
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod tests;
