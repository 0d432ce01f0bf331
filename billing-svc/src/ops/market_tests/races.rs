//! Activation, cancellation and change at the same time (I-18 to I-23).

use super::*;

const ROUNDS: usize = 12;

impl Market {
    /// Forgets the round before.
    async fn clear(&self) {
        for table in [
            "workspace_binding",
            "workspace",
            "workspace_directory",
            "cloud_account",
            "subscription",
            "marketplace_event",
            "failed_try",
            "outbox",
        ] {
            self.run(&format!("DELETE FROM {table}"), []).await;
        }
        self.run("UPDATE billing_account SET username_key = id, email_key = id", []).await;
    }

    async fn settle_down(&self) {
        self.bench.pass(jiff::SignedDuration::from_mins(5));
        while crate::worker::inbox::batch(&self.ctx).await.unwrap() > 0 {}
    }
}

/// Repeats a call that lost against another, as a client does.
pub(super) async fn until_decided<T, F: Future<Output = Result<T, Status>>>(
    call: impl Fn() -> F,
) -> Result<T, Reason> {
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => match reason_of(&status) {
                Some(Reason::Conflict) => {}
                reason => return Err(reason.unwrap_or_else(|| panic!("no reason in {status:?}"))),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_while_activating_leaves_nobody_on_the_ended_purchase() {
    for market in both("race_activate").await {
        for round in 0..ROUNDS {
            market.clear().await;
            market.announce(vec![bought()]).await;
            let request =
                bind_request(profile("shop", "o@x.test"), &format!("alice{round}"), by_ids(BUYER, INSTANCE));
            let bind = until_decided(|| market.bind(request.clone()));
            let cancel = async {
                // Each round the cancellation comes a little later into the activation.
                for _ in 0..round * 4 {
                    tokio::task::yield_now().await;
                }
                market.announce(vec![released()]).await
            };
            let (bound, _) = tokio::join!(bind, cancel);
            market.settle_down().await;
            assert_eq!(market.subscription_state().await, "cancelled");
            match bound {
                Ok(_) => assert_eq!(market.methods().await, ["billing_center"]),
                Err(reason) => {
                    assert_eq!(reason, Reason::PurchaseEnded);
                    assert_eq!(market.count("workspace").await, 0);
                }
            }
            market.check_invariants().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_goes_to_one_of_two_who_activate_at_once() {
    for market in both("race_twins").await {
        for round in 0..ROUNDS {
            market.clear().await;
            if round % 2 == 0 {
                market.announce(vec![bought()]).await;
            }
            let request = |name: &str| {
                bind_request(profile(name, "o@x.test"), &format!("{name}{round}"), by_ids(BUYER, INSTANCE))
            };
            let (one, two) = (request("alice"), request("bob"));
            let (first, second) = tokio::join!(
                until_decided(|| market.bind(one.clone())),
                until_decided(|| market.bind(two.clone()))
            );
            let outcomes = [first.err(), second.err()];
            assert!(
                outcomes.contains(&None) && outcomes.contains(&Some(Reason::PurchaseOwnedByOther)),
                "{outcomes:?}"
            );
            assert_eq!(market.count("workspace").await, 1);
            market.check_invariants().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_while_changing_to_the_purchase_ends_at_the_billing_center() {
    for market in both("race_change").await {
        for round in 0..ROUNDS {
            market.clear().await;
            market.announce(vec![bought()]).await;
            let request =
                bind_request(profile("shop", "o@x.test"), &format!("alice{round}"), by_ids(BUYER, INSTANCE));
            let bound = market.bind(request).await.unwrap().into_inner();
            let other = market.further(&bound, profile("other", "o@x.test")).await;
            let change = pb::ChangeSettlementMethodRequest {
                request_id: request_id(),
                billing_account_id: account_id(&bound).into(),
                workspace_id: other.workspace_id,
                settlement_method: common::SettlementMethod::BillingCenter.into(),
                purchase: None,
            };
            let service = market.bindings();
            let change = until_decided(|| service.change_settlement_method(by_caller(change.clone())));
            let (changed, first, again) = tokio::join!(
                change,
                market.announce(vec![released()]),
                market.announce(vec![frozen(), released()])
            );
            market.settle_down().await;
            assert_eq!((first.len(), again.len()), (1, 2));
            let reason = changed.err();
            let wanted = [Some(Reason::CloudSubscriptionLive), Some(Reason::MethodUnchanged), None];
            assert!(wanted.contains(&reason), "{reason:?}");
            assert_eq!(market.subscription_state().await, "cancelled");
            assert_eq!(market.methods().await, ["billing_center", "billing_center"]);
            assert_eq!(market.end_mails().await.len(), 2, "one for each recipient");
            market.check_invariants().await;
        }
    }
}
