//! The PostgreSQL server that both sides of a ratio share: one that is told, or a throw-away one.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, Row as _};
use tandem_service_kit::fresh::fresh_uuid;

use crate::process;
use crate::report;

/// Names a server to use.
const VARIABLE: &str = "TANDEM_BENCH_POSTGRES";
/// How long a throw-away server may take to answer.
const START_MAX: Duration = Duration::from_secs(60);
/// Where distributions put the server's programs; they are mostly not on the search path.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// Survives on a disk, as a database does: `/tmp` may be memory, where a durable commit costs nothing.
const FOLDER: &str = "/var/tmp";

/// A PostgreSQL server.
pub(crate) struct Server {
    url: String,
    /// Stops and removes a throw-away server when dropped.
    _private: Option<Private>,
}

struct Private {
    child: Child,
    folder: PathBuf,
}

impl Drop for Private {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast stop: it does not wait for connections that are still open.
        process::stop(&mut self.child, "INT");
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("bench: {} stays behind: {error}", self.folder.display());
        }
    }
}

impl Server {
    /// Takes the server of `TANDEM_BENCH_POSTGRES` when it answers, else starts a throw-away one.
    pub(crate) async fn reach_or_start() -> anyhow::Result<Server> {
        if let Ok(url) = std::env::var(VARIABLE) {
            match PgConnection::connect(&url).await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(Server { url, _private: None });
                }
                Err(error) => report::say(&format!(
                    "{VARIABLE} does not answer ({error}); starting a throw-away server"
                )),
            }
        }
        start().await.context("cannot start a throw-away PostgreSQL; is postgresql installed?")
    }

    /// Connects to a database of it; the server's own when `None`.
    pub(crate) async fn connect(&self, database: Option<&Database>) -> anyhow::Result<PgConnection> {
        let url = database.map_or(&self.url, |database| &database.url);
        PgConnection::connect(url).await.context("cannot connect to PostgreSQL")
    }

    /// Makes an empty database.
    pub(crate) async fn database(&self) -> anyhow::Result<Database> {
        let name = format!("tandem_bench_{}", fresh_uuid().simple());
        run(&mut self.connect(None).await?, &format!("CREATE DATABASE {name}")).await?;
        Ok(Database { url: with_name(&self.url, &name)?, name })
    }

    /// Removes a database.
    pub(crate) async fn remove(&self, database: Database) -> anyhow::Result<()> {
        let text = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name);
        run(&mut self.connect(None).await?, &text).await
    }

    /// Says which server this is and how durable a commit of it is.
    ///
    /// Fails when a commit is not durable: ratios to it would mean nothing.
    pub(crate) async fn describe(&self) -> anyhow::Result<String> {
        let mut connection = self.connect(None).await?;
        let mut settings = Vec::new();
        for name in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "wal_sync_method",
            "shared_buffers",
            "max_wal_size",
        ] {
            let row = sqlx::query("SELECT current_setting($1)").bind(name).fetch_one(&mut connection).await?;
            let value: String = row.try_get(0)?;
            if matches!(name, "fsync" | "synchronous_commit") && value != "on" {
                anyhow::bail!("PostgreSQL has {name} = {value}: what it commits is not durable");
            }
            settings.push(format!("{name} {value}"));
        }
        Ok(format!("PostgreSQL: {}", settings.join(", ")))
    }
}

/// A database of the bench's own.
pub(crate) struct Database {
    /// How it is reached.
    pub(crate) url: String,
    name: String,
}

/// Runs statements that hold no values.
pub(crate) async fn run(connection: &mut PgConnection, text: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned()))
        .execute(connection)
        .await
        .context("PostgreSQL refused a statement")?;
    Ok(())
}

/// Reads one number.
pub(crate) async fn number(connection: &mut PgConnection, text: &str) -> anyhow::Result<i64> {
    let row = sqlx::query(sqlx::AssertSqlSafe(text.to_owned())).fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

fn with_name(url: &str, name: &str) -> anyhow::Result<String> {
    let (base, query) =
        url.split_once('?').map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let (server, _) = base.rsplit_once('/').context("the server's URL names no database")?;
    Ok(format!("{server}/{name}{query}"))
}

/// Finds one of PostgreSQL's programs: of the newest installed release, else wherever the search path leads.
pub(crate) fn program(name: &str) -> PathBuf {
    let releases = std::fs::read_dir(PROGRAMS).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(u32, PathBuf)> = releases
        .filter_map(|entry| {
            let release = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.exists().then_some((release, path))
        })
        .collect();
    found.sort();
    found.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

async fn start() -> anyhow::Result<Server> {
    let folder = Path::new(FOLDER).join(format!("tandem-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let user = unprivileged()?;
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let data = folder.join("data");
    let mut init = server_command("initdb", user, &folder);
    let done = init
        .arg("-D")
        .arg(&data)
        .args(["-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
        .output()?;
    if !done.status.success() {
        anyhow::bail!("initdb: {}", String::from_utf8_lossy(&done.stderr));
    }
    let mut command = server_command("postgres", user, &folder);
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
    // Durability stays as shipped. Room in the log keeps checkpoints, which come when they like, out of the pairs.
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_wal_size=4GB",
        "shared_buffers=256MB",
        "max_connections=200",
    ] {
        command.args(["-c", setting]);
    }
    let log = std::fs::File::create(folder.join("log"))?;
    let child = command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null()).spawn()?;
    let private = Private { child, folder };
    let server =
        Server { url: format!("postgres://bench@127.0.0.1:{port}/postgres"), _private: Some(private) };
    let answering = async {
        while server.connect(None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_MAX, answering).await.context("it does not answer")?;
    Ok(server)
}

fn server_command(name: &str, user: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Whom the server runs as: PostgreSQL refuses to be run by root. `None` is whoever runs the bench.
fn unprivileged() -> anyhow::Result<Option<(u32, u32)>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|line| line.split_whitespace().nth(1));
    if uid != Some("0") {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let of = |name: &str| {
        let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = line.split(':').skip(1).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    Ok(Some(of("postgres").or_else(|| of("nobody")).context("there is no user postgres to run it as")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_keeps_the_servers_options() {
        assert_eq!(
            with_name("postgres://a@h:1/postgres?sslmode=disable", "x").unwrap(),
            "postgres://a@h:1/x?sslmode=disable"
        );
        assert_eq!(with_name("postgres://a@h:1/postgres", "x").unwrap(), "postgres://a@h:1/x");
        assert!(with_name("none", "x").is_err());
    }
}
