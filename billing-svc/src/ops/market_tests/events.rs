//! Announced events: recorded once, applied in any order, and what the end of a purchase does.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::config::VendorRules;
use crate::domain::binding::EndPolicy;
use crate::domain::job::Job;
use crate::domain::subscription::{Applied, EventKind, Subscription, apply};
use crate::ops::apply_event;
use crate::ops::jobs;
use crate::store::{marketplace_event, subscription};
use crate::worker;
use tandem_proto::item::BillingItem::Trigger;
use tandem_proto::vendor::Vendor;

/// The case of the issue: three workspaces on two sites, released three times and once before the last renewal.
#[tokio::test]
async fn releasing_again_and_again_falls_back_once_with_one_mail_for_each() {
    for market in both("release").await {
        let bound = market.bound("alice", "owner@x.test").await;
        market.further(&bound, profile("second", "Owner@X.test")).await;
        market.further(&bound, profile("third", "alice@ACME.test")).await;
        let workspace = workspace_id(&bound);
        market.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        market.clock.advance_to("2026-03-01T12:30:00Z".parse().unwrap());
        let first = market.announce(vec![released()]).await;
        assert_eq!((first[0].state(), first[0].duplicate), (pb::MarketplaceEventState::Applied, false));
        let snapshot = (
            market.count("outbox").await,
            market.count("feed_event").await,
            market.count("workspace_binding").await,
        );
        let late = market.announce(vec![renewed("777")]).await;
        assert_eq!(late[0].state(), pb::MarketplaceEventState::Refused);
        assert_eq!(late[0].reason, "SUBSCRIPTION_ENDED");
        for _ in 0..2 {
            let again = market.announce(vec![released()]).await;
            assert_eq!((again[0].state(), again[0].duplicate), (pb::MarketplaceEventState::Applied, true));
        }
        let now = (
            market.count("outbox").await,
            market.count("feed_event").await,
            market.count("workspace_binding").await,
        );
        assert_eq!(now, snapshot, "repetitions change nothing");
        assert_eq!(market.methods().await, ["billing_center"; 3]);
        let mails = market.end_mails().await;
        let mut to: Vec<_> = mails.iter().map(|mail| mail.to.to_lowercase()).collect();
        to.sort();
        assert_eq!(to, ["alice@acme.test", "owner@x.test"], "one mail for each recipient");
        let to_account = mails.iter().find(|mail| mail.to == "alice@acme.test").unwrap();
        for fact in ["alice", "second", "third", BUYER, "the Billing Center", "Alibaba Cloud"] {
            assert!(to_account.text.contains(fact), "{fact} is missing in {}", to_account.text);
        }
        let to_owner = mails.iter().find(|mail| mail.to != "alice@acme.test").unwrap();
        assert!(to_owner.text.contains("second") && !to_owner.text.contains("third"), "{}", to_owner.text);
        assert!(to_owner.subject.contains("已终止"), "in the workspace's language");
        assert!(!to_account.text.contains("locked"), "this vendor's policy does not lock");
        // The last usage goes to the cloud, inside its window.
        assert_eq!(market.bench.number("SELECT quantity FROM metering_record WHERE final").await, 100);
        assert_eq!(
            market
                .bench
                .number("SELECT COUNT(*) FROM daily_bill WHERE state = 'submitted' AND kind = 'final'")
                .await,
            1
        );
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn a_vendor_that_locks_starts_a_countdown_that_a_new_method_ends() {
    for market in both("lock").await {
        let rules = market.ctx.vendors.get(&Vendor::Alibaba).unwrap().clone();
        let locking = VendorRules { end_policy: EndPolicy::Lock, ..rules };
        let market =
            Market { bench: market.bench.with_vendor(Vendor::Alibaba, locking), gateway: market.gateway };
        let bound = market.bound("alice", "owner@x.test").await;
        market.announce(vec![released()]).await;
        let get = || async {
            let request = pb::GetBindingRequest { workspace_id: workspace_id(&bound).into() };
            market.bindings().get_binding(by_caller(request)).await.unwrap().into_inner().binding.unwrap()
        };
        let locked = get().await;
        assert_eq!(locked.standing(), common::WorkspaceStanding::LockCountdown);
        let deadline = market.now() + SignedDuration::from_hours(14 * 24);
        assert_eq!(locked.lock_time.unwrap().seconds, deadline.as_second());
        for mail in market.end_mails().await {
            assert!(mail.text.contains("2026-03-15 08:00 (Asia/Shanghai)"), "{}", mail.text);
        }
        // Confirming the Billing Center ends the countdown and does not use the month's change up.
        let request = pb::ChangeSettlementMethodRequest {
            request_id: request_id(),
            billing_account_id: account_id(&bound).into(),
            workspace_id: workspace_id(&bound).into(),
            settlement_method: common::SettlementMethod::BillingCenter.into(),
            purchase: None,
        };
        market.bindings().change_settlement_method(by_caller(request)).await.unwrap();
        assert_eq!(get().await.standing(), common::WorkspaceStanding::Active);
        assert_eq!(
            market
                .bench
                .number("SELECT COUNT(*) FROM workspace WHERE method_changed_month IS NOT NULL")
                .await,
            0
        );
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn an_account_in_arrears_takes_fallen_workspaces_into_its_countdown() {
    for market in both("fallen_arrears").await {
        market.bound("alice", "owner@x.test").await;
        let since = market.now();
        let text = "UPDATE billing_account SET standing = 'arrears', arrears_since = ?";
        market.run(text, [since.as_microsecond().into()]).await;
        market.pass(SignedDuration::from_hours(24));
        market.announce(vec![released()]).await;
        let lock_at = (since + SignedDuration::from_hours(14 * 24)).as_microsecond();
        let found = market.bench.number("SELECT lock_at FROM workspace WHERE lock_cause = 'arrears'").await;
        assert_eq!(found, lock_at);
    }
}

#[tokio::test]
async fn another_purchase_of_the_same_account_takes_over_without_a_mail() {
    for market in both("heir").await {
        let bound = market.bound("alice", "owner@x.test").await;
        let mut second = bought();
        second.vendor_instance_id = "2000001".into();
        second.event_key = "createInstance:2000001".into();
        market.announce(vec![second]).await;
        market.gateway.knows("2000001", BUYER, PurchaseState::Active);
        let other = profile("second", "owner@x.test");
        let request = pb::BindWorkspaceRequest {
            payer: Some(market.proved(bound.account.as_ref().unwrap()).await),
            ..bind_request(other, "x", by_ids(BUYER, "2000001"))
        };
        let heir = market.bind(request).await.unwrap().into_inner().binding.unwrap().subscription_id;
        market.announce(vec![released()]).await;
        assert_eq!(market.methods().await, ["alibaba", "alibaba"]);
        let through =
            "SELECT DISTINCT subscription_id AS value FROM workspace_binding WHERE effective_to IS NULL";
        assert_eq!(market.texts(through).await, [heir]);
        assert!(market.end_mails().await.is_empty());
        assert_eq!(market.count("workspace_binding WHERE cause = 'subscription_replaced'").await, 1);
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn a_suspension_counts_down_once_and_a_renewal_ends_it() {
    for market in both("suspend").await {
        market.bound("alice", "owner@x.test").await;
        let standing =
            || async { market.texts("SELECT standing AS value FROM workspace").await.pop().unwrap() };
        for round in 0..2 {
            let first = market.announce(vec![frozen()]).await;
            assert!(!first[0].duplicate, "a second suspension after a renewal is a new event");
            assert!(market.announce(vec![frozen()]).await[0].duplicate, "a repeat is not");
            assert_eq!(standing().await, "lock_countdown");
            let due =
                subscription::due_for_reconcile(&market.db.read, Timestamp::UNIX_EPOCH, 9).await.unwrap();
            assert_eq!(due.len(), 1, "a call that could be replayed is compared early");
            market.announce(vec![renewed(&format!("77{round}"))]).await;
            assert_eq!(standing().await, "active");
            assert_eq!(market.subscription_state().await, "active");
        }
        let subjects: Vec<_> = market.mails().await.into_iter().map(|mail| mail.subject).collect();
        assert_eq!(
            subjects.iter().filter(|s| s.contains("suspended") || s.contains("冻结")).count(),
            4,
            "{subjects:?}"
        );
        assert_eq!(subjects.iter().filter(|s| s.contains("full use") || s.contains("恢复")).count(), 4);
    }
}

#[tokio::test]
async fn what_comes_before_the_purchase_waits_and_is_applied_in_order() {
    for market in both("waits").await {
        let waiting = market.announce(vec![frozen(), renewed("1")]).await;
        for outcome in &waiting {
            assert_eq!(
                (outcome.state(), outcome.reason.as_str()),
                (pb::MarketplaceEventState::Pending, "PURCHASE_NOT_FOUND")
            );
        }
        assert_eq!(worker::inbox::batch(&market.ctx).await.unwrap(), 0, "waiting is no failed try");
        market.announce(vec![bought()]).await;
        assert_eq!(market.subscription_state().await, "pending_binding");
        assert_eq!(market.count("marketplace_event WHERE state = 'applied'").await, 3);
        // The tombstone of an unknown purchase keeps it from coming to life.
        let mut end = released();
        end.vendor_instance_id = "2000001".into();
        end.event_key = "releaseInstance:2000001".into();
        let mut purchase = bought();
        purchase.vendor_instance_id = "2000001".into();
        purchase.event_key = "createInstance:2000001".into();
        let outcomes = market.announce(vec![end, purchase]).await;
        assert!(outcomes.iter().all(|o| o.state() == pb::MarketplaceEventState::Applied));
        assert_eq!(
            market.count("subscription WHERE state = 'cancelled' AND vendor_account_id IS NOT NULL").await,
            1
        );
    }
}

#[tokio::test]
async fn a_purchase_that_was_never_announced_is_recorded_and_completed_later() {
    for market in both("unannounced").await {
        market.announce(vec![frozen()]).await;
        let request = bind_request(profile("shop", "o@x.test"), "alice", by_ids(BUYER, INSTANCE));
        market.bind(request).await.unwrap();
        assert_eq!(worker::inbox::batch(&market.ctx).await.unwrap(), 1, "what waited for it is due now");
        assert_eq!(market.subscription_state().await, "suspended");
        let late = market.announce(vec![bought()]).await;
        assert_eq!(late[0].state(), pb::MarketplaceEventState::Applied);
        assert_eq!(market.texts("SELECT plan AS value FROM subscription").await, ["cmgj00099001-postpay"]);
        let mut contradicts = bought();
        contradicts.vendor_account_id = "1744500000000099".into();
        contradicts.event_key = "createInstance:other".into();
        let refused = market.announce(vec![contradicts]).await;
        assert_eq!(
            (refused[0].state(), refused[0].reason.as_str()),
            (pb::MarketplaceEventState::Refused, "EVENT_CONTRADICTS")
        );
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn a_repeated_call_records_once_and_malformed_events_are_named() {
    for market in both("record").await {
        let request =
            pb::RecordMarketplaceEventsRequest { request_id: request_id(), events: vec![bought(), bought()] };
        let first =
            market.market().record_marketplace_events(by_caller(request.clone())).await.unwrap().into_inner();
        let again = market.market().record_marketplace_events(by_caller(request)).await.unwrap().into_inner();
        assert_eq!(bytes(&first), bytes(&again));
        assert_eq!(first.outcomes.iter().map(|o| o.duplicate).collect::<Vec<_>>(), [false, true]);
        assert_eq!(
            market.bench.number("SELECT CAST(delivery_count AS BIGINT) FROM marketplace_event").await,
            2
        );
        market.announce(vec![bought()]).await;
        assert_eq!(
            market.bench.number("SELECT CAST(delivery_count AS BIGINT) FROM marketplace_event").await,
            3
        );
        let bad = pb::AnnouncedEvent { kind: 0, ..bought() };
        let request =
            pb::RecordMarketplaceEventsRequest { request_id: request_id(), events: vec![bought(), bad] };
        let status = market.market().record_marketplace_events(by_caller(request)).await.unwrap_err();
        assert!(status.message().contains("events[1].kind"), "{}", status.message());
        let listed =
            pb::ListMarketplaceEventsRequest { vendor_instance_id: INSTANCE.into(), ..Default::default() };
        let listed = market.market().list_marketplace_events(by_caller(listed)).await.unwrap().into_inner();
        assert_eq!(listed.events[0].announced.as_ref().unwrap(), &bought());
    }
}

/// I-27: an event that can never be applied is given up after ten tries, and an operator may try it again.
#[tokio::test]
async fn poison_is_quarantined_and_delays_nobody() {
    for market in both("poison").await {
        market.bound("alice", "o@x.test").await;
        let text = "UPDATE workspace SET default_methods = ?";
        market.run(text, ["no-such-method".into()]).await;
        let poison = market.announce(vec![released()]).await;
        assert_eq!(
            (poison[0].state(), poison[0].reason.as_str()),
            (pb::MarketplaceEventState::Pending, "INTERNAL")
        );
        assert_eq!(market.subscription_state().await, "active", "no half of it");
        let mut other = bought();
        other.vendor_instance_id = "2000001".into();
        other.event_key = "createInstance:2000001".into();
        assert_eq!(market.announce(vec![other]).await[0].state(), pb::MarketplaceEventState::Applied);
        for _ in 0..12 {
            market.pass(SignedDuration::from_hours(2));
            worker::inbox::batch(&market.ctx).await.unwrap();
        }
        assert_eq!(
            market
                .bench
                .number("SELECT CAST(attempts AS BIGINT) FROM marketplace_event WHERE state = 'quarantined'")
                .await,
            10
        );
        market.run(text, ["alibaba".into()]).await;
        let id = poison[0].marketplace_event_id.clone();
        let replay = |id: String| pb::ReplayMarketplaceEventRequest {
            request_id: request_id(),
            marketplace_event_id: id,
        };
        let replayed = market
            .market()
            .replay_marketplace_event(by_caller(replay(id.clone())))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(replayed.event.unwrap().state(), pb::MarketplaceEventState::Applied);
        assert_eq!(market.methods().await, ["billing_center"]);
        assert_eq!(
            refusal(market.market().replay_marketplace_event(by_caller(replay(id))).await),
            Reason::RecordNotResolvable
        );
        let unknown = replay(fresh::<tandem_proto::ids::MarketplaceEventId>().into());
        assert_eq!(
            refusal(market.market().replay_marketplace_event(by_caller(unknown)).await),
            Reason::ObjectNotFound
        );
    }
}

#[tokio::test]
async fn a_lost_release_is_found_by_comparing() {
    for market in both("reconcile").await {
        let bound = market.bound("alice", "o@x.test").await;
        let id = bound.binding.as_ref().unwrap().subscription_id.clone();
        let compare =
            |id: &str| pb::ReconcileRequest { request_id: request_id(), subscription_id: id.to_owned() };
        let same = market.market().reconcile(by_caller(compare(&id))).await.unwrap().into_inner();
        assert_eq!((same.compared_count, same.unanswered_count, same.differences.len()), (1, 0, 0));
        market.gateway.fail(Some(tandem_service_kit::fault::Fault::new(Reason::VendorUnavailable)));
        let away = market.market().reconcile(by_caller(compare(""))).await.unwrap().into_inner();
        assert_eq!((away.compared_count, away.unanswered_count), (0, 1));
        assert_eq!(market.subscription_state().await, "active", "silence changes nothing");
        market.gateway.fail(None);
        market.gateway.knows(INSTANCE, BUYER, PurchaseState::Ended);
        assert_eq!(
            jobs::run(&market.ctx, Job::Reconcile, market.ctx.clock.now()).await.unwrap(),
            0,
            "compared a moment ago"
        );
        market.pass(SignedDuration::from_hours(1));
        assert_eq!(jobs::run(&market.ctx, Job::Reconcile, market.ctx.clock.now()).await.unwrap(), 1);
        assert_eq!(market.subscription_state().await, "cancelled");
        assert_eq!(market.methods().await, ["billing_center"]);
        assert_eq!(market.end_mails().await.len(), 2);
        // The late announcement says nothing new.
        market.announce(vec![released()]).await;
        assert_eq!(market.end_mails().await.len(), 2);
        market.check_invariants().await;
    }
}

#[tokio::test]
async fn differences_are_told_to_the_operator_once() {
    for market in both("differences").await {
        market.bound("alice", "o@x.test").await;
        market.gateway.knows(INSTANCE, BUYER, PurchaseState::Suspended);
        let request = pb::ReconcileRequest { request_id: request_id(), subscription_id: String::new() };
        let first = market.market().reconcile(by_caller(request.clone())).await.unwrap().into_inner();
        assert_eq!(first.differences.len(), 1);
        assert_eq!(first.differences[0].theirs(), pb::SubscriptionState::Suspended);
        let again = market.market().reconcile(by_caller(request)).await.unwrap().into_inner();
        assert_eq!(bytes(&first), bytes(&again));
        assert_eq!(market.subscription_state().await, "suspended");
    }
}

#[tokio::test]
async fn a_purchase_that_nobody_binds_is_ended_after_thirty_days() {
    for market in both("idle").await {
        market.announce(vec![bought()]).await;
        market.pass(SignedDuration::from_hours(30 * 24) - SignedDuration::from_secs(1));
        assert_eq!(jobs::run(&market.ctx, Job::PendingPurchases, market.ctx.clock.now()).await.unwrap(), 0);
        market.pass(SignedDuration::from_secs(1));
        assert_eq!(jobs::run(&market.ctx, Job::PendingPurchases, market.ctx.clock.now()).await.unwrap(), 1);
        assert_eq!(market.subscription_state().await, "cancelled");
        assert_eq!(jobs::run(&market.ctx, Job::PendingPurchases, market.ctx.clock.now()).await.unwrap(), 0);
    }
}

/// The domain's own run of the same events, waiting ones tried again after each change.
fn model(kinds: &[EventKind]) -> Option<(String, i64)> {
    let now = Timestamp::UNIX_EPOCH;
    let (mut state, mut waiting): (Option<Subscription>, Vec<pb::AnnouncedEvent>) = (None, Vec::new());
    for kind in kinds {
        let mut queue = vec![of_kind(*kind)];
        while let Some(event) = queue.pop() {
            let recorded = crate::grpc::recorded_for_tests(event.clone());
            match apply(state.as_ref(), &recorded.announced().unwrap(), fresh(), now) {
                Ok(Applied::Changed(next, _)) => {
                    let known = state.is_none();
                    state = Some(*next);
                    if known {
                        queue.extend(waiting.drain(..).rev());
                    }
                }
                Ok(Applied::Waits) => waiting.push(event),
                Ok(Applied::Unchanged) | Err(_) => {}
            }
        }
    }
    state.map(|s| (s.state.name().to_owned(), s.revision))
}

fn of_kind(kind: EventKind) -> pb::AnnouncedEvent {
    match kind {
        EventKind::Subscribed => bought(),
        EventKind::Renewed => renewed("1"),
        EventKind::Suspended => pb::AnnouncedEvent { key_per_state: false, ..frozen() },
        _ => released(),
    }
}

/// I-21: through the database every order of events ends as the rules say; whatever comes twice changes nothing.
#[test]
fn every_order_of_events_ends_as_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let markets = runtime.block_on(both("orders"));
    let kinds = [EventKind::Subscribed, EventKind::Renewed, EventKind::Suspended, EventKind::Cancelled];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let orders = prop::collection::vec(prop::sample::select(kinds.to_vec()), 1..7);
    let result = runner.run(&orders, |order| {
        // Repeats are told by their keys, so only the first of each kind counts.
        let mut seen = BTreeMap::new();
        let once: Vec<_> = order.iter().copied().filter(|kind| seen.insert(*kind, ()).is_none()).collect();
        for market in &markets {
            let found = runtime.block_on(async {
                market.run("DELETE FROM marketplace_event", []).await;
                market.run("DELETE FROM subscription", []).await;
                for kind in &order {
                    market.announce(vec![of_kind(*kind)]).await;
                }
                let found =
                    subscription::find_instance(&market.db.read, Vendor::Alibaba, INSTANCE).await.unwrap();
                found.map(|s| (s.state.name().to_owned(), s.revision))
            });
            prop_assert_eq!(&found, &model(&once), "{:?}", order);
        }
        Ok(())
    });
    result.unwrap();
}

/// A crash between recording and applying: the loop does what the call did not come to.
#[tokio::test]
async fn what_was_recorded_and_not_applied_is_applied_by_the_loop() {
    for market in both("crash").await {
        market.bound("alice", "o@x.test").await;
        let tx = market.db.begin().await.unwrap();
        let event = crate::grpc::recorded_for_tests(released());
        let taken = marketplace_event::record(&tx, &[event], market.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(market.subscription_state().await, "active");
        assert_eq!(worker::inbox::batch(&market.ctx).await.unwrap(), 1);
        assert_eq!(market.subscription_state().await, "cancelled");
        assert!(apply_event::run(&market.ctx, &taken[0].id, market.now()).await.unwrap().is_empty());
        assert_eq!(market.end_mails().await.len(), 2);
    }
}
