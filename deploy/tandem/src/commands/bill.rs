//! `tandem bill`: makes, lists, shows, exports and proves bills.

use clap::Subcommand;
use indicatif::ProgressBar;
use serde_json::json;
use tandem_proto::billing::v1::{
    BillDifference, DailyBill, GetDailyBillRequest, ListDailyBillsRequest, ProveBillRequest,
    ProveBillsRequest, RunBillingRequest,
};
use tandem_proto::day::UsageDay;

use super::pdf::{self, Target};
use super::{bill_export, bill_monthly};
use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table, progress_is_seen};

/// Most differences that are shown; all are counted.
const DIFFERENCES_SHOWN_MAX: usize = 100;

/// Bills: make, list, show, export, prove.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem bill run --site cn1 --day 2026-03-01
  tandem bill list --account lin_teahouse
  tandem bill show --account lin_teahouse bil_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f
  tandem bill pdf --account lin_teahouse 2026-03 -o march.pdf
  tandem bill monthly --account lin_teahouse --month 2026-03
  tandem bill export --account lin_teahouse lines --from 2026-03-01 --to 2026-03-31 > march.csv
  tandem bill prove                    exit code 4 when a bill differs from its recomputation
  tandem bill prove --monthly          the same for monthly bills")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Make the bills of a site's closed day that are not made yet
    Run {
        /// The site's code, such as cn1
        #[arg(long)]
        site: String,
        /// The usage day, YYYY-MM-DD in the site's zone
        #[arg(long)]
        day: UsageDay,
        #[command(flatten)]
        once: Once,
    },
    /// List an account's bills, newest day first
    List {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// Only this workspace's, wks_…
        #[arg(long, default_value = "", hide_default_value = true)]
        workspace: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a bill with its lines
    Show {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The bill, bil_…
        bill: String,
    },
    /// Write a bill as a PDF: a workspace's day, or the account's month
    Pdf {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The bill, bil_…, or a month, YYYY-MM
        bill: String,
        #[command(flatten)]
        target: Target,
    },
    /// List an account's monthly bills, or show one with its items and workspaces
    Monthly(bill_monthly::Show),
    /// Make the monthly bills of a month that are not made yet
    RunMonth(bill_monthly::Run),
    /// Write daily lines, monthly totals or the ledger as CSV
    Export(bill_export::Export),
    /// Recompute bills from their usage and price list, and say what differs
    Prove {
        /// Only this bill, bil_…, line by line, with its payments and the ledger
        #[arg(value_name = "BILL", conflicts_with_all = ["account", "monthly"])]
        bill: Option<String>,
        /// Only this account's: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
        /// Monthly bills, from their daily bills
        #[arg(long)]
        monthly: bool,
    },
}

