//! `tandem account`: billing accounts.

use clap::{Subcommand, ValueEnum};
use tandem_proto::billing::v1::{BillingAccount, ContactKind, SetAnySettlementRequest, SetCurrencyRequest};
use tandem_proto::money::Currency;

use super::account_contact;
use crate::cli::{Global, Once};
use crate::client::present;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Billing accounts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem account show lin_teahouse
  tandem account any-settlement lin_teahouse allow
  tandem account currency lin_teahouse USD
  tandem account email lin_teahouse                                     mails a code to the present address
  tandem account email lin_teahouse --code 123456 --to new@lin.example  mails a code to the new one
  tandem account email lin_teahouse --code 123456 --to new@lin.example --new-code 654321")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Show an account
    Show {
        /// The billing account: its id, bac_…, or its username
        account: String,
    },
    /// Allow or forbid an account to settle with any cloud, whatever its workspaces' sites are
    AnySettlement {
        /// The billing account: its id, bac_…, or its username
        account: String,
        /// Whether any cloud may be chosen
        #[arg(value_enum)]
        switch: Switch,
        #[command(flatten)]
        once: Once,
    },
    /// Change an account's currency, from the next usage day that is not billed yet
    ///
    /// Nothing is converted, so nothing may be open in the old currency: no balance, debt, bill, recharge or purchase.
    Currency {
        /// The billing account: its id, bac_…, or its username
        account: String,
        /// CNY or USD
        currency: Currency,
        #[command(flatten)]
        once: Once,
    },
    /// Change an account's mail address, in three steps: a code to the present one, a code to the new one, the change
    Email(account_contact::Args),
    /// Change an account's phone, in three steps: a code to the present address or phone, one to the new phone, the change
    Phone(account_contact::Args),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Any cloud may be chosen
    Allow,
    /// Only what the sites allow
    Forbid,
}

/// Runs the act.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::Show { account } => output.record(&record(&clients.billing_account(&account).await?)),
        Act::AnySettlement { account, switch, once } => {
            let request_id = once.id();
            let request = SetAnySettlementRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                allowed: switch == Switch::Allow,
            };
            let answer = clients.accounts().set_any_settlement(request).await;
            let account = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().account;
            output.record(&record(&present(account, "account")?))
        }
        Act::Currency { account, currency, once } => {
            let request_id = once.id();
            let request = SetCurrencyRequest {
                request_id: request_id.clone(),
                billing_account_id: clients.billing_account_id(&account).await?,
                currency_code: currency.code().to_owned(),
            };
            let answer = clients.accounts().set_currency(request).await;
            let changed = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
            let account = present(changed.account, "account")?;
            output.record(&Table::of_one(vec![
                ("id", Cell::text(&account.id)),
                ("username", Cell::text(&account.username)),
                ("currency", Cell::text(&account.currency_code)),
                ("first_day", Cell::text(changed.first_day)),
            ]))
        }
        Act::Email(args) => account_contact::run(&clients, output, ContactKind::Email, args).await,
        Act::Phone(args) => account_contact::run(&clients, output, ContactKind::Phone, args).await,
    }
}

pub(super) fn record(account: &BillingAccount) -> Table {
    let company = account.company.clone().unwrap_or_default();
    Table::of_one(vec![
        ("id", Cell::text(&account.id)),
        ("username", Cell::text(&account.username)),
        ("email", Cell::text(&account.email)),
        ("phone", Cell::text(&account.phone)),
        ("company", Cell::text(company.name)),
        ("region", Cell::name(account.region().as_str_name(), "BILLING_REGION_")),
        ("currency", Cell::text(&account.currency_code)),
        ("any_settlement_allowed", Cell::Flag(account.any_settlement_allowed)),
        ("standing", Cell::name(account.standing().as_str_name(), "ACCOUNT_STANDING_")),
        ("arrears_since", Cell::time(account.arrears_start_time)),
        ("created_at", Cell::time(account.create_time)),
    ])
}
