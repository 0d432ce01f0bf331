//! `tandem payment`: payments that providers announced, and those that wait for a decision.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1::{
    ListPaymentsRequest, OnlinePayment, PaymentResolution, PaymentState, ResolvePaymentRequest,
};

use crate::cli::{Global, Limit, Once};
use crate::client::{PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Payments that payment providers announced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem payment list --state parked
  tandem payment resolve pay_0198… --as book --note \"the customer typed another amount\"
  tandem payment resolve pay_0198… --as dismiss --note \"given back at the provider on 3 March\"

A payment that does not fit its recharge (closed, another amount or currency, paid twice, unknown) is parked: its money is at
the provider and booked nowhere, until somebody decides.")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// List payments, newest first
    List {
        /// Only payments in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only this billing account's: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Decide a parked payment
    Resolve {
        /// The payment, pay_…
        payment: String,
        /// What becomes of it
        #[arg(long = "as", value_enum)]
        resolution: Resolution,
        /// The billing account to book it to [default: the one of the recharge it names]
        #[arg(long)]
        account: Option<String>,
        /// Why, at most 500 characters
        #[arg(long)]
        note: String,
        #[command(flatten)]
        once: Once,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Resolution {
    /// Book it as cash
    Book,
    /// Book nothing: the money was given back, or is booked already
    Dismiss,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// In the account's wallet
    Booked,
    /// Waits for a decision
    Parked,
    /// Decided that nothing is booked
    Dismissed,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::List { state, account, limit } => {
            let state = match state {
                None => PaymentState::Unspecified,
                Some(State::Booked) => PaymentState::Booked,
                Some(State::Parked) => PaymentState::Parked,
                Some(State::Dismissed) => PaymentState::Dismissed,
            };
            let account = match account {
                Some(account) => clients.billing_account_id(&account).await?,
                None => String::new(),
            };
            let (clients, account) = (&clients, &account);
            let payments = all_pages(limit.limit, |page_token| async move {
                let request = ListPaymentsRequest {
                    state: state.into(),
                    billing_account_id: account.clone(),
                    page_size: PAGE_SIZE,
                    page_token,
                };
                let page = clients.payments().list_payments(request).await?.into_inner();
                Ok((page.payments, page.next_page_token))
            });
            let payments = payments.await?;
            output.list(&table(&payments.rows), payments.more)
        }
        Act::Resolve { payment, resolution, account, note, once } => {
            let request_id = once.id();
            let account = match account {
                Some(account) => clients.billing_account_id(&account).await?,
                None => String::new(),
            };
            let resolution = match resolution {
                Resolution::Book => PaymentResolution::Book,
                Resolution::Dismiss => PaymentResolution::Dismiss,
            };
            let request = ResolvePaymentRequest {
                request_id: request_id.clone(),
                payment_id: payment,
                resolution: resolution.into(),
                billing_account_id: account,
                note,
            };
            let answer = clients.payments().resolve_payment(request).await;
            let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?;
            output.record(&table(&[present(answer.into_inner().payment, "payment")?]))
        }
    }
}

fn table(payments: &[OnlinePayment]) -> Table {
    let mut table = Table::new(&[
        "id",
        "billing_account_id",
        "order",
        "amount",
        "state",
        "problem",
        "recharge_id",
        "external_ref",
        "paid_at",
        "received_at",
        "resolver",
        "note",
    ]);
    for payment in payments {
        // In any currency, so also in one that money here never has.
        let amount = payment.amount.as_ref().map(|money| {
            format!("{}.{:02} {}", money.minor_units / 100, money.minor_units % 100, money.currency_code)
        });
        table.row([
            Cell::text(&payment.id),
            Cell::text(&payment.billing_account_id),
            Cell::text(&payment.order_id),
            Cell::text(amount.unwrap_or_default()),
            Cell::name(payment.state().as_str_name(), "PAYMENT_STATE_"),
            Cell::name(payment.problem().as_str_name(), "PAYMENT_PROBLEM_"),
            Cell::text(&payment.recharge_id),
            Cell::text(&payment.external_ref),
            Cell::time(payment.pay_time),
            Cell::time(payment.receive_time),
            Cell::text(&payment.resolver),
            Cell::text(&payment.note),
        ]);
    }
    table
}
