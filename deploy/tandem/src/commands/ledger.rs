//! `tandem ledger`: lists an account's entries, proves the ledger.

use clap::Subcommand;
use serde_json::json;
use tandem_proto::billing::v1::{
    LedgerEntry, ListLedgerEntriesRequest, ProveLedgerRequest, ProveLedgerResponse,
};

use crate::cli::{Global, Limit};
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// The ledger: list entries, prove it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem ledger list --account lin_teahouse
  tandem ledger prove                  exit code 4 when a sum is not zero or a balance differs from its entries")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List an account's entries, oldest first
    List {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Recompute every balance and every transfer's sum
    Prove {
        /// Only this account's: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
    },
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::List { account, limit } => {
            let account = clients.billing_account_id(&account).await?;
            let entries = list(&clients, &account, limit.limit).await?;
            output.list(&entries_table(&entries.rows), entries.more)
        }
        Act::Prove { account } => {
            let account = match account {
                Some(name) => clients.billing_account_id(&name).await?,
                None => String::new(),
            };
            let proof = prove(&clients, &account).await?;
            if global.json {
                output.value(&json!({
                    "entries": proof.entry_count,
                    "sums": sums_table(&proof).to_json(),
                    "differences": differences_table(&proof).to_json(),
                }))?;
            } else {
                output.say(&format!("{} entries", proof.entry_count))?;
                output.table(&sums_table(&proof))?;
                if !proof.differences.is_empty() {
                    output.say("")?;
                    output.table(&differences_table(&proof))?;
                }
            }
            verdict(&proof)
        }
    }
}

/// An account's entries, oldest first.
pub async fn list(clients: &Clients, account: &str, limit: usize) -> Result<Listed<LedgerEntry>> {
    let entries = all_pages(limit, |page_token| async move {
        let request = ListLedgerEntriesRequest {
            billing_account_id: account.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
            ..Default::default()
        };
        let page = clients.wallet().list_ledger_entries(request).await?.into_inner();
        Ok((page.entries, page.next_page_token))
    });
    entries.await
}

/// What the service finds when it recomputes the ledger.
pub async fn prove(clients: &Clients, account: &str) -> Result<ProveLedgerResponse> {
    let request = ProveLedgerRequest { billing_account_id: account.to_owned() };
    Ok(clients.wallet().prove_ledger(request).await?.into_inner())
}

/// Fails when a currency's sum is not zero or anything differed.
pub fn verdict(proof: &ProveLedgerResponse) -> Result<()> {
    let unsound = proof.sums.iter().filter(|sum| sum.minor_units != 0).count();
    if unsound == 0 && proof.differences.is_empty() {
        return Ok(());
    }
    let differences = proof.differences.len();
    Err(Failure::Proof(format!("{unsound} currencies do not add up to zero, {differences} differences")))
}

/// Entries as a table.
pub fn entries_table(entries: &[LedgerEntry]) -> Table {
    let mut table =
        Table::new(&["at", "account", "amount", "balance_after", "cause", "cause_id", "transfer_id"]);
    for entry in entries {
        table.row([
            Cell::time(entry.entry_time),
            Cell::name(entry.account().as_str_name(), "LEDGER_ACCOUNT_KIND_"),
            Cell::money(entry.amount.as_ref()),
            Cell::money(entry.balance_after.as_ref()),
            Cell::text(&entry.cause),
            Cell::text(&entry.cause_id),
            Cell::text(&entry.transfer_id),
        ]);
    }
    table
}

/// The sum of each currency as a table.
pub fn sums_table(proof: &ProveLedgerResponse) -> Table {
    let mut table = Table::new(&["currency", "sum"]);
    for sum in &proof.sums {
        table.row([Cell::text(&sum.currency_code), Cell::money(Some(sum))]);
    }
    table
}

fn differences_table(proof: &ProveLedgerResponse) -> Table {
    let mut table = Table::new(&["subject", "stored", "recomputed"]);
    for difference in &proof.differences {
        table.row([
            Cell::text(&difference.subject),
            Cell::text(&difference.stored),
            Cell::text(&difference.recomputed),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use tandem_proto::billing::v1::LedgerDifference;
    use tandem_proto::common::v1::Money;

    use super::*;

    #[test]
    fn a_proof_fails_on_a_sum_or_a_difference() {
        let sum = |minor_units| Money { currency_code: "CNY".to_owned(), minor_units };
        let mut proof = ProveLedgerResponse { entry_count: 2, sums: vec![sum(0)], differences: Vec::new() };
        assert!(verdict(&proof).is_ok());
        proof.sums.push(sum(-1));
        assert_eq!(verdict(&proof).unwrap_err().exit_code(), 4);
        proof.sums.pop();
        proof.differences.push(LedgerDifference::default());
        assert_eq!(verdict(&proof).unwrap_err().exit_code(), 4);
    }
}
