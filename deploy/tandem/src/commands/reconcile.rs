//! `tandem reconcile`: compares subscriptions with the clouds' own record.

use serde_json::json;
use tandem_proto::billing::v1::{ReconcileDifference, ReconcileRequest};

use crate::cli::{Global, Once};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Compare subscriptions with the clouds' own record and converge them.
///
/// It runs by itself every hour; this is for an operator who does not want to wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem reconcile
  tandem reconcile --subscription sub_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f")]
pub struct Args {
    /// Only this subscription, sub_…
    #[arg(long, default_value = "", hide_default_value = true)]
    subscription: String,
    #[command(flatten)]
    once: Once,
}

/// Compares and shows what differed.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let request_id = args.once.id();
    let request = ReconcileRequest { request_id: request_id.clone(), subscription_id: args.subscription };
    let answer = clients.marketplace().reconcile(request).await;
    let found = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    let differences = differences_table(&found.differences);
    if global.json {
        return output.value(&json!({
            "compared": found.compared_count,
            "unanswered": found.unanswered_count,
            "differences": differences.to_json(),
        }));
    }
    output.say(&format!("{} compared, {} not answered", found.compared_count, found.unanswered_count))?;
    if differences.is_empty() { output.say("nothing differed") } else { output.table(&differences) }
}

fn differences_table(differences: &[ReconcileDifference]) -> Table {
    let mut table = Table::new(&["subscription_id", "ours", "theirs"]);
    for difference in differences {
        table.row([
            Cell::text(&difference.subscription_id),
            Cell::name(difference.ours().as_str_name(), "SUBSCRIPTION_STATE_"),
            Cell::name(difference.theirs().as_str_name(), "SUBSCRIPTION_STATE_"),
        ]);
    }
    table
}
