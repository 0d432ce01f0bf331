//! `tandem workspace settle`, `move` and `retention`: what an operator changes of a workspace.

use tandem_proto::billing::v1::change_settlement_method_request::Purchase as ChangePurchase;
use tandem_proto::billing::v1::complete_settlement_change_request::Purchase as CompletePurchase;
use tandem_proto::billing::v1::{
    CancelSettlementChangeRequest, ChangeSettlementMethodRequest, CompleteSettlementChangeRequest,
    GetBindingRequest, MoveWorkspaceRequest, RequestSettlementChangeRequest, SendMoveCodesRequest,
    WorkspaceBinding,
};
use tandem_proto::common::v1::{BillingItem, PurchaseIds};
use tandem_proto::console::v1::{GetWorkspaceRequest, SetRetentionRequest};
use tandem_proto::settlement::SettlementMethod;

use super::workspace::{bindings_table, record};
use crate::cli::Once;
use crate::client::{Clients, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Output, Table};

/// How a workspace is to be settled.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem workspace settle wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f billing_center
  tandem workspace settle wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f CLOUD --vendor-account 1744500000000021 --instance 1551234567
  tandem workspace settle wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f CLOUD --later     the purchase is still to be made
  tandem workspace settle wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f CLOUD --cancel    and is not going to be")]
pub struct Settle {
    /// The workspace, wks_…
    workspace: String,
    /// Who is charged: billing_center, or a cloud by its name
    method: SettlementMethod,
    /// A purchase: the buyer's account ID in the cloud
    #[arg(long, value_name = "ID", requires = "instance")]
    vendor_account: Option<String>,
    /// A purchase: its instance ID in the cloud
    #[arg(long, value_name = "ID", requires = "vendor_account")]
    instance: Option<String>,
    /// A purchase: the landing ticket of a buyer who came from the market, lnd_…
    #[arg(long, conflicts_with = "instance")]
    ticket: Option<String>,
    /// A purchase: a cloud account that the billing account uses already, cla_…
    #[arg(long, conflicts_with_all = ["instance", "ticket"])]
    cloud_account: Option<String>,
    /// Only note it: the purchase is still to be made, within 24 hours
    #[arg(long, conflicts_with_all = ["instance", "ticket", "cloud_account"])]
    later: bool,
    /// Drop what was noted
    #[arg(long, conflicts_with_all = ["instance", "ticket", "cloud_account", "later"])]
    cancel: bool,
    #[command(flatten)]
    once: Once,
}

/// Changes the method, or notes or forgets that it is to be changed.
pub async fn settle(clients: &Clients, output: Output, args: Settle) -> Result<()> {
    let present_binding = binding(clients, &args.workspace).await?;
    let (request_id, workspace_id) = (args.once.id(), args.workspace.clone());
    let billing_account_id = present_binding.billing_account_id.clone();
    let settlement_method = i32::from(args.method.to_message());
    let refused = |status| Failure::of_act(status, &request_id);
    let mut bindings = clients.bindings();
    let waits = present_binding.pending_change.as_ref();
    let waits = waits.is_some_and(|pending| pending.settlement_method == settlement_method);
    let request_id = request_id.clone();
    let changed = if args.cancel {
        let request = CancelSettlementChangeRequest { request_id, billing_account_id, workspace_id };
        bindings.cancel_settlement_change(request).await.map_err(refused)?.into_inner().binding
    } else if args.later {
        let request = RequestSettlementChangeRequest {
            request_id,
            billing_account_id,
            workspace_ids: vec![workspace_id],
            settlement_method,
        };
        bindings.request_settlement_change(request).await.map_err(refused)?.into_inner().bindings.pop()
    } else if waits {
        let purchase = args.purchase().map(|purchase| match purchase {
            Purchase::Ids(ids) => CompletePurchase::PurchaseIds(ids),
            Purchase::Ticket(id) => CompletePurchase::LandingTicket(id),
            Purchase::CloudAccount(id) => CompletePurchase::CloudAccountId(id),
        });
        let request = CompleteSettlementChangeRequest {
            request_id,
            billing_account_id,
            settlement_method,
            workspace_ids: vec![workspace_id],
            purchase,
        };
        bindings.complete_settlement_change(request).await.map_err(refused)?.into_inner().bindings.pop()
    } else {
        let purchase = args.purchase().map(|purchase| match purchase {
            Purchase::Ids(ids) => ChangePurchase::PurchaseIds(ids),
            Purchase::Ticket(id) => ChangePurchase::LandingTicket(id),
            Purchase::CloudAccount(id) => ChangePurchase::CloudAccountId(id),
        });
        let request = ChangeSettlementMethodRequest {
            request_id,
            billing_account_id,
            workspace_id,
            settlement_method,
            purchase,
        };
        bindings.change_settlement_method(request).await.map_err(refused)?.into_inner().binding
    };
    output.record(&bindings_table(&[present(changed, "binding")?]))
}

