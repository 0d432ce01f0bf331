//! The customer who buys in a cloud's market: three workspaces on two sites, billed through the cloud, then cancelled.

use std::time::Duration;

use serde_json::json;
use tandem_adapters::callback::CallbackAction;
use tandem_adapters::sandbox::Buy;
use tandem_proto::billing::v1::{
    BillKind, BillState, DailyBill, ListCloudAccountsRequest, MarketplaceEventState, MeteringRecord,
    MeteringState, PeriodCause, SetAnySettlementRequest, SubscriptionState,
};
use tandem_proto::common::v1::{self as common, Language, PurchaseIds};
use tandem_proto::item::BillingItem;
use tandem_proto::language;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::SettlementMethod;

use crate::client::present;
use crate::commands::{bill, marketplace, metering, sandbox, workspace};
use crate::demo::customer::{self, Paying, Person};
use crate::demo::mailbox::Mail;
use crate::demo::stage::{Calendar, Stage};
use crate::demo::usage::{self, Use};
use crate::failure::{Failure, Result};

/// How long the sandbox may take to deliver its callbacks.
const SETTLE: Duration = Duration::from_secs(10);
/// More of anything than the demo makes.
const ALL: usize = 10_000;

/// What the three workspaces use on a day: 3.30, 5.00 and 2.00 CNY.
const USES: [&[Use]; 3] = [
    &[
        Use { item: BillingItem::TimeSeries, retention_days: 7, units: 3_000 },
        Use { item: BillingItem::LogCount, retention_days: 7, units: 1_000_000 },
    ],
    &[Use { item: BillingItem::Trigger, retention_days: 0, units: 50_000 }],
    &[Use { item: BillingItem::ApmTrace, retention_days: 3, units: 1_000_000 }],
];

/// The customer and what is theirs.
pub struct Market {
    head: Person,
    branch: Person,
    /// The purchase's number at the cloud.
    pub instance: String,
    /// The buyer's number at the cloud.
    vendor_account: String,
    /// `bac_…`.
    pub account: String,
    /// `wks_…` of all three.
    pub workspaces: Vec<String>,
}

impl Market {
    /// Buys in the market, then registers and activates three workspaces on two sites with the purchase.
    pub async fn arrive(stage: &Stage) -> Result<Market> {
        let cloud = stage.vendor.title(language::Language::En);
        let suffix = &stage.suffix;
        let person = |site, name: &str, phone: &str| Person {
            site,
            username: format!("{name}{suffix}"),
            email: format!("{name}{suffix}@morningstar.example"),
            phone: format!("{phone}{}", stage.digits()),
            company: "Morning Star Ltd",
            language: Language::En,
        };
        let (head, branch) =
            (person("cn1", "star_head", "+8613800"), person("cn4", "star_branch", "+8613700"));
        let vendor_account = format!("1744000000{}", stage.digits());

        stage
            .teller
            .step(&format!("A customer buys in the market of {cloud}; the cloud calls back, signed"))?;
        let bought = stage.sandbox.buy(&Buy { account_id: vendor_account.clone(), ..Buy::default() }).await?;
        let instance = bought.instance_id.clone();
        stage.sandbox.settle(SETTLE).await?;
        let pending = subscription_in(stage, &instance, SubscriptionState::PendingBinding).await?;
        stage.teller.table(&marketplace::subscriptions_table(&[pending]))?;

        stage
            .teller
            .step("It registers and activates with account ID and instance ID; a sub-user's ID is refused")?;
        let method = SettlementMethod::Cloud(stage.vendor);
        let console_account = customer::register(stage, &head).await?;
        let ids = |account: &str| PurchaseIds {
            vendor_account_id: account.to_owned(),
            vendor_instance_id: instance.clone(),
        };
        let sub_user = Paying::NewByPurchase(method, ids("200000000000000001"));
        stage.refused(
            customer::activate(stage, &console_account, "Shop", Language::En, sub_user).await,
            None,
        )?;
        let paying = Paying::NewByPurchase(method, ids(&vendor_account));
        let first = customer::activate(stage, &console_account, "Shop", Language::En, paying).await?;
        let account = first.billing_account_id;
        let mut workspaces = vec![present(first.workspace, "workspace")?.id];
        let cloud_account = cloud_account(stage, &account).await?;
        stage
            .teller
            .tell(&format!("workspace {} settles through cloud account {cloud_account}", workspaces[0]))?;

        stage.teller.step(
            "A second workspace on the same site takes the same cloud account, proved by a mailed code",
        )?;
        let proof = customer::prove_account(stage, &head).await?;
        let paying = Paying::ExistingByCloudAccount(method, proof, cloud_account.clone());
        let second = customer::activate(stage, &console_account, "Warehouse", Language::En, paying).await?;
        workspaces.push(present(second.workspace, "workspace")?.id);

        stage.teller.step(
            "A third one, on a site of another cloud, is refused until the operator allows any settlement",
        )?;
        let branch_account = customer::register(stage, &branch).await?;
        // A code may be asked for once a minute.
        stage.pass(jiff::SignedDuration::from_secs(61)).await?;
        let proof = customer::prove_account(stage, &head).await?;
        let paying = Paying::ExistingByCloudAccount(method, proof, cloud_account.clone());
        let third = customer::activate(stage, &branch_account, "Branch", Language::En, paying).await;
        stage.refused(third, Some(Reason::MethodNotAllowedHere))?;
        let allow = SetAnySettlementRequest {
            request_id: stage.request_id(),
            billing_account_id: account.clone(),
            allowed: true,
        };
        stage.operator.accounts().set_any_settlement(allow).await?;
        stage.pass(jiff::SignedDuration::from_secs(61)).await?;
        let proof = customer::prove_account(stage, &head).await?;
        let paying = Paying::ExistingByCloudAccount(method, proof, cloud_account);
        let third = customer::activate(stage, &branch_account, "Branch", Language::En, paying).await?;
        workspaces.push(present(third.workspace, "workspace")?.id);

        let market = Market { head, branch, instance, vendor_account, account, workspaces };
        let bindings = workspace::bindings(&stage.portal, &market.account, ALL).await?;
        stage.teller.table(&workspace::bindings_table(&bindings.rows))?;
        Ok(market)
    }

