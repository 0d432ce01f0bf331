//! `tandem workspace`: workspaces and how they are settled.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1::{
    GetBindingRequest, ListBindingHistoryRequest, ListBindingsRequest, ListLogModesRequest, LogMode,
    LogModePeriod, SetLogModeRequest, SettlementPeriod, WorkspaceBinding,
};
use tandem_proto::console::v1::{GetWorkspaceRequest, Workspace};

use super::workspace_change;
use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Workspaces and how they are settled.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem workspace show wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  tandem workspace bindings --account lin_teahouse
  tandem workspace history wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  tandem workspace log-mode wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f volume
  tandem workspace settle wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f CLOUD --later
  tandem workspace move wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --to wang_coffee
  tandem workspace retention wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f LOG_COUNT 30
  tandem workspace unlock-link wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  tandem workspace dissolve wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --name 'Tea house'")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show a workspace as the Console knows it
    Show {
        /// The workspace, wks_…
        workspace: String,
    },
    /// Show how a workspace is settled now, or all workspaces of an account
    Bindings {
        /// The workspace, wks_…
        #[arg(required_unless_present = "account", conflicts_with = "account")]
        workspace: Option<String>,
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show how a workspace was settled from the beginning
    History {
        /// The workspace, wks_…
        workspace: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show by what a workspace's logs are charged, or change it from its next usage day on
    LogMode {
        /// The workspace, wks_…
        workspace: String,
        /// By what from the next usage day on; without it the history is shown
        #[arg(value_enum)]
        mode: Option<Logs>,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        once: Once,
    },
    /// Change how a workspace is settled, or note that it is to be when the purchase is made
    Settle(workspace_change::Settle),
    /// Move a workspace to another billing account; both accounts agree by mailed codes
    Move(workspace_change::Move),
    /// Set how long one item's data is kept, in the owner's name
    Retention(workspace_change::Retention),
    /// Dissolve a workspace for good, confirmed by its owner
    Dissolve(super::workspace_acts::Dissolve),
    /// Unlock a locked workspace once nothing is owed any more; it starts empty
    Unlock(super::workspace_acts::Unlock),
    /// Make a link that shows what is owed and what would unlock a workspace, without signing in
    UnlockLink(super::workspace_acts::UnlockLink),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Logs {
    /// By their number: LOG_COUNT
    Count,
    /// By their volume: LOG_INGEST
    Volume,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::Dissolve(args) => super::workspace_acts::dissolve(global, args).await,
        Act::Unlock(args) => super::workspace_acts::unlock(global, args).await,
        Act::UnlockLink(args) => super::workspace_acts::unlock_link(global, args).await,
        Act::Show { workspace } => {
            let request = GetWorkspaceRequest { workspace_id: workspace, acting_account_id: String::new() };
            let answer = clients.workspaces().get_workspace(request).await?.into_inner();
            output.record(&record(&present(answer.workspace, "workspace")?))
        }
        Act::Bindings { workspace: Some(workspace), .. } => {
            let request = GetBindingRequest { workspace_id: workspace };
            let answer = clients.bindings().get_binding(request).await?.into_inner();
            output.record(&bindings_table(&[present(answer.binding, "binding")?]))
        }
        Act::Bindings { workspace: None, account, limit } => {
            let account = clients.billing_account_id(&account.unwrap_or_default()).await?;
            let bindings = bindings(&clients, &account, limit.limit).await?;
            output.list(&bindings_table(&bindings.rows), bindings.more)
        }
        Act::History { workspace, limit } => {
            let periods = history(&clients, &workspace, limit.limit).await?;
            output.list(&history_table(&periods.rows), periods.more)
        }
        Act::LogMode { workspace, mode: None, limit, .. } => {
            let periods = log_modes(&clients, &workspace, limit.limit).await?;
            if periods.rows.is_empty() && !global.json {
                return output.say("by count, from the beginning");
            }
            output.list(&log_modes_table(&periods.rows), periods.more)
        }
        Act::LogMode { workspace, mode: Some(mode), once, .. } => {
            let request_id = once.id();
            let log_mode = match mode {
                Logs::Count => LogMode::Count,
                Logs::Volume => LogMode::Ingest,
            };
            let request = SetLogModeRequest {
                request_id: request_id.clone(),
                workspace_id: workspace,
                log_mode: log_mode.into(),
            };
            let answer = clients.prices().set_log_mode(request).await;
            let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
            output.record(&log_modes_table(&[present(answer.period, "period")?]))
        }
        Act::Settle(args) => workspace_change::settle(&clients, output, args).await,
        Act::Move(args) => workspace_change::move_to(&clients, output, args).await,
        Act::Retention(args) => workspace_change::retention(&clients, output, args).await,
    }
}

/// By what a workspace's logs were, are and will be charged, oldest first.
async fn log_modes(clients: &Clients, workspace: &str, limit: usize) -> Result<Listed<LogModePeriod>> {
    let periods = all_pages(limit, |page_token| async move {
        let request =
            ListLogModesRequest { workspace_id: workspace.to_owned(), page_size: PAGE_SIZE, page_token };
        let page = clients.prices().list_log_modes(request).await?.into_inner();
        Ok((page.periods, page.next_page_token))
    });
    periods.await
}

fn log_modes_table(periods: &[LogModePeriod]) -> Table {
    let mut table = Table::new(&["log_mode", "from", "set_at", "set_by"]);
    for period in periods {
        table.row([
            Cell::name(period.log_mode().as_str_name(), "LOG_MODE_"),
            Cell::text(&period.start_day),
            Cell::time(period.set_time),
            Cell::text(&period.set_by),
        ]);
    }
    table
}

/// An account's bound workspaces.
pub async fn bindings(clients: &Clients, account: &str, limit: usize) -> Result<Listed<WorkspaceBinding>> {
    let bindings = all_pages(limit, |page_token| async move {
        let request =
            ListBindingsRequest { billing_account_id: account.to_owned(), page_size: PAGE_SIZE, page_token };
        let page = clients.bindings().list_bindings(request).await?.into_inner();
        Ok((page.bindings, page.next_page_token))
    });
    bindings.await
}

/// How a workspace was settled, oldest first.
pub async fn history(clients: &Clients, workspace: &str, limit: usize) -> Result<Listed<SettlementPeriod>> {
    let periods = all_pages(limit, |page_token| async move {
        let request = ListBindingHistoryRequest {
            workspace_id: workspace.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.bindings().list_binding_history(request).await?.into_inner();
        Ok((page.periods, page.next_page_token))
    });
    periods.await
}

/// A workspace as a table of one.
pub(super) fn record(workspace: &Workspace) -> Table {
    let retention = workspace.retention.iter().map(|r| {
        let item = r.item().as_str_name().trim_start_matches("BILLING_ITEM_");
        match r.next_time {
            None => format!("{item} {} d", r.days),
            Some(_) => {
                format!("{item} {} d, {} d from {}", r.days, r.next_days, Cell::time(r.next_time).to_text())
            }
        }
    });
    Table::of_one(vec![
        ("id", Cell::text(&workspace.id)),
        ("name", Cell::text(&workspace.name)),
        ("site", Cell::text(&workspace.site)),
        ("language", Cell::name(workspace.language().as_str_name(), "LANGUAGE_")),
        ("plan", Cell::name(workspace.plan().as_str_name(), "PLAN_")),
        ("standing", Cell::name(workspace.standing().as_str_name(), "WORKSPACE_STANDING_")),
        ("locks_at", Cell::time(workspace.lock_time)),
        ("settlement", Cell::name(workspace.settlement_method().as_str_name(), "SETTLEMENT_METHOD_")),
        ("billing_account_id", Cell::text(&workspace.billing_account_id)),
        ("owner_account_id", Cell::text(&workspace.owner_account_id)),
        ("charged_from", Cell::time(workspace.charge_start_time)),
        ("created_at", Cell::time(workspace.create_time)),
        ("retention", Cell::List(retention.collect())),
    ])
}

/// Bindings as a table.
pub fn bindings_table(bindings: &[WorkspaceBinding]) -> Table {
    let mut table = Table::new(&[
        "workspace_id",
        "workspace",
        "site",
        "billing_account_id",
        "settlement",
        "subscription_id",
        "standing",
        "locks_at",
        "bound_at",
        "method_since",
        "waits_for",
        "waits_until",
    ]);
    for binding in bindings {
        table.row([
            Cell::text(&binding.workspace_id),
            Cell::text(&binding.workspace_name),
            Cell::text(&binding.site),
            Cell::text(&binding.billing_account_id),
            Cell::name(binding.settlement_method().as_str_name(), "SETTLEMENT_METHOD_"),
            Cell::text(&binding.subscription_id),
            Cell::name(binding.standing().as_str_name(), "WORKSPACE_STANDING_"),
            Cell::time(binding.lock_time),
            Cell::time(binding.bind_time),
            Cell::time(binding.method_start_time),
            binding.pending_change.as_ref().map_or(Cell::Absent, |pending| {
                Cell::name(pending.settlement_method().as_str_name(), "SETTLEMENT_METHOD_")
            }),
            Cell::time(binding.pending_change.as_ref().and_then(|pending| pending.expire_time)),
        ]);
    }
    table
}

/// A workspace's settlement periods as a table.
pub fn history_table(periods: &[SettlementPeriod]) -> Table {
    let mut table = Table::new(&[
        "from",
        "until",
        "settlement",
        "cause",
        "billing_account_id",
        "cloud_account_id",
        "subscription_id",
    ]);
    for period in periods {
        table.row([
            Cell::time(period.start_time),
            Cell::time(period.end_time),
            Cell::name(period.settlement_method().as_str_name(), "SETTLEMENT_METHOD_"),
            Cell::name(period.cause().as_str_name(), "PERIOD_CAUSE_"),
            Cell::text(&period.billing_account_id),
            Cell::text(&period.cloud_account_id),
            Cell::text(&period.subscription_id),
        ]);
    }
    table
}
