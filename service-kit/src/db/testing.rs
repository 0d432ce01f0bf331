//! Databases for tests: a SQLite file and a PostgreSQL database of their own, with this crate's tables.

use std::ops::Deref;

use secrecy::SecretString;
use sqlx::{Connection as _, Executor as _};

use super::{Database, migrations, run};
use crate::config::DatabaseSection;
use crate::fresh::fresh_uuid;

/// A database that is removed when the test ends.
pub(crate) struct TestDatabase {
    db: Database,
    pub(crate) section: DatabaseSection,
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
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = sqlx::PgConnection::connect(&server).await?;
                let text = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connection.execute(sqlx::AssertSqlSafe(text)).await
            })
        });
        drop(removed.join());
    }
}

/// Both engines, with this crate's tables.
pub(crate) async fn both(name: &str) -> [TestDatabase; 2] {
    [sqlite().await, postgres(name).await]
}

/// A SQLite file.
pub(crate) async fn sqlite() -> TestDatabase {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let section = DatabaseSection { url, max_connections: 4, ..DatabaseSection::default() };
    let db = Database::connect(&section).await.unwrap();
    run(&db, migrations()).await.unwrap();
    TestDatabase { db, section, _folder: Some(folder), drop: None }
}

/// A PostgreSQL database on the server of `TANDEM_TEST_POSTGRES`.
pub(crate) async fn postgres(name: &str) -> TestDatabase {
    let server = std::env::var("TANDEM_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://root@127.0.0.1:5432/postgres".to_owned());
    let name = format!("kit_{name}_{}", fresh_uuid().simple());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    let (base, query) =
        server.split_once('?').map_or((server.as_str(), None), |(base, query)| (base, Some(query)));
    let base = base.rsplit_once('/').unwrap().0;
    let url = format!("{base}/{name}{}", query.map(|query| format!("?{query}")).unwrap_or_default());
    // Tests run side by side on few cores: a connection may take longer than in service.
    let section =
        DatabaseSection { url, max_connections: 8, acquire_timeout_ms: 10_000, ..DatabaseSection::default() };
    let db = Database::connect(&section).await.unwrap();
    run(&db, migrations()).await.unwrap();
    TestDatabase { db, section, _folder: None, drop: Some((server, name)) }
}

/// A secret of a test.
pub(crate) fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}
