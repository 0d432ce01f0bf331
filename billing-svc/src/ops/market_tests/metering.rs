//! Metering records: each outcome, each crash, never twice, never nowhere.

use jiff::SignedDuration;
use tandem_proto::marketplace::v1::SubmitOutcome;
use tandem_service_kit::lease;

use super::gateway::Answer;
use super::*;
use crate::config::VendorRules;
use crate::store::metering_queue;
use crate::worker;
use tandem_proto::item::BillingItem::Trigger;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;

/// A day's usage of 1.00 CNY, billed and waiting for the cloud.
async fn with_record(name: &str) -> Vec<Market> {
    let mut markets = Vec::new();
    for market in both(name).await {
        let bound = market.bound("alice", "o@x.test").await;
        market.deliver(&workspace_id(&bound), "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        market.clock.advance_to("2026-03-01T16:10:00Z".parse().unwrap());
        assert_eq!(market.bill("2026-03-01").await, 1);
        markets.push(market);
    }
    markets
}

impl Market {
    async fn record_state(&self) -> String {
        self.texts("SELECT state AS value FROM metering_record ORDER BY id").await.pop().unwrap()
    }

    async fn bill_state(&self) -> String {
        self.texts("SELECT state AS value FROM daily_bill ORDER BY usage_day").await.pop().unwrap()
    }

    async fn send(&self) -> usize {
        worker::metering::batch(&self.ctx).await.unwrap()
    }

    async fn resolve(
        &self,
        resolution: pb::MeteringResolution,
    ) -> Result<Response<pb::ResolveMeteringRecordResponse>, Status> {
        let id = self.texts("SELECT id AS value FROM metering_record").await.pop().unwrap();
        let request = pb::ResolveMeteringRecordRequest {
            request_id: request_id(),
            metering_record_id: id,
            resolution: resolution.into(),
            note: "looked at the vendor's bill".into(),
        };
        self.market().resolve_metering_record(by_caller(request)).await
    }
}

#[tokio::test]
async fn each_outcome_settles_the_bill_in_its_own_way() {
    let outcomes = [
        (Answer::Each(SubmitOutcome::Accepted), "accepted", "paid"),
        (Answer::Each(SubmitOutcome::DuplicateSame), "duplicate_same", "paid"),
        (Answer::Each(SubmitOutcome::Refused), "refused", "rejected"),
        (Answer::Each(SubmitOutcome::Expired), "expired", "in_arrears"),
        (Answer::Each(SubmitOutcome::Unknown), "unknown", "submitted"),
        (Answer::Each(SubmitOutcome::Unspecified), "unknown", "submitted"),
        (Answer::Each(SubmitOutcome::RetryLater), "pending", "submitted"),
        (Answer::Nothing, "unknown", "submitted"),
        (Answer::Fails(Status::deadline_exceeded("x")), "unknown", "submitted"),
        (Answer::Fails(Status::unavailable("x")), "unknown", "submitted"),
        (Answer::Fails(Fault::new(Reason::VendorUnavailable).into()), "unknown", "submitted"),
        (Answer::Fails(Fault::new(Reason::Overloaded).into()), "pending", "submitted"),
    ];
    for market in both("outcome").await {
        let bound = market.bound("alice", "o@x.test").await;
        for (day, (answer, record, bill)) in (1..).zip(outcomes.clone()) {
            let on = format!("2026-03-{day:02}");
            market.deliver(&workspace_id(&bound), &on, 1, &[(Trigger, 0, 10_000)]).await;
            market.clock.advance_to(format!("{on}T16:10:00Z").parse().unwrap());
            assert_eq!(market.bill(&on).await, 1);
            market.gateway.answer(answer);
            let calls = market.gateway.submitted().len();
            assert_eq!(market.send().await, 1);
            assert_eq!(
                (market.record_state().await.as_str(), market.bill_state().await.as_str()),
                (record, bill),
                "{on}"
            );
            // Whatever the answer, nothing is sent again at once.
            market.send().await;
            assert_eq!(market.gateway.submitted().len(), calls + 1, "{record}");
            market.prove().await;
            if record == "pending" {
                market.gateway.answer(Answer::Each(SubmitOutcome::Accepted));
                market.pass(SignedDuration::from_mins(5));
                market.send().await;
                assert_eq!(market.record_state().await, "accepted");
            }
        }
    }
}

#[tokio::test]
async fn a_record_is_fixed_and_a_retry_sends_the_same() {
    for market in with_record("fixed").await {
        market.gateway.answer(Answer::Each(SubmitOutcome::RetryLater));
        market.send().await;
        market.pass(SignedDuration::from_mins(5));
        market.gateway.answer(Answer::Each(SubmitOutcome::Accepted));
        market.send().await;
        let sent = market.gateway.submitted();
        assert_eq!(sent.len(), 2);
        assert_eq!(bytes(&sent[0]), bytes(&sent[1]));
        assert_eq!(sent[0].records[0].quantity, 100);
        assert_eq!(sent[0].records[0].vendor_account_id, BUYER);
        assert_eq!(market.record_state().await, "accepted");
    }
}

#[tokio::test]
async fn nothing_is_sent_while_the_purchase_cannot_be_looked_up() {
    for market in with_record("no_look_up").await {
        market.gateway.fail(Some(Fault::new(Reason::VendorUnavailable)));
        market.send().await;
        assert!(market.gateway.submitted().is_empty());
        assert_eq!(market.record_state().await, "pending");
        market.gateway.fail(None);
        market.gateway.knows(INSTANCE, "1744500000000099", PurchaseState::Active);
        market.pass(SignedDuration::from_mins(2));
        market.send().await;
        assert!(market.gateway.submitted().is_empty(), "not to another buyer's purchase");
        // An ended one still takes its last usage.
        market.gateway.knows(INSTANCE, BUYER, PurchaseState::Ended);
        market.pass(SignedDuration::from_mins(2));
        market.send().await;
        assert_eq!(market.record_state().await, "accepted");
    }
}

#[tokio::test]
async fn what_is_late_is_told_once_and_what_is_too_late_goes_to_the_billing_center() {
    for market in with_record("deadline").await {
        market.gateway.fail(Some(Fault::new(Reason::VendorUnavailable)));
        let deadline = market.bench.number("SELECT deadline FROM metering_record").await;
        let deadline = Timestamp::from_microsecond(deadline).unwrap();
        market.clock.advance_to(market.now() + deadline.duration_since(market.now()) / 2);
        market.send().await;
        assert_eq!(market.texts("SELECT note AS value FROM metering_record").await, ["late"]);
        market.clock.advance_to(deadline - SignedDuration::from_secs(1));
        market.send().await;
        assert_eq!(market.record_state().await, "pending");
        market.clock.advance_to(deadline);
        market.send().await;
        assert_eq!(
            (market.record_state().await.as_str(), market.bill_state().await.as_str()),
            ("expired", "in_arrears")
        );
        assert!(market.gateway.submitted().is_empty());
        assert_eq!(
            refusal(market.resolve(pb::MeteringResolution::Accepted).await),
            Reason::RecordNotResolvable
        );
        market.prove().await;
    }
}

#[tokio::test]
async fn a_crash_while_sending_leaves_the_outcome_unknown_and_is_never_sent_again() {
    for market in with_record("crash_sending").await {
        let (id, now) =
            (metering_queue::next(&market.db.read, market.now()).await.unwrap().unwrap(), market.now());
        let token = lease::claim_token();
        metering_queue::claim(&market.db.write, &id, &token, now, lease::until(now), 9).await.unwrap();
        let tx = market.db.begin().await.unwrap();
        assert_eq!(metering_queue::mark_sending(&tx, &token, lease::until(now)).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
        // The sender dies here. While its lease holds, nobody touches the record.
        assert_eq!(market.send().await, 0);
        assert_eq!(market.record_state().await, "sending");
        market.pass(SignedDuration::from_secs(31));
        market.send().await;
        assert_eq!(market.record_state().await, "unknown");
        market.pass(SignedDuration::from_hours(5));
        market.send().await;
        assert!(market.gateway.submitted().is_empty());
        // Fencing: the old claim finds nothing to write back to.
        let tx = market.db.begin().await.unwrap();
        assert!(metering_queue::lock_sending(&tx, &token).await.unwrap().is_empty());
        tx.rollback().await;
        let decided =
            market.resolve(pb::MeteringResolution::Accepted).await.unwrap().into_inner().record.unwrap();
        assert_eq!((decided.state(), decided.bill_ids.len()), (pb::MeteringState::Accepted, 1));
        assert_eq!(market.bill_state().await, "paid");
        assert_eq!(
            refusal(market.resolve(pb::MeteringResolution::BillingCenter).await),
            Reason::RecordNotResolvable
        );
        market.prove().await;
    }
}

#[tokio::test]
async fn a_vendor_that_detects_duplicates_is_sent_the_record_again() {
    for market in with_record("crash_detects").await {
        let rules = market.ctx.vendors.get(&Vendor::Alibaba).unwrap().clone();
        let metering = rules
            .metering
            .clone()
            .map(|policy| crate::domain::metering::Policy { detects_duplicates: true, ..policy });
        let detecting = VendorRules { metering, ..rules };
        let market =
            Market { bench: market.bench.with_vendor(Vendor::Alibaba, detecting), gateway: market.gateway };
        market.gateway.answer(Answer::Fails(Status::deadline_exceeded("x")));
        market.send().await;
        assert_eq!(market.record_state().await, "pending");
        market.gateway.answer(Answer::Each(SubmitOutcome::DuplicateSame));
        market.pass(SignedDuration::from_mins(2));
        market.send().await;
        assert_eq!(market.record_state().await, "duplicate_same");
        market.prove().await;
    }
}

#[tokio::test]
async fn a_refused_record_is_settled_by_the_billing_center_when_an_operator_says_so() {
    for market in with_record("resolve").await {
        market.gateway.answer(Answer::Each(SubmitOutcome::Refused));
        market.send().await;
        assert_eq!(market.bill_state().await, "rejected");
        market.resolve(pb::MeteringResolution::BillingCenter).await.unwrap();
        assert_eq!(
            (market.record_state().await.as_str(), market.bill_state().await.as_str()),
            ("moved", "in_arrears")
        );
        let list =
            pb::ListMeteringRecordsRequest { state: pb::MeteringState::Moved.into(), ..Default::default() };
        let list = market.market().list_metering_records(by_caller(list)).await.unwrap().into_inner();
        assert_eq!(list.records.len(), 1);
        market.prove().await;
    }
}

#[tokio::test]
async fn calls_for_one_purchase_keep_their_distance_and_final_records_go_first() {
    for market in both("spacing").await {
        let bound = market.bound("alice", "o@x.test").await;
        let workspace = workspace_id(&bound);
        market.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        market.clock.advance_to("2026-03-01T16:10:00Z".parse().unwrap());
        market.bill("2026-03-01").await;
        market.gateway.answer(Answer::Each(SubmitOutcome::RetryLater));
        market.send().await;
        market.deliver(&workspace, "2026-03-02", 1, &[(Trigger, 0, 20_000)]).await;
        market.announce(vec![released()]).await;
        assert_eq!(market.send().await, 0, "not within a minute of the last call");
        market.pass(SignedDuration::from_secs(60));
        market.gateway.answer(Answer::Each(SubmitOutcome::Accepted));
        market.send().await;
        let sent = market.gateway.submitted();
        let quantities: Vec<_> = sent[1].records.iter().map(|r| r.quantity).collect();
        assert_eq!(quantities.len(), 2, "one call for one purchase");
        assert_eq!(
            market
                .bench
                .number("SELECT CAST(SUM(quantity) AS BIGINT) FROM metering_record WHERE state = 'accepted'")
                .await,
            300
        );
        market.prove().await;
        market.check_invariants().await;
    }
}
