//! `tandem wallet`: an account's balances.

use tandem_proto::billing::v1::{GetWalletRequest, GetWalletResponse};

use crate::cli::Global;
use crate::failure::Result;
use crate::output::{Cell, Table};

/// An account's balances.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem wallet lin_teahouse
  tandem --json wallet bac_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f")]
pub struct Args {
    /// The billing account: its id, bac_…, or its username
    #[arg(value_name = "ACCOUNT")]
    account: String,
}

/// Shows the balances.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let clients = global.clients()?;
    let account = clients.billing_account(&args.account).await?;
    let request = GetWalletRequest { billing_account_id: account.id.clone() };
    let wallet = clients.wallet().get_wallet(request).await?.into_inner();
    global.output().record(&record(&account.id, &wallet))
}

/// The balances as a record.
pub fn record(account: &str, wallet: &GetWalletResponse) -> Table {
    Table::of_one(vec![
        ("billing_account_id", Cell::text(account)),
        ("cash", Cell::money(wallet.cash.as_ref())),
        ("overdraft", Cell::money(wallet.overdraft.as_ref())),
    ])
}
