//! `tandem invoice`: what may be invoiced, requests, and what becomes of them.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1 as pb;

use super::invoice_company::{self, Company};
use super::invoice_profile::{self, Address, Profile};
use super::pdf::Target;
use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Invoices: verify companies, keep profiles and addresses, request, issue, send, reject.
///
/// Invoiced is what was paid in cash: of generated months of bills, and of prepaid cards.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem invoice company submit --account lin_teahouse --name 'Lin Teahouse Ltd' --taxpayer-id 91310000MA1K4B0X2P
  tandem invoice company list --state pending              the operators' queue
  tandem invoice company accept --account lin_teahouse
  tandem invoice profile add --account lin_teahouse --kind electronic-ordinary
  tandem invoice address add --account lin_teahouse --recipient Lin --phone 13800000000 --email lin@example.com
  tandem invoice open --account lin_teahouse               what may be invoiced
  tandem invoice request --account lin_teahouse --profile ivp_… --address ida_… --month 2026-03
  tandem invoice list --state requested                    the operators' queue
  tandem invoice issue --account lin_teahouse inv_… --number 24442000000123456789
  tandem invoice pdf --account lin_teahouse inv_… -o invoice.pdf")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

/// Which invoice.
#[derive(Debug, clap::Args)]
struct Which {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// The invoice, inv_…
    invoice: String,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Companies: hand in, accept, reject
    #[command(subcommand)]
    Company(Company),
    /// How a company wants its invoices
    #[command(subcommand)]
    Profile(Profile),
    /// Where invoices are sent
    #[command(subcommand)]
    Address(Address),
    /// Show what may be invoiced
    Open {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// Also what was invoiced in whole
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        limit: Limit,
    },
    /// Ask for an invoice over everything that is open of months and prepaid cards
    Request {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The profile, ivp_…
        #[arg(long)]
        profile: String,
        /// The delivery address, ida_…
        #[arg(long)]
        address: String,
        /// A month, YYYY-MM; may be given several times
        #[arg(long = "month", value_name = "YYYY-MM")]
        months: Vec<String>,
        /// A prepaid card, crd_…; may be given several times
        #[arg(long = "card", value_name = "CARD")]
        cards: Vec<String>,
        #[command(flatten)]
        once: Once,
    },
    /// List invoices, newest first
    List {
        /// The billing account: its id, bac_…, or its username [default: all accounts]
        #[arg(long)]
        account: Option<String>,
        /// Only in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show an invoice with its lines
    Show(Which),
    /// Note that an invoice was issued
    Issue {
        #[command(flatten)]
        which: Which,
        /// The number the tax office knows it by
        #[arg(long)]
        number: String,
        #[command(flatten)]
        once: Once,
    },
    /// Note that an issued invoice was sent
    Send {
        #[command(flatten)]
        which: Which,
        /// How to find the consignment, such as the carrier and its number
        #[arg(long, default_value = "", hide_default_value = true)]
        tracking: String,
        #[command(flatten)]
        once: Once,
    },
    /// Reject an invoice; its amounts may be requested again
    Reject {
        #[command(flatten)]
        which: Which,
        /// Why; the customer reads it
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        once: Once,
    },
    /// Write the document of an invoice request
    Pdf {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// Waits for an operator
    Requested,
    /// Exists at the tax office
    Issued,
    /// On its way to the customer
    Sent,
    /// Refused
    Rejected,
}

impl State {
    fn number(state: Option<State>) -> i32 {
        let state = match state {
            None => pb::InvoiceState::Unspecified,
            Some(State::Requested) => pb::InvoiceState::Requested,
            Some(State::Issued) => pb::InvoiceState::Issued,
            Some(State::Sent) => pb::InvoiceState::Sent,
            Some(State::Rejected) => pb::InvoiceState::Rejected,
        };
        state.into()
    }
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let clients = global.clients()?;
    match args.act {
        Act::Company(company) => invoice_company::run(global, &clients, company).await,
        Act::Profile(profile) => invoice_profile::run(global, &clients, profile).await,
        Act::Address(address) => invoice_profile::run_address(global, &clients, address).await,
        Act::Open { account, all, limit } => open(global, &clients, &account, all, limit).await,
        Act::Request { account, profile, address, months, cards, once } => {
            let request_id = once.id();
            let request = pb::RequestInvoiceRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                profile_id: profile,
                address_id: address,
                months,
                card_ids: cards,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let made = clients.invoices().request_invoice(request).await.map_err(of_act)?.into_inner();
            show(global, &present(made.invoice, "invoice")?)
        }
        Act::List { account, state, limit } => list(global, &clients, account, state, limit).await,
        Act::Show(which) => {
            let request = pb::GetInvoiceRequest {
                billing_account_id: clients.billing_account_id(&which.account).await?,
                invoice_id: which.invoice,
            };
            let found = clients.invoices().get_invoice(request).await?.into_inner();
            show(global, &present(found.invoice, "invoice")?)
        }
        Act::Issue { which, number, once } => {
            let request_id = once.id();
            let request = pb::IssueInvoiceRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&which.account).await?,
                invoice_id: which.invoice,
                invoice_number: number,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let moved = clients.invoices().issue_invoice(request).await.map_err(of_act)?.into_inner();
            show(global, &present(moved.invoice, "invoice")?)
        }
        Act::Send { which, tracking, once } => {
            let request_id = once.id();
            let request = pb::SendInvoiceRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&which.account).await?,
                invoice_id: which.invoice,
                tracking,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let moved = clients.invoices().send_invoice(request).await.map_err(of_act)?.into_inner();
            show(global, &present(moved.invoice, "invoice")?)
        }
        Act::Reject { which, reason, once } => {
            let request_id = once.id();
            let request = pb::RejectInvoiceRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&which.account).await?,
                invoice_id: which.invoice,
                reason,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let moved = clients.invoices().reject_invoice(request).await.map_err(of_act)?.into_inner();
            show(global, &present(moved.invoice, "invoice")?)
        }
        Act::Pdf { which, target } => {
            let request = pb::GetInvoiceDocumentRequest {
                billing_account_id: clients.billing_account_id(&which.account).await?,
                invoice_id: which.invoice,
                language: target.language(),
            };
            let made = clients.documents().get_invoice_document(request).await?.into_inner();
            target.write(global, &made.pdf, &made.file_name)
        }
    }
}

