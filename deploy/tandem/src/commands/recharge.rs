//! `tandem recharge`: books money that a customer has paid.

use tandem_proto::billing::v1::{ConfirmRechargeRequest, CreateRechargeRequest, RechargeChannel};
use tandem_proto::money::{Currency, MICROS_PER_MINOR, Money, parse_micros};

use super::recharge_list;
use crate::cli::{Global, Once};
use crate::client::present;
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Book money that a customer has paid by bank transfer, or have it paid online.
///
/// It repays what the account owes, oldest first; the rest becomes cash, or a prepaid card. A reference is booked once: repeating the
/// command with the same reference is refused, with the same --request-id it answers as before.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem recharge --account lin_teahouse --amount 100.00 --reference BANK-20260301-0007
  tandem recharge --account lin_teahouse --amount 10000.00 --card --reference BANK-20260301-0008
  tandem recharge online --account lin_teahouse --amount 100.00      prints the page to pay on
  tandem recharge list --account lin_teahouse")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    act: Option<Act>,
    #[command(flatten)]
    book: Book,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// List an account's recharges, oldest first
    List(recharge_list::List),
    /// Announce a recharge that the customer pays online, and print the page to pay on
    Online(recharge_list::Online),
}

#[derive(Debug, clap::Args)]
struct Book {
    /// The billing account: its id, bac_…, or its username
    #[arg(long, required = true)]
    account: Option<String>,
    /// How much, in the account's currency, with at most two decimals
    #[arg(long, value_name = "AMOUNT", value_parser = amount, required = true)]
    amount: Option<i64>,
    /// The payment's reference at the bank
    #[arg(long, value_name = "TEXT", required = true)]
    reference: Option<String>,
    /// Make a prepaid card of it; the amount is then a multiple of 100
    #[arg(long)]
    card: bool,
    #[command(flatten)]
    once: Once,
}

/// Reads `100.00` as minor units.
pub(super) fn amount(text: &str) -> Result<i64, String> {
    let right = "write an amount above zero with at most two decimals, such as 100.00";
    let micros = parse_micros(text).ok_or(right)?;
    if micros <= 0 || micros % MICROS_PER_MINOR != 0 {
        return Err(right.to_owned());
    }
    Ok(micros / MICROS_PER_MINOR)
}

/// Books money, or runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    match args.act {
        Some(Act::List(list)) => recharge_list::list(global, list).await,
        Some(Act::Online(online)) => recharge_list::online(global, online).await,
        None => book(global, args.book).await,
    }
}

/// Announces the recharge and books it.
async fn book(global: &Global, args: Book) -> Result<()> {
    // They are optional only because the other acts go without them.
    let (Some(account), Some(minor), Some(reference)) = (args.account, args.amount, args.reference) else {
        let right = "write --account, --amount and --reference, or `online` or `list`";
        return Err(Failure::Usage(right.to_owned()));
    };
    let clients = global.clients()?;
    let account = clients.billing_account(&account).await?;
    let currency: Currency =
        account.currency_code.parse().attempt(|| "reading the account's currency".to_owned())?;
    let request_id = args.once.id();
    let create = CreateRechargeRequest {
        request_id: format!("{request_id}-create"),
        billing_account_id: account.id.clone(),
        amount: Some(Money { minor, currency }.to_message()),
        channel: RechargeChannel::BankTransfer.into(),
        buys_card: args.card,
    };
    let mut wallet = clients.wallet();
    let of_act = |status| Failure::of_act(status, &request_id);
    let created = wallet.create_recharge(create).await.map_err(of_act)?.into_inner();
    let confirm = ConfirmRechargeRequest {
        request_id: format!("{request_id}-confirm"),
        billing_account_id: account.id,
        recharge_id: present(created.recharge, "recharge")?.id,
        external_ref: reference,
    };
    let booked = wallet.confirm_recharge(confirm).await.map_err(of_act)?.into_inner();
    let recharge = present(booked.recharge, "recharge")?;
    global.output().record(&Table::of_one(vec![
        ("recharge_id", Cell::text(&recharge.id)),
        ("billing_account_id", Cell::text(&recharge.billing_account_id)),
        ("amount", Cell::money(recharge.amount.as_ref())),
        ("state", Cell::name(recharge.state().as_str_name(), "RECHARGE_STATE_")),
        ("paid_at", Cell::time(recharge.pay_time)),
        ("cash", Cell::money(booked.cash.as_ref())),
        ("overdraft", Cell::money(booked.overdraft.as_ref())),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_and_the_other_acts_are_told_apart() {
        use clap::Parser as _;
        let read = |line: &str| match crate::cli::Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
        {
            Ok(crate::cli::Command::Recharge(args)) => Some((args.act.is_some(), args.book.amount)),
            _ => None,
        };
        let transfer = "tandem recharge --account ada --amount 20.00 --reference bank-1";
        assert_eq!(read(transfer), Some((false, Some(2_000))));
        assert_eq!(read("tandem recharge list --account ada"), Some((true, None)));
        assert_eq!(read("tandem recharge --account ada --amount 20.00"), None);
    }

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        assert_eq!(amount("100"), Ok(10_000));
        assert_eq!(amount("0.01"), Ok(1));
        assert_eq!(
            amount("90071992547409.93"),
            Err("write an amount above zero with at most two decimals, such as 100.00".into())
        );
        for bad in ["0", "0.00", "-1", "1.005", "1,000", "", "1e3"] {
            assert!(amount(bad).is_err(), "accepted {bad}");
        }
    }
}
