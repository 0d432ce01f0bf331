//! `tandem migrate`: brings the databases to this release's form.

use std::path::PathBuf;

use tandem_billing::config::Config as BillingConfig;
use tandem_console::config::Config as ConsoleConfig;
use tandem_service_kit::config::DatabaseSection;
use tandem_service_kit::db::{self, Database};

use crate::cli::Global;
use crate::failure::{Attempt as _, Result};
use crate::output::{Cell, Table};

/// Bring the databases to this release's form.
///
/// Services do it by themselves when they start; this is for a deployment that migrates first. It may run while the
/// release before still serves, and changes nothing the second time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem migrate
  tandem migrate --console-config console.toml --billing-config billing.toml
  tandem migrate --billing-database postgres://tandem@localhost/billing")]
pub struct Args {
    /// The Console's database [default: what its configuration names, else SQLite under --data]
    #[arg(long, value_name = "URL", env = "TANDEM_CONSOLE_DATABASE", hide_env_values = true)]
    console_database: Option<String>,
    /// Billing's database [default: what its configuration names, else SQLite under --data]
    #[arg(long, value_name = "URL", env = "TANDEM_BILLING_DATABASE", hide_env_values = true)]
    billing_database: Option<String>,
    /// The Console's configuration file
    #[arg(long, value_name = "FILE")]
    console_config: Option<PathBuf>,
    /// Billing's configuration file
    #[arg(long, value_name = "FILE")]
    billing_config: Option<PathBuf>,
}

/// Migrates both databases.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let data = global.data_dir();
    let mut console = ConsoleConfig::load(args.console_config.as_deref())?.database;
    let mut billing = BillingConfig::load(args.billing_config.as_deref())?.database;
    choose(
        &mut console,
        args.console_database,
        args.console_config.is_some(),
        &data.sqlite_url("console.db"),
    );
    choose(
        &mut billing,
        args.billing_database,
        args.billing_config.is_some(),
        &data.sqlite_url("billing.db"),
    );
    if [&console.url, &billing.url].iter().any(|url| url.starts_with("sqlite:")) {
        data.prepare(&[])?;
    }
    let mut table = Table::new(&["service", "engine", "state"]);
    for (service, section) in [("console", &console), ("billing", &billing)] {
        let database =
            Database::connect(section).await.attempt(|| format!("opening the database of {service}"))?;
        if service == "console" {
            let steps = tandem_console::migration::all();
            db::run(&database, steps).await.attempt(|| format!("migrating the database of {service}"))?;
        } else {
            tandem_billing::migrate(&database).await?;
        }
        database.close().await.attempt(|| format!("closing the database of {service}"))?;
        let engine = if section.url.starts_with("sqlite:") { "SQLite" } else { "PostgreSQL" };
        table.row([Cell::text(service), Cell::text(engine), Cell::text("up to date")]);
    }
    global.output().table(&table)
}

fn choose(section: &mut DatabaseSection, told: Option<String>, configured: bool, embedded: &str) {
    match told {
        Some(url) => section.url = url,
        None if configured || section.url.starts_with("postgres") => {}
        None => embedded.clone_into(&mut section.url),
    }
}
