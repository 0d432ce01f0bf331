//! The two traps of `reliability.md` section 4, and what else a database must not do to us.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::prelude::async_trait;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};
use tandem_proto::reason::Reason;

use super::testing::{both, postgres, sqlite};
use super::*;
use crate::config::DatabaseSection;
use crate::fault::Fault;

async fn table(db: &Database) {
    db.write
        .execute_unprepared("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, filler TEXT)")
        .await
        .unwrap();
}

async fn insert(tx: &Tx, id: i64, filler: &str) -> Result<u64, StoreError> {
    tx.run("INSERT INTO t (id, filler) VALUES (?, ?)", [id.into(), filler.into()]).await
}

async fn ids(db: &Database) -> Vec<i64> {
    let rows =
        db.read.query_all_raw(statement(db.backend(), "SELECT id FROM t ORDER BY id", [])).await.unwrap();
    rows.iter().map(|row| get(row, "t", "id").unwrap()).collect()
}

#[tokio::test]
async fn a_transaction_with_a_failed_statement_never_pretends_to_commit() {
    for db in both("poison").await {
        table(&db).await;
        let tx = db.begin().await.unwrap();
        insert(&tx, 1, "").await.unwrap();
        assert!(matches!(insert(&tx, 1, "").await, Err(StoreError::Conflict)));
        // Going on is refused as well: on SQLite it could commit by itself after an automatic roll-back.
        assert!(matches!(insert(&tx, 2, "").await, Err(StoreError::Poisoned)));
        assert!(matches!(tx.commit().await, Err(StoreError::Poisoned)));
        assert_eq!(ids(&db).await, Vec::<i64>::new());

        // The same connection works again.
        let tx = db.begin().await.unwrap();
        insert(&tx, 3, "").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ids(&db).await, [3]);
    }
}

#[tokio::test]
async fn a_snapshot_shows_one_moment_and_cannot_write() {
    for db in both("snapshot").await {
        table(&db).await;
        let add = async |id| {
            let tx = db.begin().await.unwrap();
            insert(&tx, id, "").await.unwrap();
            tx.commit().await.unwrap();
        };
        let count = async |snapshot: &sea_orm::DatabaseTransaction| {
            let row =
                snapshot.query_one_raw(statement(db.backend(), "SELECT COUNT(*) AS n FROM t", [])).await;
            get::<i64>(&row.unwrap().unwrap(), "t", "n").unwrap()
        };
        add(1).await;
        let snapshot = db.snapshot().await.unwrap();
        assert_eq!(count(&snapshot).await, 1);
        add(2).await;
        assert_eq!(count(&snapshot).await, 1);
        assert!(snapshot.execute_unprepared("INSERT INTO t (id) VALUES (3)").await.is_err());
        drop(snapshot);
        assert_eq!(count(&db.snapshot().await.unwrap()).await, 2);
    }
}

/// Shows that the trap is real: without [`Tx`] the driver calls the lost commit a success.
#[tokio::test]
async fn the_bare_driver_loses_rows_on_postgresql() {
    use sea_orm::TransactionTrait as _;
    let db = postgres("trap").await;
    table(&db).await;
    let tx = db.write.begin().await.unwrap();
    tx.execute_unprepared("INSERT INTO t (id) VALUES (1)").await.unwrap();
    assert!(tx.execute_unprepared("INSERT INTO t (id) VALUES (1)").await.is_err());
    tx.commit().await.unwrap();
    assert_eq!(ids(&db).await, Vec::<i64>::new());
}

#[tokio::test]
async fn a_dropped_statement_poisons_and_a_dropped_transaction_rolls_back() {
    for db in both("dropped").await {
        table(&db).await;
        let tx = db.begin().await.unwrap();
        insert(&tx, 1, "").await.unwrap();
        {
            // Polled once and dropped, as when a client leaves; it takes far longer than a poll.
            let text = "INSERT INTO t (id) WITH RECURSIVE n(i) AS (\
                SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n";
            let mut statement = Box::pin(tx.run(text, []));
            let first = futures_util::poll!(statement.as_mut());
            assert!(first.is_pending());
        }
        assert!(matches!(tx.commit().await, Err(StoreError::Poisoned)));
        let tx = db.begin().await.unwrap();
        insert(&tx, 3, "").await.unwrap();
        drop(tx);
        let tx = db.begin().await.unwrap();
        insert(&tx, 4, "").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ids(&db).await, [4]);
    }
}

