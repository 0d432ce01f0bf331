//! Workspaces that move to another billing account: who pays for which day, and what forbids it (3.9, D8, D10).

use jiff::SignedDuration;
use tandem_proto::item::BillingItem::{Sms, Trigger};

use super::*;
use crate::testing::at;

/// A workspace of li's, another account of wang's.
pub(super) struct Scene {
    pub(super) market: Market,
    pub(super) li: BillingAccountId,
    pub(super) wang: BillingAccountId,
    pub(super) shop: WorkspaceId,
}

impl std::ops::Deref for Scene {
    type Target = Market;
    fn deref(&self) -> &Market {
        &self.market
    }
}

/// Noon of 2026-03-01 in Shanghai, with the day before billed and paid.
pub(super) async fn scenes(name: &str) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for market in both(name).await {
        let (li, wang) = (market.account("li").await, market.account("wang").await);
        let shop = market.workspace(&li, "shop").await;
        market.recharge(&li, 100_000).await;
        market.deliver(&shop, "2026-02-28", 1, &[(Trigger, 0, 10_000)]).await;
        assert_eq!(market.bill("2026-02-28").await, 1);
        market.clock.advance_to(at("2026-03-01T04:00:00Z"));
        scenes.push(Scene { market, li, wang, shop });
    }
    scenes
}

impl Market {
    /// Has the codes of a move mailed, and returns them: of the account that pays, and of the one that is to.
    pub(super) async fn move_codes(&self, workspace: &WorkspaceId, from: &str, to: &str) -> [String; 2] {
        self.bench.pass(SignedDuration::from_secs(61));
        let request = pb::SendMoveCodesRequest {
            request_id: request_id(),
            workspace_id: workspace.as_str().to_owned(),
            to_username: to.to_owned(),
        };
        self.bindings().send_move_codes(by_caller(request)).await.unwrap();
        let mails = self.mails().await;
        [from, to].map(|name| {
            let to = format!("{name}@acme.test");
            let moving = |mail: &&Mail| mail.to == to && mail.subject.contains("moving a workspace");
            let mail = mails.iter().rev().find(moving).unwrap();
            mail.subject.rsplit(' ').next().unwrap().to_owned()
        })
    }

    pub(super) fn move_request(
        &self,
        workspace: &WorkspaceId,
        to: &str,
        [from_code, to_code]: [String; 2],
    ) -> pb::MoveWorkspaceRequest {
        pb::MoveWorkspaceRequest {
            request_id: request_id(),
            workspace_id: workspace.as_str().to_owned(),
            to_username: to.to_owned(),
            from_code,
            to_code,
        }
    }

    pub(super) async fn move_to(
        &self,
        workspace: &WorkspaceId,
        from: &str,
        to: &str,
    ) -> Result<Response<pb::MoveWorkspaceResponse>, Status> {
        let codes = self.move_codes(workspace, from, to).await;
        self.bindings().move_workspace(by_caller(self.move_request(workspace, to, codes))).await
    }

    /// I-12, I-18 over all accounts, by SQL.
    pub(super) async fn check_one_payer(&self) {
        let none = [
            "SELECT COUNT(*) FROM (SELECT workspace_id, effective_to, LEAD(effective_from) OVER \
             (PARTITION BY workspace_id ORDER BY effective_from) AS following FROM workspace_binding) x \
             WHERE following IS NOT NULL AND (effective_to IS NULL OR effective_to <> following)",
            "SELECT COUNT(*) FROM workspace_directory d WHERE 1 <> (SELECT COUNT(*) FROM workspace_binding b \
             WHERE b.workspace_id = d.workspace_id AND b.effective_to IS NULL)",
            "SELECT COUNT(*) FROM workspace_directory d JOIN workspace_binding b ON b.workspace_id = d.workspace_id \
             WHERE b.effective_to IS NULL AND b.billing_account_id <> d.billing_account_id",
            "SELECT COUNT(*) FROM workspace_directory d WHERE 1 <> (SELECT COUNT(*) FROM workspace w \
             WHERE w.workspace_id = d.workspace_id AND w.left_at IS NULL)",
            // Each day of a workspace is one account's.
            "SELECT COUNT(*) FROM (SELECT workspace_id FROM usage_day GROUP BY workspace_id, usage_day, item, \
             retention_days, sub_key HAVING COUNT(*) > 1) x",
        ];
        for text in none {
            assert_eq!(self.bench.number(text).await, 0, "{text}");
        }
        self.prove().await;
    }

