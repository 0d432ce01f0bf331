//! Changing calls that may be repeated: one (principal, method, request id) has at most one effect, for ever, and the
//! same answer each time (`reliability.md` section 2, design section 4).

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use prost::Message;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Value};
use sha2::{Digest as _, Sha256};
use tandem_proto::common::v1::Role;
use tandem_proto::reason::Reason;

use crate::audit::{self, Attempt, Outcome, Record};
use crate::db::{Database, Kind, Relation, Rows, StoreError, Tx, get, statement};
use crate::fault::Fault;
use crate::identity::{Caller, role_name};
use crate::validate;

/// How long answers are kept at least (design section 4).
pub const KEPT_DAYS: i64 = 35;
/// Most rows one purge statement deletes, so that it stays far below the statement time limit.
const PURGE_ROWS: i64 = 5_000;
const TABLE: &str = "request_log";

/// Names one call of one caller, with a digest of what it asked.
#[derive(Debug, Clone)]
pub struct RequestKey {
    principal: String,
    method: &'static str,
    request_id: String,
    digest: Vec<u8>,
    role: String,
    objects: Vec<String>,
    bulk: bool,
    attempt: Option<Arc<Attempt>>,
}

/// Two keys are equal when they name the same call with the same content.
impl PartialEq for RequestKey {
    fn eq(&self, other: &RequestKey) -> bool {
        self.place() == other.place() && self.digest == other.digest
    }
}

impl Eq for RequestKey {}

impl RequestKey {
    /// Names the call. Fails when the request id is not 1–255 printable characters.
    ///
    /// `method` is the gRPC path. The digest is taken over the encoded request, which is the same for the same fields
    /// as long as the request holds no hash map.
    pub fn new(
        caller: &Caller,
        method: &'static str,
        request_id: &str,
        request: &impl Message,
    ) -> Result<RequestKey, Fault> {
        let mut key = RequestKey::unnamed(caller, method, request_id)?;
        let bytes = request.encode_to_vec();
        key.digest = Sha256::digest(&bytes).to_vec();
        key.objects = audit::objects(Vec::new(), &bytes);
        if let Some(attempt) = &key.attempt {
            attempt.asks(&key.request_id, &key.digest, &key.objects);
        }
        Ok(key)
    }

    /// Names a call of a method that is called so often that its attempts are audited together (`audit`): the answers
    /// stored here are its record in detail.
    pub fn bulk(
        caller: &Caller,
        method: &'static str,
        request_id: &str,
        request: &impl Message,
    ) -> Result<RequestKey, Fault> {
        let mut key = RequestKey::unnamed(caller, method, request_id)?;
        key.bulk = true;
        key.digest = Sha256::digest(request.encode_to_vec()).to_vec();
        if let Some(attempt) = &key.attempt {
            attempt.asks_in_bulk(&key.request_id, &key.digest);
        }
        Ok(key)
    }

    fn unnamed(caller: &Caller, method: &'static str, request_id: &str) -> Result<RequestKey, Fault> {
        let attempt = audit::current();
        Ok(RequestKey {
            principal: caller.name.clone(),
            method,
            request_id: validate::request_id(request_id)?.to_owned(),
            digest: Vec::new(),
            role: attempt.as_ref().map_or_else(|| role_of(caller), |attempt| attempt.role()),
            objects: Vec::new(),
            bulk: false,
            attempt,
        })
    }

    /// Who calls.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The method's path.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The caller's name for the call.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// SHA-256 of the encoded request.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The audit's row for the call's effect; `None` for a method that is audited in bulk.
    fn record(&self, reply: &[u8], now: Timestamp) -> Option<Record> {
        if self.bulk {
            return None;
        }
        if let Some(attempt) = &self.attempt {
            attempt.goes_with_effect();
        }
        Some(Record {
            at: now,
            principal: self.principal.clone(),
            role: self.role.clone(),
            method: self.method.to_owned(),
            request_id: self.request_id.clone(),
            digest: self.digest.clone(),
            objects: audit::objects(self.objects.clone(), reply),
            outcome: Outcome::Accepted,
            reason: String::new(),
            attempts: 1,
            note: String::new(),
        })
    }

