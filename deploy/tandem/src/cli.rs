//! The command line: what can be typed, and what it is called in the code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use tandem_proto::common::v1::Role;

use crate::client::{Bearer, Clients};
use crate::commands;
use crate::data_dir::{DataDir, Endpoints};
use crate::failure::{EXIT_CODES, Failure, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  tandem up                                      everything in one process, state under ./data
  tandem demo                                    the life of two customers, in a few seconds
  tandem demo money                              the Billing Center's whole money, in a minute
  tandem usage import day.csv                    record usage from a file
  tandem bill list --account lin_teahouse        an account's bills
  tandem bill prove                              recompute every bill from its usage
  tandem callback send alibaba release --instance 1551234567
  tandem --json outbox list | jq length          the same for scripts";

/// Accounts, usage, bills and settlement through cloud marketplaces.
#[derive(Debug, Parser)]
#[command(name = "tandem", version, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"), max_term_width = 110)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What applies to every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where and how")]
pub struct Global {
    /// The folder of `tandem up`: its keys make tokens, its endpoints say where it listens
    #[arg(long, global = true, env = "TANDEM_DATA", default_value = "data", value_name = "FOLDER")]
    pub data: PathBuf,
    /// A service token to use instead of the key under --data
    #[arg(
        long,
        global = true,
        env = "TANDEM_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        hide_short_help = true
    )]
    pub token: Option<String>,
    /// The Console's gRPC address [default: what `tandem up` wrote, else http://127.0.0.1:50051]
    #[arg(long, global = true, env = "TANDEM_ENDPOINT_CONSOLE", value_name = "URL", hide_short_help = true)]
    pub endpoint_console: Option<String>,
    /// Billing's gRPC address [default: what `tandem up` wrote, else http://127.0.0.1:50052]
    #[arg(long, global = true, env = "TANDEM_ENDPOINT_BILLING", value_name = "URL", hide_short_help = true)]
    pub endpoint_billing: Option<String>,
    /// The gateway's gRPC address [default: what `tandem up` wrote, else http://127.0.0.1:50053]
    #[arg(long, global = true, env = "TANDEM_ENDPOINT_GATEWAY", value_name = "URL", hide_short_help = true)]
    pub endpoint_gateway: Option<String>,
    /// Where the gateway takes callbacks [default: what `tandem up` wrote, else http://127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        env = "TANDEM_ENDPOINT_CALLBACKS",
        value_name = "URL",
        hide_short_help = true
    )]
    pub endpoint_callbacks: Option<String>,
    /// The sandbox cloud [default: what `tandem up` wrote, else http://127.0.0.1:8090]
    #[arg(long, global = true, env = "TANDEM_ENDPOINT_SANDBOX", value_name = "URL", hide_short_help = true)]
    pub endpoint_sandbox: Option<String>,
    /// Act as the second operator, whose key is keys/approver.key under --data
    #[arg(long, global = true, hide_short_help = true)]
    pub as_approver: bool,
    /// Write JSON instead of tables
    #[arg(long, global = true)]
    pub json: bool,
}

/// The id that makes an act safe to repeat.
#[derive(Debug, Clone, Args)]
pub struct Once {
    /// Names this act; repeating it with the same id does nothing twice [default: a new one]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: Option<String>,
}

impl Once {
    /// The id.
    pub fn id(&self) -> String {
        self.request_id.clone().unwrap_or_else(crate::client::new_request_id)
    }
}