    /// What an account's bills say: day, payable in minor units.
    pub(super) async fn billed(&self, account: &BillingAccountId) -> Vec<(String, i64)> {
        let bills = crate::store::bill::list(&self.db.read, account, None, &[], 100).await.unwrap();
        let mut billed: Vec<_> = bills.iter().map(|b| (b.day.to_string(), b.payable)).collect();
        billed.sort();
        billed
    }
}

#[tokio::test]
async fn the_day_of_the_move_is_the_new_accounts_and_earlier_days_stay() {
    for scene in scenes("move").await {
        let Scene { li, wang, shop, .. } = &scene;
        scene.recharge(wang, 100_000).await;
        scene.deliver(shop, "2026-03-01", 1, &[(Trigger, 0, 20_000), (Sms, 0, 100)]).await;
        let moved = scene.move_to(shop, "li", "wang").await.unwrap().into_inner();
        assert_eq!(moved.first_day, "2026-03-01");
        let binding = moved.binding.unwrap();
        assert_eq!(binding.billing_account_id, wang.as_str());
        assert_eq!(binding.bind_time, binding.method_start_time);
        // More of today, and something that comes late for yesterday.
        scene.deliver(shop, "2026-03-01", 2, &[(Trigger, 0, 50_000)]).await;
        scene.deliver(shop, "2026-02-28", 2, &[(Trigger, 0, 30_000)]).await;
        scene.clock.advance_to(at("2026-03-01T16:10:00Z"));
        assert_eq!(scene.bill("2026-03-01").await, 2);
        let text = |day: &str, minor: i64| (day.to_owned(), minor);
        // 5 of triggers and 10 of messages; the other account gets yesterday's 2 as an adjustment.
        assert_eq!(scene.billed(wang).await, [text("2026-03-01", 1_500)]);
        assert_eq!(scene.billed(li).await, [text("2026-02-28", 100), text("2026-03-01", 200)]);
        let lines = "SELECT kind || ' ' || CAST(adjusted_day AS TEXT) AS value FROM bill_line \
                     WHERE adjusted_day IS NOT NULL";
        assert_eq!(scene.texts(lines).await, ["adjustment 20260228"]);

        let history =
            pb::ListBindingHistoryRequest { workspace_id: shop.as_str().into(), ..Default::default() };
        let history = scene.bindings().list_binding_history(by_caller(history)).await.unwrap().into_inner();
        let payers: Vec<_> =
            history.periods.iter().map(|p| (p.billing_account_id.as_str(), p.cause())).collect();
        assert_eq!(payers, [(li.as_str(), pb::PeriodCause::Bound), (wang.as_str(), pb::PeriodCause::Moved)]);
        assert_eq!(history.periods[0].end_time, history.periods[1].start_time);
        let told = "SELECT billing_account_id AS value FROM feed_event WHERE payload LIKE '%workspace_changed%' \
                    ORDER BY id";
        assert_eq!(scene.texts(told).await.last().unwrap(), wang.as_str());
        let mails = scene.mails().await;
        let readers = mails.iter().filter(|mail| mail.subject.contains("moved to")).map(|mail| &mail.to);
        let mut readers: Vec<_> = readers.collect();
        readers.sort();
        assert_eq!(readers, ["li@acme.test", "shop@owner.test", "wang@acme.test"]);
        // The old account's list does not hold it any more; both find their own days.
        let list = pb::ListBindingsRequest { billing_account_id: li.as_str().into(), ..Default::default() };
        let list = scene.bindings().list_bindings(by_caller(list)).await.unwrap().into_inner();
        assert_eq!(list.bindings, []);
        scene.check_one_payer().await;
    }
}

