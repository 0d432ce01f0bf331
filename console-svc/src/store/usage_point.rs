//! Hourly usage points and the marks of the days they change: the hot path, set-based on both engines.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::sea_query::ArrayType;
use sea_orm::{ConnectionTrait as _, DbBackend, QueryResult, Value};
use tandem_proto::ids::WorkspaceId;
use tandem_service_kit::db::{Database, Kind, Rows, StoreError, Tx, get, statement};
use tandem_service_kit::fresh::random_bytes;
use tandem_service_kit::request_log;

use crate::domain::item::{Item, Measure};
use crate::domain::point::PointKey;
use crate::domain::usage_day::UsageDay;

const TABLE: &str = "usage_point";

/// What writing a point changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It was not there before.
    New,
    /// It was there with the same quantity; nothing was written.
    Same,
    /// It replaced another quantity.
    Replaced,
}

/// Writes points and marks the days that changed; returns the effect on each, in the same order.
///
/// Keys must differ, and must be sorted: writers that take their rows in one order cannot deadlock.
pub async fn upsert(tx: &Tx, points: &[(&PointKey, i64)]) -> Result<Vec<Effect>, StoreError> {
    if points.is_empty() {
        return Ok(Vec::new());
    }
    match tx.get_database_backend() {
        DbBackend::Postgres => upsert_postgres(tx, points).await,
        _ => upsert_sqlite(tx, points).await,
    }
}

/// One statement: its answer is two arrays of places, whatever the number of points.
const UPSERT_POSTGRES: &str = "WITH point AS (\
     INSERT INTO usage_point AS p (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start, quantity, place) \
     SELECT * FROM UNNEST($1::text[], $2::int4[], $3::int4[], $4::int4[], $5::text[], $6::int4[], $7::int8[], $8::int8[], $9::int4[]) \
     ON CONFLICT (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start) \
     DO UPDATE SET quantity = excluded.quantity, place = excluded.place WHERE p.quantity <> excluded.quantity \
     RETURNING p.workspace_id, p.usage_day, p.place, p.xmax = 0 AS fresh\
 ), mark AS (\
     INSERT INTO usage_dirty (workspace_id, usage_day, token) \
     SELECT workspace_id, usage_day, $10 FROM point GROUP BY workspace_id, usage_day\
 ) \
 SELECT array_agg(place) FILTER (WHERE fresh) AS fresh, array_agg(place) FILTER (WHERE NOT fresh) AS changed FROM point";

async fn upsert_postgres(tx: &Tx, points: &[(&PointKey, i64)]) -> Result<Vec<Effect>, StoreError> {
    let values = columns(points).into_iter().chain([Value::from(mark_token())]);
    let row = tx.query_one_raw(statement(DbBackend::Postgres, UPSERT_POSTGRES, values)).await?;
    let row = row.ok_or(StoreError::Corrupt { table: TABLE, column: "place" })?;
    let mut effects = vec![Effect::Same; points.len()];
    for (column, effect) in [("fresh", Effect::New), ("changed", Effect::Replaced)] {
        for place in get::<Option<Vec<i32>>>(&row, TABLE, column)?.unwrap_or_default() {
            let slot = usize::try_from(place).ok().and_then(|place| effects.get_mut(place));
            *slot.ok_or(StoreError::Corrupt { table: TABLE, column: "place" })? = effect;
        }
    }
    Ok(effects)
}

/// The first nine parameters are [`columns`]. `{answers}` stands for what stores the answers.
const INSERT_POSTGRES: &str = "WITH point AS (\
     INSERT INTO usage_point (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start, quantity, place) \
     SELECT * FROM UNNEST($1::text[], $2::int4[], $3::int4[], $4::int4[], $5::text[], $6::int4[], $7::int8[], $8::int8[], $9::int4[])\
 ), mark AS (\
     INSERT INTO usage_dirty (workspace_id, usage_day, token) \
     SELECT day.*, $12 FROM UNNEST($10::text[], $11::int4[]) AS day\
 ) {answers}";
/// The first parameter of the answers in [`INSERT_POSTGRES`].
const ANSWERS_FROM: usize = 13;

/// Adds points that were never recorded, marks their days and stores the answers, all in one statement: PostgreSQL takes
/// new points in half the time when it does not have to look for each whether it is there.
///
/// Keys must differ, and must be sorted. Fails with [`StoreError::Conflict`], and changes nothing, when a point or an
/// answer is there already.
pub async fn insert_new_postgres(
    db: &Database,
    points: &[(&PointKey, i64)],
    answers: &request_log::Answers,
) -> Result<(), StoreError> {
    let days: Vec<_> = points.chunk_by(|(a, _), (b, _)| same_day(a, b)).filter_map(<[_]>::first).collect();
    let workspaces = days.iter().map(|(key, _)| Value::from(&*key.workspace_id)).collect();
    let numbers = days.iter().map(|(key, _)| Value::from(key.usage_day)).collect();
    let marks = [
        Value::Array(ArrayType::String, Some(Box::new(workspaces))),
        Value::Array(ArrayType::Int, Some(Box::new(numbers))),
        Value::from(mark_token()),
    ];
    let insert = answers.insert(DbBackend::Postgres, ANSWERS_FROM)?;
    let text = INSERT_POSTGRES.replace("{answers}", &insert.sql);
    db.run_alone(&text, columns(points).into_iter().chain(marks).chain(insert.values)).await?;
    Ok(())
}

