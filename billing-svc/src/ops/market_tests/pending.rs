//! Changes to a cloud that wait for their purchase (5.3, D11).

use jiff::SignedDuration;

use super::*;
use crate::ops::expire_changes;
use crate::testing::at;

const ALIBABA: common::SettlementMethod = common::SettlementMethod::AlibabaCloud;
type Purchase = pb::complete_settlement_change_request::Purchase;

impl Market {
    /// An account with two workspaces that the Billing Center settles.
    async fn two_shops(&self) -> (BillingAccountId, [WorkspaceId; 2]) {
        let li = self.account("li").await;
        let shops = [self.workspace(&li, "one").await, self.workspace(&li, "two").await];
        (li, shops)
    }

    async fn request_change(
        &self,
        account: &BillingAccountId,
        workspaces: &[WorkspaceId],
        method: common::SettlementMethod,
    ) -> Result<Response<pb::RequestSettlementChangeResponse>, Status> {
        let request = pb::RequestSettlementChangeRequest {
            request_id: request_id(),
            billing_account_id: account.as_str().into(),
            workspace_ids: workspaces.iter().map(|id| id.as_str().to_owned()).collect(),
            settlement_method: method.into(),
        };
        self.bindings().request_settlement_change(by_caller(request)).await
    }

    fn completion(
        &self,
        account: &BillingAccountId,
        workspaces: &[WorkspaceId],
        purchase: Purchase,
    ) -> pb::CompleteSettlementChangeRequest {
        pb::CompleteSettlementChangeRequest {
            request_id: request_id(),
            billing_account_id: account.as_str().into(),
            settlement_method: ALIBABA.into(),
            workspace_ids: workspaces.iter().map(|id| id.as_str().to_owned()).collect(),
            purchase: Some(purchase),
        }
    }

    async fn complete(
        &self,
        request: pb::CompleteSettlementChangeRequest,
    ) -> Result<Response<pb::CompleteSettlementChangeResponse>, Status> {
        self.bindings().complete_settlement_change(by_caller(request)).await
    }

    async fn cancel_change(
        &self,
        account: &BillingAccountId,
        workspace: &WorkspaceId,
    ) -> Result<Response<pb::CancelSettlementChangeResponse>, Status> {
        let request = pb::CancelSettlementChangeRequest {
            request_id: request_id(),
            billing_account_id: account.as_str().into(),
            workspace_id: workspace.as_str().into(),
        };
        self.bindings().cancel_settlement_change(by_caller(request)).await
    }

    async fn binding(&self, workspace: &WorkspaceId) -> pb::WorkspaceBinding {
        let request = pb::GetBindingRequest { workspace_id: workspace.as_str().into() };
        self.bindings().get_binding(by_caller(request)).await.unwrap().into_inner().binding.unwrap()
    }

    async fn ticket(&self, proof: &str) -> String {
        let request = pb::OpenLandingRequest {
            request_id: request_id(),
            vendor: common::Vendor::Alibaba.into(),
            market: common::Market::China.into(),
            vendor_instance_id: INSTANCE.to_owned(),
            vendor_account_id: BUYER.to_owned(),
            proof_digest: proof.to_owned(),
        };
        self.market().open_landing(by_caller(request)).await.unwrap().into_inner().landing_ticket
    }
}

fn typed() -> Purchase {
    Purchase::PurchaseIds(ids(BUYER, INSTANCE))
}