/// What a proof of bills found.
#[derive(Debug, Default)]
pub struct Proof {
    /// Bills that were recomputed.
    pub proved: u64,
    /// How many differences there are.
    pub different: u64,
    /// The first of them.
    pub shown: Vec<BillDifference>,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::Run { site, day, once } => {
            let request_id = once.id();
            let request = RunBillingRequest {
                request_id: request_id.clone(),
                site: site.clone(),
                usage_day: day.to_string(),
            };
            let answer = clients.bills().run_billing(request).await;
            let issued =
                answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().issued_count;
            output.record(&Table::of_one(vec![
                ("site", Cell::text(site)),
                ("usage_day", Cell::text(day.to_string())),
                ("issued", Cell::Number(issued)),
            ]))
        }
        Act::List { account, workspace, limit } => {
            let account = clients.billing_account_id(&account).await?;
            let (bills, more) = list(&clients, &account, &workspace, limit.limit).await?;
            output.list(&bills_table(&bills), more)
        }
        Act::Show { account, bill } => {
            let account = clients.billing_account_id(&account).await?;
            let bill = show(&clients, &account, &bill).await?;
            if global.json {
                let mut value = bills_table(std::slice::from_ref(&bill)).to_json()[0].take();
                value["lines"] = lines_table(&bill).to_json();
                value["paid_by"] = payments_table(&bill).to_json();
                return output.value(&value);
            }
            output.record(&bills_table(std::slice::from_ref(&bill)))?;
            output.say("")?;
            output.table(&lines_table(&bill))?;
            output.say("")?;
            output.table(&payments_table(&bill))
        }
        Act::Pdf { account, bill, target } => pdf::bill(global, &clients, &account, &bill, &target).await,
        Act::Monthly(args) => bill_monthly::show(global, args).await,
        Act::RunMonth(args) => bill_monthly::run(global, args).await,
        Act::Export(args) => bill_export::run(global, args).await,
        Act::Prove { bill: Some(bill), .. } => prove_one(global, &clients, bill).await,
        Act::Prove { account, monthly, bill: None } => {
            let account = match account {
                Some(name) => clients.billing_account_id(&name).await?,
                None => String::new(),
            };
            if monthly {
                return bill_monthly::show_proof(global, &account).await;
            }
            let bar = if progress_is_seen() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
            let proof =
                prove(&clients, &account, "", |proved| bar.set_message(format!("{proved} bills"))).await?;
            bar.finish_and_clear();
            if global.json {
                let differences = differences_table(&proof.shown).to_json();
                let value = json!({ "proved": proof.proved, "different": proof.different, "differences": differences });
                output.value(&value)?;
            } else if proof.different == 0 {
                output.say(&output.style.green(&format!("{} bills recomputed, all equal", proof.proved)))?;
            } else {
                output.list(&differences_table(&proof.shown), false)?;
            }
            proof.verdict()
        }
    }
}

async fn prove_one(global: &Global, clients: &Clients, bill_id: String) -> Result<()> {
    let output = global.output();
    let proof = clients.bills().prove_bill(ProveBillRequest { bill_id }).await?.into_inner();
    let bill = present(proof.bill, "bill")?;
    if global.json {
        let mut value = bills_table(std::slice::from_ref(&bill)).to_json()[0].take();
        value["equal"] = json!(proof.equal);
        value["differences"] = differences_table(&proof.differences).to_json();
        output.value(&value)?;
    } else {
        output.record(&bills_table(std::slice::from_ref(&bill)))?;
        output.say("")?;
        match proof.equal {
            true => output.say(&output.style.green("recomputed from its usage and price lists: equal"))?,
            false => output.table(&differences_table(&proof.differences))?,
        }
    }
    if proof.equal {
        return Ok(());
    }
    Err(Failure::Proof(format!("{} differences in {}", proof.differences.len(), bill.id)))
}

impl Proof {
    /// Fails when anything differed.
    pub fn verdict(&self) -> Result<()> {
        if self.different == 0 {
            return Ok(());
        }
        Err(Failure::Proof(format!("{} differences in {} bills", self.different, self.proved)))
    }
}

