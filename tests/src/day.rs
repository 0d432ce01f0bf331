//! Days of usage: points recorded, days closed, bills made.

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, Role};
use tandem_proto::console::v1 as console;
use tandem_proto::day::{UsageDay, zone};
use tandem_service_kit::validate::to_message;

use crate::system::{System, request_id};

/// How long after midnight a day is surely closed: the Console waits ten minutes.
const CLOSE_GRACE: SignedDuration = SignedDuration::from_mins(11);

/// A point of an item's first measure, with the workspace's retention.
pub fn point(workspace: &str, hour: Timestamp, item: BillingItem, quantity: i64) -> console::UsagePoint {
    console::UsagePoint {
        workspace_id: workspace.to_owned(),
        hour_start_time: Some(to_message(hour)),
        item: item.into(),
        measure: 0,
        retention_days: 0,
        sub_key: String::new(),
        quantity,
    }
}

/// A day as the contract writes it.
pub fn day(text: &str) -> anyhow::Result<UsageDay> {
    Ok(text.parse()?)
}

/// Every hour of a day in a zone: 24, or 23 and 25 where clocks change.
pub fn hours(day: UsageDay, zone_name: &str) -> anyhow::Result<Vec<Timestamp>> {
    let zone = zone(zone_name).context("no such zone")?;
    let (start, end) = (day.start(&zone), day.end(&zone));
    let mut hours = Vec::new();
    let mut hour = start;
    while hour < end {
        hours.push(hour);
        hour = hour.checked_add(SignedDuration::from_hours(1))?;
    }
    Ok(hours)
}

impl System {
    /// Records points as an internal service does; each batch gets an id of its own.
    pub async fn record(
        &self,
        points: Vec<console::UsagePoint>,
    ) -> anyhow::Result<console::RecordUsageResponse> {
        let sent = points.len();
        let request = console::RecordUsageRequest { request_id: request_id("usage"), points };
        let answer = self.as_role(Role::UsageSource)?.usage().record_usage(request).await?.into_inner();
        let counted =
            answer.accepted_count + answer.duplicate_count + answer.replaced_count + answer.refused_count;
        ensure!(usize::try_from(counted)? == sent, "I-10: {counted} of {sent} points are accounted for");
        ensure!(answer.outcomes.len() == sent, "I-10: an outcome for each point");
        Ok(answer)
    }

    /// [`System::record`] of points that must all be taken.
    pub async fn record_all(&self, points: Vec<console::UsagePoint>) -> anyhow::Result<()> {
        let answer = self.record(points).await?;
        ensure!(answer.refused.is_empty(), "points were refused: {:?}", answer.refused);
        Ok(())
    }

    /// Lives until a day is over at a site, and waits until all of its bills are made.
    pub async fn finish_day(&self, site: &str, day: UsageDay) -> anyhow::Result<()> {
        let zone_name = self.site_zone(site).await?;
        let zone = zone(&zone_name).context("no such zone")?;
        self.advance_to(day.end(&zone) + CLOSE_GRACE).await?;
        self.eventually(&format!("{site} bills {day}"), async || {
            let sql = format!(
                "SELECT COUNT(*) FROM site_day WHERE site = '{site}' AND usage_day = {} AND billed_at IS NOT NULL",
                day.number()
            );
            Ok((self.billing_rows().await?.number(&sql).await? == 1).then_some(()))
        })
        .await
    }

    /// The zone whose midnight ends a site's days.
    pub async fn site_zone(&self, site: &str) -> anyhow::Result<String> {
        let request = console::ListSitesRequest::default();
        let sites = self.portal()?.accounts().list_sites(request).await?.into_inner().sites;
        let found = sites.into_iter().find(|s| s.code == site).with_context(|| format!("no site {site}"))?;
        Ok(found.time_zone)
    }

