//! A transaction that cannot lose what it claims to have committed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::error::POISONED;
use super::{StoreError, statement};
use crate::audit::{self, Audit, Borrowed, Record};
use crate::outbox::Wake;

/// An open transaction that remembers a failed statement and then refuses to go on or to commit.
///
/// Why (`reliability.md` 4.1 and 4.2): after a failed statement PostgreSQL answers COMMIT with a roll-back that the
/// driver reports as success; and SQLite may have rolled back by itself, so that further statements would commit one
/// by one. A statement whose future was dropped half-way counts as failed. Dropping the transaction rolls it back.
#[derive(Debug)]
pub struct Tx {
    inner: DatabaseTransaction,
    poisoned: AtomicBool,
    wake: Wake,
    wakes: AtomicBool,
    edition: Arc<AtomicU64>,
    outdates: AtomicBool,
    audit: Arc<Audit>,
    chain: Mutex<Option<Borrowed>>,
}

impl Tx {
    pub(super) fn new(
        inner: DatabaseTransaction,
        wake: Wake,
        edition: Arc<AtomicU64>,
        audit: Arc<Audit>,
    ) -> Tx {
        let (poisoned, wakes, outdates, chain) = Default::default();
        Tx { inner, poisoned, wake, wakes, edition, outdates, audit, chain }
    }

    /// Commits.
    ///
    /// Fails with [`StoreError::Poisoned`], and rolls back, when a statement failed before. Any other failure leaves the
    /// outcome unknown to the caller, as a lost connection does: the same request has to be repeated.
    pub async fn commit(self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            self.rollback().await;
            return Err(StoreError::Poisoned);
        }
        // When this fails the driver still counts the transaction as open and queues a roll-back; should that fail too,
        // the pool's release hook sees the count and closes the connection.
        self.inner.commit().await?;
        #[cfg(any(test, feature = "testing"))]
        super::testing::committed();
        if let Some(chain) = self.chain.into_inner().unwrap_or_else(PoisonError::into_inner) {
            chain.committed();
        }
        if self.outdates.into_inner() {
            self.edition.fetch_add(1, Ordering::AcqRel);
        }
        if self.wakes.into_inner() {
            self.wake.wake();
        }
        Ok(())
    }

    /// Rolls back. Whether the engine confirms it does not matter: without a COMMIT nothing lasts.
    pub async fn rollback(self) {
        if let Err(error) = self.inner.rollback().await {
            tracing::debug!(error = %error, "a roll-back was not confirmed");
        }
    }

    /// Runs a statement text with `?` placeholders and returns how many rows it touched.
    pub async fn run(
        &self,
        text: &str,
        values: impl IntoIterator<Item = sea_orm::Value>,
    ) -> Result<u64, StoreError> {
        Ok(self.execute_raw(statement(self.get_database_backend(), text, values)).await?.rows_affected())
    }

    /// Says that once this has committed, what this process remembers of the changed rows is out of date
    /// ([`super::Database::edition`]).
    pub fn outdate(&self) {
        self.outdates.store(true, Ordering::Release);
    }

    /// Records attempts with this transaction's effect, in a chain that is this transaction's alone; returns its name.
    pub(crate) async fn record(&self, records: Vec<Record>) -> Result<String, StoreError> {
        let (chain, rows) = {
            let mut borrowed = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
            let borrowed = borrowed.get_or_insert_with(|| self.audit.borrow());
            (borrowed.chain().to_owned(), borrowed.append(records))
        };
        audit::insert(self, rows).await?;
        Ok(chain)
    }

    /// Wakes the relay once this transaction has committed.
    pub(crate) fn wake_on_commit(&self) {
        self.wakes.store(true, Ordering::Release);
    }

    /// Runs one statement, and poisons the transaction unless it comes back with success.
    async fn guard<T>(&self, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(DbErr::Custom(POISONED.to_owned()));
        }
        let mut watch = Watch { poisoned: &self.poisoned, came_back: false };
        let result = work.await;
        watch.came_back = result.is_ok();
        result
    }
}

/// Poisons when dropped before the statement came back with success, so also when its future was dropped.
struct Watch<'a> {
    poisoned: &'a AtomicBool,
    came_back: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.came_back {
            self.poisoned.store(true, Ordering::Release);
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.guard(self.inner.execute_raw(stmt)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.guard(self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.guard(self.inner.query_one_raw(stmt)).await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.guard(self.inner.query_all_raw(stmt)).await
    }
}
