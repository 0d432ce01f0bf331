//! The relay: claims what is due, delivers it, writes back how it ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use opentelemetry::KeyValue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::store::{self, Ended};
use super::{Claimed, Failure, Handler};
use crate::clock::SharedClock;
use crate::db::{Database, StoreError};
use crate::lease::{RENEW_EVERY, TRIES_MAX, backoff, claim_token};
use crate::telemetry::{Meters, trace_context};

/// Most messages claimed at once.
const BATCH_MAX: usize = 32;
/// Most deliveries at once.
const CONCURRENCY_MAX: usize = 8;
/// A delivery that takes longer has failed: a peer's call may take 10 s, and a mail server is slow.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often to look when nothing wakes the relay: another process may have added messages.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often the gauges are set.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Delivers the outbox of one database. Several relays may work on it at once. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    clock: SharedClock,
    topics: Vec<&'static str>,
    handlers: HashMap<&'static str, Arc<dyn Handler>>,
    /// What this relay is delivering: a clock that jumps ends leases, but not the deliveries that run here.
    busy: Mutex<HashSet<String>>,
    meters: Meters,
}

impl Relay {
    /// Makes a relay for these topics. Messages of other topics are left alone.
    pub fn new(db: Database, clock: SharedClock, handlers: Vec<(&'static str, Arc<dyn Handler>)>) -> Relay {
        let topics = handlers.iter().map(|(topic, _)| *topic).collect();
        let inner = Inner {
            db,
            clock,
            topics,
            handlers: handlers.into_iter().collect(),
            busy: Mutex::new(HashSet::new()),
            meters: Meters::new(),
        };
        Relay { inner: Arc::new(inner) }
    }

    /// Delivers until `shutdown`, then lets the deliveries that run finish.
    pub async fn run(&self, shutdown: CancellationToken) {
        let wake = Arc::clone(self.inner.db.wake().notify());
        let mut moved = self.inner.clock.moved();
        let mut running = JoinSet::new();
        let mut count = tokio::time::interval(COUNT_EVERY);
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_cancelled() {
            // Claims in halves rather than one at a time, so that a busy relay does not ask once per message.
            let free = BATCH_MAX - running.len().min(BATCH_MAX);
            let mut more = false;
            if running.is_empty() || free >= BATCH_MAX / 2 {
                match self.claim(free).await {
                    Ok((token, messages)) => {
                        more = messages.len() == free;
                        for message in messages {
                            let (relay, token) = (self.clone(), token.clone());
                            running.spawn(async move { relay.deliver(message, &token).await });
                        }
                    }
                    Err(error) => tracing::warn!(error = %error, "the outbox could not be read"),
                }
            }
            if more && running.len() < BATCH_MAX {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                // A delivered message may let the next one of its aggregate go.
                Some(_) = running.join_next() => while running.try_join_next().is_some() {},
                () = wake.notified() => {}
                _ = moved.changed() => {}
                _ = count.tick() => self.count().await,
                () = tokio::time::sleep(POLL_EVERY) => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Delivers what is due now, once, and returns how many were tried. For tests and for draining on demand.
    pub async fn tick(&self) -> Result<usize, StoreError> {
        let (token, messages) = self.claim(BATCH_MAX).await?;
        let count = messages.len();
        let deliveries = stream::iter(messages).map(|message| self.deliver(message, &token));
        deliveries.buffer_unordered(CONCURRENCY_MAX).collect::<Vec<()>>().await;
        Ok(count)
    }

    /// Delivers until nothing is due, and returns how many tries that took.
    pub async fn drain(&self) -> Result<usize, StoreError> {
        let mut total = 0;
        loop {
            match self.tick().await? {
                0 => return Ok(total),
                count => total += count,
            }
        }
    }

    async fn claim(&self, limit: usize) -> Result<(String, Vec<Claimed>), StoreError> {
        let inner = &self.inner;
        let token = claim_token();
        let busy: Vec<String> = self.busy().iter().cloned().collect();
        let mut messages =
            store::claim(&inner.db, &inner.topics, &busy, &token, inner.clock.now(), limit).await?;
        let mut busy = self.busy();
        // Between the look and the claim another task of this relay may have begun the same message.
        messages.retain(|message| busy.insert(message.id.clone()));
        drop(busy);
        Ok((token, messages))
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, message: Claimed, token: &str) {
        let _done = Done { relay: self, id: &message.id };
        let span = tracing::info_span!("deliver", topic = message.topic, message.id = message.id);
        if let Some(traceparent) = &message.traceparent {
            trace_context::set_parent(&span, traceparent);
        }
        self.try_and_write_back(&message, token).instrument(span).await;
    }

    async fn try_and_write_back(&self, message: &Claimed, token: &str) {
        let inner = &self.inner;
        let result = tokio::select! {
            result = self.attempt(message) => result,
            () = self.keep_claim(message, token) => {
                tracing::warn!(message.id = message.id, "the claim was lost; another relay delivers this message");
                return;
            }
        };
        let (ended, outcome) = match result {
            Ok(()) => (Ended::Delivered, "delivered"),
            Err(Failure::Refused(error)) => (Ended::GivenUp(error), "quarantined"),
            Err(Failure::Retry(error)) if message.attempts >= TRIES_MAX => {
                (Ended::GivenUp(error), "quarantined")
            }
            Err(Failure::Retry(error)) => (Ended::Again(backoff(message.attempts), error), "failed"),
        };
        let topic = KeyValue::new("topic", message.topic.clone());
        inner.meters.outbox_tries.add(1, &[topic, KeyValue::new("outcome", outcome)]);
        match &ended {
            Ended::Delivered => {}
            Ended::Again(_, error) => tracing::warn!(
                message.id = message.id,
                message.attempts,
                error,
                "a message could not be delivered; it is tried again"
            ),
            Ended::GivenUp(error) => tracing::error!(
                message.id = message.id,
                message.attempts,
                error,
                "gave a message up; redrive it when its cause is gone"
            ),
        }
        match store::write_back(&inner.db, &message.id, token, inner.clock.now(), &ended).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(message.id = message.id, "the claim was lost before the result was written")
            }
            // The lease ends by itself, and the message is delivered again: receivers do not mind.
            Err(error) => {
                tracing::warn!(message.id = message.id, error = %error, "a result could not be written")
            }
        }
    }

    async fn attempt(&self, message: &Claimed) -> Result<(), Failure> {
        if store::spent(message) {
            return Err(Failure::Refused("its worker died at every try".to_owned()));
        }
        let handler = self.inner.handlers.get(message.topic.as_str());
        let handler = handler.ok_or_else(|| Failure::Retry("nobody here delivers this topic".to_owned()))?;
        let delivery = std::panic::AssertUnwindSafe(handler.deliver(message)).catch_unwind();
        match tokio::time::timeout(DELIVERY_TIMEOUT, delivery).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::Retry("the delivery panicked".to_owned())),
            Err(_) => Err(Failure::Retry("the delivery took too long".to_owned())),
        }
    }

    /// Renews the claim for as long as it is polled; ends when it was lost.
    async fn keep_claim(&self, message: &Claimed, token: &str) {
        let mut moved = self.inner.clock.moved();
        loop {
            tokio::select! {
                () = tokio::time::sleep(RENEW_EVERY) => {}
                // A jump of the clock ends every lease at once.
                _ = moved.changed() => {}
            }
            match store::renew(&self.inner.db, &message.id, token, self.inner.clock.now()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(error = %error, "a claim could not be renewed"),
            }
        }
    }

    async fn count(&self) {
        match store::counts(&self.inner.db).await {
            Ok((pending, quarantined)) => {
                let service = [KeyValue::new("topics", self.inner.topics.join(","))];
                self.inner.meters.outbox_pending.record(pending, &service);
                self.inner.meters.outbox_quarantined.record(quarantined, &service);
            }
            Err(error) => tracing::warn!(error = %error, "the outbox could not be counted"),
        }
    }
}

/// Takes a message off the busy list, also when its delivery was dropped.
struct Done<'a> {
    relay: &'a Relay,
    id: &'a str,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.relay.busy().remove(self.id);
    }
}