    /// An account's bills with their lines, oldest day first.
    pub async fn bills(&self, account: &str) -> anyhow::Result<Vec<billing::DailyBill>> {
        let operator = self.operator()?;
        let mut page_token = String::new();
        let mut bills = Vec::new();
        loop {
            let request = billing::ListDailyBillsRequest {
                billing_account_id: account.to_owned(),
                page_size: 100,
                page_token,
                ..Default::default()
            };
            let page = operator.bills().list_daily_bills(request).await?.into_inner();
            for bill in page.bills {
                let request =
                    billing::GetDailyBillRequest { billing_account_id: account.to_owned(), bill_id: bill.id };
                let bill = operator.bills().get_daily_bill(request).await?.into_inner().bill;
                bills.push(bill.context("the answer has no bill")?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        bills.sort_by(|a, b| {
            (&a.usage_day, &a.issue_time.map(|t| (t.seconds, t.nanos)))
                .cmp(&(&b.usage_day, &b.issue_time.map(|t| (t.seconds, t.nanos))))
        });
        Ok(bills)
    }

    /// The one bill of a workspace and day.
    pub async fn bill(
        &self,
        account: &str,
        workspace: &str,
        day: &str,
    ) -> anyhow::Result<billing::DailyBill> {
        let bills = self.bills(account).await?;
        let mut found: Vec<_> = bills
            .into_iter()
            .filter(|bill| bill.workspace_id == workspace && bill.usage_day == day)
            .collect();
        ensure!(found.len() == 1, "{} bills of {workspace} for {day}", found.len());
        found.pop().context("no bill")
    }

    /// A workspace as the Console holds it.
    pub async fn workspace(&self, id: &str) -> anyhow::Result<console::Workspace> {
        let request = console::GetWorkspaceRequest { workspace_id: id.to_owned(), ..Default::default() };
        let response = self.operator()?.workspaces().get_workspace(request).await?.into_inner();
        response.workspace.context("the answer has no workspace")
    }

    /// How a workspace was settled, oldest first.
    pub async fn history(&self, workspace: &str) -> anyhow::Result<Vec<billing::SettlementPeriod>> {
        let request = billing::ListBindingHistoryRequest {
            workspace_id: workspace.to_owned(),
            page_size: 500,
            ..Default::default()
        };
        Ok(self.operator()?.bindings().list_binding_history(request).await?.into_inner().periods)
    }

    /// What an account has and owes, in minor units.
    pub async fn wallet(&self, account: &str) -> anyhow::Result<(i64, i64)> {
        let request = billing::GetWalletRequest { billing_account_id: account.to_owned() };
        let wallet = self.operator()?.wallet().get_wallet(request).await?.into_inner();
        let minor =
            |money: Option<tandem_proto::common::v1::Money>| money.map_or(0, |money| money.minor_units);
        Ok((minor(wallet.cash), minor(wallet.overdraft)))
    }
}

/// The payable of a bill in minor units.
pub fn payable(bill: &billing::DailyBill) -> i64 {
    bill.payable.as_ref().map_or(0, |money| money.minor_units)
}

/// The lines of a bill as `item/retention` and micros, in the bill's order.
pub fn amounts(bill: &billing::DailyBill) -> Vec<(String, i64)> {
    let line = |line: &billing::BillLine| {
        let item = line.item().as_str_name().trim_start_matches("BILLING_ITEM_").to_owned();
        let name = match line.kind() {
            billing::BillLineKind::PayAsYouGo if line.retention_days > 0 => {
                format!("{item}/{}", line.retention_days)
            }
            billing::BillLineKind::PayAsYouGo => item,
            billing::BillLineKind::Adjustment => format!("{item} of {}", line.adjusted_day),
            other => other.as_str_name().trim_start_matches("BILL_LINE_KIND_").to_owned(),
        };
        (name, line.amount.as_ref().map_or(0, |amount| amount.micros))
    };
    bill.lines.iter().map(line).collect()
}
