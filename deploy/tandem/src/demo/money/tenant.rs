//! A customer of the story, with a billing account of its own.

use tandem_proto::billing::v1::{DailyBill, GetDebtRequest, GetWalletRequest};
use tandem_proto::day::UsageDay;
use tandem_proto::money::Money;

use crate::client::present;
use crate::commands::{bill, debt, wallet};
use crate::demo::customer::{self, Paying, Person};
use crate::demo::stage::Stage;
use crate::failure::{Failure, Result};

/// More bills than anybody of the story has.
const BILLS_MAX: usize = 1_000;

/// A customer and what is theirs.
pub struct Tenant {
    /// Who it is.
    pub person: Person,
    /// `cac_…`.
    pub console_account: String,
    /// `bac_…`.
    pub account: String,
    /// `wks_…`, the first one first.
    pub workspaces: Vec<String>,
}

impl Tenant {
    /// Registers and activates a workspace that the account's balance pays.
    pub async fn arrive(stage: &Stage, person: Person, workspace: &str) -> Result<Tenant> {
        let console_account = customer::register(stage, &person).await?;
        let paying = Paying::NewByBalance;
        let made = customer::activate(stage, &console_account, workspace, person.language, paying).await?;
        let id = present(made.workspace, "workspace")?.id;
        stage.teller.tell(&format!("workspace {id} ({workspace}) is paid by {}", made.billing_account_id))?;
        Ok(Tenant { person, console_account, account: made.billing_account_id, workspaces: vec![id] })
    }

    /// Activates a further workspace on the same account, proved by a mailed code.
    pub async fn open(&mut self, stage: &Stage, workspace: &str) -> Result<()> {
        let proof = customer::prove_account(stage, &self.person).await?;
        let paying = Paying::ExistingByBalance(proof);
        let language = self.person.language;
        let made = customer::activate(stage, &self.console_account, workspace, language, paying).await?;
        let id = present(made.workspace, "workspace")?.id;
        stage.teller.tell(&format!("workspace {id} ({workspace}) is paid by {}, too", self.account))?;
        self.workspaces.push(id);
        Ok(())
    }

    /// Waits for the bill of a workspace and usage day, and shows it with its lines and what paid it.
    pub async fn bill(&self, stage: &Stage, workspace: &str, day: UsageDay) -> Result<DailyBill> {
        let day = day.to_string();
        let found = stage.until("the bill", async || {
            let (bills, _) = bill::list(&stage.portal, &self.account, workspace, BILLS_MAX).await?;
            Ok(bills.into_iter().find(|bill| bill.usage_day == day))
        });
        let found = bill::show(&stage.portal, &self.account, &found.await?.id).await?;
        stage.teller.table(&bill::bills_table(std::slice::from_ref(&found)))?;
        stage.teller.table(&bill::lines_table(&found))?;
        if !found.paid_by.is_empty() {
            stage.teller.table(&bill::payments_table(&found))?;
        }
        Ok(found)
    }

    /// Shows balances, and with `lots` what they are made of.
    pub async fn show_wallet(&self, stage: &Stage, lots: bool) -> Result<()> {
        let request = GetWalletRequest { billing_account_id: self.account.clone() };
        let balances = stage.portal.wallet().get_wallet(request).await?.into_inner();
        stage.teller.record(&wallet::record(&self.account, &balances))?;
        if lots {
            let lots = wallet::lots(&stage.portal, &self.account, true).await?;
            stage.teller.table(&wallet::lots_table(&lots.rows))?;
        }
        Ok(())
    }

    /// Shows what is owed and what hangs on it.
    pub async fn show_debt(&self, stage: &Stage) -> Result<()> {
        let request = GetDebtRequest { billing_account_id: self.account.clone() };
        let owed = stage.portal.standing().get_debt(request).await?.into_inner().debt;
        let owed = present(owed, "debt")?;
        stage.teller.record(&debt::record(&owed))?;
        if owed.workspaces.is_empty() {
            return Ok(());
        }
        stage.teller.table(&debt::held_table(&owed.workspaces))
    }
}

/// Tells who was written to about what, without the letters themselves.
pub fn tell_mails(stage: &Stage) -> Result<()> {
    let mails = stage.mails_now()?;
    mails.iter().try_for_each(|mail| stage.teller.tell(&format!("mail for {}: {}", mail.to, mail.subject)))
}

/// What a bill asks for, in minor units.
pub fn payable(bill: &DailyBill) -> i64 {
    bill.payable.as_ref().and_then(Money::from_message).map_or(0, |money| money.minor)
}

/// Ends the story when something is not as it has to be.
pub fn must(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Failure::Proof(what())) }
}
