//! `tandem approval`: acts that take two people.

use clap::{ArgGroup, Subcommand, ValueEnum};
use tandem_proto::billing::v1::{
    Adjustment, AdjustmentDirection, Approval, ApprovalState, ApproveRequest, ForcedUnlock,
    GetApprovalRequest, ListApprovalsRequest, Refund, RejectRequest, RequestApprovalRequest, WithdrawRequest,
    approval, request_approval_request,
};
use tandem_proto::common::v1::Money as MoneyMessage;
use tandem_proto::money::{Currency, Money};

use super::recharge::amount;
use crate::cli::{Global, Limit, Once};
use crate::client::{Clients, PAGE_SIZE, all_pages, present};
use crate::failure::{Attempt as _, Failure, Result};
use crate::output::{Cell, Table};

/// Acts that take two people: adjustments, refunds, forced unlocks.
///
/// One operator asks and says why, another one approves within 72 hours; the act is done in that moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem approval request --account lin_teahouse --credit 20.00 --reason \"outage of 3 March\"
  tandem approval request --account lin_teahouse --debit 20.00 --reason \"credited twice\"
  tandem approval request --account lin_teahouse --refund rch_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --amount 50.00 \\
      --reference BANK-OUT-7 --reason \"contract ended\"
  tandem approval request --account lin_teahouse --unlock --days 7 --reason \"payment is on its way\"
  tandem approval list --state waiting
  tandem --as-approver approval approve apr_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --note \"seen the ticket\"
  TANDEM_TOKEN=… tandem approval reject apr_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f --note \"no such outage\"")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Ask for an act
    Request(Box<Asked>),
    /// Approve an act that somebody else asked for, and do it
    Approve {
        /// The request, apr_…
        approval: String,
        /// What there is to say
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        once: Once,
    },
    /// Turn down an act that somebody else asked for
    Reject {
        /// The request, apr_…
        approval: String,
        /// Why not
        #[arg(long, value_name = "TEXT")]
        note: String,
        #[command(flatten)]
        once: Once,
    },
    /// Take one's own request back
    Withdraw {
        /// The request, apr_…
        approval: String,
        /// What there is to say
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        once: Once,
    },
    /// List requests, oldest first
    List {
        /// Only about this billing account: its id, bac_…, or its username
        #[arg(long)]
        account: Option<String>,
        /// Only in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a request
    Show {
        /// The request, apr_…
        approval: String,
    },
}

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("what").required(true).args(["credit", "debit", "refund", "unlock"])))]
struct Asked {
    /// The billing account: its id, bac_…, or its username
    #[arg(long)]
    account: String,
    /// Give the customer this much cash; it repays what is owed first
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    credit: Option<i64>,
    /// Take this much cash from the customer
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    debit: Option<i64>,
    /// Give money of this recharge back, rch_…
    #[arg(long, value_name = "RECHARGE", requires_all = ["amount", "reference"])]
    refund: Option<String>,
    /// How much of the recharge
    #[arg(long, value_name = "AMOUNT", value_parser = amount, requires = "refund")]
    amount: Option<i64>,
    /// The reference of the payment that takes the money out
    #[arg(long, value_name = "TEXT", requires = "refund")]
    reference: Option<String>,
    /// Unlock what arrears have locked, or are about to, without payment
    #[arg(long)]
    unlock: bool,
    /// Only this workspace, wks_…
    #[arg(long, value_name = "WORKSPACE", conflicts_with_all = ["credit", "debit", "refund"])]
    workspace: Option<String>,
    /// For how many days from the approval on; then a new countdown of 14 days starts
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(i32).range(1..=30))]
    days: i32,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    once: Once,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// Waits for a second person
    Waiting,
    /// Approved and done
    Executed,
    /// Turned down
    Rejected,
    /// Taken back
    Withdrawn,
    /// Nobody decided in time
    Expired,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    let shown = match args.act {
        Act::Request(asked) => request(&clients, *asked).await?,
        Act::Approve { approval, note, once } => {
            let request_id = once.id();
            let request = ApproveRequest { request_id: request_id.clone(), approval_id: approval, note };
            let answer = clients.approvals().approve(request).await;
            answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().approval
        }
        Act::Reject { approval, note, once } => {
            let request_id = once.id();
            let request = RejectRequest { request_id: request_id.clone(), approval_id: approval, note };
            let answer = clients.approvals().reject(request).await;
            answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().approval
        }
        Act::Withdraw { approval, note, once } => {
            let request_id = once.id();
            let request = WithdrawRequest { request_id: request_id.clone(), approval_id: approval, note };
            let answer = clients.approvals().withdraw(request).await;
            answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().approval
        }
        Act::Show { approval } => {
            let request = GetApprovalRequest { approval_id: approval };
            clients.approvals().get_approval(request).await?.into_inner().approval
        }
        Act::List { account, state, limit } => {
            let billing_account_id = match account {
                Some(name) => clients.billing_account_id(&name).await?,
                None => String::new(),
            };
            let state = state.map_or(ApprovalState::Unspecified, state_message).into();
            let found = all_pages(limit.limit, |page_token| {
                let request = ListApprovalsRequest {
                    billing_account_id: billing_account_id.clone(),
                    state,
                    page_size: PAGE_SIZE,
                    page_token,
                };
                let clients = &clients;
                async move {
                    let page = clients.approvals().list_approvals(request).await?.into_inner();
                    Ok((page.approvals, page.next_page_token))
                }
            });
            let found = found.await?;
            return output.list(&approvals_table(&found.rows), found.more);
        }
    };
    output.record(&approvals_table(&[present(shown, "approval")?]))
}

