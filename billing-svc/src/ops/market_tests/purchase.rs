//! Verifying purchases: each refusal is its own, and nothing is half-created.

use tandem_proto::billing::v1::marketplace_service_server::MarketplaceService as _;

use super::*;
use tandem_service_kit::fault::Fault;

impl Market {
    async fn verify(
        &self,
        account: &str,
        instance: &str,
    ) -> Result<Response<pb::VerifyPurchaseResponse>, Status> {
        let request = pb::VerifyPurchaseRequest {
            vendor: common::Vendor::Alibaba.into(),
            market: common::Market::China.into(),
            purchase_ids: Some(ids(account, instance)),
            billing_account_id: String::new(),
        };
        self.market().verify_purchase(by_caller(request)).await
    }
}

const STRANGER: &str = "1744500000000099";

#[tokio::test]
async fn each_wrong_purchase_has_its_own_reason_and_leaves_nothing_behind() {
    for market in both("verify").await {
        let gateway = &market.gateway;
        gateway.knows("2000001", BUYER, PurchaseState::Suspended);
        gateway.knows("2000002", BUYER, PurchaseState::Ended);
        gateway.knows("2000003", BUYER, PurchaseState::Pending);
        gateway.knows_foreign("2000004", BUYER);
        let cases = [
            (BUYER, "9999999", Reason::PurchaseNotFound),
            (STRANGER, INSTANCE, Reason::PurchaseNotFound),
            ("mary@1744500000000021.onaliyun.com", INSTANCE, Reason::MainAccountRequired),
            (BUYER, "no-number", Reason::InvalidField),
            ("", INSTANCE, Reason::InvalidField),
            (BUYER, "2000001", Reason::PurchaseSuspended),
            (BUYER, "2000002", Reason::PurchaseEnded),
            (BUYER, "2000003", Reason::PurchasePending),
            (BUYER, "2000004", Reason::PurchaseWrongProduct),
        ];
        for (account, instance, reason) in cases {
            assert_eq!(refusal(market.verify(account, instance).await), reason, "{account} {instance}");
            let request = bind_request(profile("shop", "o@x.test"), "alice", by_ids(account, instance));
            assert_eq!(refusal(market.bind(request).await), reason, "{account} {instance}");
        }
        for table in [
            "billing_account",
            "workspace",
            "workspace_directory",
            "cloud_account",
            "subscription",
            "outbox",
            "feed_event",
        ] {
            assert_eq!(market.count(table).await, 0, "{table}");
        }
        assert_eq!(market.count("request_log").await, 0, "refusals are not stored");
        assert!(market.verify(BUYER, INSTANCE).await.is_ok());
    }
}

#[tokio::test]
async fn a_foreign_number_is_told_like_an_unknown_one_even_when_it_is_recorded() {
    for market in both("foreign").await {
        market.announce(vec![bought()]).await;
        assert_eq!(refusal(market.verify(STRANGER, INSTANCE).await), Reason::PurchaseNotFound);
        assert_eq!(refusal(market.verify("mary@x", INSTANCE).await), Reason::MainAccountRequired);
        assert_eq!(market.gateway.look_ups(), 2, "both take the same way");
    }
}

#[tokio::test]
async fn our_own_record_is_asked_first() {
    for market in both("own_first").await {
        let bound = market.bound("alice", "o@x.test").await;
        assert_eq!(market.gateway.look_ups(), 1);
        assert_eq!(refusal(market.verify(BUYER, INSTANCE).await), Reason::PurchaseOwnedByOther);
        // Another instance of the same cloud account is the same customer's (D20).
        market.gateway.knows("2000001", BUYER, PurchaseState::Active);
        assert_eq!(refusal(market.verify(BUYER, "2000001").await), Reason::PurchaseOwnedByOther);
        market.announce(vec![released()]).await;
        let request = pb::VerifyPurchaseRequest {
            vendor: common::Vendor::Alibaba.into(),
            market: common::Market::China.into(),
            purchase_ids: Some(ids(BUYER, INSTANCE)),
            billing_account_id: account_id(&bound).into(),
        };
        let asked = market.gateway.look_ups();
        assert_eq!(refusal(market.market().verify_purchase(by_caller(request)).await), Reason::PurchaseEnded);
        assert_eq!(market.gateway.look_ups(), asked, "the vendor is not asked for what we know to be over");
    }
}