/// An account's bills, newest day first, and whether there are more.
pub async fn list(
    clients: &Clients,
    account: &str,
    workspace: &str,
    limit: usize,
) -> Result<(Vec<DailyBill>, bool)> {
    let listed = all_pages(limit, |page_token| async move {
        let request = ListDailyBillsRequest {
            billing_account_id: account.to_owned(),
            workspace_id: workspace.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.bills().list_daily_bills(request).await?.into_inner();
        Ok((page.bills, page.next_page_token))
    });
    let listed = listed.await?;
    Ok((listed.rows, listed.more))
}

/// One bill with its lines.
pub async fn show(clients: &Clients, account: &str, bill: &str) -> Result<DailyBill> {
    let request = GetDailyBillRequest { billing_account_id: account.to_owned(), bill_id: bill.to_owned() };
    present(clients.bills().get_daily_bill(request).await?.into_inner().bill, "bill")
}

/// Proves bills page by page; `seen` is told how many were proved so far.
pub async fn prove(clients: &Clients, account: &str, bill: &str, mut seen: impl FnMut(u64)) -> Result<Proof> {
    let mut proof = Proof::default();
    let mut page_token = String::new();
    loop {
        let request = ProveBillsRequest {
            billing_account_id: account.to_owned(),
            bill_id: bill.to_owned(),
            page_size: PAGE_SIZE,
            page_token: page_token.clone(),
        };
        let page = clients.bills().prove_bills(request).await?.into_inner();
        proof.proved += u64::try_from(page.proved_count).unwrap_or(0);
        for difference in page.differences {
            proof.different += 1;
            if proof.shown.len() < DIFFERENCES_SHOWN_MAX {
                proof.shown.push(difference);
            }
        }
        seen(proof.proved);
        if page.next_page_token.is_empty() {
            return Ok(proof);
        }
        if page.next_page_token == page_token {
            return Err(Failure::failed("the service repeats a page token"));
        }
        page_token = page.next_page_token;
    }
}

/// Bills as a table.
pub fn bills_table(bills: &[DailyBill]) -> Table {
    let mut table = Table::new(&[
        "id",
        "usage_day",
        "workspace",
        "workspace_id",
        "kind",
        "settlement",
        "payable",
        "arrears",
        "state",
        "price_list",
        "issued_at",
        "paid_at",
    ]);
    for bill in bills {
        table.row([
            Cell::text(&bill.id),
            Cell::text(&bill.usage_day),
            Cell::text(&bill.workspace_name),
            Cell::text(&bill.workspace_id),
            Cell::name(bill.kind().as_str_name(), "BILL_KIND_"),
            Cell::name(bill.settlement_method().as_str_name(), "SETTLEMENT_METHOD_"),
            Cell::money(bill.payable.as_ref()),
            Cell::money(bill.arrears.as_ref()),
            Cell::name(bill.state().as_str_name(), "BILL_STATE_"),
            Cell::text(&bill.price_list_version),
            Cell::time(bill.issue_time),
            Cell::time(bill.paid_time),
        ]);
    }
    table
}

/// A bill's lines as a table.
pub fn lines_table(bill: &DailyBill) -> Table {
    let mut table = Table::new(&[
        "number",
        "kind",
        "item",
        "retention_days",
        "sub_key",
        "quantity",
        "unit_size",
        "unit_price",
        "amount",
        "adjusted_day",
        "package_id",
    ]);
    for line in &bill.lines {
        let rounding = line.item == 0;
        table.row([
            Cell::Number(line.number.into()),
            Cell::name(line.kind().as_str_name(), "BILL_LINE_KIND_"),
            Cell::name(line.item().as_str_name(), "BILLING_ITEM_"),
            if line.retention_days == 0 { Cell::Absent } else { Cell::Number(line.retention_days.into()) },
            Cell::text(&line.sub_key),
            if rounding { Cell::Absent } else { Cell::quantity(line.quantity_hundredths) },
            if rounding { Cell::Absent } else { Cell::Number(line.unit_size) },
            if rounding { Cell::Absent } else { Cell::amount(line.unit_price.as_ref()) },
            Cell::amount(line.amount.as_ref()),
            Cell::text(&line.adjusted_day),
            Cell::text(&line.package_id),
        ]);
    }
    table
}

/// What paid a bill as a table.
pub fn payments_table(bill: &DailyBill) -> Table {
    let mut table = Table::new(&["instrument", "amount", "paid_at", "lot_id"]);
    for payment in &bill.paid_by {
        table.row([
            Cell::name(payment.instrument().as_str_name(), "PAYMENT_INSTRUMENT_"),
            Cell::money(payment.amount.as_ref()),
            Cell::time(payment.pay_time),
            Cell::text(&payment.lot_id),
        ]);
    }
    table
}

fn differences_table(differences: &[BillDifference]) -> Table {
    let mut table = Table::new(&["bill_id", "what", "stored", "recomputed"]);
    for difference in differences {
        table.row([
            Cell::text(&difference.bill_id),
            Cell::text(&difference.what),
            Cell::text(&difference.stored),
            Cell::text(&difference.recomputed),
        ]);
    }
    table
}
