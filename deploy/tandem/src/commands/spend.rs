//! `tandem spend`: what an account spent, and what is used but not billed yet.

use clap::ValueEnum;
use serde_json::json;
use tandem_proto::billing::v1::{GetSpendRequest, GetSpendResponse, SpendGroup, SpendRow};
use tandem_proto::day::UsageDay;

use crate::cli::{Global, Limit};
use crate::client::{Clients, PAGE_SIZE};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// What a row is about.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    /// Days
    Day,
    /// Items
    Item,
    /// Workspaces
    Workspace,
}

/// What an account spent from one day to another: on bills, and used but not billed yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem spend lin_teahouse --from 2026-03-01 --to 2026-03-31
  tandem spend lin_teahouse --from 2026-03-01 --to 2026-03-31 --by item
  tandem --json spend lin_teahouse --from 2026-03-01 --to 2026-03-31 --by workspace --limit 1000

`running` is rated with the price list in force; it changes until it is billed.")]
pub struct Args {
    /// The billing account: its id, bac_…, or its username
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// The first usage day, YYYY-MM-DD
    #[arg(long)]
    from: UsageDay,
    /// The last usage day, YYYY-MM-DD
    #[arg(long)]
    to: UsageDay,
    /// What each row is about
    #[arg(long, value_enum, default_value_t = By::Day)]
    by: By,
    /// Only this workspace, wks_…
    #[arg(long, default_value = "", hide_default_value = true)]
    workspace: String,
    #[command(flatten)]
    limit: Limit,
}

/// Shows what was spent.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let request = GetSpendRequest {
        billing_account_id: clients.billing_account_id(&args.account).await?,
        start_day: args.from.to_string(),
        end_day: args.to.to_string(),
        workspace_id: args.workspace.clone(),
        group_by: match args.by {
            By::Day => SpendGroup::Day,
            By::Item => SpendGroup::Item,
            By::Workspace => SpendGroup::Workspace,
        }
        .into(),
        page_size: PAGE_SIZE,
        ..Default::default()
    };
    let (spend, more) = collect(&clients, request, args.limit.limit).await?;
    let table = rows_table(args.by, &spend.rows);
    let totals = Table::of_one(vec![
        ("billed", Cell::amount(spend.billed.as_ref())),
        ("running", Cell::amount(spend.running.as_ref())),
        ("unpriced", Cell::List(unpriced(&spend))),
    ]);
    if global.json {
        let mut value = totals.to_json()[0].take();
        value["rows"] = table.to_json();
        value["more"] = json!(more);
        return output.value(&value);
    }
    output.list(&table, more)?;
    output.say("")?;
    output.record(&totals)
}

/// All rows up to a limit, with the totals of the first page.
async fn collect(
    clients: &Clients,
    mut request: GetSpendRequest,
    limit: usize,
) -> Result<(GetSpendResponse, bool)> {
    let mut all = clients.bills().get_spend(request.clone()).await?.into_inner();
    while !all.next_page_token.is_empty() && all.rows.len() < limit {
        if request.page_token == all.next_page_token {
            return Err(Failure::failed("the service repeats a page token"));
        }
        request.page_token.clone_from(&all.next_page_token);
        let page = clients.bills().get_spend(request.clone()).await?.into_inner();
        all.rows.extend(page.rows);
        all.next_page_token = page.next_page_token;
    }
    let more = !all.next_page_token.is_empty() || all.rows.len() > limit;
    all.rows.truncate(limit);
    Ok((all, more))
}

fn unpriced(spend: &GetSpendResponse) -> Vec<String> {
    spend.unpriced_items().map(|item| Cell::name(item.as_str_name(), "BILLING_ITEM_").to_text()).collect()
}

/// What was spent as a table.
pub fn rows_table(by: By, rows: &[SpendRow]) -> Table {
    let mut table = match by {
        By::Day => Table::new(&["usage_day", "billed", "running"]),
        By::Item => Table::new(&["item", "billed", "running"]),
        By::Workspace => Table::new(&["workspace_id", "workspace", "billed", "running"]),
    };
    for row in rows {
        let mut cells = match by {
            By::Day => vec![Cell::text(&row.usage_day)],
            By::Item if row.item == 0 => vec![Cell::text("ROUNDING")],
            By::Item => vec![Cell::name(row.item().as_str_name(), "BILLING_ITEM_")],
            By::Workspace => vec![Cell::text(&row.workspace_id), Cell::text(&row.workspace_name)],
        };
        cells.extend([Cell::amount(row.billed.as_ref()), Cell::amount(row.running.as_ref())]);
        table.row(cells);
    }
    table
}