#[tokio::test]
async fn five_failures_within_an_hour_are_enough() {
    for market in both("five").await {
        for _ in 0..5 {
            assert_eq!(refusal(market.verify(STRANGER, INSTANCE).await), Reason::PurchaseNotFound);
        }
        assert_eq!(refusal(market.verify(BUYER, INSTANCE).await), Reason::TooManyTries);
        assert_eq!(
            refusal(market.verify(BUYER, "2000009").await),
            Reason::PurchaseNotFound,
            "another has its own count"
        );
        market.pass(jiff::SignedDuration::from_mins(61));
        assert!(market.verify(BUYER, INSTANCE).await.is_ok());
        // That the vendor is away is nobody's failure, however often.
        market.gateway.fail(Some(Fault::new(Reason::VendorUnavailable)));
        for _ in 0..9 {
            assert_eq!(refusal(market.verify(BUYER, INSTANCE).await), Reason::VendorUnavailable);
        }
        market.gateway.fail(Some(Fault::new(Reason::Overloaded)));
        assert_eq!(refusal(market.verify(BUYER, INSTANCE).await), Reason::VendorUnavailable);
        market.gateway.fail(None);
        assert!(market.verify(BUYER, INSTANCE).await.is_ok());
        crate::ops::jobs::run(&market.ctx, crate::domain::job::Job::Tidy, market.ctx.clock.now())
            .await
            .unwrap();
        assert_eq!(market.count("failed_try").await, 0, "what no longer counts is forgotten");
    }
}

#[tokio::test]
async fn a_vendor_without_metering_cannot_be_settled_through() {
    for market in both("no_metering").await {
        let request = pb::VerifyPurchaseRequest {
            vendor: common::Vendor::Azure.into(),
            market: common::Market::China.into(),
            purchase_ids: Some(ids("x", "y")),
            billing_account_id: String::new(),
        };
        let refused = refusal(market.market().verify_purchase(by_caller(request)).await);
        assert_eq!(refused, Reason::VendorNotConfigured);
    }
}

#[tokio::test]
async fn a_landing_proof_opens_one_ticket_that_works_once() {
    for market in both("landing").await {
        let open = |proof: &str, instance: &str, account: &str| pb::OpenLandingRequest {
            request_id: request_id(),
            vendor: common::Vendor::Alibaba.into(),
            market: common::Market::China.into(),
            vendor_instance_id: instance.to_owned(),
            vendor_account_id: account.to_owned(),
            proof_digest: proof.to_owned(),
        };
        let service = market.market();
        let unknown = service.open_landing(by_caller(open("p0", "9999999", ""))).await;
        assert_eq!(refusal(unknown), Reason::PurchaseNotFound);
        // Its announcement was lost, but the vendor knows it.
        let opened = service.open_landing(by_caller(open("p1", INSTANCE, ""))).await.unwrap().into_inner();
        assert!(!opened.already_bound);
        assert_eq!(market.subscription_state().await, "pending_binding");
        assert_eq!(
            refusal(service.open_landing(by_caller(open("p1", INSTANCE, ""))).await),
            Reason::TicketInvalid
        );
        let other = service.open_landing(by_caller(open("p2", INSTANCE, STRANGER))).await;
        assert_eq!(refusal(other), Reason::PurchaseNotFound);
        let ticket = |id: &str| Some(pb::bind_workspace_request::Purchase::LandingTicket(id.to_owned()));
        let refused = bind_request(profile("a", "o@x.test"), "alice", ticket("lnd_0"));
        assert_eq!(refusal(market.bind(refused).await), Reason::TicketInvalid);
        let request = bind_request(profile("a", "o@x.test"), "alice", ticket(&opened.landing_ticket));
        let bound = market.bind(request).await.unwrap().into_inner();
        assert_eq!(bound.binding.unwrap().settlement_method(), common::SettlementMethod::AlibabaCloud);
        let request = bind_request(profile("b", "o@x.test"), "bob", ticket(&opened.landing_ticket));
        assert_eq!(refusal(market.bind(request).await), Reason::TicketInvalid);
        let again = service.open_landing(by_caller(open("p3", INSTANCE, BUYER))).await.unwrap().into_inner();
        assert!(again.already_bound);
        market.pass(jiff::SignedDuration::from_hours(1));
        let request = bind_request(profile("b", "o@x.test"), "bob", ticket(&again.landing_ticket));
        assert_eq!(refusal(market.bind(request).await), Reason::TicketInvalid);
        assert_eq!(market.count("billing_account").await, 1);
        market.check_invariants().await;
    }
}