#[tokio::test]
async fn a_requested_change_is_done_when_the_buyer_comes_back_from_the_market() {
    for market in both("pending").await {
        let (li, shops) = market.two_shops().await;
        let asked = market.request_change(&li, &shops, ALIBABA).await.unwrap().into_inner().bindings;
        assert_eq!(asked.len(), 2);
        for shop in &shops {
            let binding = market.binding(shop).await;
            assert_eq!(binding.settlement_method(), common::SettlementMethod::BillingCenter);
            let pending = binding.pending_change.unwrap();
            assert_eq!(pending.settlement_method(), ALIBABA);
            let (from, to) = (pending.request_time.unwrap(), pending.expire_time.unwrap());
            assert_eq!(to.seconds - from.seconds, 86_400);
        }
        let list = pb::ListBindingsRequest { billing_account_id: li.as_str().into(), ..Default::default() };
        let list = market.bindings().list_bindings(by_caller(list)).await.unwrap().into_inner();
        assert!(list.bindings.iter().all(|b| b.pending_change.is_some()));
        assert_eq!(market.methods().await, ["billing_center", "billing_center"]);

        market.pass(SignedDuration::from_hours(23));
        market.announce(vec![bought()]).await;
        let ticket = Purchase::LandingTicket(market.ticket("one").await);
        let request = market.completion(&li, &shops, ticket);
        let done = market.complete(request.clone()).await.unwrap().into_inner();
        let again = market.complete(request).await.unwrap().into_inner();
        assert_eq!(bytes(&done), bytes(&again));
        assert_eq!(market.methods().await, ["alibaba", "alibaba"]);
        assert!(done.bindings.iter().all(|b| b.pending_change.is_none() && !b.cloud_account_id.is_empty()));
        assert_eq!(market.count("settlement_change").await, 0);
        let changes = market.mails().await.into_iter().filter(|m| m.subject.contains("changed")).count();
        assert_eq!(changes, 2, "one for each workspace");
        let months = "SELECT CAST(method_changed_month AS TEXT) AS value FROM workspace";
        assert_eq!(market.texts(months).await, ["202603", "202603"]);
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn a_request_expires_after_a_day_and_uses_nothing_up() {
    for market in both("pending_expiry").await {
        let (li, [shop, _]) = market.two_shops().await;
        market.announce(vec![bought()]).await;
        let one = std::slice::from_ref(&shop);
        market.request_change(&li, one, ALIBABA).await.unwrap();
        market.pass(SignedDuration::from_hours(24) - SignedDuration::from_micros(1));
        assert_eq!(expire_changes::run(&market.ctx, market.now()).await.unwrap(), 0);
        assert!(market.binding(&shop).await.pending_change.is_some());
        // With the deadline it counts no more, whether it is forgotten yet or not.
        market.pass(SignedDuration::from_micros(1));
        assert_eq!(market.binding(&shop).await.pending_change, None);
        let late = market.completion(&li, one, typed());
        assert_eq!(refusal(market.complete(late).await), Reason::ChangeNotRequested);
        assert_eq!(refusal(market.cancel_change(&li, &shop).await), Reason::ChangeNotRequested);
        for dropped in [1, 0] {
            assert_eq!(expire_changes::run(&market.ctx, market.now()).await.unwrap(), dropped);
        }
        let expired = market.mails().await.into_iter().filter(|m| m.subject.contains("has expired")).count();
        assert_eq!(expired, 1);
        // The month's change is still there.
        market.request_change(&li, one, ALIBABA).await.unwrap();
        market.complete(market.completion(&li, one, typed())).await.unwrap();
        assert_eq!(market.methods().await.iter().filter(|m| *m == "alibaba").count(), 1);
    }
}

#[tokio::test]
async fn the_rules_hold_when_it_is_requested_and_when_it_is_completed() {
    for market in both("pending_rules").await {
        let (li, [shop, other]) = market.two_shops().await;
        let wang = market.account("wang").await;
        market.announce(vec![bought()]).await;
        let one = std::slice::from_ref(&shop);
        let aws = common::SettlementMethod::Aws;
        assert_eq!(refusal(market.request_change(&li, one, aws).await), Reason::VendorNotConfigured);
        let center = common::SettlementMethod::BillingCenter;
        assert_eq!(refusal(market.request_change(&li, one, center).await), Reason::InvalidField);
        assert_eq!(refusal(market.request_change(&li, &[], ALIBABA).await), Reason::InvalidField);
        let twice = [shop.clone(), shop.clone()];
        assert_eq!(refusal(market.request_change(&li, &twice, ALIBABA).await), Reason::InvalidField);
        assert_eq!(refusal(market.request_change(&wang, one, ALIBABA).await), Reason::WorkspaceNotBound);
        market.run("UPDATE workspace SET default_methods = ''", []).await;
        assert_eq!(refusal(market.request_change(&li, one, ALIBABA).await), Reason::MethodNotAllowedHere);
        market.run("UPDATE workspace SET default_methods = 'alibaba'", []).await;
        market.run("UPDATE workspace SET method_changed_month = 202603", []).await;
        assert_eq!(refusal(market.request_change(&li, one, ALIBABA).await), Reason::MethodChangedThisMonth);
        market.run("UPDATE workspace SET method_changed_month = 202602", []).await;

        // All or nothing: one of two has not asked, so neither is changed and the one that has goes on waiting.
        market.request_change(&li, one, ALIBABA).await.unwrap();
        let asked = market.gateway.look_ups();
        let both_shops = market.completion(&li, &[shop.clone(), other.clone()], typed());
        assert_eq!(refusal(market.complete(both_shops).await), Reason::ChangeNotRequested);
        assert_eq!(market.gateway.look_ups(), asked, "nobody is asked for what was not requested");
        let unknown = Purchase::PurchaseIds(ids(BUYER, "9999999"));
        assert_eq!(
            refusal(market.complete(market.completion(&li, one, unknown)).await),
            Reason::PurchaseNotFound
        );
        assert!(market.binding(&shop).await.pending_change.is_some());
        // A change that is made at once takes the request with it; then the purchase is live (R3).
        let direct = pb::ChangeSettlementMethodRequest {
            request_id: request_id(),
            billing_account_id: li.as_str().into(),
            workspace_id: shop.as_str().into(),
            settlement_method: ALIBABA.into(),
            purchase: Some(pb::change_settlement_method_request::Purchase::PurchaseIds(ids(BUYER, INSTANCE))),
        };
        market.bindings().change_settlement_method(by_caller(direct)).await.unwrap();
        assert_eq!(market.count("settlement_change").await, 0);
        assert_eq!(refusal(market.request_change(&li, one, ALIBABA).await), Reason::CloudSubscriptionLive);
        assert_eq!(refusal(market.cancel_change(&li, &shop).await), Reason::ChangeNotRequested);
    }
}

#[tokio::test]
async fn a_request_can_be_dropped_and_another_takes_its_place() {
    for market in both("pending_cancel").await {
        let (li, [shop, other]) = market.two_shops().await;
        let wang = market.account("wang").await;
        market.request_change(&li, &[shop.clone(), other.clone()], ALIBABA).await.unwrap();
        market.pass(SignedDuration::from_hours(20));
        // Asked again, it waits for another day.
        market.request_change(&li, std::slice::from_ref(&shop), ALIBABA).await.unwrap();
        market.pass(SignedDuration::from_hours(20));
        assert!(market.binding(&shop).await.pending_change.is_some());
        assert_eq!(market.binding(&other).await.pending_change, None);
        assert_eq!(refusal(market.cancel_change(&wang, &shop).await), Reason::WorkspaceNotBound);
        let kept = market.cancel_change(&li, &shop).await.unwrap().into_inner().binding.unwrap();
        assert_eq!((kept.pending_change, kept.workspace_id.as_str()), (None, shop.as_str()));
        assert_eq!(refusal(market.cancel_change(&li, &shop).await), Reason::ChangeNotRequested);
    }
}

#[tokio::test]
async fn a_new_method_ends_a_countdown_and_says_so() {
    for market in both("pending_unlock").await {
        let (li, [shop, _]) = market.two_shops().await;
        market.announce(vec![bought()]).await;
        let counting = "UPDATE workspace SET standing = 'lock_countdown', lock_cause = 'arrears', lock_at = ? \
                        WHERE workspace_id = ?";
        let lock_at = at("2026-03-10T00:00:00Z").as_microsecond();
        market.run(counting, [lock_at.into(), shop.as_str().into()]).await;
        let one = std::slice::from_ref(&shop);
        market.request_change(&li, one, ALIBABA).await.unwrap();
        assert_eq!(market.binding(&shop).await.standing(), common::WorkspaceStanding::LockCountdown);
        let done = market.complete(market.completion(&li, one, typed())).await.unwrap().into_inner();
        assert_eq!(done.bindings[0].standing(), common::WorkspaceStanding::Active);
        let mails = market.mails().await;
        let unlocked =
            mails.iter().filter(|m| m.subject.contains("in full use again")).map(|m| m.to.as_str());
        let mut unlocked: Vec<_> = unlocked.collect();
        unlocked.sort_unstable();
        assert_eq!(unlocked, ["li@acme.test", "one@owner.test"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_completing_cancelling_and_completing_again_one_wins() {
    for market in both("pending_race").await {
        let (li, [shop, _]) = market.two_shops().await;
        market.announce(vec![bought()]).await;
        let one = std::slice::from_ref(&shop);
        market.request_change(&li, one, ALIBABA).await.unwrap();
        let (first, second) = (market.completion(&li, one, typed()), market.completion(&li, one, typed()));
        let (first, second, dropped) =
            tokio::join!(market.complete(first), market.complete(second), market.cancel_change(&li, &shop));
        let won = [first.is_ok(), second.is_ok(), dropped.is_ok()].iter().filter(|won| **won).count();
        assert!(won <= 1, "{first:?} {second:?} {dropped:?}");
        let waits = market.binding(&shop).await.pending_change.is_some();
        assert_eq!(waits, won == 0, "lost to each other, it waits on");
        assert_eq!(market.methods().await.contains(&"alibaba".to_owned()), first.is_ok() || second.is_ok());
        market.check_invariants().await;
    }
}

/// D8: who is charged when a usage day ends is charged for all of it, however late the bill run comes.
#[tokio::test]
async fn the_method_at_the_days_end_decides_the_day() {
    use tandem_proto::item::BillingItem::Trigger;
    for market in both("day_decides").await {
        let (li, [early, late]) = market.two_shops().await;
        market.recharge(&li, 100_000).await;
        market.announce(vec![bought()]).await;
        for shop in [&early, &late] {
            market.deliver(shop, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        }
        let change = |shop: &WorkspaceId| pb::ChangeSettlementMethodRequest {
            request_id: request_id(),
            billing_account_id: li.as_str().into(),
            workspace_id: shop.as_str().into(),
            settlement_method: ALIBABA.into(),
            purchase: Some(pb::change_settlement_method_request::Purchase::PurchaseIds(ids(BUYER, INSTANCE))),
        };
        // A moment before midnight in Shanghai, and a moment after it.
        for (moment, shop) in [("2026-03-01T15:59:59Z", &early), ("2026-03-01T16:00:00Z", &late)] {
            market.clock.advance_to(at(moment));
            market.bindings().change_settlement_method(by_caller(change(shop))).await.unwrap();
        }
        market.clock.advance_to(at("2026-03-01T16:10:00Z"));
        assert_eq!(market.bill("2026-03-01").await, 2);
        let methods = "SELECT workspace_id || ' ' || settlement_method AS value FROM daily_bill ORDER BY 1";
        let mut expected = [format!("{early} alibaba"), format!("{late} billing_center")];
        expected.sort();
        assert_eq!(market.texts(methods).await, expected);
    }
}
