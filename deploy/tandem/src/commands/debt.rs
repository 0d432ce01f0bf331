//! `tandem debt`: what an account owes, and which workspaces hang on it.

use clap::Subcommand;
use tandem_proto::billing::v1::{Debt, GetDebtRequest, HeldWorkspace};

use crate::cli::Global;
use crate::client::present;
use crate::failure::Result;
use crate::output::{Cell, Table};

/// Debts: what is owed, until when, and what would end it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem debt show lin_teahouse
  tandem debt workspaces lin_teahouse")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show what an account owes and until when it has to be settled
    Show {
        /// The billing account: its id, bac_…, or its username
        account: String,
    },
    /// List the workspaces of an account that are locked or about to be, and what would free them
    Workspaces {
        /// The billing account: its id, bac_…, or its username
        account: String,
    },
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let (Act::Show { account } | Act::Workspaces { account }) = &args.act;
    let request = GetDebtRequest { billing_account_id: clients.billing_account_id(account).await? };
    let answer = clients.standing().get_debt(request).await?.into_inner();
    let debt = present(answer.debt, "debt")?;
    match args.act {
        Act::Show { .. } => output.record(&record(&debt)),
        Act::Workspaces { .. } => {
            let shown = i32::try_from(debt.workspaces.len()).unwrap_or(i32::MAX);
            output.list(&held_table(&debt.workspaces), debt.workspace_count > shown)
        }
    }
}

/// A debt as a record.
pub fn record(debt: &Debt) -> Table {
    Table::of_one(vec![
        ("billing_account_id", Cell::text(&debt.billing_account_id)),
        ("username", Cell::text(&debt.username)),
        ("standing", Cell::name(debt.standing().as_str_name(), "ACCOUNT_STANDING_")),
        ("owed", Cell::money(debt.owed.as_ref())),
        ("owed_bills", Cell::text(debt.owed_bill_count.to_string())),
        ("since", Cell::time(debt.arrears_start_time)),
        ("settle_by", Cell::time(debt.settle_by_time)),
        ("workspaces", Cell::text(debt.workspace_count.to_string())),
    ])
}

/// Held workspaces as a table.
pub fn held_table(held: &[HeldWorkspace]) -> Table {
    let mut table =
        Table::new(&["workspace_id", "workspace", "settlement", "standing", "locks_at", "what_frees_it"]);
    for workspace in held {
        let remedies = workspace.remedies().map(|remedy| remedy.as_str_name().replace("REMEDY_", ""));
        table.row([
            Cell::text(&workspace.workspace_id),
            Cell::text(&workspace.name),
            Cell::name(workspace.settlement_method().as_str_name(), "SETTLEMENT_METHOD_"),
            Cell::name(workspace.standing().as_str_name(), "WORKSPACE_STANDING_"),
            Cell::time(workspace.lock_time),
            Cell::List(remedies.collect()),
        ]);
    }
    table
}