    /// Uses the product in some hours of a day, with all three workspaces.
    pub async fn use_hours(
        &self,
        stage: &Stage,
        calendar: &Calendar,
        day: u32,
        hours: std::ops::Range<u32>,
    ) -> Result<()> {
        let heading = format!(
            "{} uses the product on {}, hours {}–{}",
            self.head.company,
            calendar.day(day),
            hours.start,
            hours.end
        );
        stage.teller.step(&heading)?;
        for (workspace, uses) in self.workspaces.iter().zip(USES) {
            usage::record(stage, workspace, calendar, day, hours.clone(), uses).await?;
        }
        Ok(())
    }

    /// Waits until the day is billed through the cloud and the cloud has taken it; shows bills and metering.
    pub async fn billed(&self, stage: &Stage, calendar: &Calendar, day: u32) -> Result<()> {
        let title = stage.vendor.title(language::Language::En);
        let name = calendar.day(day).to_string();
        stage.teller.step(&format!("{name} is billed to {} and submitted to {title}", self.head.company))?;
        let bills = self.paid_bills(stage, &name, BillKind::Daily).await?;
        stage.teller.table(&bill::bills_table(&bills))?;
        self.show_metering(stage).await
    }

    async fn paid_bills(&self, stage: &Stage, day: &str, kind: BillKind) -> Result<Vec<DailyBill>> {
        stage
            .until("the bills to be paid", async || {
                let (bills, _) = bill::list(&stage.portal, &self.account, "", ALL).await?;
                let of_day: Vec<_> =
                    bills.into_iter().filter(|b| b.usage_day == day && b.kind() == kind).collect();
                let all = of_day.len() == self.workspaces.len()
                    && of_day.iter().all(|b| b.state() == BillState::Paid);
                Ok(all.then_some(of_day))
            })
            .await
    }

    async fn show_metering(&self, stage: &Stage) -> Result<()> {
        stage.teller.tell("what Billing has submitted, and what the cloud remembers:")?;
        stage.teller.table(&metering::records_table(&self.metering(stage).await?))?;
        let remembered = stage.sandbox.usage().await?;
        let ours: Vec<_> = remembered.into_iter().filter(|u| u.instance_id == self.instance).collect();
        stage.teller.table(&sandbox::usage_table(&ours))
    }

    /// Every metering record of the purchase.
    pub async fn metering(&self, stage: &Stage) -> Result<Vec<MeteringRecord>> {
        let all = metering::list(&stage.operator, MeteringState::Unspecified, "", ALL).await?;
        Ok(all.rows.into_iter().filter(|record| record.billing_account_id == self.account).collect())
    }

    /// Every bill of the account.
    pub async fn bills(&self, stage: &Stage) -> Result<Vec<DailyBill>> {
        Ok(bill::list(&stage.portal, &self.account, "", ALL).await?.0)
    }

    /// Cancels in the market: the final usage is submitted, all three workspaces fall back, each recipient gets one mail.
    pub async fn cancel(&self, stage: &Stage, calendar: &Calendar, day: u32) -> Result<()> {
        self.usage_is_delivered(stage, calendar, day).await?;
        stage.mails_now()?.iter().try_for_each(|mail| stage.teller.mail(mail))?;
        let cloud = stage.vendor.title(language::Language::En);
        stage.teller.step(&format!("{} cancels in the market; {cloud} calls back", self.head.company))?;
        stage.sandbox.act(&self.instance, "release", json!({ "refund": false })).await?;
        stage.sandbox.settle(SETTLE).await?;
        let ended = subscription_in(stage, &self.instance, SubscriptionState::Cancelled).await?;
        stage.teller.table(&marketplace::subscriptions_table(&[ended]))?;
        self.has_fallen_back(stage).await?;

        stage.teller.step("The final usage is submitted inside the cloud's closing window")?;
        let bills = self.paid_bills(stage, &calendar.day(day).to_string(), BillKind::Final).await?;
        stage.teller.table(&bill::bills_table(&bills))?;
        self.show_metering(stage).await?;

        stage.teller.step("Each recipient gets one mail")?;
        let recipients = [self.head.email.as_str(), self.branch.email.as_str()];
        let mails = stage.mails_about("the cancellation's mails", &self.vendor_account, &recipients).await?;
        mails.iter().try_for_each(|mail| stage.teller.mail(mail))?;
        for address in recipients {
            let count = mails.iter().filter(|mail| mail.to == address && self.is_farewell(mail)).count();
            if count != 1 {
                return Err(Failure::Proof(format!("{address} must get one mail and got {count}")));
            }
        }
        Ok(())
    }