/// Opens a copy of a SQLite database as kill -9 would leave it: the file and its log, while this process still has them.
async fn as_after_a_kill(db: &super::testing::TestDatabase) -> (Database, tempfile::TempDir) {
    let source = std::path::PathBuf::from(db.section.url.strip_prefix("sqlite:").unwrap());
    let folder = tempfile::tempdir().unwrap();
    for name in ["test.db", "test.db-wal"] {
        std::fs::copy(source.with_file_name(name), folder.path().join(name)).unwrap();
    }
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let copy = Database::connect(&DatabaseSection { url, ..DatabaseSection::default() }).await.unwrap();
    (copy, folder)
}

/// `reliability.md` 4.2: after disk-full, acknowledged writes must be there when the file is opened again.
#[tokio::test]
async fn disk_full_and_back_loses_nothing_acknowledged() {
    let db = sqlite().await;
    table(&db).await;
    let limit = async |pages: i64| {
        let text = format!("PRAGMA max_page_count = {pages}");
        db.write.execute_unprepared(&text).await.unwrap();
    };
    let count =
        db.write.query_one_raw(statement(DbBackend::Sqlite, "PRAGMA page_count", [])).await.unwrap().unwrap();
    let pages: i64 = get(&count, "pragma", "page_count").unwrap();
    let filler = "x".repeat(200_000);
    for round in 0..3 {
        limit(pages + 10).await;
        let tx = db.begin().await.unwrap();
        let full = insert(&tx, 100 + round, &filler).await.unwrap_err();
        assert!(matches!(full, StoreError::Unavailable(_)), "{full:?}");
        assert_eq!(Fault::from(full).reason, Reason::StorageUnavailable);
        assert!(matches!(tx.commit().await, Err(StoreError::Poisoned)));

        limit(1_000_000).await;
        let tx = db.begin().await.unwrap();
        insert(&tx, 200, "").await.unwrap();
        tx.rollback().await;
        let tx = db.begin().await.unwrap();
        insert(&tx, round, "").await.unwrap();
        tx.commit().await.unwrap();
    }
    let (copy, _folder) = as_after_a_kill(&db).await;
    assert_eq!(ids(&copy).await, [0, 1, 2]);
}

/// The heart of the same trap: SQLite rolls back by itself (as it may on disk-full and on I/O errors; here by a conflict
/// clause, which does so always), while the driver believes the transaction still open. Without the pool's hooks the next
/// transaction is a savepoint; one that is rolled back stays open, and what is "committed" after it is gone after a kill.
#[tokio::test]
async fn an_automatic_roll_back_loses_nothing_acknowledged() {
    let db = sqlite().await;
    table(&db).await;
    for round in 0..3 {
        for ends_by_drop in [false, true] {
            let tx = db.begin().await.unwrap();
            insert(&tx, 100, "").await.unwrap();
            let again = tx.run("INSERT OR ROLLBACK INTO t (id) VALUES (?)", [100_i64.into()]).await;
            assert!(matches!(again, Err(StoreError::Conflict)));
            if ends_by_drop {
                drop(tx);
            } else {
                assert!(matches!(tx.commit().await, Err(StoreError::Poisoned)));
            }
        }
        let tx = db.begin().await.unwrap();
        insert(&tx, 200, "").await.unwrap();
        tx.rollback().await;
        let tx = db.begin().await.unwrap();
        insert(&tx, round, "").await.unwrap();
        tx.commit().await.unwrap();
        // Another connection sees only what is really committed.
        assert_eq!(ids(&db).await.len(), usize::try_from(round).unwrap() + 1);
    }
    let (copy, _folder) = as_after_a_kill(&db).await;
    assert_eq!(ids(&copy).await, [0, 1, 2]);
}

#[tokio::test]
async fn every_sqlite_connection_has_the_safe_settings_and_readers_cannot_write() {
    let db = sqlite().await;
    let pragma = async |connection: &sea_orm::DatabaseConnection, name: &str| -> String {
        let text = format!("SELECT CAST({name} AS TEXT) AS v FROM pragma_{name}");
        let row = connection.query_one_raw(statement(DbBackend::Sqlite, &text, [])).await.unwrap().unwrap();
        get(&row, "pragma", "v").unwrap()
    };
    for connection in [&db.write, &db.read] {
        assert_eq!(pragma(connection, "journal_mode").await, "wal");
        assert_eq!(pragma(connection, "synchronous").await, "2");
        assert_eq!(pragma(connection, "foreign_keys").await, "1");
    }
    assert!(db.read.execute_unprepared("CREATE TABLE x (id BIGINT)").await.is_err());
}

