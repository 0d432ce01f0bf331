//! Reading columns into domain types; what does not parse is a corrupt row, named by table and column.

use std::str::FromStr;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_service_kit::db::{StoreError, get, statement};

/// Runs a query text with `?` placeholders and returns its rows.
pub async fn all(
    db: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, StoreError> {
    Ok(db.query_all_raw(statement(db.get_database_backend(), text, values)).await?)
}

/// Runs a query text with `?` placeholders and returns its first row.
pub async fn one(
    db: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<QueryResult>, StoreError> {
    Ok(db.query_one_raw(statement(db.get_database_backend(), text, values)).await?)
}

/// A row with the name of its table, for reading columns.
#[derive(Clone, Copy)]
pub struct Row<'a>(pub &'a QueryResult, pub &'static str);

impl Row<'_> {
    /// A text.
    pub fn text(self, column: &'static str) -> Result<String, StoreError> {
        get(self.0, self.1, column)
    }

    /// A text that may be missing.
    pub fn maybe_text(self, column: &'static str) -> Result<Option<String>, StoreError> {
        get(self.0, self.1, column)
    }

    /// A number.
    pub fn int(self, column: &'static str) -> Result<i64, StoreError> {
        get(self.0, self.1, column)
    }

    /// A small number.
    pub fn small(self, column: &'static str) -> Result<i32, StoreError> {
        get(self.0, self.1, column)
    }

    /// A small number that may be missing.
    pub fn maybe_small(self, column: &'static str) -> Result<Option<i32>, StoreError> {
        get(self.0, self.1, column)
    }

    /// A truth value.
    pub fn truth(self, column: &'static str) -> Result<bool, StoreError> {
        get(self.0, self.1, column)
    }

    /// A text that names something.
    pub fn parse<T: FromStr>(self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| self.corrupt(column))
    }

    /// A text that names something, or nothing.
    pub fn maybe_parse<T: FromStr>(self, column: &'static str) -> Result<Option<T>, StoreError> {
        let text = self.maybe_text(column)?;
        text.map(|text| text.parse().map_err(|_| self.corrupt(column))).transpose()
    }

    /// An instant in microseconds.
    pub fn time(self, column: &'static str) -> Result<Timestamp, StoreError> {
        Timestamp::from_microsecond(self.int(column)?).map_err(|_| self.corrupt(column))
    }

    /// An instant in microseconds that may be missing.
    pub fn maybe_time(self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = get(self.0, self.1, column)?;
        micros.map(|m| Timestamp::from_microsecond(m).map_err(|_| self.corrupt(column))).transpose()
    }

    /// A day as `yyyymmdd`.
    pub fn day(self, column: &'static str) -> Result<UsageDay, StoreError> {
        UsageDay::from_number(self.small(column)?).map_err(|_| self.corrupt(column))
    }

    /// The error of a column that does not parse.
    pub fn corrupt(self, column: &'static str) -> StoreError {
        StoreError::Corrupt { table: self.1, column }
    }
}

/// The clause that locks rows read for a decision; SQLite's one writer needs none.
pub fn for_update(db: &impl ConnectionTrait) -> &'static str {
    match db.get_database_backend() {
        sea_orm::DbBackend::Postgres => " FOR UPDATE",
        _ => "",
    }
}

/// An instant as a column holds it.
pub fn micros(at: Timestamp) -> Value {
    at.as_microsecond().into()
}

/// An instant that may be missing, as a column holds it.
pub fn maybe_micros(at: Option<Timestamp>) -> Value {
    at.map(Timestamp::as_microsecond).into()
}
