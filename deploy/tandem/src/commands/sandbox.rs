//! `tandem sandbox`: plays the customer, or the trouble, of the sandbox cloud.

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;
use tandem_adapters::callback::CallbackAction;
use tandem_adapters::sandbox::Buy;
use tandem_adapters::sandbox::faults::{DeliverySettings, Fault, FaultKind};
use tandem_adapters::sandbox::state::{Notice, RememberedUsage, SandboxPurchase};

use super::sandbox_pay;
use crate::cli::Global;
use crate::client::http::SandboxClient;
use crate::failure::Result;
use crate::output::{Cell, Table};

/// Play the customer, or the trouble, of the sandbox cloud.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem sandbox buy --account 1744000000000001
  tandem sandbox list
  tandem sandbox release 1551234567
  tandem sandbox repeat 1551234567 release        the same callback once more: nothing may change
  tandem sandbox metering
  tandem sandbox fault PushMeteringData hang-after --times 1
  tandem sandbox delivery --copies 3")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Buy the product
    Buy {
        /// The buyer's account number: 16 digits, such as 1744000000000001
        #[arg(long, value_parser = account_number)]
        account: String,
        /// The product's code [default: the first on sale]
        #[arg(long)]
        product: Option<String>,
        /// The plan [default: the product's first]
        #[arg(long)]
        plan: Option<String>,
        /// As a trial
        #[arg(long)]
        trial: bool,
        /// When it ends, RFC 3339 [default: never, pay as you go]
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
    },
    /// List purchases
    List,
    /// End a purchase for good
    Release {
        /// The purchase's number
        instance: String,
        /// Give the money back
        #[arg(long)]
        refund: bool,
    },
    /// Renew a purchase, or settle its overdue bill
    Renew {
        /// The purchase's number
        instance: String,
        /// The new end, RFC 3339
        #[arg(long, value_name = "TIME")]
        expires_at: Option<Timestamp>,
    },
    /// Let a purchase's term run out, or its bill become overdue
    Expire {
        /// The purchase's number
        instance: String,
    },
    /// Send the last callback of a kind once more
    Repeat {
        /// The purchase's number
        instance: String,
        /// Which: create, renew, upgrade, expire, release, refund-renew or order-pay
        action: CallbackAction,
    },
    /// Print the signed link with which the buyer opens the product
    Landing {
        /// The purchase's number
        instance: String,
    },
    /// Pay a recharge at the payment provider, or forge that it was paid
    Pay(sandbox_pay::Args),
    /// List the payment provider's orders
    Payments(sandbox_pay::ListArgs),
    /// List the usage it remembers
    Metering,
    /// List the callbacks it has sent or owes
    Callbacks,
    /// Make the next calls of ours fail
    Fault {
        /// The cloud's name of the call, such as PushMeteringData, or * for any
        action: String,
        /// What goes wrong
        #[arg(value_enum)]
        kind: Trouble,
        /// How many calls it hits
        #[arg(long, default_value_t = 1)]
        times: u32,
        /// The HTTP status of `refuse`
        #[arg(long, default_value_t = 500)]
        status: u16,
        /// The cloud's code of `refuse`
        #[arg(long, default_value = "UnknownError")]
        code: String,
        /// How late `delay` answers
        #[arg(long, default_value_t = 2_000)]
        millis: u64,
    },
    /// Take all faults away
    ClearFaults,
    /// Say how callbacks are delivered from now on
    Delivery {
        /// How often each callback is sent, at the same time
        #[arg(long, default_value_t = 1)]
        copies: u32,
        /// Hold callbacks back
        #[arg(long)]
        hold: bool,
        /// How many callbacks get lost from now on
        #[arg(long, default_value_t = 0)]
        lose_next: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trouble {
    /// Answer an error without looking at the call
    Refuse,
    /// Never answer, and do nothing
    HangBefore,
    /// Do what was asked, and never answer
    HangAfter,
    /// Do what was asked, and answer nonsense
    Nonsense,
    /// Do what was asked, and say that it did not succeed, without a code
    Doubt,
    /// Do what was asked, and answer late
    Delay,
}

fn account_number(text: &str) -> std::result::Result<String, String> {
    if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("write 16 digits, such as 1744000000000001".to_owned())
    }
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (sandbox, output) = (SandboxClient::new(global.endpoints().sandbox), global.output());
    let purchase = match args.act {
        Act::Buy { account, product, plan, trial, expires_at } => {
            sandbox.buy(&Buy { account_id: account, product_code: product, plan, trial, expires_at }).await?
        }
        Act::Release { instance, refund } => {
            sandbox.act(&instance, "release", json!({ "refund": refund })).await?
        }
        Act::Renew { instance, expires_at } => {
            sandbox.act(&instance, "renew", json!({ "expires_at": expires_at })).await?
        }
        Act::Expire { instance } => sandbox.act(&instance, "expire", json!({})).await?,
        Act::Pay(args) => return sandbox_pay::run(&sandbox, output, args).await,
        Act::Payments(args) => return sandbox_pay::list(&sandbox, output, args).await,
        Act::List => return output.table(&purchases_table(&sandbox.purchases().await?)),
        Act::Metering => return output.table(&usage_table(&sandbox.usage().await?)),
        Act::Callbacks => return output.table(&callbacks_table(&sandbox.callbacks().await?)),
        Act::Landing { instance } => return output.say(&sandbox.landing_link(&instance).await?),
        Act::Repeat { instance, action } => {
            sandbox.repeat(&instance, action).await?;
            return output.say("queued");
        }
        Act::Fault { action, kind, times, status, code, millis } => {
            let kind = match kind {
                Trouble::Refuse => FaultKind::Refuse { status, code },
                Trouble::HangBefore => FaultKind::HangBefore,
                Trouble::HangAfter => FaultKind::HangAfter,
                Trouble::Nonsense => FaultKind::Nonsense,
                Trouble::Doubt => FaultKind::Doubt,
                Trouble::Delay => FaultKind::Delay { millis },
            };
            sandbox.add_fault(&Fault { action, times, kind }).await?;
            return output.say("set");
        }
        Act::ClearFaults => {
            sandbox.clear_faults().await?;
            return output.say("cleared");
        }
        Act::Delivery { copies, hold, lose_next } => {
            sandbox.set_delivery(&DeliverySettings { copies, hold, lose_next }).await?;
            return output.say("set");
        }
    };
    output.record(&purchases_table(&[purchase]))
}

