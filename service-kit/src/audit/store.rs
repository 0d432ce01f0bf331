//! The table of rows.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::row::{Head, Outcome, Record, Row, place};
use crate::db::{Kind, Rows, StoreError, Tx, get, get_time, statement};

const TABLE: &str = "audit_row";
const COLUMNS: &str = "chain, number, happened_at, principal, role, method, request_id, digest, object_1, \
    object_2, object_3, outcome, reason, attempts, note, key_id, prev_hash, hash";

/// Adds rows.
pub(crate) async fn insert(tx: &Tx, rows: Vec<Row>) -> Result<(), StoreError> {
    let mut added = Rows::new(&[
        ("chain", Kind::Text),
        ("number", Kind::Int),
        ("happened_at", Kind::Int),
        ("principal", Kind::Text),
        ("role", Kind::Text),
        ("method", Kind::Text),
        ("request_id", Kind::Text),
        ("digest", Kind::Bytes),
        ("object_1", Kind::Text),
        ("object_2", Kind::Text),
        ("object_3", Kind::Text),
        ("outcome", Kind::Text),
        ("reason", Kind::Text),
        ("attempts", Kind::Int),
        ("note", Kind::Text),
        ("key_id", Kind::Text),
        ("prev_hash", Kind::Bytes),
        ("hash", Kind::Bytes),
    ]);
    for Row { chain, number, record, key_id, prev_hash, hash } in rows {
        let [first, second, third] = place(&record.objects).map(Value::from);
        added.push([
            chain.into(),
            number.into(),
            record.at.as_microsecond().into(),
            record.principal.into(),
            record.role.into(),
            record.method.into(),
            record.request_id.into(),
            record.digest.into(),
            first,
            second,
            third,
            record.outcome.name().into(),
            record.reason.into(),
            record.attempts.into(),
            record.note.into(),
            key_id.into(),
            prev_hash.into(),
            hash.into(),
        ]);
    }
    let rel = added.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!("INSERT INTO audit_row ({COLUMNS}) SELECT {COLUMNS} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Which rows are listed; what is empty does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this one.
    pub until: Option<Timestamp>,
    /// Only of this caller.
    pub principal: String,
    /// Only of these methods, by path.
    pub methods: Vec<String>,
    /// Only about this object.
    pub object: String,
    /// Only that ended so; `None` for all but anchors.
    pub outcome: Option<Outcome>,
}

/// Rows before a place, newest first. The place is time, chain and number.
pub async fn list(
    db: &impl ConnectionTrait,
    filter: &Filter,
    before: &[String],
    limit: u64,
) -> Result<Vec<Row>, StoreError> {
    let mut text = format!("SELECT {COLUMNS} FROM audit_row WHERE happened_at >= ? AND happened_at < ?");
    let from = filter.from.unwrap_or(Timestamp::UNIX_EPOCH).as_microsecond();
    let until = filter.until.unwrap_or(Timestamp::MAX).as_microsecond();
    let mut values: Vec<Value> = vec![from.into(), until.into()];
    if !filter.principal.is_empty() {
        text.push_str(" AND principal = ?");
        values.push(filter.principal.as_str().into());
    }
    if !filter.methods.is_empty() {
        let marks = vec!["?"; filter.methods.len()].join(", ");
        text.push_str(&format!(" AND method IN ({marks})"));
        values.extend(filter.methods.iter().map(|method| Value::from(method.as_str())));
    }
    if !filter.object.is_empty() {
        let places = ["object_1", "object_2", "object_3"];
        let places = places.map(|place| format!("({place} = ? AND {place} <> '')"));
        text.push_str(&format!(" AND ({})", places.join(" OR ")));
        values.extend(places.iter().map(|_| Value::from(filter.object.as_str())));
    }
    match filter.outcome {
        Some(outcome) => {
            text.push_str(" AND outcome = ?");
            values.push(outcome.name().into());
        }
        None => text.push_str(" AND outcome <> 'anchor'"),
    }
    if let [at, chain, number] = before {
        text.push_str(" AND (happened_at, chain, number) < (?, ?, ?)");
        let int = |text: &String| Value::from(text.parse::<i64>().unwrap_or(i64::MIN));
        values.extend([int(at), chain.as_str().into(), int(number)]);
    }
    text.push_str(" ORDER BY happened_at DESC, chain DESC, number DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    all(db, &text, values).await?.iter().map(read).collect()
}

/// Rows after a place, chain by chain.
pub(super) async fn after(
    db: &impl ConnectionTrait,
    chain: &str,
    number: i64,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM audit_row WHERE (chain, number) > (?, ?) ORDER BY chain, number LIMIT ?"
    );
    all(db, &text, [chain.into(), number.into(), limit.into()]).await?.iter().map(read).collect()
}

/// The stored hash of one row.
pub(super) async fn hash_of(
    db: &impl ConnectionTrait,
    chain: &str,
    number: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let text = "SELECT hash FROM audit_row WHERE chain = ? AND number = ?";
    let rows = all(db, text, [chain.into(), number.into()]).await?;
    rows.first().map(|row| get(row, TABLE, "hash")).transpose()
}

/// Those of some heads whose row is not there with the same hash.
pub(super) async fn missing(db: &impl ConnectionTrait, heads: &[Head]) -> Result<Vec<Head>, StoreError> {
    if heads.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Rows::new(&[("chain", Kind::Text), ("number", Kind::Int), ("hash", Kind::Bytes)]);
    for head in heads {
        rows.push([head.chain.as_str().into(), head.number.into(), head.hash.clone().into()]);
    }
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT r.chain, r.number, r.hash FROM {} LEFT JOIN audit_row a \
         ON a.chain = r.chain AND a.number = r.number AND a.hash = r.hash WHERE a.chain IS NULL \
         ORDER BY r.chain, r.number",
        rel.sql
    );
    let head = |row: &QueryResult| {
        let chain = get(row, TABLE, "chain")?;
        Ok(Head { chain, number: get(row, TABLE, "number")?, hash: get(row, TABLE, "hash")? })
    };
    all(db, &text, rel.values).await?.iter().map(head).collect()
}

