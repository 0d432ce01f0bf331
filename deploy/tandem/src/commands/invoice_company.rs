//! `tandem invoice company`: whether a company is who it says.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1 as pb;

use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Companies: hand in, accept, reject.
#[derive(Debug, Subcommand)]
pub(super) enum Company {
    /// Hand in an account's company for verification
    Submit {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
        /// The company's registered name
        #[arg(long)]
        name: String,
        /// Its taxpayer ID
        #[arg(long, value_name = "ID")]
        taxpayer_id: String,
        #[command(flatten)]
        once: Once,
    },
    /// Show where an account's verification stands
    Show {
        /// The billing account: its id, bac_…, or its username
        #[arg(long)]
        account: String,
    },
    /// List what was handed in, of all accounts, oldest first
    List {
        /// Only in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Accept what an account handed in
    Accept(Decide),
    /// Reject what an account handed in, or take a verification back
    Reject(Decide),
}

/// A decision.
#[derive(Debug, clap::Args)]
pub(super) struct Decide {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// Why; required to reject, and the customer reads it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    once: Once,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// Waits for an operator
    Pending,
    /// Is who it says
    Verified,
    /// Refused
    Rejected,
}

/// Runs the act.
pub(super) async fn run(global: &Global, clients: &Clients, company: Company) -> Result<()> {
    match company {
        Company::Submit { account, name, taxpayer_id, once } => {
            let request_id = once.id();
            let request = pb::SubmitVerificationRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                company_name: name,
                taxpayer_id,
            };
            let of_act = |status| Failure::of_act(status, &request_id);
            let made = clients.invoices().submit_verification(request).await.map_err(of_act)?.into_inner();
            show(global, &present(made.verification, "verification")?)
        }
        Company::Show { account } => {
            let billing_account_id = clients.billing_account_id(&account).await?;
            let request = pb::GetVerificationRequest { billing_account_id };
            let found = clients.invoices().get_verification(request).await?.into_inner();
            show(global, &present(found.verification, "verification")?)
        }
        Company::List { state, limit } => list(global, clients, state, limit).await,
        Company::Accept(d) => decide(global, clients, d, pb::VerificationState::Verified).await,
        Company::Reject(d) => decide(global, clients, d, pb::VerificationState::Rejected).await,
    }
}

async fn decide(
    global: &Global,
    clients: &Clients,
    decide: Decide,
    decision: pb::VerificationState,
) -> Result<()> {
    let request_id = decide.once.id();
    let request = pb::DecideVerificationRequest {
        request_id: request_id.clone(),
        billing_account_id: clients.billing_account_id(&decide.account).await?,
        decision: decision.into(),
        reason: decide.reason,
    };
    let of_act = |status| Failure::of_act(status, &request_id);
    let decided = clients.invoices().decide_verification(request).await.map_err(of_act)?.into_inner();
    show(global, &present(decided.verification, "verification")?)
}

async fn list(global: &Global, clients: &Clients, state: Option<State>, limit: Limit) -> Result<()> {
    let state = match state {
        None => pb::VerificationState::Unspecified,
        Some(State::Pending) => pb::VerificationState::Pending,
        Some(State::Verified) => pb::VerificationState::Verified,
        Some(State::Rejected) => pb::VerificationState::Rejected,
    };
    let listed = all_pages(limit.limit, |page_token| async move {
        let request = pb::ListVerificationsRequest { state: state.into(), page_size: PAGE_SIZE, page_token };
        let page = clients.invoices().list_verifications(request).await?.into_inner();
        Ok((page.verifications, page.next_page_token))
    });
    let listed = listed.await?;
    global.output().list(&table(&listed.rows), listed.more)
}

fn show(global: &Global, verification: &pb::CompanyVerification) -> Result<()> {
    global.output().record(&table(std::slice::from_ref(verification)))
}

fn table(verifications: &[pb::CompanyVerification]) -> Table {
    let mut table = Table::new(&[
        "billing_account_id",
        "state",
        "company_name",
        "taxpayer_id",
        "submitted_at",
        "decided_at",
        "reason",
    ]);
    for v in verifications {
        table.row([
            Cell::text(&v.billing_account_id),
            Cell::name(v.state().as_str_name(), "VERIFICATION_STATE_"),
            Cell::text(&v.company_name),
            Cell::text(&v.taxpayer_id),
            Cell::time(v.submit_time),
            Cell::time(v.decide_time),
            Cell::text(&v.reason),
        ]);
    }
    table
}
