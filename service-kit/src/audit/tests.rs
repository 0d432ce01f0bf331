use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ConnectionTrait as _, DbBackend};
use tandem_proto::common::v1::outbox_service_client::OutboxServiceClient;
use tandem_proto::common::v1::{Money, RedriveOutboxMessageRequest, Role};
use tandem_proto::reason::Reason;
use tokio::net::TcpListener;

use super::prove::{Break, BreakKind, Proof, prove};
use super::row::tests::record;
use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::config::SecretRef;
use crate::db::testing::{TestDatabase, both, postgres, sqlite};
use crate::fault::{Fault, reason_of};
use crate::fresh::fresh_uuid;
use crate::health::Health;
use crate::identity::{Caller, Signer, SigningKey, Verifier};
use crate::outbox::OutboxService;
use crate::peer::Peer;
use crate::request_log::{Answers, Open, RequestKey, open};
use crate::server::{Server, ServerOptions};

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

fn caller() -> Caller {
    Caller { name: "portal".to_owned(), role: Role::Portal }
}

fn money(minor_units: i64) -> Money {
    Money { currency_code: format!("bac_{:032x}", 7), minor_units }
}

fn key(id: &str) -> RequestKey {
    RequestKey::new(&caller(), "/x.Y/Pay", id, &money(1)).unwrap()
}

/// Makes a call whose effect is nothing but its stored answer.
async fn call(db: &Database, id: &str) -> Result<Money, Fault> {
    match open::<Money>(db, key(id)).await? {
        Open::Answered(answer) => Ok(answer),
        Open::Fresh(pending) => pending.finish(money(2), now()).await,
    }
}

async fn rows(db: &Database) -> Vec<Row> {
    let mut rows = list(&db.read, &Filter::default(), &[], 500).await.unwrap();
    rows.reverse();
    rows
}

async fn proof(db: &Database) -> Proof {
    prove(db, None, 2_000, &[]).await.unwrap()
}

/// What somebody does who may change tables: switches the triggers off.
async fn disarm(db: &Database) {
    let texts: &[&str] = match db.backend() {
        DbBackend::Postgres => &["ALTER TABLE audit_row DISABLE TRIGGER USER"],
        _ => &["DROP TRIGGER audit_row_no_update", "DROP TRIGGER audit_row_no_delete"],
    };
    for text in texts {
        db.write.execute_unprepared(text).await.unwrap();
    }
}

fn broken(proof: &Proof) -> Vec<(i64, BreakKind)> {
    proof.breaks.iter().map(|b: &Break| (b.number, b.kind)).collect()
}

#[tokio::test]
async fn an_accepted_call_is_recorded_with_its_effect_and_once() {
    for db in both("audit_accepted").await {
        call(&db, "r1").await.unwrap();
        call(&db, "r1").await.unwrap();
        let rows = rows(&db).await;
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.record.principal.as_str(), row.record.role.as_str()), ("portal", "portal"));
        assert_eq!((row.record.method.as_str(), row.record.request_id.as_str()), ("/x.Y/Pay", "r1"));
        assert_eq!(row.record.digest, key("r1").digest());
        assert_eq!(row.record.objects, [money(1).currency_code]);
        assert_eq!(row.record.outcome, Outcome::Accepted);
        assert_eq!(proof(&db).await.breaks, []);
    }
}

#[tokio::test]
async fn what_is_rolled_back_leaves_no_row_and_no_gap() {
    for db in both("audit_rollback").await {
        call(&db, "r1").await.unwrap();
        // Recorded, but never committed.
        let Open::Fresh(pending) = open::<Money>(&db, key("r2")).await.unwrap() else { panic!("r2 is new") };
        pending.tx.record(vec![record("r2")]).await.unwrap();
        drop(pending);
        call(&db, "r3").await.unwrap();
        let ids: Vec<_> = rows(&db).await.into_iter().map(|row| row.record.request_id).collect();
        assert_eq!(ids.len(), 2, "{ids:?}");
        assert_eq!(proof(&db).await.breaks, []);
    }
}

