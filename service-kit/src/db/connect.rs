//! Opens a database with the settings without which acknowledged work could be lost.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{
    AccessMode, ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, RuntimeErr, SqliteTransactionMode, SqlxPostgresConnector, SqlxSqliteConnector,
    TransactionOptions, TransactionTrait as _, Value,
};
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgPool, SqliteConnection};

use super::{StoreError, Tx, statement};
use crate::audit::{Audit, Seal};
use crate::config::DatabaseSection;
use crate::outbox::Wake;

/// How long a SQLite statement waits for another process's lock (`reliability.md` 4.3).
const SQLITE_BUSY: Duration = Duration::from_secs(5);
/// How long to wait for SQLite's one writer: longer than for PostgreSQL, because all changes queue there.
const SQLITE_ACQUIRE: Duration = Duration::from_secs(5);
/// SQLite connections that only read: a page cache each, so few.
const SQLITE_READERS: u32 = 4;
/// A PostgreSQL connection that was idle for longer is tested before use (`dependencies.md` 4, pitfall 4).
const IDLE_TEST: Duration = Duration::from_secs(30);
/// Least length of a key for the audit's hashes (`reliability.md` section 8).
const AUDIT_KEY_BYTES: usize = 24;
/// Prepared statements kept per connection: the services have a few hundred texts, migrations aside.
const STATEMENTS: usize = 256;

/// An open database: where changes go, and where reads that need no lock go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    /// For changes: SQLite's one writer, or PostgreSQL's pool.
    pub write: DatabaseConnection,
    /// For reads that follow no lock: SQLite's read-only pool, or PostgreSQL's pool (the primary, so that a service
    /// reads what it wrote).
    pub read: DatabaseConnection,
    wake: Wake,
    edition: Arc<AtomicU64>,
    audit: Arc<Audit>,
    connections: u32,
}

impl Database {
    /// Opens the database of a `sqlite:` or `postgres:` URL.
    ///
    /// Fails when the URL is neither, or when the first connection cannot be made.
    pub async fn connect(section: &DatabaseSection) -> Result<Database, StoreError> {
        if section.url.starts_with("sqlite:") {
            sqlite(section).await
        } else if section.url.starts_with("postgres:") || section.url.starts_with("postgresql:") {
            postgres(section).await
        } else {
            Err(bad_url("the database URL must start with sqlite: or postgres:"))
        }
    }

    /// Begins a transaction: `BEGIN IMMEDIATE` on SQLite, READ COMMITTED on PostgreSQL.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        // Taking the write lock at once keeps SQLite from failing half-way when a read becomes a write.
        let mode = (self.backend() == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
        Ok(Tx::new(
            self.write.begin_with_options(options).await?,
            self.wake.clone(),
            Arc::clone(&self.edition),
            Arc::clone(&self.audit),
        ))
    }

    /// Runs one statement that is a transaction of its own, and returns how many rows it touched.
    ///
    /// Like a commit, a failure that is no refusal of the database leaves the outcome unknown: repeat the request.
    pub async fn run_alone(
        &self,
        text: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let done = self.write.execute_raw(statement(self.backend(), text, values)).await?;
        #[cfg(any(test, feature = "testing"))]
        super::testing::committed();
        Ok(done.rows_affected())
    }

    /// Opens a view of one moment: several reads through it see the same state, whatever is committed meanwhile.
    ///
    /// It takes no lock that a change waits for, and it ends when it is dropped.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        // On SQLite every transaction sees one state, and the readers' connections can write nothing anyway.
        let options = match self.backend() {
            DbBackend::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
            _ => TransactionOptions::default(),
        };
        Ok(self.read.begin_with_options(options).await?)
    }

    /// Which engine this is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// PostgreSQL's pool, for hot paths that send one statement at a time; `None` on SQLite.
    ///
    /// A transaction opened here would be without [`Tx`]'s protection: use it for single statements only.
    pub fn postgres_pool(&self) -> Option<&PgPool> {
        (self.backend() == DbBackend::Postgres).then(|| self.write.get_postgres_connection_pool())
    }

    /// Wakes the relay of this process when outgoing messages were committed.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// The audit's chains of this process, and the attempts that wait to be written.
    pub(crate) fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// A number that grows when this process commits a change of rows that are remembered somewhere ([`Tx::outdate`]).
    /// Who remembers rows notes it before reading them, and reads again when it has grown.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// How many connections there are at most: the measure for admission (`reliability.md` 5.3).
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Closes every connection, after what is running.
    pub async fn close(self) -> Result<(), StoreError> {
        self.read.close().await?;
        self.write.close().await?;
        Ok(())
    }
}

