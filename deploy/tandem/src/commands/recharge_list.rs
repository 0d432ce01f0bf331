//! `tandem recharge list` and `tandem recharge online`.

use tandem_proto::billing::v1::{
    CreateRechargeRequest, ListRechargesRequest, Recharge, RechargeChannel, RechargeState,
};
use tandem_proto::money::{Currency, Money};

use super::recharge::amount;
use crate::cli::{Global, Limit, Once};
use crate::client::{PAGE_SIZE, all_pages, present};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem recharge list --account lin_teahouse
  tandem recharge list --account lin_teahouse --state created")]
pub(super) struct List {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// Only recharges in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum State {
    /// Waits for its money
    Created,
    /// Booked
    Paid,
    /// Given up
    Closed,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem recharge online --account lin_teahouse --amount 100.00
  tandem sandbox pay rch_0198…                    pays it at the sandbox, as opening the page and pressing the button does")]
pub(super) struct Online {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// How much, in the account's currency, with at most two decimals
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    amount: i64,
    /// Make a prepaid card of it; the amount is then a multiple of 100
    #[arg(long)]
    card: bool,
    #[command(flatten)]
    once: Once,
}

/// Lists an account's recharges.
pub(super) async fn list(global: &Global, args: List) -> Result<()> {
    let clients = global.clients()?;
    let account = clients.billing_account_id(&args.account).await?;
    let state = match args.state {
        None => RechargeState::Unspecified,
        Some(State::Created) => RechargeState::Created,
        Some(State::Paid) => RechargeState::Paid,
        Some(State::Closed) => RechargeState::Closed,
    };
    let (clients, account) = (&clients, &account);
    let recharges = all_pages(args.limit.limit, |page_token| async move {
        let request = ListRechargesRequest {
            billing_account_id: account.clone(),
            state: state.into(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.wallet().list_recharges(request).await?.into_inner();
        Ok((page.recharges, page.next_page_token))
    });
    let recharges = recharges.await?;
    global.output().list(&recharges_table(&recharges.rows), recharges.more)
}

/// Announces a recharge that is paid online, and says where.
pub(super) async fn online(global: &Global, args: Online) -> Result<()> {
    let clients = global.clients()?;
    let account = clients.billing_account(&args.account).await?;
    let currency: Currency =
        account.currency_code.parse().attempt(|| "reading the account's currency".to_owned())?;
    let request_id = args.once.id();
    let request = CreateRechargeRequest {
        request_id: request_id.clone(),
        billing_account_id: account.id,
        amount: Some(Money { minor: args.amount, currency }.to_message()),
        channel: RechargeChannel::Alipay.into(),
        buys_card: args.card,
    };
    let created = clients.wallet().create_recharge(request).await;
    let created = created.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    global.output().record(&recharges_table(&[present(created.recharge, "recharge")?]))
}

/// Recharges as a table.
pub fn recharges_table(recharges: &[Recharge]) -> Table {
    let mut table = Table::new(&[
        "id",
        "amount",
        "channel",
        "state",
        "card",
        "created_at",
        "expires_at",
        "paid_at",
        "closed_at",
        "external_ref",
        "payment_url",
    ]);
    for recharge in recharges {
        table.row([
            Cell::text(&recharge.id),
            Cell::money(recharge.amount.as_ref()),
            Cell::name(recharge.channel().as_str_name(), "RECHARGE_CHANNEL_"),
            Cell::name(recharge.state().as_str_name(), "RECHARGE_STATE_"),
            Cell::Flag(recharge.buys_card),
            Cell::time(recharge.create_time),
            Cell::time(recharge.expire_time),
            Cell::time(recharge.pay_time),
            Cell::time(recharge.close_time),
            Cell::text(&recharge.external_ref),
            Cell::text(&recharge.payment_url),
        ]);
    }
    table
}