async fn open(global: &Global, clients: &Clients, account: &str, all: bool, limit: Limit) -> Result<()> {
    let account = clients.billing_account_id(account).await?;
    let listed = all_pages(limit.limit, |page_token| {
        let account = account.clone();
        async move {
            let request = pb::GetInvoiceableRequest {
                billing_account_id: account,
                with_invoiced: all,
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = clients.invoices().get_invoiceable(request).await?.into_inner();
            Ok((page.items, page.next_page_token))
        }
    });
    let listed = listed.await?;
    global.output().list(&open_table(&listed.rows), listed.more)
}

/// What may be invoiced as a table.
pub fn open_table(items: &[pb::Invoiceable]) -> Table {
    let mut table = Table::new(&["month", "card_id", "paid", "invoiced", "open"]);
    for item in items {
        let (month, card) = match &item.source {
            Some(pb::invoiceable::Source::Month(month)) => (month.as_str(), ""),
            Some(pb::invoiceable::Source::CardId(card)) => ("", card.as_str()),
            None => ("", ""),
        };
        table.row([
            Cell::text(month),
            Cell::text(card),
            Cell::money(item.paid.as_ref()),
            Cell::money(item.invoiced.as_ref()),
            Cell::money(item.open.as_ref()),
        ]);
    }
    table
}

async fn list(
    global: &Global,
    clients: &Clients,
    account: Option<String>,
    state: Option<State>,
    limit: Limit,
) -> Result<()> {
    let account = match account {
        Some(name) => clients.billing_account_id(&name).await?,
        None => String::new(),
    };
    let listed = all_pages(limit.limit, |page_token| {
        let account = account.clone();
        async move {
            let request = pb::ListInvoicesRequest {
                billing_account_id: account,
                state: State::number(state),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = clients.invoices().list_invoices(request).await?.into_inner();
            Ok((page.invoices, page.next_page_token))
        }
    });
    let listed = listed.await?;
    global.output().list(&invoices_table(&listed.rows), listed.more)
}

/// Invoices as a table.
pub fn invoices_table(invoices: &[pb::Invoice]) -> Table {
    let mut table = Table::new(&[
        "id",
        "billing_account_id",
        "state",
        "amount",
        "title",
        "taxpayer_id",
        "kind",
        "invoice_number",
        "requested_at",
        "issued_at",
        "sent_at",
        "tracking",
        "rejected_at",
        "reason",
    ]);
    for invoice in invoices {
        let kind = invoice.details.as_ref().map_or(pb::InvoiceKind::Unspecified, |d| d.kind());
        table.row([
            Cell::text(&invoice.id),
            Cell::text(&invoice.billing_account_id),
            Cell::name(invoice.state().as_str_name(), "INVOICE_STATE_"),
            Cell::money(invoice.amount.as_ref()),
            Cell::text(&invoice.title),
            Cell::text(&invoice.taxpayer_id),
            Cell::name(kind.as_str_name(), "INVOICE_KIND_"),
            Cell::text(&invoice.invoice_number),
            Cell::time(invoice.request_time),
            Cell::time(invoice.issue_time),
            Cell::time(invoice.send_time),
            Cell::text(&invoice.tracking),
            Cell::time(invoice.reject_time),
            Cell::text(&invoice.reason),
        ]);
    }
    table
}

fn show(global: &Global, invoice: &pb::Invoice) -> Result<()> {
    let output = global.output();
    let record = invoices_table(std::slice::from_ref(invoice));
    let mut lines = Table::new(&["month", "card_id", "amount"]);
    for line in &invoice.lines {
        let (month, card) = match &line.source {
            Some(pb::invoice_line::Source::Month(month)) => (month.as_str(), ""),
            Some(pb::invoice_line::Source::CardId(card)) => ("", card.as_str()),
            None => ("", ""),
        };
        lines.row([Cell::text(month), Cell::text(card), Cell::money(line.amount.as_ref())]);
    }
    if global.json {
        let mut value = record.to_json()[0].take();
        value["lines"] = lines.to_json();
        return output.value(&value);
    }
    output.record(&record)?;
    output.say("")?;
    output.table(&lines)
}