/// The heads of the newest chains that sort before a name, a bounded number of them. One look at the index each.
pub(super) async fn newest_heads(
    db: &impl ConnectionTrait,
    before: &str,
    limit: usize,
) -> Result<Vec<Head>, StoreError> {
    let text =
        "SELECT chain, number, hash FROM audit_row WHERE chain < ? ORDER BY chain DESC, number DESC LIMIT 1";
    let mut heads: Vec<Head> = Vec::new();
    while heads.len() < limit {
        let place = heads.last().map_or(before, |head| head.chain.as_str());
        let rows = all(db, text, [place.into()]).await?;
        let Some(row) = rows.first() else { break };
        let chain = get(row, TABLE, "chain")?;
        heads.push(Head { chain, number: get(row, TABLE, "number")?, hash: get(row, TABLE, "hash")? });
    }
    Ok(heads)
}

async fn all(
    db: &impl ConnectionTrait,
    text: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, StoreError> {
    Ok(db.query_all_raw(statement(db.get_database_backend(), text, values)).await?)
}

fn read(row: &QueryResult) -> Result<Row, StoreError> {
    let outcome: String = get(row, TABLE, "outcome")?;
    let objects = [get(row, TABLE, "object_1")?, get(row, TABLE, "object_2")?, get(row, TABLE, "object_3")?];
    let record = Record {
        at: get_time(row, TABLE, "happened_at")?,
        principal: get(row, TABLE, "principal")?,
        role: get(row, TABLE, "role")?,
        method: get(row, TABLE, "method")?,
        request_id: get(row, TABLE, "request_id")?,
        digest: get(row, TABLE, "digest")?,
        objects: objects.into_iter().filter(|id: &String| !id.is_empty()).collect(),
        outcome: outcome.parse().map_err(|_| StoreError::Corrupt { table: TABLE, column: "outcome" })?,
        reason: get(row, TABLE, "reason")?,
        attempts: get(row, TABLE, "attempts")?,
        note: get(row, TABLE, "note")?,
    };
    Ok(Row {
        chain: get(row, TABLE, "chain")?,
        number: get(row, TABLE, "number")?,
        record,
        key_id: get(row, TABLE, "key_id")?,
        prev_hash: get(row, TABLE, "prev_hash")?,
        hash: get(row, TABLE, "hash")?,
    })
}
