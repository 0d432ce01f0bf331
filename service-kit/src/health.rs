//! Whether this process can do its work: NOT_SERVING when writes cannot commit (I-40) and while it stops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::clock::{Clock as _, SystemClock};
use crate::db::{Database, StoreError};

/// How often the database is tried.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// A probe that takes longer has failed: statements may take 3 s, and a lock 1 s.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What this process says of itself; cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    reporter: HealthReporter,
    services: Mutex<Vec<&'static str>>,
    writes: AtomicBool,
    stopping: AtomicBool,
    changing: tokio::sync::Mutex<()>,
}

impl Health {
    /// Starts with SERVING: for a process without a database, or before its first probe.
    pub fn new() -> Health {
        let state = State {
            reporter: HealthReporter::new(),
            services: Mutex::new(Vec::new()),
            writes: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            changing: tokio::sync::Mutex::new(()),
        };
        Health { state: Arc::new(state) }
    }

    /// Whether the process takes work.
    pub fn is_serving(&self) -> bool {
        self.state.writes.load(Ordering::Acquire) && !self.state.stopping.load(Ordering::Acquire)
    }

    /// Says NOT_SERVING from now on: the process is about to stop.
    pub async fn stopping(&self) {
        self.state.stopping.store(true, Ordering::Release);
        self.publish().await;
    }

    /// Says whether writes commit.
    pub async fn set_writes(&self, work: bool) {
        if self.state.writes.swap(work, Ordering::AcqRel) != work {
            if work {
                tracing::info!("writes commit again: SERVING");
            } else {
                tracing::error!("writes do not commit: NOT_SERVING");
            }
            self.publish().await;
        }
    }

    /// Tries every two seconds whether a write commits, until `shutdown`.
    ///
    /// `name` keeps replicas from waiting for each other's probe row.
    pub fn spawn_probe(&self, db: Database, name: String, shutdown: CancellationToken) -> JoinHandle<()> {
        let health = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PROBE_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let result = tokio::time::timeout(PROBE_TIMEOUT, probe(&db, &name)).await;
                let works = match result {
                    Ok(Ok(())) => true,
                    // A full pool is a busy service, not a broken one: admission sheds, health does not fall.
                    Ok(Err(StoreError::Exhausted | StoreError::Busy | StoreError::Conflict)) => {
                        health.is_serving()
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(error = %error, "the health probe failed");
                        false
                    }
                    Err(_) => false,
                };
                health.set_writes(works || health.state.stopping.load(Ordering::Acquire)).await;
            }
        })
    }

    /// The gRPC health service, which tells the state of each of these services and, under the empty name, of all.
    pub(crate) async fn server(&self, services: &[&'static str]) -> HealthServer<HealthService> {
        self.state.services.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(services);
        self.publish().await;
        HealthServer::new(HealthService::from_health_reporter(self.state.reporter.clone()))
    }

    async fn publish(&self) {
        // Two changes at once must not leave the older one standing.
        let _one_at_a_time = self.state.changing.lock().await;
        let status = if self.is_serving() { ServingStatus::Serving } else { ServingStatus::NotServing };
        let services = self.state.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.state.reporter.set_service_status("", status).await;
        for service in services {
            self.state.reporter.set_service_status(service, status).await;
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health::new()
    }
}

/// Writes and commits one row. The time is the machine's: the row is for people who look at the table.
async fn probe(db: &Database, name: &str) -> Result<(), StoreError> {
    let tx = db.begin().await?;
    let text = "INSERT INTO health_probe (name, probed_at) VALUES (?, ?) \
                ON CONFLICT (name) DO UPDATE SET probed_at = excluded.probed_at";
    tx.run(text, [name.into(), SystemClock::new().now().as_microsecond().into()]).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::*;
    use crate::db::testing::both;

    #[tokio::test]
    async fn a_probe_writes_and_fails_when_it_cannot() {
        for db in both("probe").await {
            probe(&db, "a").await.unwrap();
            probe(&db, "a").await.unwrap();
            db.write.execute_unprepared("ALTER TABLE health_probe RENAME TO elsewhere").await.unwrap();
            assert!(probe(&db, "a").await.is_err());
            db.write.execute_unprepared("ALTER TABLE elsewhere RENAME TO health_probe").await.unwrap();
            probe(&db, "a").await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_probe_loop_takes_the_process_out_and_back_in() {
        let db = crate::db::testing::sqlite().await;
        let (health, stop) = (Health::new(), CancellationToken::new());
        db.write.execute_unprepared("ALTER TABLE health_probe RENAME TO elsewhere").await.unwrap();
        let running = health.spawn_probe((*db).clone(), "a".to_owned(), stop.clone());
        while health.is_serving() {
            tokio::task::yield_now().await;
        }
        db.write.execute_unprepared("ALTER TABLE elsewhere RENAME TO health_probe").await.unwrap();
        while !health.is_serving() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        running.await.unwrap();
        health.stopping().await;
        assert!(!health.is_serving());
    }
}