#[tokio::test]
async fn postgresql_sessions_have_limits() {
    let db = postgres("limits").await;
    for (name, expected) in
        [("statement_timeout", "3s"), ("lock_timeout", "1s"), ("idle_in_transaction_session_timeout", "10s")]
    {
        let text = format!("SELECT current_setting('{name}') AS v");
        let row = db.write.query_one_raw(statement(DbBackend::Postgres, &text, [])).await.unwrap().unwrap();
        assert_eq!(get::<String>(&row, "pg", "v").unwrap(), expected);
    }
    table(&db).await;
    let (one, two) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    insert(&one, 1, "").await.unwrap();
    assert!(matches!(insert(&two, 1, "").await, Err(StoreError::Busy)));
    one.commit().await.unwrap();
    two.rollback().await;
}

#[tokio::test]
async fn a_full_pool_is_overload_and_a_missing_server_is_unavailable() {
    let db = postgres("pool").await;
    let small = DatabaseSection { max_connections: 1, acquire_timeout_ms: 200, ..db.section.clone() };
    let small = Database::connect(&small).await.unwrap();
    let held = small.begin().await.unwrap();
    let error = small.begin().await.unwrap_err();
    assert_eq!(Fault::from(error).reason, Reason::Overloaded);
    held.rollback().await;

    for url in
        ["postgres://root@127.0.0.1:1/none", "mysql://x", "sqlite::memory:", "sqlite:/nowhere/at/all.db"]
    {
        let section =
            DatabaseSection { url: url.to_owned(), acquire_timeout_ms: 300, ..DatabaseSection::default() };
        let error = Database::connect(&section).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_) | StoreError::Exhausted), "{url}: {error:?}");
    }
}

struct Step(&'static str);

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection.execute_unprepared("CREATE TABLE journal (id BIGINT NOT NULL PRIMARY KEY)").await?;
        append_only(manager, "journal").await?;
        // Longer than the sessions' statement limit would allow on a large table.
        if connection.get_database_backend() == DbBackend::Postgres {
            let row = connection.query_one_raw(statement(
                DbBackend::Postgres,
                "SELECT current_setting('statement_timeout') AS v",
                [],
            ));
            let limit: String = row.await?.ok_or(DbErr::Custom("no setting".to_owned()))?.try_get("", "v")?;
            assert_eq!(limit, "0");
        }
        Ok(())
    }
}

fn steps() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = migrations();
    all.push(Box::new(Step("test_0001_journal")));
    all
}

#[tokio::test]
async fn replicas_that_start_together_migrate_once_and_a_journal_refuses_change() {
    for db in both("migrate").await {
        let db = Arc::new(db);
        let both = futures_util::future::join(run(&db, steps()), run(&db, steps())).await;
        if db.backend() == DbBackend::Postgres {
            both.0.unwrap();
            both.1.unwrap();
        }
        run(&db, steps()).await.unwrap();
        // An older release, which does not know the last step, still starts.
        run(&db, migrations()).await.unwrap();
        db.write.execute_unprepared("INSERT INTO journal (id) VALUES (1)").await.unwrap();
        for change in ["UPDATE journal SET id = 2", "DELETE FROM journal"] {
            assert!(db.write.execute_unprepared(change).await.is_err(), "{change}");
        }
    }
}

#[test]
fn placeholders_are_numbered_alike_on_both_engines() {
    assert_eq!(sql(DbBackend::Postgres, "a = ? AND b = ?"), "a = $1 AND b = $2");
    assert_eq!(sql(DbBackend::Sqlite, "a = ? AND b = ?"), "a = ?1 AND b = ?2");
    assert_eq!(sql(DbBackend::Postgres, "? UNNEST($2, $3) ?"), "$1 UNNEST($2, $3) $4");
    assert_eq!(sql(DbBackend::Sqlite, "? json_each(?2, '$[0]') ?"), "?1 json_each(?2, '$[0]') ?3");
}