    fn made_before(&self) {
        if let Some(attempt) = &self.attempt {
            attempt.made_before();
        }
    }

    fn place(&self) -> [Value; 3] {
        [self.principal.clone().into(), self.method.into(), self.request_id.clone().into()]
    }
}

/// The caller's role by name; empty when it is not known any more, as of a call that is finished later.
fn role_of(caller: &Caller) -> String {
    if caller.role == Role::Unspecified { String::new() } else { role_name(caller.role) }
}

/// What a call finds when it starts.
#[derive(Debug)]
pub enum Open<R> {
    /// It was made before: this was the answer.
    Answered(R),
    /// It is new: do it in [`Pending::tx`], then [`Pending::finish`].
    Fresh(Pending<R>),
}

/// A new call in its transaction. Dropping it rolls everything back, so that a refusal stores nothing.
#[derive(Debug)]
pub struct Pending<R> {
    /// The transaction in which the effect is made.
    pub tx: Tx,
    key: Box<RequestKey>,
    answer: std::marker::PhantomData<fn() -> R>,
}

/// Looks for the stored answer of a call.
///
/// Fails with `REQUEST_ID_REUSED` when the id was used with another request.
pub async fn replay<R: Message + Default>(db: &Database, key: &RequestKey) -> Result<Option<R>, Fault> {
    find(&db.read, key).await
}

/// Opens a transaction for a call, unless it was answered before.
///
/// The key is written first, so a running twin is waited for, at most as long as for any lock, and then its answer is
/// returned instead of running twice. Fails with `REQUEST_ID_REUSED` or, when the twin takes long, `CONFLICT`.
pub async fn open<R: Message + Default>(db: &Database, key: RequestKey) -> Result<Open<R>, Fault> {
    let tx = db.begin().await?;
    let [principal, method, request_id] = key.place();
    let mark = "INSERT INTO request_log (principal, method, request_id, digest, reply, created_at) \
                VALUES (?, ?, ?, ?, NULL, 0) ON CONFLICT (principal, method, request_id) DO NOTHING";
    let values = [principal, method, request_id, key.digest.clone().into()];
    if tx.run(mark, values).await? == 1 {
        return Ok(Open::Fresh(Pending { tx, key: Box::new(key), answer: std::marker::PhantomData }));
    }
    let found = find(&tx, &key).await;
    tx.rollback().await;
    // Gone again means that a purge took it in this moment; the repetition will be new.
    found?.map(Open::Answered).ok_or(Fault::new(Reason::Conflict))
}

impl<R: Message + Default> Pending<R> {
    /// Stores the answer and the audit's row beside the effect and commits all.
    pub async fn finish(self, response: R, now: Timestamp) -> Result<R, Fault> {
        let reply = response.encode_to_vec();
        if let Some(record) = self.key.record(&reply, now) {
            self.tx.record(vec![record]).await?;
        }
        let [principal, method, request_id] = self.key.place();
        let save = "UPDATE request_log SET reply = ?, created_at = ? \
                    WHERE principal = ? AND method = ? AND request_id = ?";
        let reply = Value::from(reply);
        let saved =
            self.tx.run(save, [reply, now.as_microsecond().into(), principal, method, request_id]).await?;
        if saved != 1 {
            return Err(Fault::new(Reason::Conflict));
        }
        self.tx.commit().await?;
        Ok(response)
    }

    /// The call's name.
    pub fn key(&self) -> &RequestKey {
        &self.key
    }
}

async fn find<R: Message + Default>(db: &impl ConnectionTrait, key: &RequestKey) -> Result<Option<R>, Fault> {
    let text = "SELECT digest, reply FROM request_log WHERE principal = ? AND method = ? AND request_id = ?";
    let row = db.query_one_raw(statement(db.get_database_backend(), text, key.place())).await;
    let Some(row) = row.map_err(StoreError::from)? else { return Ok(None) };
    let digest: Vec<u8> = get(&row, TABLE, "digest")?;
    let reply: Vec<u8> = get(&row, TABLE, "reply")?;
    decode(key, &digest, &reply).map(Some)
}