/// How much of a list is shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct Limit {
    /// Most rows
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = at_least_one)]
    pub limit: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|rows| *rows > 0).ok_or_else(|| "write a whole number from 1 on".to_owned())
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything in one process: Console, Billing, gateway and the sandbox cloud
    Up(commands::up::Args),
    /// Live through a story and prove the result: two customers, or everything about money
    Demo(commands::demo::Args),
    /// Print a fresh service token
    Token(commands::token::Args),
    /// Show or move the business clock of a `tandem up --test-clock`
    Clock(commands::clock::Args),
    /// Bring the databases to this release's form
    Migrate(commands::migrate::Args),
    /// Say what is wrong with a configuration, or print what it comes to
    CheckConfig(commands::check_config::Args),
    /// Usage: import from a file, show, close a day
    Usage(commands::usage::Args),
    /// Bills: make, list, show, export, prove
    Bill(commands::bill::Args),
    /// Thresholds of what a workspace may cost: set, list, delete
    Alert(commands::alert::Args),
    /// What Billing does by the calendar: list, run at once
    Job(commands::job::Args),
    /// Invoices: companies, profiles, requests, and what becomes of them
    Invoice(commands::invoice::Args),
    /// What an account spent, and what is used but not billed yet
    Spend(commands::spend::Args),
    /// The ledger: list entries, prove it
    Ledger(commands::ledger::Args),
    /// An account's balances, vouchers and cards
    Wallet(commands::wallet::Args),
    /// Book money that a customer has paid, announce an online payment, list recharges
    Recharge(commands::recharge::Args),
    /// Payments that payment providers announced: list, decide
    Payment(commands::payment::Args),
    /// Vouchers: give one, make codes, activate a code
    Voucher(commands::voucher::Args),
    /// Buy a prepaid card from an account's cash
    Card(commands::voucher::CardArgs),
    /// Price lists: publish, list, show, quote
    Price(commands::price::Args),
    /// Annual and traffic packages: buy, upgrade, list, show what was used
    Package(commands::package::Args),
    /// Purchases in the clouds' markets: events, replay, subscriptions
    Marketplace(commands::marketplace::Args),
    /// Usage that was submitted to the clouds
    Metering(commands::metering::Args),
    /// Compare subscriptions with the clouds' own record and converge them
    Reconcile(commands::reconcile::Args),
    /// What is on its way out of the services
    Outbox(commands::outbox::Args),
    /// Acts that take two people: adjustments, refunds, forced unlocks
    Approval(commands::approval::Args),
    /// Who tried to change what: list it, prove that nobody touched it
    Audit(commands::audit::Args),
    /// Billing accounts
    Account(commands::account::Args),
    /// What accounts owe, and which workspaces hang on it
    Debt(commands::debt::Args),
    /// Workspaces: how they are settled, locks, the end
    Workspace(commands::workspace::Args),
    /// Make or send a correctly signed callback of a cloud
    Callback(commands::callback::Args),
    /// Play the customer, or the trouble, of the sandbox cloud
    Sandbox(commands::sandbox::Args),
}

impl Global {
    /// The folder of `tandem up`.
    pub fn data_dir(&self) -> DataDir {
        DataDir::new(&self.data)
    }

    /// Where the services are: as the command line says, else as the running `tandem up` wrote, else the usual ports.
    pub fn endpoints(&self) -> Endpoints {
        let written = self.data_dir().endpoints();
        let choose = |told: &Option<String>, of: fn(&Endpoints) -> &String, port: u16| {
            told.clone()
                .or_else(|| written.as_ref().map(|w| of(w).clone()))
                .unwrap_or_else(|| format!("http://127.0.0.1:{port}"))
        };
        Endpoints {
            console: choose(&self.endpoint_console, |e| &e.console, crate::up::CONSOLE_PORT),
            billing: choose(&self.endpoint_billing, |e| &e.billing, crate::up::BILLING_PORT),
            gateway: choose(&self.endpoint_gateway, |e| &e.gateway, crate::up::GATEWAY_PORT),
            callbacks: choose(&self.endpoint_callbacks, |e| &e.callbacks, crate::up::CALLBACKS_PORT),
            sandbox: choose(&self.endpoint_sandbox, |e| &e.sandbox, crate::up::SANDBOX_PORT),
            metrics: choose(&None, |e| &e.metrics, crate::up::METRICS_PORT),
        }
    }

    /// The services, called as the operator.
    pub fn clients(&self) -> Result<Clients> {
        let bearer = match &self.token {
            Some(token) => Bearer::given(token.trim()),
            None if self.as_approver => Bearer::signed(self.data_dir().approver()?),
            None => Bearer::signed(self.data_dir().signer(Role::Operator)?),
        };
        Clients::new(&self.endpoints(), bearer)
    }

    /// Where results go.
    pub fn output(&self) -> Output {
        Output::new(self.json)
    }
}

/// Runs a command line and says its exit code.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, json);
            ExitCode::from(failure.exit_code())
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command's error belongs on standard error, not in a log")]
fn report(failure: &Failure, json: bool) {
    if json {
        eprintln!("{}", failure.json());
    } else {
        eprint!("{}", failure.block());
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_is_described() {
        let command = Cli::command();
        command.clone().debug_assert();
        fn described(command: &clap::Command) {
            assert!(command.get_about().is_some(), "`{}` has no description", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "`{}` of `{}`", argument.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(described);
        }
        command.get_subcommands().for_each(described);
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused_at_once() {
        for (wrong, right) in [
            ("tandem bill list --account a --limit 0", "from 1 on"),
            ("tandem recharge --account a --amount 1 --reference r --request-id=", "request-id"),
            ("tandem sandbox buy --account 12", "16 digits"),
        ] {
            let error = Cli::try_parse_from(wrong.split(' ')).unwrap_err().to_string();
            assert!(error.contains(right), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_help_tells_the_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("Exit codes") && help.contains("4  a proof failed"), "{help}");
    }

    #[test]
    fn an_endpoint_on_the_command_line_wins() {
        let cli =
            Cli::parse_from(["tandem", "--data", "/none", "--endpoint-billing", "http://b:1", "wallet", "x"]);
        let endpoints = cli.global.endpoints();
        assert_eq!(endpoints.billing, "http://b:1");
        assert_eq!(endpoints.console, "http://127.0.0.1:50051");
    }
}
