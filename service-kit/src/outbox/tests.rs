use std::sync::Mutex;

use jiff::SignedDuration;
use sea_orm::ConnectionTrait as _;
use tandem_proto::common::v1::outbox_service_server::OutboxService as _;
use tandem_proto::common::v1::{ListOutboxMessagesRequest, OutboxState, RedriveOutboxMessageRequest, Role};
use tandem_proto::reason::Reason;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::{Clock as _, SharedClock, TestClock};
use crate::db::testing::{TestDatabase, both};
use crate::db::{Database, get, statement};
use crate::identity::Caller;
use crate::lease::LEASE;

type Plan = dyn Fn(&Claimed) -> Result<(), Failure> + Send + Sync;

/// Delivers into a list; `plan` says what happens to a message.
struct Receiver {
    seen: Mutex<Vec<String>>,
    arrived: Notify,
    plan: Box<Plan>,
}

impl Receiver {
    fn new(plan: impl Fn(&Claimed) -> Result<(), Failure> + Send + Sync + 'static) -> Arc<Receiver> {
        Arc::new(Receiver { seen: Mutex::default(), arrived: Notify::new(), plan: Box::new(plan) })
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Handler for Receiver {
    async fn deliver(&self, message: &Claimed) -> Result<(), Failure> {
        let text = String::from_utf8(message.payload.clone()).unwrap();
        self.seen.lock().unwrap().push(text);
        self.arrived.notify_one();
        (self.plan)(message)
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::frozen("2026-03-01T00:00:00Z".parse().unwrap()))
}

fn message(aggregate: &str, text: &str) -> Outgoing {
    Outgoing {
        topic: "t",
        aggregate_id: aggregate.to_owned(),
        dedupe_key: None,
        payload: text.as_bytes().to_vec(),
    }
}

async fn put(db: &Database, clock: &TestClock, messages: &[Outgoing]) {
    let tx = db.begin().await.unwrap();
    add(&tx, messages, clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

fn relay(db: &TestDatabase, clock: &Arc<TestClock>, receiver: &Arc<Receiver>) -> Relay {
    let clock: SharedClock = clock.clone();
    Relay::new((*db).clone(), clock, vec![("t", receiver.clone())])
}

async fn states(db: &Database) -> Vec<(i32, i32)> {
    let text = "SELECT state, attempts FROM outbox ORDER BY id";
    let rows = db.write.query_all_raw(statement(db.backend(), text, [])).await.unwrap();
    rows.iter().map(|row| (get(row, TABLE, "state").unwrap(), get(row, TABLE, "attempts").unwrap())).collect()
}

#[tokio::test]
async fn messages_of_an_aggregate_leave_in_order_and_once() {
    for db in both("outbox_order").await {
        let (clock, receiver) = (clock(), Receiver::new(|_| Ok(())));
        put(&db, &clock, &[message("a", "a1"), message("a", "a2"), message("b", "b1"), message("a", "a3")])
            .await;
        put(&db, &clock, &[message("a", "a4")]).await;
        let relay = relay(&db, &clock, &receiver);
        assert_eq!(relay.tick().await.unwrap(), 2);
        assert_eq!(relay.drain().await.unwrap(), 3);
        let seen = receiver.seen();
        let of_a: Vec<_> = seen.iter().filter(|text| text.starts_with('a')).collect();
        assert_eq!(of_a, ["a1", "a2", "a3", "a4"]);
        assert_eq!(seen.len(), 5);
        assert!(states(&db).await.iter().all(|state| *state == (DELIVERED, 1)));
    }
}

#[tokio::test]
async fn what_was_rolled_back_never_leaves_and_a_key_counts_once() {
    for db in both("outbox_dedupe").await {
        let (clock, receiver) = (clock(), Receiver::new(|_| Ok(())));
        let tx = db.begin().await.unwrap();
        add(&tx, &[message("a", "lost")], clock.now()).await.unwrap();
        tx.rollback().await;
        let keyed = |text: &str| Outgoing { dedupe_key: Some("k".to_owned()), ..message("a", text) };
        put(&db, &clock, &[keyed("first")]).await;
        put(&db, &clock, &[keyed("second"), message("a", "other")]).await;
        relay(&db, &clock, &receiver).drain().await.unwrap();
        assert_eq!(receiver.seen(), ["first", "other"]);
    }
}

#[tokio::test]
async fn a_poison_message_is_given_up_after_ten_tries_and_delays_nobody_else() {
    for db in both("outbox_poison").await {
        let clock = clock();
        let receiver = Receiver::new(|message| match message.payload.as_slice() {
            b"poison" => Err(Failure::Retry("no".to_owned())),
            b"refused" => Err(Failure::Refused("never".to_owned())),
            b"panic" if message.attempts == 1 => panic!("on purpose"),
            _ => Ok(()),
        });
        let all = [
            message("a", "poison"),
            message("a", "behind"),
            message("b", "fine"),
            message("c", "refused"),
            message("d", "panic"),
        ];
        put(&db, &clock, &all).await;
        let relay = relay(&db, &clock, &receiver);
        relay.drain().await.unwrap();
        assert!(receiver.seen().contains(&"fine".to_owned()));
        assert!(!receiver.seen().contains(&"behind".to_owned()));
        for _ in 0..10 {
            assert_eq!(relay.drain().await.unwrap(), 0, "a failed message waits");
            clock.advance_by(SignedDuration::from_hours(1));
            relay.drain().await.unwrap();
        }
        let seen = receiver.seen();
        let count = |text: &str| seen.iter().filter(|seen| *seen == text).count();
        assert_eq!((count("poison"), count("behind"), count("refused"), count("panic")), (10, 1, 1, 2));
        assert_eq!(states(&db).await[0], (QUARANTINED, 10));
    }
}

#[tokio::test]
async fn a_dead_workers_message_is_taken_over_and_its_late_result_changes_nothing() {
    for db in both("outbox_lease").await {
        let (clock, receiver) = (clock(), Receiver::new(|_| Ok(())));
        put(&db, &clock, &[message("a", "x")]).await;
        let dead = store::claim(&db, &["t"], &[], "dead", clock.now(), 10).await.unwrap();
        assert_eq!(dead.len(), 1);
        let relay = relay(&db, &clock, &receiver);
        assert_eq!(relay.tick().await.unwrap(), 0);
        assert!(store::renew(&db, &dead[0].id, "dead", clock.now()).await.unwrap());
        clock.advance_by(SignedDuration::try_from(LEASE).unwrap());
        let alive = store::claim(&db, &["t"], &[], "alive", clock.now(), 10).await.unwrap();
        assert_eq!(alive[0].attempts, 2);
        assert!(!store::renew(&db, &dead[0].id, "dead", clock.now()).await.unwrap());
        let late = store::Ended::GivenUp("late".to_owned());
        assert!(!store::write_back(&db, &dead[0].id, "dead", clock.now(), &late).await.unwrap());
        let done = store::Ended::Delivered;
        assert!(store::write_back(&db, &alive[0].id, "alive", clock.now(), &done).await.unwrap());
        assert_eq!(states(&db).await, [(DELIVERED, 2)]);
    }
}

#[tokio::test]
async fn a_message_that_kills_its_worker_each_time_comes_to_an_end() {
    for db in both("outbox_killer").await {
        let (clock, receiver) = (clock(), Receiver::new(|_| Ok(())));
        put(&db, &clock, &[message("a", "x")]).await;
        for _ in 0..10 {
            assert_eq!(store::claim(&db, &["t"], &[], "w", clock.now(), 10).await.unwrap().len(), 1);
            clock.advance_by(SignedDuration::from_secs(31));
        }
        relay(&db, &clock, &receiver).drain().await.unwrap();
        assert_eq!(receiver.seen().len(), 0);
        assert_eq!(states(&db).await, [(QUARANTINED, 11)]);
    }
}

#[tokio::test]
async fn a_running_relay_is_woken_by_a_commit_and_by_the_clock() {
    for db in both("outbox_wake").await {
        let clock = clock();
        let receiver = Receiver::new(|message| match message.attempts {
            1 if message.payload == b"later" => Err(Failure::Retry("not yet".to_owned())),
            _ => Ok(()),
        });
        let (relay, stop) = (relay(&db, &clock, &receiver), CancellationToken::new());
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { relay.run(stop).await }
        });
        put(&db, &clock, &[message("a", "now"), message("b", "later")]).await;
        while receiver.seen().len() < 2 || states(&db).await[1] != (PENDING, 1) {
            tokio::task::yield_now().await;
        }
        while receiver.seen().len() < 3 {
            clock.advance_by(SignedDuration::from_secs(1));
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap();
        assert!(states(&db).await.iter().all(|(state, _)| *state == DELIVERED));
    }
}

#[tokio::test]
async fn two_relays_share_the_work_without_doing_any_twice() {
    for db in both("outbox_two").await {
        let (clock, receiver) = (clock(), Receiver::new(|_| Ok(())));
        let all: Vec<_> = (0..200).map(|n| message(&format!("a{}", n % 20), &format!("{n:03}"))).collect();
        put(&db, &clock, &all).await;
        let (one, two) = (relay(&db, &clock, &receiver), relay(&db, &clock, &receiver));
        while states(&db).await.iter().any(|(state, _)| *state == PENDING) {
            let (one, two) = futures_util::future::join(one.drain(), two.drain()).await;
            one.unwrap();
            two.unwrap();
        }
        let mut seen = receiver.seen();
        for aggregate in 0..20 {
            let own: Vec<_> =
                seen.iter().filter(|text| text.parse::<usize>().unwrap() % 20 == aggregate).collect();
            assert!(own.is_sorted(), "{own:?}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), receiver.seen().len()), (200, 200));
    }
}

fn asked<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(Caller { name: "operator".to_owned(), role: Role::Operator });
    request
}

#[tokio::test]
async fn an_operator_lists_and_redrives() {
    for db in both("outbox_api").await {
        let clock = clock();
        let fails = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let receiver = Receiver::new({
            let fails = fails.clone();
            move |_| match fails.load(std::sync::atomic::Ordering::Relaxed) {
                true => Err(Failure::Refused("because".to_owned())),
                false => Ok(()),
            }
        });
        let relay = relay(&db, &clock, &receiver);
        put(&db, &clock, &[message("a", "x"), message("b", "y"), message("c", "z")]).await;
        relay.drain().await.unwrap();
        let shared: SharedClock = clock.clone();
        let api = api::OutboxService::new((*db).clone(), shared);
        let list = async |state: OutboxState, token: &str| {
            let request =
                ListOutboxMessagesRequest { state: state as i32, page_size: 2, page_token: token.to_owned() };
            api.list_outbox_messages(asked(request)).await.unwrap().into_inner()
        };
        let first = list(OutboxState::Quarantined, "").await;
        let second = list(OutboxState::Quarantined, &first.next_page_token).await;
        assert_eq!((first.messages.len(), second.messages.len()), (2, 1));
        assert_eq!(second.next_page_token, "");
        assert_eq!(first.messages[0].last_error, "because");
        assert_eq!(list(OutboxState::Pending, "").await.messages.len(), 0);

        fails.store(false, std::sync::atomic::Ordering::Relaxed);
        let redrive = async |request_id: &str, message_id: &str| {
            let request = RedriveOutboxMessageRequest {
                request_id: request_id.to_owned(),
                message_id: message_id.to_owned(),
            };
            api.redrive_outbox_message(asked(request)).await.map(tonic::Response::into_inner)
        };
        let id = first.messages[0].id.clone();
        let answer = redrive("r1", &id).await.unwrap();
        assert_eq!(answer.message.as_ref().unwrap().attempts, 0);
        assert_eq!(redrive("r1", &id).await.unwrap(), answer);
        let gone = redrive("r2", &id).await.unwrap_err();
        assert_eq!(crate::fault::reason_of(&gone), Some(Reason::ObjectNotFound));
        assert!(redrive("r3", "nonsense").await.is_err());
        assert_eq!(relay.drain().await.unwrap(), 1);
        assert_eq!(list(OutboxState::Unspecified, "").await.messages.len(), 2);
    }
}

#[tokio::test]
async fn delivered_messages_are_purged_when_old() {
    for db in both("outbox_purge").await {
        let (clock, receiver) = (clock(), Receiver::new(|_| Ok(())));
        put(&db, &clock, &[message("a", "x")]).await;
        relay(&db, &clock, &receiver).drain().await.unwrap();
        put(&db, &clock, &[message("a", "waits")]).await;
        let later = clock.now() + SignedDuration::from_hours(24 * 34);
        assert_eq!(purge(&db.write, later, later).await.unwrap(), 0);
        let later = clock.now() + SignedDuration::from_hours(24 * 36);
        assert_eq!(purge(&db.write, later, later).await.unwrap(), 1);
        assert_eq!(states(&db).await, [(PENDING, 0)]);
    }
}