fn decode<R: Message + Default>(key: &RequestKey, digest: &[u8], reply: &[u8]) -> Result<R, Fault> {
    if digest != key.digest {
        return Err(Fault::new(Reason::RequestIdReused));
    }
    key.made_before();
    Ok(R::decode(reply).map_err(|_| StoreError::Corrupt { table: TABLE, column: "reply" })?)
}

/// Looks for the stored answers of many calls at once, in the order of the keys.
///
/// Each has its own outcome: not made before, its answer, or `REQUEST_ID_REUSED`.
pub async fn replay_all<R: Message + Default>(
    db: &impl ConnectionTrait,
    keys: &[&RequestKey],
) -> Result<Vec<Result<Option<R>, Fault>>, StoreError> {
    let found = replay_raw(db, keys).await?;
    let read = |reply: Vec<u8>| {
        R::decode(reply.as_slice())
            .map_err(|_| Fault::from(StoreError::Corrupt { table: TABLE, column: "reply" }))
    };
    Ok(found.into_iter().map(|found| found.and_then(|reply| reply.map(read).transpose())).collect())
}

/// Like [`replay_all`], with the answers as they are stored: for calls of several methods together.
pub async fn replay_raw(
    db: &impl ConnectionTrait,
    keys: &[&RequestKey],
) -> Result<Vec<Result<Option<Vec<u8>>, Fault>>, StoreError> {
    let mut rows =
        Rows::new(&[("principal", Kind::Text), ("method", Kind::Text), ("request_id", Kind::Text)]);
    for key in keys {
        rows.push(key.place());
    }
    let backend = db.get_database_backend();
    let asked = rows.relation(backend, "asked", 1)?;
    let text = format!(
        "SELECT l.principal, l.method, l.request_id, l.digest, l.reply FROM {} JOIN request_log l \
         ON l.principal = asked.principal AND l.method = asked.method AND l.request_id = asked.request_id",
        asked.sql
    );
    let mut found = HashMap::new();
    for row in db.query_all_raw(statement(backend, &text, asked.values)).await? {
        let place: (String, String, String) =
            (get(&row, TABLE, "principal")?, get(&row, TABLE, "method")?, get(&row, TABLE, "request_id")?);
        let stored: (Vec<u8>, Vec<u8>) = (get(&row, TABLE, "digest")?, get(&row, TABLE, "reply")?);
        found.insert(place, stored);
    }
    let answers = keys.iter().map(|key| {
        let place = (key.principal.clone(), key.method.to_owned(), key.request_id.clone());
        match found.get(&place) {
            Some((digest, _)) if *digest != key.digest => Err(Fault::new(Reason::RequestIdReused)),
            Some((_, reply)) => {
                key.made_before();
                Ok(Some(reply.clone()))
            }
            None => Ok(None),
        }
    });
    Ok(answers.collect())
}

/// Answers to be stored together, beside their effects.
#[derive(Debug)]
pub struct Answers {
    rows: Rows,
    records: Vec<Record>,
}

impl Answers {
    /// Takes answers whose keys differ.
    pub fn new<'a>(answers: impl IntoIterator<Item = (&'a RequestKey, Vec<u8>)>, now: Timestamp) -> Answers {
        let mut rows = Rows::new(&[
            ("principal", Kind::Text),
            ("method", Kind::Text),
            ("request_id", Kind::Text),
            ("digest", Kind::Bytes),
            ("reply", Kind::Bytes),
            ("created_at", Kind::Int),
        ]);
        let mut answers: Vec<_> = answers.into_iter().collect();
        let records = answers.iter().filter_map(|(key, reply)| key.record(reply, now)).collect();
        // In the order of the index: ids mostly grow with time, and so each goes to the end of it.
        answers.sort_unstable_by(|(a, _), (b, _)| {
            (&a.principal, a.method, &a.request_id).cmp(&(&b.principal, b.method, &b.request_id))
        });
        for (key, reply) in answers {
            let [principal, method, request_id] = key.place();
            let (digest, reply) = (key.digest.clone().into(), reply.into());
            rows.push([principal, method, request_id, digest, reply, now.as_microsecond().into()]);
        }
        Answers { rows, records }
    }

    /// The statement that stores them, with its first parameter's number. It fails with [`StoreError::Conflict`] when a
    /// twin stored one meanwhile: then nothing may be kept; look again. It leaves out the audit's rows, so it is for
    /// methods that are audited in bulk.
    pub fn insert(&self, backend: DbBackend, first: usize) -> Result<Relation, StoreError> {
        let rows = self.rows.relation(backend, "r", first)?;
        let sql = format!(
            "INSERT INTO request_log (principal, method, request_id, digest, reply, created_at) \
             SELECT principal, method, request_id, digest, reply, created_at FROM {}",
            rows.sql
        );
        Ok(Relation { sql, values: rows.values })
    }

    /// Stores them in a transaction, with the audit's rows; fails as [`Answers::insert`] says.
    pub async fn save(&self, tx: &Tx) -> Result<(), StoreError> {
        let insert = self.insert(tx.get_database_backend(), 1)?;
        tx.run(&insert.sql, insert.values).await?;
        if !self.records.is_empty() {
            tx.record(self.records.clone()).await?;
        }
        Ok(())
    }
}

