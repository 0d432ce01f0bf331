//! Bringing a database's tables up to date, one process at a time.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, SqlxPostgresConnector,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::{MigrationTrait, SchemaManager};
use sqlx::postgres::PgPoolOptions;

use super::{Database, StoreError, get, migration, statement};
use crate::clock::{Clock as _, SystemClock};

/// The advisory lock's key: "tandem" as bytes. Every process that migrates the same database takes the same one.
const LOCK: i64 = 0x7461_6e64_656d;
/// How long to wait for another process that migrates.
const LOCK_WAIT: Duration = Duration::from_secs(600);

/// The migrations of the tables this crate keeps: request log, outbox, verification codes, leases and the health probe.
///
/// Put them before the service's own.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    migration::all()
}

/// Applies the migrations that have not been applied yet, in order.
///
/// On PostgreSQL an advisory lock keeps replicas that start together from migrating at once, and no statement limit
/// applies, so that an index on a large table may take its time.
pub async fn run(db: &Database, migrations: Vec<Box<dyn MigrationTrait>>) -> Result<(), StoreError> {
    let Some(pool) = db.postgres_pool() else {
        // SQLite has one writer, and a migration is a transaction of it.
        return up(&db.write, migrations).await;
    };
    let mut options = (*pool.connect_options()).clone();
    options = options.options([
        ("statement_timeout", "0"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "0"),
    ]);
    // Two connections: one holds the lock, the other migrates.
    let own = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await?;
    let mut holder = own.acquire().await?;
    sqlx::query("SET lock_timeout = 0").execute(&mut *holder).await?;
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *holder);
    tokio::time::timeout(LOCK_WAIT, lock).await.map_err(|_| StoreError::Busy)??;
    let result = up(&SqlxPostgresConnector::from_sqlx_postgres_pool(own.clone()), migrations).await;
    // Closing the session releases the lock, also when the migration failed.
    drop(holder.close().await);
    own.close().await;
    result
}

/// Applies what is missing. Names that this release does not know are left alone: a newer release put them there, and
/// this one may be started again beside it.
async fn up(db: &DatabaseConnection, migrations: Vec<Box<dyn MigrationTrait>>) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let table = "CREATE TABLE IF NOT EXISTS seaql_migrations (version TEXT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)";
    db.execute_unprepared(table).await?;
    let mut applied = HashSet::new();
    for row in db.query_all_raw(statement(backend, "SELECT version FROM seaql_migrations", [])).await? {
        applied.insert(get::<String>(&row, "seaql_migrations", "version")?);
    }
    for migration in migrations.iter().filter(|migration| !applied.contains(migration.name())) {
        let mode = (backend == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
        let tx = db.begin_with_options(options).await?;
        migration.up(&SchemaManager::new(&tx)).await?;
        let mark = "INSERT INTO seaql_migrations (version, applied_at) VALUES (?, ?)";
        let values = [migration.name().into(), SystemClock::new().now().as_second().into()];
        tx.execute_raw(statement(backend, mark, values)).await?;
        tx.commit().await?;
        tracing::info!(migration = migration.name(), "applied migration {}", migration.name());
    }
    Ok(())
}

/// Makes a table refuse UPDATE and DELETE by trigger, on both engines (`reliability.md` 4.6).
pub async fn append_only(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let statements = match connection.get_database_backend() {
        DbBackend::Postgres => vec![
            "CREATE OR REPLACE FUNCTION tandem_refuse_change() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
                .to_owned(),
            format!(
                "CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} \
                 FOR EACH ROW EXECUTE FUNCTION tandem_refuse_change()"
            ),
            format!(
                "CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} \
                 FOR EACH STATEMENT EXECUTE FUNCTION tandem_refuse_change()"
            ),
        ],
        _ => vec![
            format!(
                "CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} \
                 BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            ),
            format!(
                "CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} \
                 BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            ),
        ],
    };
    for statement in statements {
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}
