//! `tandem wallet`: an account's balances and what they are made of.

use tandem_proto::billing::v1::{GetWalletRequest, GetWalletResponse, ListLotsRequest, Lot};

use crate::cli::Global;
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages};
use crate::failure::Result;
use crate::output::{Cell, Table};

/// An account's balances, or with --lots the vouchers, cards and remainders of cash they are made of.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem wallet lin_teahouse
  tandem wallet lin_teahouse --lots --closed
  tandem --json wallet bac_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f")]
pub struct Args {
    /// The billing account: its id, bac_…, or its username
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// List vouchers, cards and remainders of cash
    #[arg(long)]
    lots: bool,
    /// With --lots: also those that are used up or expired
    #[arg(long, requires = "lots")]
    closed: bool,
}

/// More lots than anybody reads.
const LOTS_MAX: usize = 1_000;

/// Shows the balances.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let clients = global.clients()?;
    let account = clients.billing_account(&args.account).await?;
    if args.lots {
        let listed = lots(&clients, &account.id, args.closed).await?;
        return global.output().table(&lots_table(&listed.rows));
    }
    let request = GetWalletRequest { billing_account_id: account.id.clone() };
    let wallet = clients.wallet().get_wallet(request).await?.into_inner();
    global.output().record(&record(&account.id, &wallet))
}

/// The balances as a record.
pub fn record(account: &str, wallet: &GetWalletResponse) -> Table {
    Table::of_one(vec![
        ("billing_account_id", Cell::text(account)),
        ("cash", Cell::money(wallet.cash.as_ref())),
        ("prepaid_cards", Cell::money(wallet.prepaid_cards.as_ref())),
        ("general_vouchers", Cell::money(wallet.general_vouchers.as_ref())),
        ("discount_vouchers", Cell::money(wallet.discount_vouchers.as_ref())),
        ("overdraft", Cell::money(wallet.overdraft.as_ref())),
    ])
}

/// An account's lots, in the order they came.
pub async fn lots(clients: &Clients, account: &str, with_closed: bool) -> Result<Listed<Lot>> {
    let lots = all_pages(LOTS_MAX, |page_token| async move {
        let request = ListLotsRequest {
            billing_account_id: account.to_owned(),
            kind: 0,
            with_closed,
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.wallet().list_lots(request).await?.into_inner();
        Ok((page.lots, page.next_page_token))
    });
    lots.await
}

/// Lots as a table.
pub fn lots_table(lots: &[Lot]) -> Table {
    let mut table =
        Table::new(&["lot_id", "kind", "face_value", "balance", "state", "opened_at", "last_day", "origin"]);
    for lot in lots {
        table.row([
            Cell::text(&lot.id),
            Cell::name(lot.kind().as_str_name(), "LOT_KIND_"),
            Cell::money(lot.face_value.as_ref()),
            Cell::money(lot.balance.as_ref()),
            Cell::name(lot.state().as_str_name(), "LOT_STATE_"),
            Cell::time(lot.open_time),
            Cell::text(&lot.last_day),
            Cell::text(&lot.origin),
        ]);
    }
    table
}