enum Purchase {
    Ids(PurchaseIds),
    Ticket(String),
    CloudAccount(String),
}

impl Settle {
    fn purchase(&self) -> Option<Purchase> {
        if let (Some(account), Some(instance)) = (&self.vendor_account, &self.instance) {
            return Some(Purchase::Ids(PurchaseIds {
                vendor_account_id: account.clone(),
                vendor_instance_id: instance.clone(),
            }));
        }
        let ticket = self.ticket.clone().map(Purchase::Ticket);
        ticket.or_else(|| self.cloud_account.clone().map(Purchase::CloudAccount))
    }
}

/// Where a workspace is to be moved.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem workspace move wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --to wang_coffee          mails both codes
  tandem workspace move wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --to wang_coffee --from-code 123456 --to-code 654321")]
pub struct Move {
    /// The workspace, wks_…
    workspace: String,
    /// The username of the billing account that is to pay
    #[arg(long, value_name = "USERNAME")]
    to: String,
    /// The code mailed to the account that pays now; without codes they are mailed
    #[arg(long, value_name = "CODE", requires = "to_code")]
    from_code: Option<String>,
    /// The code mailed to the account that is to pay
    #[arg(long, value_name = "CODE", requires = "from_code")]
    to_code: Option<String>,
    #[command(flatten)]
    once: Once,
}

/// Mails the codes, or moves the workspace by them.
pub async fn move_to(clients: &Clients, output: Output, args: Move) -> Result<()> {
    let request_id = args.once.id();
    let refused = |status| Failure::of_act(status, &request_id);
    let (Some(from_code), Some(to_code)) = (args.from_code, args.to_code) else {
        let request = SendMoveCodesRequest {
            request_id: request_id.clone(),
            workspace_id: args.workspace,
            to_username: args.to,
        };
        let answer = clients.bindings().send_move_codes(request).await.map_err(refused)?.into_inner();
        let minutes = answer.valid_seconds / 60;
        return output.say(&format!(
            "If there are such a workspace and account, each side has a code in its mail now, good for {minutes} \
             minutes. Go on with --from-code CODE --to-code CODE"
        ));
    };
    let request = MoveWorkspaceRequest {
        request_id: request_id.clone(),
        workspace_id: args.workspace,
        to_username: args.to,
        from_code,
        to_code,
    };
    let answer = clients.bindings().move_workspace(request).await.map_err(refused)?.into_inner();
    let moved = present(answer.binding, "binding")?;
    output.record(&Table::of_one(vec![
        ("workspace_id", Cell::text(moved.workspace_id)),
        ("workspace", Cell::text(moved.workspace_name)),
        ("billing_account_id", Cell::text(moved.billing_account_id)),
        ("pays_from_day", Cell::text(answer.first_day)),
        ("moved_at", Cell::time(moved.bind_time)),
    ]))
}

/// How long an item's data is to be kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first change of an item on a day acts with the next full hour, further ones on the next day.

Examples:
  tandem workspace retention wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f LOG_COUNT 30")]
pub struct Retention {
    /// The workspace, wks_…
    workspace: String,
    /// The item, such as TIME_SERIES or LOG_COUNT
    #[arg(value_parser = item)]
    item: BillingItem,
    /// Days, one of the item's choices
    days: i32,
    #[command(flatten)]
    once: Once,
}

fn item(name: &str) -> Result<BillingItem, String> {
    let found = BillingItem::from_str_name(&format!("BILLING_ITEM_{}", name.to_uppercase()));
    found.ok_or_else(|| "write an item such as TIME_SERIES, LOG_COUNT, APM_TRACE".to_owned())
}

/// Sets the retention.
pub async fn retention(clients: &Clients, output: Output, args: Retention) -> Result<()> {
    let request =
        GetWorkspaceRequest { workspace_id: args.workspace.clone(), acting_account_id: String::new() };
    let found = clients.workspaces().get_workspace(request).await?.into_inner().workspace;
    let request_id = args.once.id();
    let request = SetRetentionRequest {
        request_id: request_id.clone(),
        workspace_id: args.workspace,
        acting_account_id: present(found, "workspace")?.owner_account_id,
        item: args.item.into(),
        retention_days: args.days,
    };
    let answer = clients.workspaces().set_retention(request).await;
    let changed = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().workspace;
    output.record(&record(&present(changed, "workspace")?))
}

async fn binding(clients: &Clients, workspace: &str) -> Result<WorkspaceBinding> {
    let request = GetBindingRequest { workspace_id: workspace.to_owned() };
    present(clients.bindings().get_binding(request).await?.into_inner().binding, "binding")
}
