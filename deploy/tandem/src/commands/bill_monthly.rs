//! `tandem bill monthly` and `tandem bill run-month`: shows and makes monthly bills.

use clap::Args;
use serde_json::json;
use tandem_proto::billing::v1::{
    GetMonthlyBillRequest, ItemTotal, ListMonthlyBillWorkspacesRequest, ListMonthlyBillsRequest, MonthlyBill,
    MonthlyBillDifference, MonthlyBillWorkspace, ProveMonthlyBillsRequest, RunMonthlyBillingRequest,
};
use tandem_proto::month::Month;

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, Listed, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Most differences that are shown; all are counted.
const DIFFERENCES_SHOWN_MAX: usize = 100;

/// What `tandem bill monthly` takes.
#[derive(Debug, Args)]
pub struct Show {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// Show this month's bill with its items and workspaces, YYYY-MM; without it all months are listed
    #[arg(long)]
    month: Option<Month>,
    /// Which of two bills, when the account's currency was changed in the month [default: the present one's]
    #[arg(long, default_value = "", hide_default_value = true, requires = "month")]
    currency: String,
    #[command(flatten)]
    limit: Limit,
}

/// What `tandem bill run-month` takes.
#[derive(Debug, Args)]
pub struct Run {
    /// The month, YYYY-MM; open months before it are made first
    #[arg(long)]
    month: Month,
    /// Only this account's: its id, bac_…, or its username
    #[arg(long)]
    account: Option<String>,
    /// Do not wait for sites that have not billed the month to its end; what they bill later is adjusted next month
    #[arg(long)]
    without_waiting: bool,
    #[command(flatten)]
    once: Once,
}

/// Lists monthly bills or shows one.
pub async fn show(global: &Global, args: Show) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let account = clients.billing_account_id(&args.account).await?;
    let Some(month) = args.month else {
        let listed = list(&clients, &account, args.limit.limit).await?;
        return output.list(&bills_table(&listed.rows), listed.more);
    };
    let request = GetMonthlyBillRequest {
        billing_account_id: account.clone(),
        month: month.to_string(),
        currency_code: args.currency.clone(),
    };
    let bill = present(clients.bills().get_monthly_bill(request).await?.into_inner().bill, "bill")?;
    let parts = workspaces(&clients, &account, month, &args.currency, args.limit.limit).await?;
    if global.json {
        let mut value = bills_table(std::slice::from_ref(&bill)).to_json()[0].take();
        value["items"] = items_table(&bill.items).to_json();
        value["paid_by"] = paid_table(&bill).to_json();
        value["workspaces"] = workspaces_table(&parts.rows).to_json();
        return output.value(&value);
    }
    output.record(&bills_table(std::slice::from_ref(&bill)))?;
    for table in [items_table(&bill.items), paid_table(&bill)] {
        output.say("")?;
        output.table(&table)?;
    }
    output.say("")?;
    output.list(&workspaces_table(&parts.rows), parts.more)
}

/// Makes monthly bills.
pub async fn run(global: &Global, args: Run) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let request_id = args.once.id();
    let request = RunMonthlyBillingRequest {
        request_id: request_id.clone(),
        month: args.month.to_string(),
        billing_account_id: match &args.account {
            Some(name) => clients.billing_account_id(name).await?,
            None => String::new(),
        },
        without_waiting: args.without_waiting,
    };
    let answer = clients.bills().run_monthly_billing(request).await;
    let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    output.record(&Table::of_one(vec![
        ("month", Cell::text(args.month.to_string())),
        ("generated", Cell::Number(answer.generated_count)),
        ("waiting", Cell::Number(answer.waiting_count)),
        ("open_sites", Cell::List(answer.open_sites)),
    ]))
}

/// What a proof of monthly bills found.
#[derive(Debug, Default)]
pub struct Proof {
    /// Monthly bills that were recomputed.
    pub proved: u64,
    /// How many differences there are.
    pub different: u64,
    /// The first of them.
    pub shown: Vec<MonthlyBillDifference>,
}

/// Proves monthly bills page by page, of one account or, with an empty id, of all.
pub async fn prove(clients: &Clients, account: &str) -> Result<Proof> {
    let mut proof = Proof::default();
    let mut page_token = String::new();
    loop {
        let request = ProveMonthlyBillsRequest {
            billing_account_id: account.to_owned(),
            month: String::new(),
            page_size: PAGE_SIZE,
            page_token: page_token.clone(),
        };
        let page = clients.bills().prove_monthly_bills(request).await?.into_inner();
        proof.proved += u64::try_from(page.proved_count).unwrap_or(0);
        for difference in page.differences {
            proof.different += 1;
            if proof.shown.len() < DIFFERENCES_SHOWN_MAX {
                proof.shown.push(difference);
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(proof);
        }
        if page.next_page_token == page_token {
            return Err(Failure::failed("the service repeats a page token"));
        }
        page_token = page.next_page_token;
    }
}

/// Shows what a proof found; fails when anything differed.
pub async fn show_proof(global: &Global, account: &str) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let proof = prove(&clients, account).await?;
    if global.json {
        let differences = differences_table(&proof.shown).to_json();
        let value =
            json!({ "proved": proof.proved, "different": proof.different, "differences": differences });
        output.value(&value)?;
    } else if proof.different == 0 {
        output.say(&output.style.green(&format!("{} monthly bills recomputed, all equal", proof.proved)))?;
    } else {
        output.table(&differences_table(&proof.shown))?;
    }
    match proof.different {
        0 => Ok(()),
        n => Err(Failure::Proof(format!("{n} differences in {} monthly bills", proof.proved))),
    }
}

