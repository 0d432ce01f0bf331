//! The two database engines, and a fresh pair of databases for each test.

use std::path::Path;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tandem_service_kit::fresh::fresh_uuid;

/// Where PostgreSQL is when `TANDEM_TEST_POSTGRES` does not say it.
const POSTGRES: &str = "postgres://root@127.0.0.1:5432/postgres";

/// What a test's databases run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file for each service.
    Sqlite,
    /// A database for each service on the server of `TANDEM_TEST_POSTGRES`.
    Postgres,
}

/// A pair of empty databases, which end with this value.
#[derive(Debug)]
pub struct Databases {
    /// The Console's URL.
    pub console: String,
    /// Billing's URL.
    pub billing: String,
    on_server: Option<(String, [String; 2])>,
}

impl Databases {
    /// Makes the databases; SQLite's files will be in `folder`.
    ///
    /// Fails when there is no PostgreSQL: a test is never skipped for that.
    pub async fn create(engine: Engine, folder: &Path) -> anyhow::Result<Databases> {
        match engine {
            Engine::Sqlite => {
                let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
                Ok(Databases { console: url("console.db"), billing: url("billing.db"), on_server: None })
            }
            Engine::Postgres => {
                let server = server();
                let id = fresh_uuid().simple().to_string();
                let names = [format!("it_console_{id}"), format!("it_billing_{id}")];
                let mut connection = PgConnection::connect(&server)
                    .await
                    .context("PostgreSQL is needed; TANDEM_TEST_POSTGRES says where it is")?;
                for name in &names {
                    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
                }
                let [console, billing] = names.each_ref().map(|name| with_name(&server, name));
                Ok(Databases { console, billing, on_server: Some((server, names)) })
            }
        }
    }
}

/// The PostgreSQL server that tests use.
pub fn server() -> String {
    std::env::var("TANDEM_TEST_POSTGRES").unwrap_or_else(|_| POSTGRES.to_owned())
}

/// The server's URL with another database's name.
fn with_name(server: &str, name: &str) -> String {
    let (base, query) = server.split_once('?').map_or((server, None), |(base, query)| (base, Some(query)));
    let base = base.rsplit_once('/').map_or(base, |(base, _)| base);
    format!("{base}/{name}{}", query.map(|query| format!("?{query}")).unwrap_or_default())
}

impl Drop for Databases {
    fn drop(&mut self) {
        let Some((server, names)) = self.on_server.take() else { return };
        // A thread of its own, because a test's runtime may be ending.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                for name in names {
                    connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
                }
                anyhow::Ok(())
            })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("a test's databases could not be dropped");
        }
    }
}
