//! `tandem voucher` and `tandem card`: credit given, activated and bought.

use tandem_proto::billing::v1::{
    ActivateVoucherRequest, BuyPrepaidCardRequest, GrantVoucherRequest, IssueVoucherCodesRequest, Lot,
};
use tandem_proto::day::UsageDay;
use tandem_proto::money::{Currency, Money};

use super::recharge::amount;
use super::wallet::lots_table;
use crate::cli::{Global, Once};
use crate::client::{Clients, present};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Vouchers: give one, make codes, activate a code.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Give an account a general voucher
    Grant(Grant),
    /// Make codes that become a general voucher when activated, each once
    Codes(Codes),
    /// Turn a code into a voucher of an account
    Activate(Activate),
}

/// What vouchers are worth.
#[derive(Debug, clap::Args)]
struct Worth {
    /// How much each is worth, with at most two decimals
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    amount: i64,
    /// The least payable of a bill it pays
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    min_spend: Option<i64>,
    /// The last usage day whose bill it pays
    #[arg(long, value_name = "YYYY-MM-DD")]
    last_day: UsageDay,
    /// Why it is given
    #[arg(long, value_name = "TEXT")]
    note: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem voucher grant --account lin_teahouse --amount 50.00 --last-day 2026-12-31 --note welcome")]
struct Grant {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    #[command(flatten)]
    worth: Worth,
    #[command(flatten)]
    once: Once,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem voucher codes --count 10 --currency CNY --amount 50.00 --last-day 2026-12-31 --note fair")]
struct Codes {
    /// How many, at most 1000
    #[arg(long, default_value_t = 1)]
    count: i32,
    /// CNY or USD
    #[arg(long)]
    currency: Currency,
    #[command(flatten)]
    worth: Worth,
    #[command(flatten)]
    once: Once,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem voucher activate --account lin_teahouse --code 7XK2-M9QA-3BTC-0WZR")]
struct Activate {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// The code; case and hyphens do not matter
    #[arg(long)]
    code: String,
    #[command(flatten)]
    once: Once,
}

/// Buy a prepaid card from an account's cash.
///
/// Large cards bring a discount voucher. To pay for a card with fresh money: tandem recharge --card.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem card --account lin_teahouse --amount 10000.00")]
pub struct CardArgs {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// What it is worth, a multiple of 100
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    amount: i64,
    #[command(flatten)]
    once: Once,
}

/// Gives, makes or activates vouchers.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let clients = global.clients()?;
    match args.act {
        Act::Grant(grant) => {
            let (account, currency) = account(&clients, &grant.account).await?;
            let (request_id, worth) = (grant.once.id(), grant.worth);
            let money = |minor| Money { minor, currency }.to_message();
            let request = GrantVoucherRequest {
                request_id: request_id.clone(),
                billing_account_id: account,
                face_value: Some(money(worth.amount)),
                min_spend: worth.min_spend.map(money),
                valid_from_time: None,
                last_day: worth.last_day.to_string(),
                note: worth.note,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let given = clients.wallet().grant_voucher(request).await.map_err(of_act)?.into_inner();
            show(global, given.voucher.as_slice())
        }
        Act::Codes(codes) => {
            let (request_id, worth) = (codes.once.id(), codes.worth);
            let money = |minor| Money { minor, currency: codes.currency }.to_message();
            let request = IssueVoucherCodesRequest {
                request_id: request_id.clone(),
                face_value: Some(money(worth.amount)),
                min_spend: worth.min_spend.map(money),
                last_day: worth.last_day.to_string(),
                count: codes.count,
                note: worth.note,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let made = clients.wallet().issue_voucher_codes(request).await.map_err(of_act)?.into_inner();
            let mut table = Table::new(&["code"]);
            made.codes.iter().for_each(|code| table.row([Cell::text(code)]));
            global.output().table(&table)
        }
        Act::Activate(activate) => {
            let (account, _) = account(&clients, &activate.account).await?;
            let request_id = activate.once.id();
            let request = ActivateVoucherRequest {
                request_id: request_id.clone(),
                billing_account_id: account,
                code: activate.code,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let given = clients.wallet().activate_voucher(request).await.map_err(of_act)?.into_inner();
            show(global, given.voucher.as_slice())
        }
    }
}

/// Buys a card.
pub async fn run_card(global: &Global, args: CardArgs) -> Result<()> {
    let clients = global.clients()?;
    let (account, currency) = account(&clients, &args.account).await?;
    let request_id = args.once.id();
    let request = BuyPrepaidCardRequest {
        request_id: request_id.clone(),
        billing_account_id: account,
        face_value: Some(Money { minor: args.amount, currency }.to_message()),
    };
    let of_act = |status| Failure::of_act(status, &request_id);
    let bought = clients.wallet().buy_prepaid_card(request).await.map_err(of_act)?.into_inner();
    let lots: Vec<Lot> =
        [Some(present(bought.card, "card")?), bought.discount_voucher].into_iter().flatten().collect();
    show(global, &lots)
}

fn show(global: &Global, lots: &[Lot]) -> Result<()> {
    global.output().table(&lots_table(lots))
}

async fn account(clients: &Clients, name: &str) -> Result<(String, Currency)> {
    let account = clients.billing_account(name).await?;
    let currency = account.currency_code.parse().attempt(|| "reading the account's currency".to_owned())?;
    Ok((account.id, currency))
}