/// An account's monthly bills, newest first.
pub async fn list(clients: &Clients, account: &str, limit: usize) -> Result<Listed<MonthlyBill>> {
    let bills = all_pages(limit, |page_token| async move {
        let request = ListMonthlyBillsRequest {
            billing_account_id: account.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.bills().list_monthly_bills(request).await?.into_inner();
        Ok((page.bills, page.next_page_token))
    });
    bills.await
}

async fn workspaces(
    clients: &Clients,
    account: &str,
    month: Month,
    currency: &str,
    limit: usize,
) -> Result<Listed<MonthlyBillWorkspace>> {
    let parts = all_pages(limit, |page_token| async move {
        let request = ListMonthlyBillWorkspacesRequest {
            billing_account_id: account.to_owned(),
            month: month.to_string(),
            currency_code: currency.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = clients.bills().list_monthly_bill_workspaces(request).await?.into_inner();
        Ok((page.workspaces, page.next_page_token))
    });
    parts.await
}

/// Monthly bills as a table.
pub fn bills_table(bills: &[MonthlyBill]) -> Table {
    let mut table = Table::new(&[
        "month",
        "state",
        "bills",
        "payable",
        "in_cloud",
        "arrears",
        "paid_from_cash",
        "invoiced",
        "generated_at",
        "time_zone",
    ]);
    for bill in bills {
        table.row([
            Cell::text(&bill.month),
            Cell::name(bill.state().as_str_name(), "MONTHLY_BILL_STATE_"),
            Cell::Number(bill.bill_count),
            Cell::money(bill.payable.as_ref()),
            Cell::money(bill.in_cloud.as_ref()),
            Cell::money(bill.arrears.as_ref()),
            Cell::money(bill.paid_from_cash.as_ref()),
            Cell::money(bill.invoiced.as_ref()),
            Cell::time(bill.generate_time),
            Cell::text(&bill.time_zone),
        ]);
    }
    table
}

fn items_table(items: &[ItemTotal]) -> Table {
    let mut table = Table::new(&["item", "amount"]);
    for total in items {
        table.row([item(total), Cell::amount(total.amount.as_ref())]);
    }
    table
}

/// An item's name; what has none is the rounding.
fn item(total: &ItemTotal) -> Cell {
    match Cell::name(total.item().as_str_name(), "BILLING_ITEM_") {
        Cell::Absent => Cell::text("ROUNDING"),
        name => name,
    }
}

fn paid_table(bill: &MonthlyBill) -> Table {
    let mut table = Table::new(&["paid_by", "amount"]);
    for paid in &bill.paid_by {
        table.row([
            Cell::name(paid.instrument().as_str_name(), "PAYMENT_INSTRUMENT_"),
            Cell::money(paid.amount.as_ref()),
        ]);
    }
    table
}

fn workspaces_table(workspaces: &[MonthlyBillWorkspace]) -> Table {
    let mut table = Table::new(&[
        "workspace_id",
        "workspace",
        "bills",
        "payable",
        "paid",
        "in_cloud",
        "arrears",
        "items",
    ]);
    for w in workspaces {
        let items = w.items.iter().map(|total| {
            format!("{} {}", item(total).to_text(), Cell::amount(total.amount.as_ref()).to_text())
        });
        table.row([
            Cell::text(&w.workspace_id),
            Cell::text(&w.workspace_name),
            Cell::Number(w.bill_count),
            Cell::money(w.payable.as_ref()),
            Cell::money(w.paid.as_ref()),
            Cell::money(w.in_cloud.as_ref()),
            Cell::money(w.arrears.as_ref()),
            Cell::List(items.collect()),
        ]);
    }
    table
}

fn differences_table(differences: &[MonthlyBillDifference]) -> Table {
    let mut table = Table::new(&["billing_account_id", "month", "what", "stored", "recomputed"]);
    for difference in differences {
        table.row([
            Cell::text(&difference.billing_account_id),
            Cell::text(&difference.month),
            Cell::text(&difference.what),
            Cell::text(&difference.stored),
            Cell::text(&difference.recomputed),
        ]);
    }
    table
}