async fn request(clients: &Clients, asked: Asked) -> Result<Option<Approval>> {
    let account = clients.billing_account(&asked.account).await?;
    let currency: Currency =
        account.currency_code.parse().attempt(|| "reading the account's currency".to_owned())?;
    let request_id = asked.once.id();
    let request = RequestApprovalRequest {
        request_id: request_id.clone(),
        billing_account_id: account.id,
        reason: asked.reason.clone(),
        act: Some(act(asked, currency)?),
    };
    let answer = clients.approvals().request_approval(request).await;
    Ok(answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().approval)
}

fn act(asked: Asked, currency: Currency) -> Result<request_approval_request::Act> {
    let money = |minor| Some(Money { minor, currency }.to_message());
    let adjustment = |direction: AdjustmentDirection, minor| {
        let adjustment = Adjustment { direction: direction.into(), amount: money(minor) };
        Ok(request_approval_request::Act::Adjustment(adjustment))
    };
    match (asked.credit, asked.debit, asked.refund) {
        (Some(minor), _, _) => adjustment(AdjustmentDirection::Credit, minor),
        (None, Some(minor), _) => adjustment(AdjustmentDirection::Debit, minor),
        (None, None, Some(recharge_id)) => {
            let missing = || Failure::Usage("a refund needs --amount and --reference".to_owned());
            Ok(request_approval_request::Act::Refund(Refund {
                recharge_id,
                amount: money(asked.amount.ok_or_else(missing)?),
                external_ref: asked.reference.ok_or_else(missing)?,
            }))
        }
        (None, None, None) => Ok(request_approval_request::Act::ForcedUnlock(ForcedUnlock {
            workspace_id: asked.workspace.unwrap_or_default(),
            grace_days: asked.days,
        })),
    }
}

fn state_message(state: State) -> ApprovalState {
    match state {
        State::Waiting => ApprovalState::Waiting,
        State::Executed => ApprovalState::Executed,
        State::Rejected => ApprovalState::Rejected,
        State::Withdrawn => ApprovalState::Withdrawn,
        State::Expired => ApprovalState::Expired,
    }
}

/// Acts that take two people as a table.
pub fn approvals_table(approvals: &[Approval]) -> Table {
    let mut table = Table::new(&[
        "id",
        "account_id",
        "act",
        "amount",
        "about",
        "state",
        "reason",
        "requester",
        "requested_at",
        "expires_at",
        "decider",
        "decided_at",
        "note",
    ]);
    for approval in approvals {
        let (act, amount, about) = told(approval.act.as_ref());
        table.row([
            Cell::text(&approval.id),
            Cell::text(&approval.billing_account_id),
            Cell::text(act),
            Cell::money(amount),
            Cell::text(about),
            Cell::name(approval.state().as_str_name(), "APPROVAL_STATE_"),
            Cell::text(&approval.reason),
            Cell::text(&approval.requester),
            Cell::time(approval.request_time),
            Cell::time(approval.expire_time),
            Cell::text(&approval.decider),
            Cell::time(approval.decide_time),
            Cell::text(&approval.note),
        ]);
    }
    table
}

fn told(act: Option<&approval::Act>) -> (&'static str, Option<&MoneyMessage>, String) {
    match act {
        Some(approval::Act::Adjustment(a)) => {
            let act = match a.direction() {
                AdjustmentDirection::Credit => "CREDIT",
                AdjustmentDirection::Debit => "DEBIT",
                AdjustmentDirection::Unspecified => "ADJUSTMENT",
            };
            (act, a.amount.as_ref(), String::new())
        }
        Some(approval::Act::Refund(r)) => {
            ("REFUND", r.amount.as_ref(), format!("{} {}", r.recharge_id, r.external_ref))
        }
        Some(approval::Act::ForcedUnlock(u)) => {
            let what = if u.workspace_id.is_empty() { "all workspaces" } else { u.workspace_id.as_str() };
            ("UNLOCK", None, format!("{what} for {} days", u.grace_days))
        }
        None => ("", None, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn one_act_is_asked_for_and_whole() {
        let parse = |rest: &str| {
            Cli::try_parse_from(
                format!("tandem approval request --account a --reason r {rest}")
                    .split_whitespace()
                    .map(str::to_owned),
            )
        };
        for good in [
            "--credit 5",
            "--debit 0.01",
            "--unlock",
            "--unlock --workspace w --days 30",
            "--refund r --amount 1 --reference x",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "--credit 5 --debit 5",
            "--credit -5",
            "--refund r",
            "--refund r --amount 1",
            "--unlock --days 31",
            "--credit 5 --workspace w",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
