//! `tandem alert`: thresholds of what a workspace may cost.

use tandem_proto::billing::v1::{
    DeleteSpendAlertRequest, ListSpendAlertsRequest, SetSpendAlertRequest, SpendAlert,
};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, Money};

use super::recharge::amount;
use crate::cli::{Global, Once};
use crate::client::{PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Thresholds of what a workspace may cost: set, list, delete.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem alert set --workspace wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --amount 5000.00 --notify ops@example.com
  tandem alert set --workspace wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --item LOG_COUNT --amount 200.00
  tandem alert list --account lin_teahouse

Without --item the workspace's total of the calendar month is watched, with it that item's amount of one day.
The owner is always told, once for each threshold and period.")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Set a threshold, or change the one that watches the same
    Set {
        /// The workspace, wks_…
        #[arg(long)]
        workspace: String,
        /// The item whose daily amount is watched; without it the month's total
        #[arg(long)]
        item: Option<BillingItem>,
        /// More than this is told of, with at most two decimals
        #[arg(long, value_name = "AMOUNT", value_parser = amount)]
        amount: i64,
        /// The currency of the workspace's account
        #[arg(long, default_value = "CNY")]
        currency: Currency,
        /// Who is told beside the owner; repeat for several
        #[arg(long, value_name = "E-MAIL")]
        notify: Vec<String>,
        #[command(flatten)]
        once: Once,
    },
    /// An account's thresholds and what they told last
    List {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// Only of this workspace, wks_…
        #[arg(long, default_value = "", hide_default_value = true)]
        workspace: String,
    },
    /// Delete a threshold
    Delete {
        /// The workspace, wks_…
        #[arg(long)]
        workspace: String,
        /// The threshold, alr_…
        alert: String,
        #[command(flatten)]
        once: Once,
    },
}

/// Sets, lists or deletes thresholds.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::Set { workspace, item, amount, currency, notify, once } => {
            let request_id = once.id();
            let request = SetSpendAlertRequest {
                request_id: request_id.clone(),
                workspace_id: workspace,
                item: item.map_or(0, |item| item.to_message().into()),
                threshold: Some(Money { minor: amount, currency }.to_message()),
                notify,
            };
            let answer = clients.alerts().set_spend_alert(request).await;
            let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
            output.table(&alerts_table(&[present(answer.alert, "alert")?]))
        }
        Act::List { account, workspace } => {
            let billing_account_id = clients.billing_account_id(&account).await?;
            let listed = all_pages(usize::MAX, |page_token| async {
                let request = ListSpendAlertsRequest {
                    billing_account_id: billing_account_id.clone(),
                    workspace_id: workspace.clone(),
                    page_size: PAGE_SIZE,
                    page_token,
                };
                let page = clients.alerts().list_spend_alerts(request).await?.into_inner();
                Ok((page.alerts, page.next_page_token))
            });
            output.table(&alerts_table(&listed.await?.rows))
        }
        Act::Delete { workspace, alert, once } => {
            let request_id = once.id();
            let request = DeleteSpendAlertRequest {
                request_id: request_id.clone(),
                workspace_id: workspace,
                alert_id: alert.clone(),
            };
            let answer = clients.alerts().delete_spend_alert(request).await;
            answer.map_err(|status| Failure::of_act(status, &request_id))?;
            output.say(&format!("deleted {alert}"))
        }
    }
}

/// Thresholds as a table.
pub fn alerts_table(alerts: &[SpendAlert]) -> Table {
    let columns = ["alert_id", "workspace_id", "watches", "threshold", "notify", "last_told", "spent_then"];
    let mut table = Table::new(&columns);
    for alert in alerts {
        let told = alert.last_notice.as_ref();
        let watches = match Cell::name(alert.item().as_str_name(), "BILLING_ITEM_") {
            Cell::Absent => Cell::text("month's total"),
            item => item,
        };
        table.row([
            Cell::text(&alert.id),
            Cell::text(&alert.workspace_id),
            watches,
            Cell::money(alert.threshold.as_ref()),
            Cell::List(alert.notify.clone()),
            told.map_or(Cell::Absent, |told| Cell::text(&told.period)),
            told.map_or(Cell::Absent, |told| Cell::amount(told.spent.as_ref())),
        ]);
    }
    table
}
