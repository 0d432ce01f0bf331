//! Databases for tests: a SQLite file and a PostgreSQL database of their own; and a process that dies at a commit. Only
//! in tests and behind the feature `testing`, for the tests of other crates.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use sea_orm_migration::MigrationTrait;
#[cfg(test)]
use secrecy::SecretString;
use sqlx::{Connection as _, Executor as _};

#[cfg(test)]
use super::migrations;
use super::{Database, run};
use crate::config::DatabaseSection;
use crate::fresh::fresh_uuid;

/// A database that is removed when the test ends.
pub struct TestDatabase {
    db: Database,
    /// How it is reached, to open it again.
    pub section: DatabaseSection,
    _folder: Option<tempfile::TempDir>,
    drop: Option<(String, String)>,
}

impl Deref for TestDatabase {
    type Target = Database;
    fn deref(&self) -> &Database {
        &self.db
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some((server, name)) = self.drop.take() else { return };
        // A runtime of its own, because the test's may be single-threaded and busy with this very drop.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a database for a test");
            runtime.block_on(async {
                let mut connection = sqlx::PgConnection::connect(&server).await?;
                let text = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connection.execute(sqlx::AssertSqlSafe(text)).await
            })
        });
        drop(removed.join());
    }
}

/// Commits until this process dies; 0 when it does not.
static COMMITS_LEFT: AtomicU64 = AtomicU64::new(0);

/// Lets this process die right after its `commits`th commit from now on, as by SIGKILL: the work is durable, and nobody
/// hears of it.
pub fn die_after_commits(commits: u64) {
    COMMITS_LEFT.store(commits, Ordering::Release);
}

pub(super) fn committed() {
    let less = |left: u64| left.checked_sub(1);
    if COMMITS_LEFT.fetch_update(Ordering::AcqRel, Ordering::Acquire, less) == Ok(1) {
        std::process::abort();
    }
}

/// Makes the steps that a database is migrated by.
pub type Steps = fn() -> Vec<Box<dyn MigrationTrait>>;

/// Both engines, with the tables of `steps`.
pub async fn both_with(name: &str, steps: Steps) -> [TestDatabase; 2] {
    [sqlite_with(steps).await, postgres_with(name, steps).await]
}

#[cfg(test)]
pub(crate) async fn both(name: &str) -> [TestDatabase; 2] {
    both_with(name, migrations).await
}

#[cfg(test)]
pub(crate) async fn sqlite() -> TestDatabase {
    sqlite_with(migrations).await
}

#[cfg(test)]
pub(crate) async fn postgres(name: &str) -> TestDatabase {
    postgres_with(name, migrations).await
}

/// A SQLite file.
pub async fn sqlite_with(steps: Steps) -> TestDatabase {
    let folder = tempfile::tempdir().expect("a database for a test");
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let section = DatabaseSection { url, max_connections: 4, ..DatabaseSection::default() };
    let db = Database::connect(&section).await.expect("a database for a test");
    run(&db, steps()).await.expect("a database for a test");
    TestDatabase { db, section, _folder: Some(folder), drop: None }
}

/// A PostgreSQL database on the server of `TANDEM_TEST_POSTGRES`.
pub async fn postgres_with(name: &str, steps: Steps) -> TestDatabase {
    let server = std::env::var("TANDEM_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://root@127.0.0.1:5432/postgres".to_owned());
    let name = format!("kit_{name}_{}", fresh_uuid().simple());
    let mut connection = sqlx::PgConnection::connect(&server).await.expect("a database for a test");
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .expect("a database for a test");
    let (base, query) =
        server.split_once('?').map_or((server.as_str(), None), |(base, query)| (base, Some(query)));
    let base = base.rsplit_once('/').expect("a database for a test").0;
    let url = format!("{base}/{name}{}", query.map(|query| format!("?{query}")).unwrap_or_default());
    // Tests run side by side on few cores: a connection may take longer than in service.
    let section =
        DatabaseSection { url, max_connections: 8, acquire_timeout_ms: 10_000, ..DatabaseSection::default() };
    let db = Database::connect(&section).await.expect("a database for a test");
    run(&db, steps()).await.expect("a database for a test");
    TestDatabase { db, section, _folder: None, drop: Some((server, name)) }
}

#[cfg(test)]
pub(crate) fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}