/// Deletes answers stored before `before`, but never one younger than [`KEPT_DAYS`], a bounded number at a time;
/// returns how many. Calls that move money must not be purged: name their methods in `keep`.
pub async fn purge(
    db: &DatabaseConnection,
    before: Timestamp,
    now: Timestamp,
    keep: &[&str],
) -> Result<u64, StoreError> {
    let oldest_kept =
        now.saturating_sub(SignedDuration::from_hours(KEPT_DAYS * 24)).unwrap_or(Timestamp::MIN);
    let before = before.min(oldest_kept).as_microsecond();
    let mut kept = Rows::new(&[("method", Kind::Text)]);
    for method in keep {
        kept.push([Value::from(*method)]);
    }
    let backend = db.get_database_backend();
    let relation = kept.relation(backend, "kept", 2)?;
    let text = format!(
        "DELETE FROM request_log WHERE (principal, method, request_id) IN (\
         SELECT principal, method, request_id FROM request_log WHERE created_at < ? \
         AND method NOT IN (SELECT method FROM {}) LIMIT {PURGE_ROWS})",
        relation.sql
    );
    let values = std::iter::once(before.into()).chain(relation.values);
    let done = db.execute_raw(statement(backend, &text, values)).await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use tandem_proto::common::v1::Money;

    use super::*;
    use crate::db::testing::{both, postgres};

    fn now() -> Timestamp {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    fn money(minor_units: i64) -> Money {
        Money { currency_code: "CNY".to_owned(), minor_units }
    }

    fn key_of(caller: &str, id: &str, request: &Money) -> RequestKey {
        let caller = Caller { name: caller.to_owned(), role: Role::Portal };
        RequestKey::new(&caller, "/x/Pay", id, request).unwrap()
    }

    fn key(id: &str, request: &Money) -> RequestKey {
        key_of("portal", id, request)
    }

    async fn fresh(db: &Database, key: RequestKey) -> Pending<Money> {
        match open(db, key).await.unwrap() {
            Open::Fresh(pending) => pending,
            Open::Answered(answer) => panic!("answered before: {answer:?}"),
        }
    }

    #[tokio::test]
    async fn the_same_call_gets_the_same_answer_and_another_body_is_refused() {
        for db in both("request_log").await {
            assert_eq!(replay::<Money>(&db, &key("r1", &money(1))).await, Ok(None));
            let pending = fresh(&db, key("r1", &money(1))).await;
            assert_eq!(pending.finish(money(100), now()).await, Ok(money(100)));

            assert_eq!(replay(&db, &key("r1", &money(1))).await, Ok(Some(money(100))));
            let again = open::<Money>(&db, key("r1", &money(1))).await;
            assert!(matches!(again, Ok(Open::Answered(answer)) if answer == money(100)));

            let reused = open::<Money>(&db, key("r1", &money(2))).await.unwrap_err();
            assert_eq!(reused.reason, Reason::RequestIdReused);
            assert_eq!(
                replay::<Money>(&db, &key("r1", &money(2))).await.unwrap_err().reason,
                Reason::RequestIdReused
            );
            // Another caller's ids are its own.
            assert_eq!(replay::<Money>(&db, &key_of("console", "r1", &money(1))).await, Ok(None));
        }
    }

    #[tokio::test]
    async fn a_refused_call_stores_nothing() {
        for db in both("request_refused").await {
            drop(fresh(&db, key("r1", &money(1))).await);
            let pending = fresh(&db, key("r1", &money(2))).await;
            pending.finish(money(5), now()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn of_twins_one_acts_and_all_hear_the_same() {
        for db in both("request_twins").await {
            db.write.execute_unprepared("CREATE TABLE effect (id BIGINT)").await.unwrap();
            let twin = async || -> Result<Money, Fault> {
                match open::<Money>(&db, key("r1", &money(1))).await? {
                    Open::Answered(answer) => Ok(answer),
                    Open::Fresh(pending) => {
                        pending.tx.run("INSERT INTO effect (id) VALUES (1)", []).await?;
                        pending.finish(money(9), now()).await
                    }
                }
            };
            let answers = futures_util::future::join_all((0..6).map(|_| twin())).await;
            assert!(answers.iter().all(|answer| *answer == Ok(money(9))), "{answers:?}");
            let text = "SELECT COUNT(*) AS n FROM effect";
            let row = db.write.query_one_raw(statement(db.backend(), text, [])).await.unwrap().unwrap();
            assert_eq!(get::<i64>(&row, "effect", "n").unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn a_twin_that_takes_long_is_a_conflict_to_be_repeated() {
        let db = postgres("request_slow").await;
        let slow = fresh(&db, key("r1", &money(1))).await;
        let error = open::<Money>(&db, key("r1", &money(1))).await.unwrap_err();
        assert_eq!(error.reason, Reason::Conflict);
        slow.finish(money(1), now()).await.unwrap();
        assert_eq!(replay(&db, &key("r1", &money(1))).await, Ok(Some(money(1))));
    }

    #[tokio::test]
    async fn many_answers_are_stored_and_found_at_once() {
        for db in both("request_many").await {
            let keys: Vec<_> = (0..100).map(|n| key(&format!("r{n}"), &money(n))).collect();
            let answers = keys.iter().take(50).map(|key| (key, money(7).encode_to_vec()));
            let tx = db.begin().await.unwrap();
            Answers::new(answers, now()).save(&tx).await.unwrap();
            tx.commit().await.unwrap();

            let changed = key("r0", &money(999));
            let asked: Vec<_> = keys.iter().chain([&changed]).collect();
            let found = replay_all::<Money>(&db.write, &asked).await.unwrap();
            assert!(found[..50].iter().all(|answer| *answer == Ok(Some(money(7)))));
            assert!(found[50..100].iter().all(|answer| *answer == Ok(None)));
            assert_eq!(found[100].as_ref().unwrap_err().reason, Reason::RequestIdReused);

            let tx = db.begin().await.unwrap();
            let twin = Answers::new([(&keys[3], Vec::new()), (&keys[60], Vec::new())], now());
            let twin = twin.save(&tx).await;
            assert!(matches!(twin, Err(StoreError::Conflict)));
        }
    }

    #[tokio::test]
    async fn a_purge_keeps_what_is_young_and_what_moves_money() {
        for db in both("request_purge").await {
            fresh(&db, key("r1", &money(1))).await.finish(money(1), now()).await.unwrap();
            let day = |days: i64| now() + SignedDuration::from_hours(24 * days);
            assert_eq!(purge(&db.write, day(34), day(34), &[]).await.unwrap(), 0);
            assert_eq!(purge(&db.write, day(40), day(40), &["/x/Pay"]).await.unwrap(), 0);
            assert_eq!(purge(&db.write, day(40), day(40), &["/x/Other"]).await.unwrap(), 1);
        }
    }

    #[test]
    fn a_bad_request_id_is_refused() {
        let caller = Caller { name: "portal".to_owned(), role: Role::Portal };
        let fault = RequestKey::new(&caller, "/x/Pay", "", &money(1)).unwrap_err();
        assert_eq!(fault.fields[0].0, "request_id");
    }
}
