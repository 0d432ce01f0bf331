//! The direct customer: registers, recharges, uses the documented day, falls into arrears, pays, is back.

use std::io::BufReader;

use tandem_proto::billing::v1::{AccountStanding, BillState, GetAccountRequest};
use tandem_proto::common::v1::{Language, WorkspaceStanding};
use tandem_proto::console::v1::GetWorkspaceRequest;
use tandem_proto::money::Money;

use crate::client::present;
use crate::commands::bill;
use crate::demo::customer::{self, Paying, Person, cny};
use crate::demo::stage::{Calendar, Stage};
use crate::demo::usage;
use crate::failure::{Attempt as _, Failure, Result};
use crate::usage_file::{Format, Import, Parser, digest};

/// The customer and what is theirs.
pub struct Direct {
    person: Person,
    /// `wks_…`.
    pub workspace: String,
    /// `bac_…`.
    pub account: String,
}

impl Direct {
    /// Registers and activates, settled by the Billing Center.
    pub async fn register(stage: &Stage) -> Result<Direct> {
        let suffix = &stage.suffix;
        let person = Person {
            site: "cn1",
            username: format!("lin_teahouse{suffix}"),
            email: format!("lin{suffix}@teahouse.example"),
            phone: format!("+8613900{}", stage.digits()),
            company: "林记茶馆",
            language: Language::Zh,
        };
        stage.teller.step("A direct customer registers by a mailed code and activates a workspace")?;
        let console_account = customer::register(stage, &person).await?;
        let made =
            customer::activate(stage, &console_account, "茶馆监控", person.language, Paying::NewByBalance)
                .await?;
        let workspace = present(made.workspace, "workspace")?;
        stage
            .teller
            .tell(&format!("workspace {} is Commercial, settled by the Billing Center", workspace.id))?;
        Ok(Direct { person, workspace: workspace.id, account: made.billing_account_id })
    }

    /// Recharges and shows the balance.
    pub async fn recharge(&self, stage: &Stage, minor: i64, reference: &str) -> Result<()> {
        stage.teller.step(&format!("{} recharges {}", self.person.company, cny(minor)))?;
        customer::recharge(stage, &self.account, minor, reference).await
    }

    /// Uses the documented day, imported from a file.
    pub async fn use_documented_day(&self, stage: &Stage, calendar: &Calendar, day: u32) -> Result<()> {
        stage.teller.step(&format!(
            "{} uses the documented day on {}: 24 hourly points an item, shuffled, a third sent twice",
            self.person.company,
            calendar.day(day)
        ))?;
        let (text, repeats) = usage::documented_day_csv(&self.workspace, calendar, day);
        let folder = tempfile::tempdir().attempt(|| "making a folder for the usage file".to_owned())?;
        let path = folder.path().join("day.csv");
        std::fs::write(&path, &text).attempt(|| format!("writing {}", path.display()))?;
        let digest = digest(&path, Format::Csv, None)?;
        let file = std::fs::File::open(&path).attempt(|| format!("reading {}", path.display()))?;
        let parser = Parser::new(BufReader::new(file), Format::Csv, None)?;
        let report = Import::new(digest).run(&stage.source, parser, |_, _| {}).await?;
        stage.teller.tell(&format!("day.csv, {} lines: {}", text.lines().count(), report.summary()))?;
        if report.refused != 0 || report.duplicate != repeats {
            return Err(Failure::Proof(format!("{repeats} repeats were sent: {}", report.summary())));
        }
        Ok(())
    }

    /// Waits for the day's bill and shows it; it has to be exactly the documented one.
    pub async fn billed(&self, stage: &Stage, calendar: &Calendar, day: u32, state: BillState) -> Result<()> {
        let day = calendar.day(day).to_string();
        stage.teller.step(&format!("{} closes by itself and is billed to {}", day, self.person.company))?;
        let found = stage.until("the bill", async || {
            let (bills, _) = bill::list(&stage.portal, &self.account, &self.workspace, 100).await?;
            Ok(bills.into_iter().find(|bill| bill.usage_day == day && bill.state() == state))
        });
        let found = bill::show(&stage.portal, &self.account, &found.await?.id).await?;
        stage.teller.table(&bill::bills_table(std::slice::from_ref(&found)))?;
        stage.teller.table(&bill::lines_table(&found))?;
        stage.teller.table(&bill::payments_table(&found))?;
        let payable = found.payable.as_ref().and_then(Money::from_message);
        if payable != Some(cny(usage::DOCUMENTED_PAYABLE)) {
            return Err(Failure::Proof(format!(
                "the documented day must cost {}",
                cny(usage::DOCUMENTED_PAYABLE)
            )));
        }
        let mails = stage.mails_about("the bill's mail", &day, &[&self.person.email]).await?;
        mails.iter().try_for_each(|mail| stage.teller.mail(mail))
    }

    /// Waits until the workspace has this standing in the Console, and the account this one in Billing.
    pub async fn stands(
        &self,
        stage: &Stage,
        workspace: WorkspaceStanding,
        account: AccountStanding,
    ) -> Result<()> {
        let (found, standing) = stage
            .until("the standing", async || {
                let request = GetWorkspaceRequest {
                    workspace_id: self.workspace.clone(),
                    acting_account_id: String::new(),
                };
                let answer = stage.portal.workspaces().get_workspace(request).await?.into_inner();
                let found = present(answer.workspace, "workspace")?;
                let request = GetAccountRequest { billing_account_id: self.account.clone() };
                let answer = stage.portal.accounts().get_account(request).await?.into_inner();
                let standing = present(answer.account, "account")?.standing();
                Ok((found.standing() == workspace && standing == account).then_some((found, standing)))
            })
            .await?;
        let lock = crate::output::Cell::time(found.lock_time).to_text();
        let lock = if found.lock_time.is_some() { format!(", locks at {lock}") } else { String::new() };
        stage.teller.tell(&format!(
            "workspace: {}{lock}; account: {}",
            found.standing().as_str_name().trim_start_matches("WORKSPACE_STANDING_"),
            standing.as_str_name().trim_start_matches("ACCOUNT_STANDING_"),
        ))?;
        stage.mails_now()?.iter().try_for_each(|mail| stage.teller.mail(mail))
    }
}