fn same_day(a: &PointKey, b: &PointKey) -> bool {
    a.workspace_id == b.workspace_id && a.usage_day == b.usage_day
}

/// A roll-up removes exactly the marks that it saw, so every statement that marks has a token of its own.
fn mark_token() -> i64 {
    i64::from_le_bytes(random_bytes())
}

/// The columns of the table, in its order.
fn columns(points: &[(&PointKey, i64)]) -> [Value; 9] {
    let texts = |of: fn(&PointKey) -> &str| {
        let values = points.iter().map(|(key, _)| Value::from(of(key))).collect();
        Value::Array(ArrayType::String, Some(Box::new(values)))
    };
    let ints = |of: fn(&PointKey) -> i32| {
        let values = points.iter().map(|(key, _)| Value::from(of(key))).collect();
        Value::Array(ArrayType::Int, Some(Box::new(values)))
    };
    let longs = |of: fn(&(&PointKey, i64)) -> i64| {
        let values = points.iter().map(|point| Value::from(of(point))).collect();
        Value::Array(ArrayType::BigInt, Some(Box::new(values)))
    };
    let places = (0_i32..).zip(points).map(|(place, _)| Value::from(place)).collect();
    [
        texts(|key| &key.workspace_id),
        ints(|key| key.usage_day),
        ints(|key| i32::from(key.item.number())),
        ints(|key| i32::from(key.retention_days)),
        texts(|key| &key.sub_key),
        ints(|key| i32::from(key.measure.number())),
        longs(|(key, _)| key.hour_start),
        longs(|(_, quantity)| *quantity),
        Value::Array(ArrayType::Int, Some(Box::new(places))),
    ]
}

const COLUMNS: &[(&str, Kind)] = &[
    ("workspace_id", Kind::Text),
    ("usage_day", Kind::Int),
    ("item", Kind::Int),
    ("retention_days", Kind::Int),
    ("sub_key", Kind::Text),
    ("measure", Kind::Int),
    ("hour_start", Kind::Int),
    ("quantity", Kind::Int),
    ("place", Kind::Int),
];

/// SQLite has one writer, so what is read inside the transaction stays true until it ends.
async fn upsert_sqlite(tx: &Tx, points: &[(&PointKey, i64)]) -> Result<Vec<Effect>, StoreError> {
    let mut rows = Rows::new(COLUMNS);
    for (place, (key, quantity)) in (0_i32..).zip(points) {
        rows.push([
            Value::from(&*key.workspace_id),
            key.usage_day.into(),
            key.item.number().into(),
            key.retention_days.into(),
            key.sub_key.as_str().into(),
            key.measure.number().into(),
            key.hour_start.into(),
            (*quantity).into(),
            place.into(),
        ]);
    }
    let asked = rows.relation(DbBackend::Sqlite, "r", 1)?;
    let text = format!(
        "SELECT r.place, p.quantity FROM {} JOIN usage_point p ON p.workspace_id = r.workspace_id \
         AND p.usage_day = r.usage_day AND p.item = r.item AND p.retention_days = r.retention_days \
         AND p.sub_key = r.sub_key AND p.measure = r.measure AND p.hour_start = r.hour_start",
        asked.sql
    );
    let mut effects = vec![Effect::New; points.len()];
    for row in tx.query_all_raw(statement(DbBackend::Sqlite, &text, asked.values.clone())).await? {
        let place = usize::try_from(get::<i64>(&row, TABLE, "place")?).ok();
        let old: i64 = get(&row, TABLE, "quantity")?;
        let corrupt = StoreError::Corrupt { table: TABLE, column: "place" };
        let (slot, (_, new)) =
            place.and_then(|place| effects.get_mut(place).zip(points.get(place))).ok_or(corrupt)?;
        *slot = if old == *new { Effect::Same } else { Effect::Replaced };
    }
    let text = format!(
        "INSERT INTO usage_point (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start, quantity, place) \
         SELECT workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start, quantity, place FROM {} WHERE true \
         ON CONFLICT (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start) \
         DO UPDATE SET quantity = excluded.quantity, place = excluded.place \
         WHERE usage_point.quantity <> excluded.quantity",
        asked.sql
    );
    if effects.iter().any(|effect| *effect != Effect::Same) {
        tx.run(&text, asked.values).await?;
    }
    let changed = points.iter().zip(&effects).filter(|(_, effect)| **effect != Effect::Same);
    let days: Vec<_> = changed.map(|((key, _), _)| (&*key.workspace_id, key.usage_day)).collect();
    mark(tx, &days).await?;
    Ok(effects)
}

