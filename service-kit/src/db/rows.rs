//! A table of rows handed over as parameters, so that set-based SQL is written once for both engines.

use std::fmt::Write as _;

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Value};

use super::StoreError;

/// The type of a column handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A 64-bit integer.
    Int,
    /// A truth value.
    Bool,
    /// Bytes.
    Bytes,
}

/// Rows to be handed to a statement as one relation.
#[derive(Debug, Clone)]
pub struct Rows {
    columns: Vec<(&'static str, Kind)>,
    cells: Vec<Vec<Cell>>,
    rows: usize,
    misfit: Option<&'static str>,
}

/// A relation for a FROM clause, and the values of its parameters.
#[derive(Debug, Clone)]
pub struct Relation {
    /// The text, such as `UNNEST($1::text[]) AS r(id)`.
    pub sql: String,
    /// The parameters, in order, from the first index that was asked for.
    pub values: Vec<Value>,
}

#[derive(Debug, Clone)]
enum Cell {
    Null,
    Text(String),
    Int(i64),
    Bool(bool),
    Bytes(Vec<u8>),
}

impl Rows {
    /// Starts with no rows and these columns.
    pub fn new(columns: &[(&'static str, Kind)]) -> Rows {
        let cells = columns.iter().map(|_| Vec::new()).collect();
        Rows { columns: columns.to_vec(), cells, rows: 0, misfit: None }
    }

    /// Adds a row: a value per column, each of the column's kind or NULL.
    ///
    /// A wrong number of values or a value of another kind makes [`Rows::relation`] fail.
    pub fn push<const N: usize>(&mut self, row: [Value; N]) {
        if N != self.columns.len() {
            self.misfit = Some("row");
            return;
        }
        for ((value, (name, kind)), cells) in row.into_iter().zip(&self.columns).zip(&mut self.cells) {
            match cell(value, *kind) {
                Some(cell) => cells.push(cell),
                None => self.misfit = Some(name),
            }
        }
        self.rows += 1;
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Makes the relation called `name`, whose first parameter has the number `first` (from 1).
    ///
    /// A bare `?` that stands after it gets the next free number on both engines (see [`super::sql`]), so the values of
    /// a statement are those before, then `relation.values`, then those after. Fails with [`StoreError::Corrupt`] when
    /// a pushed value did not fit its column.
    pub fn relation(&self, backend: DbBackend, name: &str, first: usize) -> Result<Relation, StoreError> {
        if let Some(column) = self.misfit {
            return Err(StoreError::Corrupt { table: "rows handed over", column });
        }
        Ok(match backend {
            DbBackend::Postgres => self.unnest(name, first),
            _ => self.json_each(name, first),
        })
    }

    /// An array per column. Arrays of this driver hold no NULL, so a column with one brings an array of marks along.
    fn unnest(&self, name: &str, first: usize) -> Relation {
        let mut arrays = Vec::new();
        let mut names = Vec::new();
        let mut shown = Vec::new();
        let mut values = Vec::new();
        let mut with_nulls = false;
        for ((column, kind), cells) in self.columns.iter().zip(&self.cells) {
            arrays.push(format!("${}::{}[]", first + values.len(), kind.postgres()));
            names.push((*column).to_owned());
            values.push(kind.array(cells));
            let nulls = cells.iter().any(|cell| matches!(cell, Cell::Null));
            if nulls {
                with_nulls = true;
                arrays.push(format!("${}::bool[]", first + values.len()));
                names.push(format!("{column}_null"));
                let marks = cells.iter().map(|cell| Value::from(matches!(cell, Cell::Null))).collect();
                values.push(Value::Array(ArrayType::Bool, Some(Box::new(marks))));
                shown.push(format!("CASE WHEN {column}_null THEN NULL ELSE {column} END AS {column}"));
            } else {
                shown.push((*column).to_owned());
            }
        }
        let (arrays, names) = (arrays.join(", "), names.join(", "));
        let sql = if with_nulls {
            format!("(SELECT {} FROM UNNEST({arrays}) AS u({names})) AS {name}", shown.join(", "))
        } else {
            format!("UNNEST({arrays}) AS {name}({names})")
        };
        Relation { sql, values }
    }

    /// One JSON text: an array of arrays.
    fn json_each(&self, name: &str, first: usize) -> Relation {
        let mut json = String::from("[");
        for row in 0..self.rows {
            json.push_str(if row == 0 { "[" } else { ",[" });
            for (index, cell) in self.cells.iter().filter_map(|cells| cells.get(row)).enumerate() {
                if index > 0 {
                    json.push(',');
                }
                cell.write_json(&mut json);
            }
            json.push(']');
        }
        json.push(']');
        let columns = self.columns.iter().enumerate().map(|(index, (column, kind))| match kind {
            Kind::Bytes => format!("unhex(json_extract(value, '$[{index}]')) AS {column}"),
            Kind::Text | Kind::Int | Kind::Bool => format!("json_extract(value, '$[{index}]') AS {column}"),
        });
        let columns: Vec<_> = columns.collect();
        let sql = format!("(SELECT {} FROM json_each(?{first})) AS {name}", columns.join(", "));
        Relation { sql, values: vec![Value::from(json)] }
    }
}

impl Kind {
    fn postgres(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Int => "int8",
            Kind::Bool => "bool",
            Kind::Bytes => "bytea",
        }
    }

    /// The cells as one array; a NULL is stood in for by an empty value, which its mark hides.
    fn array(self, cells: &[Cell]) -> Value {
        let (array, empty) = match self {
            Kind::Text => (ArrayType::String, Value::from(String::new())),
            Kind::Int => (ArrayType::BigInt, Value::from(0_i64)),
            Kind::Bool => (ArrayType::Bool, Value::from(false)),
            Kind::Bytes => (ArrayType::Bytes, Value::from(Vec::<u8>::new())),
        };
        let values = cells.iter().map(|cell| match cell {
            Cell::Null => empty.clone(),
            Cell::Text(text) => Value::from(text.clone()),
            Cell::Int(number) => Value::from(*number),
            Cell::Bool(truth) => Value::from(*truth),
            Cell::Bytes(bytes) => Value::from(bytes.clone()),
        });
        Value::Array(array, Some(Box::new(values.collect())))
    }
}

/// Reads a value as a cell of this kind; `None` when it is of another kind.
fn cell(value: Value, kind: Kind) -> Option<Cell> {
    let cell = match (value, kind) {
        (Value::String(text), Kind::Text) => text.map_or(Cell::Null, Cell::Text),
        (Value::BigInt(number), Kind::Int) => number.map_or(Cell::Null, Cell::Int),
        (Value::Int(number), Kind::Int) => number.map_or(Cell::Null, |n| Cell::Int(i64::from(n))),
        (Value::SmallInt(number), Kind::Int) => number.map_or(Cell::Null, |n| Cell::Int(i64::from(n))),
        (Value::TinyInt(number), Kind::Int) => number.map_or(Cell::Null, |n| Cell::Int(i64::from(n))),
        (Value::Unsigned(number), Kind::Int) => number.map_or(Cell::Null, |n| Cell::Int(i64::from(n))),
        (Value::Bool(truth), Kind::Bool) => truth.map_or(Cell::Null, Cell::Bool),
        (Value::Bytes(bytes), Kind::Bytes) => bytes.map_or(Cell::Null, Cell::Bytes),
        _ => return None,
    };
    Some(cell)
}

impl Cell {
    fn write_json(&self, json: &mut String) {
        // Writing into a String cannot fail.
        let _ = match self {
            Cell::Null => write!(json, "null"),
            Cell::Text(text) => write!(json, "{}", serde_json::Value::from(text.as_str())),
            Cell::Int(number) => write!(json, "{number}"),
            Cell::Bool(truth) => write!(json, "{truth}"),
            Cell::Bytes(bytes) => write!(json, "\"{}\"", hex::encode(bytes)),
        };
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::*;
    use crate::db::testing::both;
    use crate::db::{get, statement};

    const COLUMNS: [(&str, Kind); 4] =
        [("name", Kind::Text), ("quantity", Kind::Int), ("late", Kind::Bool), ("raw", Kind::Bytes)];

    type Row = (Option<String>, Option<i64>, Option<bool>, Option<Vec<u8>>);

    fn rows(rows: &[Row]) -> Rows {
        let mut all = Rows::new(&COLUMNS);
        for (name, quantity, late, raw) in rows.iter().cloned() {
            all.push([name.into(), quantity.into(), late.into(), raw.into()]);
        }
        all
    }

    #[tokio::test]
    async fn rows_arrive_as_they_left_on_both_engines() {
        let full: Vec<Row> = vec![
            (Some("a".to_owned()), Some(i64::MAX), Some(true), Some(vec![0, 255])),
            (
                Some("日本語 'quoted' \"\\ \u{1F600}\n{},".to_owned()),
                Some(i64::MIN),
                Some(false),
                Some(Vec::new()),
            ),
        ];
        let mut with_nulls = full.clone();
        with_nulls.push((None, None, None, None));
        with_nulls.push((Some(String::new()), Some(0), None, Some(vec![1])));
        for db in both("rows").await {
            for given in [&full, &with_nulls, &Vec::new()] {
                let relation = rows(given).relation(db.backend(), "r", 2).unwrap();
                let text = format!(
                    "SELECT name, quantity, late, raw FROM {} WHERE 1 = CAST(? AS BIGINT) ORDER BY quantity DESC",
                    relation.sql
                );
                // One before the relation by number, one after it by place.
                let text = text.replace("SELECT name", "SELECT CAST(? AS BIGINT) AS one, name");
                let values =
                    std::iter::once(Value::from(7_i64)).chain(relation.values).chain([Value::from(1_i64)]);
                let found = db.read.query_all_raw(statement(db.backend(), &text, values)).await.unwrap();
                let mut read = Vec::new();
                for row in &found {
                    assert_eq!(get::<i64>(row, "r", "one").unwrap(), 7);
                    let cells: Row = (
                        get(row, "r", "name").unwrap(),
                        get(row, "r", "quantity").unwrap(),
                        get(row, "r", "late").unwrap(),
                        get(row, "r", "raw").unwrap(),
                    );
                    read.push(cells);
                }
                let mut expected = given.clone();
                expected.sort();
                read.sort();
                assert_eq!(read, expected);
            }
        }
    }

    #[tokio::test]
    async fn rows_are_written_set_by_set_and_replaced_by_key() {
        for db in both("rows_upsert").await {
            db.write
                .execute_unprepared("CREATE TABLE t (name TEXT PRIMARY KEY, quantity BIGINT)")
                .await
                .unwrap();
            for quantity in [1_i64, 2] {
                let mut rows = Rows::new(&[("name", Kind::Text), ("quantity", Kind::Int)]);
                for index in 0..3000 {
                    rows.push([format!("k{index}").into(), quantity.into()]);
                }
                let relation = rows.relation(db.backend(), "r", 1).unwrap();
                let text = format!(
                    "INSERT INTO t (name, quantity) SELECT name, quantity FROM {} WHERE true \
                     ON CONFLICT (name) DO UPDATE SET quantity = excluded.quantity",
                    relation.sql
                );
                let done =
                    db.write.execute_raw(statement(db.backend(), &text, relation.values)).await.unwrap();
                assert_eq!(done.rows_affected(), 3000);
            }
            let text = "SELECT CAST(SUM(quantity) AS BIGINT) AS total FROM t";
            let row = db.read.query_one_raw(statement(db.backend(), text, [])).await.unwrap().unwrap();
            assert_eq!(get::<i64>(&row, "t", "total").unwrap(), 6000);
        }
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        for backend in [DbBackend::Sqlite, DbBackend::Postgres] {
            let mut rows = Rows::new(&[("name", Kind::Text)]);
            rows.push([Value::from(1_i64)]);
            assert!(matches!(
                rows.relation(backend, "r", 1),
                Err(StoreError::Corrupt { column: "name", .. })
            ));
            let mut rows = Rows::new(&[("name", Kind::Text)]);
            rows.push(["a".into(), "b".into()]);
            assert!(rows.relation(backend, "r", 1).is_err());
        }
    }
}