    /// Mails about the end of a purchase name the cloud account.
    fn is_farewell(&self, mail: &Mail) -> bool {
        mail.body.contains(&self.vendor_account)
    }

    async fn usage_is_delivered(&self, stage: &Stage, calendar: &Calendar, day: u32) -> Result<()> {
        let day = calendar.day(day);
        stage
            .until("the usage to reach Billing", async || {
                let mut delivered = true;
                for id in &self.workspaces {
                    let usage = crate::commands::usage::list(&stage.portal, id, day, day, ALL).await?;
                    delivered &= !usage.rows.is_empty() && usage.rows.iter().all(|row| row.delivered);
                }
                Ok(delivered.then_some(()))
            })
            .await
    }

    async fn has_fallen_back(&self, stage: &Stage) -> Result<()> {
        let bindings = stage.until("the fall-back", async || {
            let bindings = workspace::bindings(&stage.portal, &self.account, ALL).await?.rows;
            let center = common::SettlementMethod::BillingCenter;
            Ok(bindings.iter().all(|binding| binding.settlement_method() == center).then_some(bindings))
        });
        stage.teller.table(&workspace::bindings_table(&bindings.await?))?;
        for id in &self.workspaces {
            let periods = workspace::history(&stage.portal, id, ALL).await?.rows;
            stage.teller.tell(&format!("history of {id}, kept:"))?;
            stage.teller.table(&workspace::history_table(&periods))?;
            let causes: Vec<_> = periods.iter().map(|period| period.cause()).collect();
            if causes != [PeriodCause::Bound, PeriodCause::FallBack] {
                return Err(Failure::Proof(format!(
                    "{id} must have fallen back once; its periods: {causes:?}"
                )));
            }
        }
        Ok(())
    }

    /// Has the cloud deliver the release twice more: nothing may change.
    pub async fn cancel_again(&self, stage: &Stage) -> Result<()> {
        stage.teller.step("The same callback comes twice more: nothing changes")?;
        for _ in 0..2 {
            stage.sandbox.repeat(&self.instance, CallbackAction::Release).await?;
            stage.sandbox.settle(SETTLE).await?;
        }
        let events =
            marketplace::events(&stage.operator, MarketplaceEventState::Unspecified, &self.instance, ALL)
                .await?;
        stage.teller.table(&marketplace::events_table(&events.rows))?;
        self.has_fallen_back(stage).await?;
        match stage.mails_now()?.iter().find(|mail| self.is_farewell(mail)) {
            None => stage.teller.tell("no further mail was written"),
            Some(mail) => Err(Failure::Proof(format!("a repeated callback wrote a mail: {}", mail.subject))),
        }
    }

    /// Recharges, because the workspaces are settled by the balance from now on.
    pub async fn recharge(&self, stage: &Stage, minor: i64, reference: &str) -> Result<()> {
        stage.teller.step(&format!("{} recharges for what it uses from now on", self.head.company))?;
        customer::recharge(stage, &self.account, minor, reference).await
    }

    /// Waits until the rest of the day is billed to the Billing Center.
    pub async fn rest_is_billed(&self, stage: &Stage, calendar: &Calendar, day: u32) -> Result<()> {
        let name = calendar.day(day).to_string();
        stage
            .teller
            .step(&format!("What was used after the cancellation on {name} is paid by the balance"))?;
        let bills = self.paid_bills(stage, &name, BillKind::Daily).await?;
        let center = common::SettlementMethod::BillingCenter;
        if bills.iter().any(|bill| bill.settlement_method() != center) {
            return Err(Failure::Proof("a bill after the cancellation goes to the cloud".to_owned()));
        }
        stage.teller.table(&bill::bills_table(&bills))
    }
}

async fn subscription_in(
    stage: &Stage,
    instance: &str,
    state: SubscriptionState,
) -> Result<tandem_proto::billing::v1::MarketplaceSubscription> {
    stage
        .until("the purchase to be known", async || {
            let all = marketplace::subscriptions(&stage.operator, "", ALL).await?.rows;
            Ok(all.into_iter().find(|s| s.vendor_instance_id == instance && s.state() == state))
        })
        .await
}

async fn cloud_account(stage: &Stage, account: &str) -> Result<String> {
    let request = ListCloudAccountsRequest {
        billing_account_id: account.to_owned(),
        page_size: 1,
        page_token: String::new(),
    };
    let answer = stage.portal.marketplace().list_cloud_accounts(request).await?.into_inner();
    Ok(present(answer.cloud_accounts.into_iter().next(), "cloud_accounts")?.id)
}