/// Marks days as changed, on SQLite. Days must be sorted; repetitions next to each other are one.
async fn mark(tx: &Tx, days: &[(&str, i32)]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[("workspace_id", Kind::Text), ("usage_day", Kind::Int)]);
    let mut last = None;
    for day in days {
        if last != Some(day) {
            rows.push([day.0.into(), day.1.into()]);
        }
        last = Some(day);
    }
    if rows.is_empty() {
        return Ok(());
    }
    // The token stands before the relation, whose parameters therefore start at the second place.
    let relation = rows.relation(tx.get_database_backend(), "r", 2)?;
    let text = format!(
        "INSERT INTO usage_dirty (workspace_id, usage_day, token) SELECT workspace_id, usage_day, ? FROM {} WHERE true",
        relation.sql
    );
    tx.run(&text, std::iter::once(mark_token().into()).chain(relation.values)).await?;
    Ok(())
}

/// Marks every day of a workspace from `first_day` on that has points, and forgets what Free quantities came to there:
/// after an upgrade they are rolled up anew, from the first charged hour on.
pub async fn remark_from(tx: &Tx, workspace_id: &str, first_day: i32) -> Result<(), StoreError> {
    let forget = "DELETE FROM usage_total WHERE workspace_id = ? AND usage_day >= ? AND revision = 0";
    tx.run(forget, [workspace_id.into(), first_day.into()]).await?;
    let text = "INSERT INTO usage_dirty (workspace_id, usage_day, token) \
                SELECT DISTINCT workspace_id, usage_day, ? FROM usage_point WHERE workspace_id = ? AND usage_day >= ?";
    tx.run(text, [mark_token().into(), workspace_id.into(), first_day.into()]).await?;
    Ok(())
}

/// The start of the latest hour of an item that is counted for a workspace, on a day or later.
pub async fn last_hour(
    tx: &Tx,
    workspace: &WorkspaceId,
    first_day: UsageDay,
    item: Item,
) -> Result<Option<Timestamp>, StoreError> {
    let text = "SELECT MAX(hour_start) AS hour_start FROM usage_point \
                WHERE workspace_id = ? AND usage_day >= ? AND item = ?";
    let values = [workspace.as_str().into(), first_day.number().into(), i32::from(item.number()).into()];
    let row = tx.query_one_raw(statement(tx.get_database_backend(), text, values)).await?;
    let hour: Option<i64> = row.map_or(Ok(None), |row| get(&row, TABLE, "hour_start"))?;
    hour.map(|hour| super::time(hour, TABLE, "hour_start")).transpose()
}

/// The stored points of some workspaces' days.
pub async fn of_days(tx: &Tx, days: &[(Arc<str>, i32)]) -> Result<Vec<(PointKey, i64)>, StoreError> {
    let mut rows = Rows::new(&[("workspace_id", Kind::Text), ("usage_day", Kind::Int)]);
    days.iter().for_each(|(workspace, day)| rows.push([Value::from(&**workspace), (*day).into()]));
    let backend = tx.get_database_backend();
    let asked = rows.relation(backend, "asked", 1)?;
    let text = format!(
        "SELECT p.workspace_id, p.usage_day, p.item, p.retention_days, p.sub_key, p.measure, p.hour_start, p.quantity \
         FROM {} JOIN usage_point p ON p.workspace_id = asked.workspace_id AND p.usage_day = asked.usage_day",
        asked.sql
    );
    let known: HashMap<&str, &Arc<str>> =
        days.iter().map(|(workspace, _)| (&**workspace, workspace)).collect();
    let rows = tx.query_all_raw(statement(backend, &text, asked.values)).await?;
    rows.iter().map(|row| point_from(row, &known)).collect()
}

fn point_from(row: &QueryResult, known: &HashMap<&str, &Arc<str>>) -> Result<(PointKey, i64), StoreError> {
    let workspace_id: String = get(row, TABLE, "workspace_id")?;
    let workspace_id =
        known.get(workspace_id.as_str()).map_or_else(|| workspace_id.clone().into(), |id| Arc::clone(id));
    let key = PointKey {
        workspace_id,
        usage_day: get(row, TABLE, "usage_day")?,
        item: item(row, TABLE)?,
        retention_days: small(row, "retention_days")?,
        sub_key: get(row, TABLE, "sub_key")?,
        measure: measure(row)?,
        hour_start: get(row, TABLE, "hour_start")?,
    };
    Ok((key, get(row, TABLE, "quantity")?))
}

pub(super) fn item(row: &QueryResult, table: &'static str) -> Result<Item, StoreError> {
    Item::from_number(get(row, table, "item")?).ok_or(StoreError::Corrupt { table, column: "item" })
}

pub(super) fn measure(row: &QueryResult) -> Result<Measure, StoreError> {
    let number: i32 = get(row, TABLE, "measure")?;
    Measure::from_number(number).ok_or(StoreError::Corrupt { table: TABLE, column: "measure" })
}

pub(super) fn small(row: &QueryResult, column: &'static str) -> Result<i16, StoreError> {
    let number: i32 = get(row, TABLE, column)?;
    i16::try_from(number).map_err(|_| StoreError::Corrupt { table: TABLE, column })
}