#[tokio::test]
async fn each_account_lists_the_days_it_pays_for() {
    use tandem_proto::billing::v1::usage_service_server::UsageService as _;
    for scene in scenes("move_list").await {
        scene.deliver(&scene.shop, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        scene.move_to(&scene.shop, "li", "wang").await.unwrap();
        let service = crate::grpc::usage::Service(scene.context());
        for (account, days) in [
            ("", vec!["2026-03-01"]),
            (scene.wang.as_str(), vec!["2026-03-01"]),
            (scene.li.as_str(), vec!["2026-02-28"]),
        ] {
            let request = pb::ListUsageDaysRequest {
                workspace_id: scene.shop.as_str().into(),
                start_day: "2026-01-01".into(),
                end_day: "2026-12-31".into(),
                billing_account_id: account.into(),
                ..Default::default()
            };
            let found = service.list_usage_days(by_caller(request)).await.unwrap().into_inner().usage;
            let found: Vec<_> =
                found.iter().map(|u| u.delivered.as_ref().unwrap().usage_day.as_str()).collect();
            assert_eq!(found, days, "{account}");
        }
    }
}

#[tokio::test]
async fn open_money_and_other_bounds_forbid_a_move() {
    for scene in scenes("move_refused").await {
        let Scene { li, wang, shop, .. } = &scene;
        let refused = async || refusal(scene.move_to(shop, "li", "wang").await);
        scene.run("UPDATE billing_account SET currency = 'USD' WHERE username = ?", ["wang".into()]).await;
        assert_eq!(refused().await, Reason::CurrencyMismatch);
        scene
            .run(
                "UPDATE billing_account SET currency = 'CNY', region = 'international' WHERE username = ?",
                ["wang".into()],
            )
            .await;
        assert_eq!(refused().await, Reason::RegionMismatch);
        scene.run("UPDATE billing_account SET region = 'domestic', standing = 'arrears', arrears_since = 0 WHERE username = ?", ["wang".into()]).await;
        assert_eq!(refused().await, Reason::AccountInArrears);
        scene
            .run(
                "UPDATE billing_account SET standing = 'good', arrears_since = NULL WHERE username = ?",
                ["wang".into()],
            )
            .await;

        scene.run("UPDATE site_day SET billed_at = NULL", []).await;
        assert_eq!(refused().await, Reason::UsageNotBilled);
        scene.bill("2026-02-28").await;
        let subscription = scene.settle_by_cloud(li, &[shop]).await;
        assert_eq!(refused().await, Reason::CloudSubscriptionLive);
        scene
            .run(
                "UPDATE workspace_binding SET settlement_method = 'billing_center', cloud_account_id = NULL, \
             subscription_id = NULL WHERE subscription_id = ?",
                [subscription.as_str().into()],
            )
            .await;
        scene.run("UPDATE workspace SET standing = 'locked'", []).await;
        assert_eq!(refused().await, Reason::WorkspaceLocked);
        scene.run("UPDATE workspace SET standing = 'active'", []).await;

        // A bill that cannot be paid, and then is.
        scene.deliver(shop, "2026-03-01", 1, &[(Trigger, 0, 20_000_000)]).await;
        scene.clock.advance_to(at("2026-03-01T16:10:00Z"));
        scene.bill("2026-03-01").await;
        assert_eq!(refused().await, Reason::BillsUnpaid);
        scene.recharge(li, 500_000).await;
        // A part of today is on a bill already, because a purchase ended this morning.
        let day = "UPDATE daily_bill SET usage_day = ? WHERE usage_day = ?";
        scene.run(day, [20_260_302.into(), 20_260_301.into()]).await;
        assert_eq!(refused().await, Reason::DayBilledAlready);
        scene.run(day, [20_260_301.into(), 20_260_302.into()]).await;
        assert_eq!(scene.billed(wang).await, []);
        scene.move_to(shop, "li", "wang").await.unwrap();
        scene.check_one_payer().await;
    }
}

#[tokio::test]
async fn both_codes_are_needed_and_agree_to_this_move_only() {
    for scene in scenes("move_codes").await {
        let Scene { li, shop, .. } = &scene;
        let other = scene.workspace(li, "other").await;
        scene.account("zhao").await;
        let [from, to] = scene.move_codes(shop, "li", "wang").await;
        let service = scene.bindings();
        let go = async |workspace: &WorkspaceId, name: &str, codes: [&String; 2]| {
            let codes = codes.map(Clone::clone);
            service.move_workspace(by_caller(scene.move_request(workspace, name, codes))).await
        };
        assert_eq!(refusal(go(shop, "wang", [&to, &from]).await), Reason::CodeInvalid);
        assert_eq!(refusal(go(&other, "wang", [&from, &to]).await), Reason::CodeInvalid);
        assert_eq!(refusal(go(shop, "zhao", [&from, &to]).await), Reason::CodeInvalid);
        assert_eq!(refusal(go(shop, "nobody", [&from, &to]).await), Reason::CodeInvalid);
        assert_eq!(refusal(go(shop, "li", [&from, &to]).await), Reason::CodeInvalid);
        let request = scene.move_request(shop, "wang", [from.clone(), to.clone()]);
        let first = service.move_workspace(by_caller(request.clone())).await.unwrap().into_inner();
        // A repetition gets its answer although the codes are used up; another call does not.
        let again = service.move_workspace(by_caller(request)).await.unwrap().into_inner();
        assert_eq!(bytes(&first), bytes(&again));
        assert_eq!(refusal(go(shop, "wang", [&from, &to]).await), Reason::CodeInvalid);
        // Codes for what is not there are answered alike.
        let mails = scene.mails().await.len();
        let nobody = |workspace: String, name: &str| pb::SendMoveCodesRequest {
            request_id: request_id(),
            workspace_id: workspace,
            to_username: name.to_owned(),
        };
        for (workspace, name) in
            [(fresh::<WorkspaceId>().into(), "wang"), (other.as_str().to_owned(), "nobody")]
        {
            let sent = service.send_move_codes(by_caller(nobody(workspace, name))).await.unwrap();
            assert_eq!(sent.into_inner().valid_seconds, 600);
        }
        assert_eq!(scene.mails().await.len(), mails);
        scene.check_one_payer().await;
    }
}

/// The old account's debts for other workspaces are not this one's business any more; and a requested change is dropped.
#[tokio::test]
async fn a_countdown_by_the_old_accounts_arrears_ends_with_the_move() {
    for scene in scenes("move_standing").await {
        let Scene { li, wang, shop, .. } = &scene;
        let counting =
            "UPDATE workspace SET standing = 'lock_countdown', lock_cause = 'arrears', lock_at = ?";
        scene.run(counting, [at("2026-03-10T00:00:00Z").as_microsecond().into()]).await;
        let request = pb::RequestSettlementChangeRequest {
            request_id: request_id(),
            billing_account_id: li.as_str().into(),
            workspace_ids: vec![shop.as_str().into()],
            settlement_method: common::SettlementMethod::AlibabaCloud.into(),
        };
        scene.bindings().request_settlement_change(by_caller(request)).await.unwrap();
        let moved = scene.move_to(shop, "li", "wang").await.unwrap().into_inner().binding.unwrap();
        assert_eq!(moved.standing(), common::WorkspaceStanding::Active);
        assert_eq!(moved.lock_time, None);
        let get = pb::GetBindingRequest { workspace_id: shop.as_str().into() };
        let now = scene.bindings().get_binding(by_caller(get)).await.unwrap().into_inner().binding.unwrap();
        assert_eq!((now.pending_change, now.billing_account_id.as_str()), (None, wang.as_str()));
        assert_eq!(scene.count("settlement_change").await, 0);
        // The row it left behind is in nobody's countdown.
        scene.clock.advance_to(at("2026-03-11T00:00:00Z"));
        assert_eq!(crate::ops::stand::lock_due(&scene.ctx, scene.now()).await.unwrap(), 0);
        assert_eq!(crate::ops::stand::warn_soon(&scene.ctx).await.unwrap(), 0);
    }
}