/// The audit of a process, hashed with the configured keys.
fn audit(section: &DatabaseSection) -> Result<Arc<Audit>, StoreError> {
    let mut secrets = Vec::new();
    for key in section.audit_key.iter().chain(&section.audit_old_keys) {
        let secret = key.resolve().map_err(|error| bad_url(&error.to_string()))?;
        if secret.expose_secret().len() < AUDIT_KEY_BYTES {
            return Err(bad_url(&format!(
                "database.audit_key: {key} must have {AUDIT_KEY_BYTES} bytes or more"
            )));
        }
        secrets.push(secret);
    }
    Ok(Audit::new(Seal::new(secrets.iter().map(|secret| secret.expose_secret().as_bytes()))))
}

fn bad_url(text: &str) -> StoreError {
    StoreError::Unavailable(Arc::new(DbErr::Conn(RuntimeErr::Internal(text.to_owned()))))
}

async fn sqlite(section: &DatabaseSection) -> Result<Database, StoreError> {
    let options = SqliteConnectOptions::from_str(&section.url)?;
    if section.url.contains(":memory:") || section.url.contains("mode=memory") {
        return Err(bad_url(
            "a SQLite database must be a file: in memory every connection would see its own",
        ));
    }
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY)
        .statement_cache_capacity(STATEMENTS);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(SQLITE_ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .after_release(|connection, _| sound(connection))
        .connect_with(options.clone())
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(section.max_connections.clamp(1, SQLITE_READERS))
        .acquire_timeout(SQLITE_ACQUIRE)
        .test_before_acquire(false)
        .connect_lazy_with(options.read_only(true).create_if_missing(false));
    Ok(Database {
        write: SqlxSqliteConnector::from_sqlx_sqlite_pool(writer),
        read: SqlxSqliteConnector::from_sqlx_sqlite_pool(readers),
        wake: Wake::default(),
        edition: Arc::default(),
        audit: audit(section)?,
        // The writer is one, but a SQLite change takes far less than a millisecond, so more may queue for it.
        connections: section.max_connections.max(1),
    })
}

/// Says whether a released connection may be used again (`reliability.md` 4.2).
///
/// The ping makes a queued roll-back happen first. On disk-full SQLite has rolled back by itself, the queued roll-back
/// fails and the driver's depth stays at 1: every later "transaction" would be a savepoint that is never committed.
fn sound(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        connection.ping().await?;
        let sound = !connection.is_in_transaction();
        if !sound {
            tracing::warn!("closing a database connection whose transaction did not end");
        }
        Ok(sound)
    })
}

/// Lets a server's new connection send at once.
fn hasten(port: u16) {
    #[cfg(target_os = "linux")]
    if let Err(error) = super::nodelay::send_at_once(port) {
        tracing::debug!(error = %error, "statements may wait for acknowledgements");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = port;
}

async fn postgres(section: &DatabaseSection) -> Result<Database, StoreError> {
    let mut options = PgConnectOptions::from_str(&section.url)?
        .application_name("tandem")
        .statement_cache_capacity(STATEMENTS)
        .options([
            ("statement_timeout", "3s"),
            ("lock_timeout", "1s"),
            ("idle_in_transaction_session_timeout", "10s"),
            // Our statements look up bounded sets of rows by key. The defaults are made for spinning disks and for a few
            // large questions: they read whole tables in place of a thousand keys, and share one statement's work out.
            ("random_page_cost", "1.1"),
            ("max_parallel_workers_per_gather", "0"),
            ("jit", "off"),
        ]);
    if let Some(password) = &section.password {
        let secret = password.resolve().map_err(|error| bad_url(&error.to_string()))?;
        options = options.password(secret.expose_secret());
    }
    let connections = section.max_connections.max(1);
    let port = options.get_port();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_millis(section.acquire_timeout_ms))
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                if connection.is_in_transaction() {
                    return Ok(false);
                }
                if metadata.idle_for > IDLE_TEST {
                    return Ok(connection.ping().await.is_ok());
                }
                Ok(true)
            })
        })
        .after_connect(move |_, _| {
            Box::pin(async move {
                hasten(port);
                Ok(())
            })
        })
        // No release hook as on SQLite: the driver's own ping on release flushes a queued roll-back, and closes the
        // connection when it fails; another round trip would only keep the connection away for longer.
        .connect_with(options)
        .await?;
    let write = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    let audit = audit(section)?;
    Ok(Database {
        read: write.clone(),
        write,
        wake: Wake::default(),
        edition: Arc::default(),
        audit,
        connections,
    })
}