#[tokio::test]
async fn calls_that_are_answered_together_are_recorded_one_by_one() {
    for db in both("audit_together").await {
        let keys: Vec<RequestKey> = (0..300).map(|n| key(&format!("r{n}"))).collect();
        let tx = db.begin().await.unwrap();
        Answers::new(keys.iter().map(|key| (key, vec![1])), now()).save(&tx).await.unwrap();
        tx.commit().await.unwrap();
        let proof = proof(&db).await;
        assert_eq!((proof.rows, proof.heads.len(), proof.breaks), (300, 1, Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_at_once_wait_for_nobody_and_every_chain_is_sound() {
    for db in both("audit_at_once").await {
        let calls = (0..200).map(|n| {
            let db = (*db).clone();
            tokio::spawn(async move { call(&db, &format!("r{n}")).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        let proof = proof(&db).await;
        assert_eq!((proof.rows, &proof.breaks), (200, &Vec::new()));
        assert!(proof.heads.len() <= 8, "no more chains than connections: {}", proof.heads.len());
    }
}

#[tokio::test]
async fn nobody_changes_or_deletes_a_row() {
    for db in both("audit_triggers").await {
        call(&db, "r1").await.unwrap();
        for text in ["UPDATE audit_row SET principal = 'x'", "DELETE FROM audit_row"] {
            assert!(db.write.execute_unprepared(text).await.is_err(), "{text}");
        }
        assert_eq!(rows(&db).await.len(), 1);
    }
}

#[tokio::test]
async fn whoever_gets_past_the_triggers_is_found() {
    let tricks: [(&str, BreakKind); 4] = [
        ("UPDATE audit_row SET principal = 'somebody' WHERE number = 2", BreakKind::RowChanged),
        ("UPDATE audit_row SET happened_at = happened_at - 1 WHERE number = 2", BreakKind::RowChanged),
        ("DELETE FROM audit_row WHERE number = 2", BreakKind::RowsMissing),
        ("DELETE FROM audit_row WHERE number = 1", BreakKind::RowsMissing),
    ];
    for (trick, kind) in tricks {
        for db in both("audit_tricks").await {
            for n in 0..4 {
                call(&db, &format!("r{n}")).await.unwrap();
            }
            disarm(&db).await;
            db.write.execute_unprepared(trick).await.unwrap();
            let found = broken(&proof(&db).await);
            assert_eq!(found.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), [kind], "{trick}");
        }
    }
}

#[tokio::test]
async fn an_end_that_was_cut_off_shows_by_an_anchor_and_by_heads_that_were_kept() {
    for db in both("audit_cut").await {
        for n in 0..3 {
            call(&db, &format!("r{n}")).await.unwrap();
        }
        let kept = proof(&db).await.heads;
        assert_eq!(prove(&db, None, 2_000, &kept).await.unwrap().breaks, []);
        // Another process notes it when it starts.
        let other = Database::connect(&db.section).await.unwrap();
        other.audit().write(&other, now()).await.unwrap();
        assert_eq!(proof(&db).await.breaks, []);
        disarm(&db).await;
        let cut = format!("DELETE FROM audit_row WHERE number = 3 AND chain = '{}'", kept[0].chain);
        db.write.execute_unprepared(&cut).await.unwrap();
        assert_eq!(broken(&proof(&db).await), [(3, BreakKind::HeadMissing)]);
        // Even when the anchor goes, too.
        db.write.execute_unprepared("DELETE FROM audit_row WHERE outcome = 'anchor'").await.unwrap();
        assert_eq!(broken(&proof(&db).await), []);
        assert_eq!(broken(&prove(&db, None, 2_000, &kept).await.unwrap()), [(3, BreakKind::HeadMissing)]);
    }
}

#[tokio::test]
async fn a_process_notes_its_own_heads_when_they_went_on_and_only_then() {
    for db in both("audit_anchors").await {
        let anchors = async || {
            let filter = Filter { outcome: Some(Outcome::Anchor), ..Filter::default() };
            list(&db.read, &filter, &[], 500).await.unwrap().len()
        };
        db.audit().write(&db, now()).await.unwrap();
        assert_eq!(anchors().await, 0, "there is nothing to note yet");
        call(&db, "r1").await.unwrap();
        db.audit().write(&db, now() + SignedDuration::from_mins(4)).await.unwrap();
        assert_eq!(anchors().await, 0);
        for minutes in [5, 10, 15] {
            db.audit().write(&db, now() + SignedDuration::from_mins(minutes)).await.unwrap();
        }
        assert_eq!(anchors().await, 1, "an anchor is no reason for another");
        call(&db, "r2").await.unwrap();
        db.audit().finish(&db, now()).await.unwrap();
        assert_eq!(anchors().await, 2);
        assert_eq!(proof(&db).await.breaks, []);
    }
}

#[tokio::test]
async fn a_proof_by_small_pages_finds_the_same() {
    for db in both("audit_pages").await {
        for n in 0..7 {
            call(&db, &format!("r{n}")).await.unwrap();
        }
        let other = Database::connect(&db.section).await.unwrap();
        for n in 7..12 {
            call(&other, &format!("r{n}")).await.unwrap();
        }
        disarm(&db).await;
        db.write.execute_unprepared("UPDATE audit_row SET note = 'x' WHERE number = 5").await.unwrap();
        db.write.execute_unprepared("DELETE FROM audit_row WHERE number = 3").await.unwrap();
        let whole = proof(&db).await;
        for size in 1..6 {
            let (mut place, mut sum) = (None, Proof::default());
            loop {
                let page = prove(&db, place, size, &[]).await.unwrap();
                sum.rows += page.rows;
                sum.unkeyed += page.unkeyed;
                sum.breaks.extend(page.breaks);
                sum.heads.extend(page.heads);
                place = page.next;
                if place.is_none() {
                    break;
                }
            }
            assert_eq!(sum, whole, "pages of {size}");
        }
        assert_eq!(whole.breaks.len(), 4);
    }
}

#[tokio::test]
async fn without_the_key_a_chain_cannot_be_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("audit.key");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let db = postgres("audit_key").await;
    let mut section = db.section.clone();
    section.audit_key = Some(SecretRef::File(secret.clone()));
    let keyed = Database::connect(&section).await.unwrap();
    call(&keyed, "r1").await.unwrap();
    let found = proof(&keyed).await;
    assert_eq!((found.rows, found.unkeyed, found.breaks.len()), (1, 0, 0));
    // Who has no key cannot even check.
    assert_eq!(broken(&proof(&db).await), [(1, BreakKind::KeyUnknown)]);
    // A forger can only write rows without a key, and those are counted.
    call(&db, "r2").await.unwrap();
    assert_eq!(proof(&keyed).await.unkeyed, 1);
    // After a change of keys the old one still proves.
    let newer = folder.path().join("newer.key");
    std::fs::write(&newer, "another secret of enough bytes").unwrap();
    section.audit_key = Some(SecretRef::File(newer.clone()));
    section.audit_old_keys = vec![SecretRef::File(secret)];
    let rotated = Database::connect(&section).await.unwrap();
    assert_eq!(proof(&rotated).await.breaks, []);
    std::fs::write(&newer, "short").unwrap();
    assert!(Database::connect(&section).await.is_err());
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_many_alike_share_a_row() {
    let db = sqlite().await;
    let audit = db.audit();
    let refused = |n: i64| Record { outcome: Outcome::Refused, ..record(&format!("r{n}")) };
    for n in 0..10_005 {
        audit.gather(refused(n), false);
    }
    for _ in 0..40 {
        audit.gather(Record { reason: "TOKEN_INVALID".into(), ..refused(1) }, true);
    }
    while audit.write(&db, now()).await.unwrap() > 0 {}
    audit.gather(Record { reason: "OVERLOADED".into(), ..refused(1) }, true);
    audit.gather(Record { reason: "OVERLOADED".into(), ..refused(2) }, true);
    audit.write(&db, now()).await.unwrap();
    let text = "SELECT CAST(SUM(attempts) AS BIGINT) AS attempts, COUNT(*) AS n FROM audit_row WHERE outcome = 'refused'";
    let row = db.read.query_one_raw(crate::db::statement(db.backend(), text, [])).await.unwrap().unwrap();
    let number = |name| crate::db::get::<i64>(&row, "audit_row", name).unwrap();
    assert_eq!(number("attempts"), 10_005 + 40 + 2);
    assert_eq!(number("n"), 10_000 + 1 + 1, "those without room share a row, and so do those alike");
}

#[tokio::test]
async fn what_cannot_be_written_waits_in_its_order() {
    let db = sqlite().await;
    db.write.execute_unprepared("ALTER TABLE audit_row RENAME TO away").await.unwrap();
    for n in 0..3 {
        db.audit().gather(record(&format!("r{n}")), false);
    }
    assert!(db.audit().write(&db, now()).await.is_err());
    db.audit().gather(record("r3"), false);
    db.write.execute_unprepared("ALTER TABLE away RENAME TO audit_row").await.unwrap();
    db.audit().write(&db, now()).await.unwrap();
    let ids: Vec<_> = rows(&db).await.into_iter().map(|row| row.record.request_id).collect();
    assert_eq!(ids, ["r0", "r1", "r2", "r3"]);
    assert_eq!(proof(&db).await.breaks, []);
}

/// A server on a database, and the callers it knows.
struct Running {
    uri: String,
    key: String,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

async fn serve(db: &TestDatabase) -> Running {
    let key = SigningKey::generate().unwrap();
    let mut verifier = Verifier::new("here");
    verifier.register("operator", Role::Operator, &key.public_key()).unwrap();
    verifier.register("portal", Role::Portal, &key.public_key()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let (clock, stop) = (SystemClock::shared(), CancellationToken::new());
    let server = Server::new(ServerOptions {
        name: "test",
        listener,
        verifier: Arc::new(verifier),
        clock: clock.clone(),
        health: Health::new(),
        admission_limit: 8,
        reflection_descriptors: Vec::new(),
        drain: Duration::from_secs(5),
    });
    let server = server.add(OutboxService::server((**db).clone(), clock.clone())).audited(db);
    let (own, audited) = ((**db).clone(), stop.clone());
    let done = tokio::spawn(async move {
        let writing = CancellationToken::new();
        let audit = spawn(own, clock, writing.clone());
        server.serve(audited).await.unwrap();
        writing.cancel();
        audit.await.unwrap();
    });
    let key = secrecy::ExposeSecret::expose_secret(&key.to_secret()).to_owned();
    Running { uri, key, stop, done }
}

impl Running {
    fn client(&self, role: Role, audience: &str) -> OutboxServiceClient<crate::peer::PeerChannel> {
        let key = SigningKey::from_secret(&self.key.clone().into()).unwrap();
        let signer = Arc::new(Signer::new(crate::identity::role_name(role), role, key));
        let peer = Peer::connect_lazy(&self.uri, signer, audience, Duration::from_secs(20)).unwrap();
        OutboxServiceClient::new(peer.channel())
    }
}

fn redrive(request_id: &str, message_id: &str) -> RedriveOutboxMessageRequest {
    RedriveOutboxMessageRequest { request_id: request_id.into(), message_id: message_id.into() }
}

#[tokio::test]
async fn every_attempt_at_a_changing_method_leaves_a_row() {
    for db in both("audit_served").await {
        let running = serve(&db).await;
        let id = format!("obx_{}", fresh_uuid().simple());
        let text = "INSERT INTO outbox (id, topic, aggregate_id, seq, payload, state, available_at, created_at) \
                    VALUES (?, 'x', 'y', 1, ?, 3, 0, 0)";
        db.run_alone(text, [id.as_str().into(), vec![1_u8].into()]).await.unwrap();
        let mut operator = running.client(Role::Operator, "here");
        operator.redrive_outbox_message(redrive("good", &id)).await.unwrap();
        operator.redrive_outbox_message(redrive("good", &id)).await.unwrap();
        let absent = format!("obx_{}", "0".repeat(32));
        let refused = operator.redrive_outbox_message(redrive("absent", &absent)).await.unwrap_err();
        assert_eq!(reason_of(&refused), Some(Reason::ObjectNotFound));
        operator.redrive_outbox_message(redrive("good", &absent)).await.unwrap_err();
        operator.redrive_outbox_message(redrive("", &id)).await.unwrap_err();
        running.client(Role::Portal, "here").redrive_outbox_message(redrive("role", &id)).await.unwrap_err();
        for _ in 0..3 {
            let mut stranger = running.client(Role::Operator, "elsewhere");
            stranger.redrive_outbox_message(redrive("who", &id)).await.unwrap_err();
        }
        // What only reads leaves none.
        operator
            .list_outbox_messages(tandem_proto::common::v1::ListOutboxMessagesRequest::default())
            .await
            .unwrap();
        running.stop.cancel();
        running.done.await.unwrap();

        let found: Vec<_> = rows(&db)
            .await
            .into_iter()
            .map(|row| {
                let r = row.record;
                (r.principal, r.request_id, r.outcome.name(), r.reason, r.objects.concat(), r.attempts)
            })
            .collect();
        let row = |who: &str, request: &str, outcome: &'static str, reason: &str, object: &str, attempts| {
            (who.to_owned(), request.to_owned(), outcome, reason.to_owned(), object.to_owned(), attempts)
        };
        let mut wanted = vec![
            row("operator", "good", "accepted", "", &id, 1),
            row("operator", "good", "repeated", "", &id, 1),
            row("operator", "absent", "refused", "OBJECT_NOT_FOUND", &absent, 1),
            row("operator", "good", "refused", "REQUEST_ID_REUSED", &absent, 1),
            row("operator", "", "refused", "INVALID_FIELD", "", 1),
            row("portal", "", "refused", "ROLE_NOT_ALLOWED", "", 1),
        ];
        let (strangers, mut known): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.0.is_empty());
        wanted.sort();
        known.sort();
        assert_eq!(known, wanted);
        assert!(strangers.iter().all(|row| row.3 == "TOKEN_INVALID"), "{strangers:?}");
        assert_eq!(strangers.iter().map(|row| row.5).sum::<i64>(), 3);
        assert_eq!(proof(&db).await.breaks, []);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_recorded_as_well() {
    let db = sqlite().await;
    let watch = Watch::new(Arc::clone(db.audit()), SystemClock::shared(), "/x.Y/Pay");
    watch.attempt().by(&caller());
    let work = watch.over(async {
        drop(key("gone"));
        std::future::pending::<()>().await;
    });
    assert!(tokio::time::timeout(Duration::ZERO, work).await.is_err());
    drop(watch);
    db.audit().write(&db, SystemClock::new().now()).await.unwrap();
    let rows = rows(&db).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.record.outcome, row.record.reason.as_str()), (Outcome::Failed, "CALLER_LEFT"));
    assert_eq!((row.record.principal.as_str(), row.record.request_id.as_str()), ("portal", "gone"));
}

#[tokio::test]
async fn batches_of_a_stream_are_one_row_with_a_digest_over_all() {
    let db = sqlite().await;
    let watch = Watch::new(Arc::clone(db.audit()), SystemClock::shared(), "/x.Y/Pour");
    watch.attempt().by(&caller());
    watch
        .over(async {
            for n in 0..5 {
                RequestKey::bulk(&caller(), "/x.Y/Pour", &format!("b{n}"), &money(n)).unwrap();
            }
        })
        .await;
    watch.answered(None);
    db.audit().write(&db, now()).await.unwrap();
    let rows = rows(&db).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(
        (row.record.attempts, row.record.outcome, row.record.digest.len()),
        (5, Outcome::Accepted, 32)
    );
}