/// Purchases as a table.
pub fn purchases_table(purchases: &[SandboxPurchase]) -> Table {
    let mut table = Table::new(&[
        "instance",
        "account",
        "product",
        "plan",
        "trial",
        "status",
        "bought_at",
        "expires_at",
        "stopped_at",
    ]);
    for purchase in purchases {
        let status = format!("{:?}", purchase.status).to_uppercase();
        let time = |time: Option<Timestamp>| time.map_or(Cell::Absent, Cell::Time);
        table.row([
            Cell::text(&purchase.instance_id),
            Cell::text(&purchase.account_id),
            Cell::text(&purchase.product_code),
            Cell::text(&purchase.plan),
            Cell::Flag(purchase.trial),
            Cell::text(status),
            Cell::Time(purchase.bought_at),
            time(purchase.expires_at),
            time(purchase.stopped_at),
        ]);
    }
    table
}

/// Remembered usage as a table.
pub fn usage_table(usage: &[RememberedUsage]) -> Table {
    let mut table = Table::new(&[
        "instance",
        "product",
        "dimension",
        "start",
        "end",
        "quantity",
        "billed",
        "taken_at",
        "reference",
    ]);
    for record in usage {
        table.row([
            Cell::text(&record.instance_id),
            Cell::text(&record.product_code),
            Cell::text(&record.dimension),
            Cell::Time(record.start),
            Cell::Time(record.end),
            Cell::Number(record.quantity),
            Cell::Flag(record.billed),
            Cell::Time(record.taken_at),
            Cell::text(&record.reference),
        ]);
    }
    table
}

fn callbacks_table(callbacks: &[Notice]) -> Table {
    let mut table = Table::new(&["number", "action", "instance", "state", "tries", "last_status"]);
    for notice in callbacks {
        table.row([
            Cell::Number(i64::try_from(notice.number).unwrap_or(i64::MAX)),
            Cell::text(notice.action.name()),
            Cell::text(notice.fields.instance.clone().unwrap_or_default()),
            Cell::text(format!("{:?}", notice.state).to_uppercase()),
            Cell::Number(notice.tries.into()),
            Cell::Number(notice.last_status.into()),
        ]);
    }
    table
}
