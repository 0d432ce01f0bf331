//! Binding workspaces and changing how they are settled: all or nothing.

use super::*;
use tandem_proto::ids::CloudAccountId;

fn change(
    bound: &pb::BindWorkspaceResponse,
    purchase: Option<pb::change_settlement_method_request::Purchase>,
) -> pb::ChangeSettlementMethodRequest {
    let method = match purchase {
        Some(_) => common::SettlementMethod::AlibabaCloud,
        None => common::SettlementMethod::BillingCenter,
    };
    pb::ChangeSettlementMethodRequest {
        request_id: request_id(),
        billing_account_id: account_id(bound).into(),
        workspace_id: workspace_id(bound).into(),
        settlement_method: method.into(),
        purchase,
    }
}

fn to_ids(account: &str, instance: &str) -> Option<pb::change_settlement_method_request::Purchase> {
    Some(pb::change_settlement_method_request::Purchase::PurchaseIds(ids(account, instance)))
}

impl Market {
    async fn change(
        &self,
        request: pb::ChangeSettlementMethodRequest,
    ) -> Result<Response<pb::ChangeSettlementMethodResponse>, Status> {
        self.bindings().change_settlement_method(by_caller(request)).await
    }
}

#[tokio::test]
async fn a_workspace_is_bound_once_and_a_repetition_gets_the_first_answer() {
    for market in both("bind").await {
        market.announce(vec![bought()]).await;
        let request = bind_request(profile("shop", "o@x.test"), "alice", by_ids(BUYER, INSTANCE));
        let first = market.bind(request.clone()).await.unwrap().into_inner();
        let asked = market.gateway.look_ups();
        let again = market.bind(request.clone()).await.unwrap().into_inner();
        assert_eq!(bytes(&first), bytes(&again));
        assert_eq!(market.gateway.look_ups(), asked, "a repetition asks nobody");
        let reused =
            pb::BindWorkspaceRequest { workspace: Some(profile("other", "o@x.test")), ..request.clone() };
        assert_eq!(refusal(market.bind(reused).await), Reason::RequestIdReused);
        let binding = first.binding.clone().unwrap();
        assert_eq!(binding.settlement_method(), common::SettlementMethod::AlibabaCloud);
        assert!(binding.cloud_account_id.starts_with("cla_") && binding.subscription_id.starts_with("sub_"));
        assert_eq!(market.subscription_state().await, "active");
        let second = pb::BindWorkspaceRequest { request_id: request_id(), ..request };
        let second = pb::BindWorkspaceRequest {
            payer: Some(pb::bind_workspace_request::Payer::NewAccount(new_account("bob"))),
            settlement_method: common::SettlementMethod::BillingCenter.into(),
            purchase: None,
            ..second
        };
        assert_eq!(refusal(market.bind(second).await), Reason::WorkspaceAlreadyBound);
        assert_eq!(market.count("billing_account").await, 1, "nothing of the refused one is left");
        assert_eq!(market.mails().await.len(), 1);
        assert_eq!(
            market.texts("SELECT workspace_id AS value FROM feed_event ORDER BY id").await[1],
            binding.workspace_id
        );
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn refused_bindings_leave_nothing_behind() {
    for market in both("bind_refused").await {
        market.announce(vec![bought()]).await;
        let abroad = pb::WorkspaceProfile {
            billing_region: common::BillingRegion::International.into(),
            ..profile("shop", "o@x.test")
        };
        let nowhere =
            pb::WorkspaceProfile { default_settlement_methods: vec![], ..profile("shop", "o@x.test") };
        let bad_zone =
            pb::WorkspaceProfile { time_zone: "Mars/Olympus".into(), ..profile("shop", "o@x.test") };
        let unproved = pb::bind_workspace_request::Payer::ProvedAccount(pb::ProvedAccount {
            username: "nobody".into(),
            code: "123456".into(),
        });
        let by_cloud =
            Some(pb::bind_workspace_request::Purchase::CloudAccountId(fresh::<CloudAccountId>().into()));
        let base = |workspace| bind_request(workspace, "alice", None);
        let cases = [
            (base(abroad), Reason::RegionMismatch),
            (bind_request(nowhere, "alice", by_ids(BUYER, INSTANCE)), Reason::MethodNotAllowedHere),
            (base(bad_zone), Reason::InvalidField),
            (
                pb::BindWorkspaceRequest { payer: Some(unproved), ..base(profile("a", "o@x.test")) },
                Reason::CodeInvalid,
            ),
            (bind_request(profile("a", "o@x.test"), "alice", by_cloud), Reason::ObjectNotFound),
            (
                pb::BindWorkspaceRequest { payer: None, ..base(profile("a", "o@x.test")) },
                Reason::InvalidField,
            ),
            (
                pb::BindWorkspaceRequest { request_id: String::new(), ..base(profile("a", "o@x.test")) },
                Reason::InvalidField,
            ),
            (
                pb::BindWorkspaceRequest {
                    purchase: by_ids(BUYER, INSTANCE),
                    ..base(profile("a", "o@x.test"))
                },
                Reason::InvalidField,
            ),
        ];
        for (request, reason) in cases {
            assert_eq!(refusal(market.bind(request.clone()).await), reason, "{request:?}");
        }
        for table in [
            "billing_account",
            "workspace",
            "workspace_directory",
            "workspace_binding",
            "cloud_account",
            "outbox",
            "feed_event",
        ] {
            assert_eq!(market.count(table).await, 0, "{table}");
        }
        assert_eq!(market.subscription_state().await, "pending_binding");
        assert!(
            market
                .bind(bind_request(profile("a", "o@x.test"), "alice", by_ids(BUYER, INSTANCE)))
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_wrong_code_counts_although_the_binding_is_rolled_back() {
    for market in both("bind_code").await {
        let bound = market.bound("alice", "o@x.test").await;
        let right = market.proved(bound.account.as_ref().unwrap()).await;
        let wrong = pb::bind_workspace_request::Payer::ProvedAccount(pb::ProvedAccount {
            username: "alice".into(),
            code: "000000x".into(),
        });
        for _ in 0..5 {
            let request = pb::BindWorkspaceRequest {
                payer: Some(wrong.clone()),
                ..bind_request(profile("b", "o@x.test"), "x", None)
            };
            assert_eq!(refusal(market.bind(request).await), Reason::CodeInvalid);
        }
        let request = pb::BindWorkspaceRequest {
            payer: Some(right),
            ..bind_request(profile("b", "o@x.test"), "x", None)
        };
        assert_eq!(refusal(market.bind(request).await), Reason::CodeInvalid, "five wrong ones used it up");
        let right = market.proved(bound.account.as_ref().unwrap()).await;
        let request = pb::BindWorkspaceRequest {
            payer: Some(right),
            ..bind_request(profile("b", "o@x.test"), "x", None)
        };
        assert!(market.bind(request).await.is_ok());
    }
}

/// A proved account of the other Billing Center is told what is wrong, but only once it is proved.
#[tokio::test]
async fn an_account_of_the_other_region_is_refused() {
    for market in both("bind_region").await {
        let bound = market.bound("alice", "o@x.test").await;
        let payer = market.proved(bound.account.as_ref().unwrap()).await;
        let abroad = pb::WorkspaceProfile {
            billing_region: common::BillingRegion::International.into(),
            ..profile("b", "o@x.test")
        };
        let request = pb::BindWorkspaceRequest { payer: Some(payer), ..bind_request(abroad, "x", None) };
        assert_eq!(refusal(market.bind(request).await), Reason::RegionMismatch);
    }
}

/// R2 with the any-settlement switch: one cloud account settles workspaces of two sites (D21).
#[tokio::test]
async fn one_purchase_settles_workspaces_of_two_sites() {
    for market in both("two_sites").await {
        let bound = market.bound("alice", "o@x.test").await;
        let account = bound.account.as_ref().unwrap();
        let cloud = bound.binding.as_ref().unwrap().cloud_account_id.clone();
        let elsewhere = pb::WorkspaceProfile {
            site: "cn4".into(),
            default_settlement_methods: vec![common::SettlementMethod::HuaweiCloud.into()],
            ..profile("huawei", "o@x.test")
        };
        let request = pb::BindWorkspaceRequest {
            payer: Some(market.proved(account).await),
            ..bind_request(
                elsewhere.clone(),
                "x",
                Some(pb::bind_workspace_request::Purchase::CloudAccountId(cloud)),
            )
        };
        assert_eq!(refusal(market.bind(request).await), Reason::MethodNotAllowedHere);
        market.run("UPDATE billing_account SET any_settlement_allowed = ?", [true.into()]).await;
        market.further(&bound, elsewhere).await;
        assert_eq!(market.methods().await, ["alibaba", "alibaba"]);
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn the_rules_of_a_change_hold_in_their_order() {
    for market in both("change").await {
        market.announce(vec![bought()]).await;
        let bound =
            market.bind(bind_request(profile("shop", "o@x.test"), "alice", None)).await.unwrap().into_inner();
        assert_eq!(refusal(market.change(change(&bound, None)).await), Reason::MethodUnchanged);
        let asked = market.gateway.look_ups();
        let changed = market
            .change(change(&bound, to_ids(BUYER, INSTANCE)))
            .await
            .unwrap()
            .into_inner()
            .binding
            .unwrap();
        assert_eq!(changed.settlement_method(), common::SettlementMethod::AlibabaCloud);
        assert_eq!(market.gateway.look_ups(), asked + 1);
        // R3 comes first, and nobody is asked for a purchase that could not be used.
        assert_eq!(refusal(market.change(change(&bound, None)).await), Reason::CloudSubscriptionLive);
        assert_eq!(
            refusal(market.change(change(&bound, to_ids(BUYER, INSTANCE))).await),
            Reason::CloudSubscriptionLive
        );
        assert_eq!(market.gateway.look_ups(), asked + 1);
        market.announce(vec![released()]).await;
        assert_eq!(market.methods().await, ["billing_center"]);
        // R1: the month's change is used up, the fall-back not counted.
        market.gateway.knows("2000001", BUYER, PurchaseState::Active);
        let again = || change(&bound, to_ids(BUYER, "2000001"));
        assert_eq!(refusal(market.change(again()).await), Reason::MethodChangedThisMonth);
        market.clock.advance_to("2026-03-31T16:00:01Z".parse().unwrap());
        // A refused purchase does not use the month's change up (D11).
        assert_eq!(
            refusal(market.change(change(&bound, to_ids(BUYER, "9999999"))).await),
            Reason::PurchaseNotFound
        );
        market.change(again()).await.unwrap();
        assert_eq!(market.methods().await, ["alibaba"]);
        let history = pb::ListBindingHistoryRequest {
            workspace_id: workspace_id(&bound).into(),
            page_size: 2,
            ..Default::default()
        };
        let page =
            market.bindings().list_binding_history(by_caller(history.clone())).await.unwrap().into_inner();
        let next = pb::ListBindingHistoryRequest { page_token: page.next_page_token.clone(), ..history };
        let rest = market.bindings().list_binding_history(by_caller(next)).await.unwrap().into_inner();
        let causes: Vec<_> = page.periods.iter().chain(&rest.periods).map(|p| p.cause()).collect();
        assert_eq!(
            causes,
            [
                pb::PeriodCause::Bound,
                pb::PeriodCause::Changed,
                pb::PeriodCause::FallBack,
                pb::PeriodCause::Changed
            ]
        );
        assert_eq!(rest.next_page_token, "");
        let changes = market.mails().await.into_iter().filter(|m| m.subject.contains("changed")).count();
        assert_eq!(changes, 2);
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn a_foreign_account_or_workspace_is_not_found() {
    for market in both("foreign_change").await {
        let bound = market.bound("alice", "o@x.test").await;
        let other =
            market.bind(bind_request(profile("b", "o@x.test"), "bob", None)).await.unwrap().into_inner();
        let crossed = pb::ChangeSettlementMethodRequest {
            billing_account_id: account_id(&other).into(),
            ..change(&bound, None)
        };
        assert_eq!(refusal(market.change(crossed).await), Reason::WorkspaceNotBound);
        let stolen = pb::change_settlement_method_request::Purchase::CloudAccountId(
            bound.binding.as_ref().unwrap().cloud_account_id.clone(),
        );
        assert_eq!(refusal(market.change(change(&other, Some(stolen))).await), Reason::ObjectNotFound);
        let nobody = pb::GetBindingRequest { workspace_id: fresh::<WorkspaceId>().into() };
        assert_eq!(
            refusal(market.bindings().get_binding(by_caller(nobody)).await),
            Reason::WorkspaceNotBound
        );
        let list =
            pb::ListBindingsRequest { billing_account_id: account_id(&bound).into(), ..Default::default() };
        let list = market.bindings().list_bindings(by_caller(list)).await.unwrap().into_inner();
        assert_eq!(list.bindings.len(), 1);
    }
}

#[tokio::test]
async fn an_older_profile_changes_nothing() {
    for market in both("profile").await {
        let workspace = pb::WorkspaceProfile { revision: 5, ..profile("shop", "o@x.test") };
        market.bind(bind_request(workspace.clone(), "alice", None)).await.unwrap();
        for (revision, name) in [(7, "newer"), (6, "older")] {
            let workspace = pb::WorkspaceProfile { revision, name: name.into(), ..workspace.clone() };
            let request =
                pb::UpdateWorkspaceProfileRequest { request_id: request_id(), workspace: Some(workspace) };
            market.bindings().update_workspace_profile(by_caller(request)).await.unwrap();
        }
        assert_eq!(market.texts("SELECT name AS value FROM workspace").await, ["newer"]);
        let unknown = pb::UpdateWorkspaceProfileRequest {
            request_id: request_id(),
            workspace: Some(profile("x", "o@x.test")),
        };
        let refused = market.bindings().update_workspace_profile(by_caller(unknown)).await;
        assert_eq!(refusal(refused), Reason::WorkspaceNotBound);
    }
}
