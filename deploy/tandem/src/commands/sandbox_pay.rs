//! `tandem sandbox pay` and its like: plays the customer, the trouble or a forger at the payment provider.

use clap::ValueEnum;
use tandem_adapters::payment::sandbox::{Forgery, Pay, PaymentNotice, SandboxOrder};

use super::recharge::amount;
use crate::client::http::SandboxClient;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Output, Table};

/// Pay a recharge at the sandbox payment provider.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem sandbox pay rch_0198…                    pays it; the notice arrives a moment later
  tandem sandbox pay rch_0198… --copies 3         the notice three times at once: booked once
  tandem sandbox pay rch_0198… --delay-secs 5     the notice five seconds late
  tandem sandbox pay rch_0198… --lose             no notice at all: Billing asks by itself, at least hourly
  tandem sandbox pay rch_0198… --amount 1.00      another amount: kept for an operator, `tandem payment list`
  tandem sandbox pay rch_0198… --forge other-key  a forged notice: refused, nothing is paid
  tandem sandbox pay rch_0198… --repeat           the notices of before once more: nothing may change")]
pub(super) struct Args {
    /// The recharge, rch_…
    #[arg(required_unless_present = "let_go")]
    recharge: Option<String>,
    /// Pay another amount than the recharge's
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    amount: Option<i64>,
    /// Pay in another currency than the recharge's
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// How often the notice is sent, at the same time
    #[arg(long, default_value_t = 1)]
    copies: u32,
    /// How many seconds the notice is late
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    delay_secs: u64,
    /// Hold the notice back until --let-go
    #[arg(long, conflicts_with = "lose")]
    hold: bool,
    /// Lose the notice
    #[arg(long)]
    lose: bool,
    /// Pay although it was paid: a second payment
    #[arg(long)]
    again: bool,
    /// Pay although its page has ended
    #[arg(long)]
    late: bool,
    /// Send a forged notice instead; nothing is paid
    #[arg(long, value_enum, conflicts_with_all = ["repeat", "let_go"])]
    forge: Option<Kind>,
    /// Send the notices of before once more instead
    #[arg(long, conflicts_with = "let_go")]
    repeat: bool,
    /// Let every held notice go instead
    #[arg(long)]
    let_go: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Signed with a key that is not the provider's
    OtherKey,
    /// Not signed
    Unsigned,
    /// Signed, then changed to a larger amount
    OtherAmount,
    /// Signed an hour ago
    Old,
    /// Signed for another purpose
    OtherPurpose,
}

impl Kind {
    fn forgery(self) -> Forgery {
        match self {
            Kind::OtherKey => Forgery::OtherKey,
            Kind::Unsigned => Forgery::Unsigned,
            Kind::OtherAmount => Forgery::OtherAmount,
            Kind::Old => Forgery::Old,
            Kind::OtherPurpose => Forgery::OtherPurpose,
        }
    }
}

/// List the orders that the sandbox payment provider knows.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// List notices instead, and what became of them
    #[arg(long)]
    notices: bool,
}

/// Pays, repeats, lets go or forges.
pub(super) async fn run(sandbox: &SandboxClient, output: Output, args: Args) -> Result<()> {
    if args.let_go {
        sandbox.let_notices_go().await?;
        return output.say("let go");
    }
    let recharge = args.recharge.unwrap_or_default();
    if args.repeat {
        sandbox.repeat_notices(&recharge).await?;
        return output.say("queued");
    }
    if let Some(kind) = args.forge {
        let status = sandbox.forge_notice(&recharge, kind.forgery()).await?;
        output.record(&Table::of_one(vec![
            ("recharge_id", Cell::text(&recharge)),
            ("status", Cell::Number(status)),
        ]))?;
        return if status == 200 { Err(Failure::failed("the gateway took a forged notice")) } else { Ok(()) };
    }
    let how = Pay {
        amount_minor: args.amount,
        currency: args.currency,
        copies: args.copies,
        delay_millis: args.delay_secs.saturating_mul(1_000),
        hold: args.hold,
        lose: args.lose,
        again: args.again,
        late: args.late,
    };
    let paid = sandbox.pay(&recharge, &how).await?;
    output.record(&Table::of_one(vec![
        ("recharge_id", Cell::text(&recharge)),
        ("payment", Cell::text(&paid.payment_id)),
        ("amount", Cell::text(money(paid.amount_minor, &paid.currency))),
        ("paid_at", Cell::Time(paid.paid_at)),
    ]))
}

/// Lists orders or notices.
pub(super) async fn list(sandbox: &SandboxClient, output: Output, args: ListArgs) -> Result<()> {
    if args.notices {
        output.table(&notices_table(&sandbox.notices().await?))
    } else {
        output.table(&orders_table(&sandbox.orders().await?))
    }
}

/// An amount in a currency that we may not know.
fn money(minor: i64, currency: &str) -> String {
    format!("{}.{:02} {currency}", minor / 100, minor % 100)
}

fn orders_table(orders: &[SandboxOrder]) -> Table {
    let mut table = Table::new(&["recharge_id", "amount", "expires_at", "payments"]);
    for order in orders {
        let payments = order.payments.iter();
        let payments = payments.map(|p| format!("{} {}", p.payment_id, money(p.amount_minor, &p.currency)));
        table.row([
            Cell::text(&order.order_id),
            Cell::text(money(order.amount_minor, &order.currency)),
            Cell::Time(order.expires_at),
            Cell::List(payments.collect()),
        ]);
    }
    table
}

fn notices_table(notices: &[PaymentNotice]) -> Table {
    let mut table = Table::new(&["number", "recharge_id", "payment", "state", "tries", "last_status"]);
    for notice in notices {
        table.row([
            Cell::Number(i64::try_from(notice.number).unwrap_or(i64::MAX)),
            Cell::text(&notice.order_id),
            Cell::text(&notice.payment_id),
            Cell::text(format!("{:?}", notice.state).to_uppercase()),
            Cell::Number(notice.tries.into()),
            Cell::Number(notice.last_status.into()),
        ]);
    }
    table
}
