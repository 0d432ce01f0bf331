//! Buyers who arrive through the vendor's link.

use jiff::SignedDuration;
use tandem_adapters::alibaba::sign_query;
use tandem_adapters::callback::CallbackAction;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use crate::billing::Script;
use crate::harness::{CALLBACKS, Harness, INSTANCE, KEY, LANDING, fields, now, signed};

fn link() -> String {
    signed(CallbackAction::Land, &fields())
}

#[tokio::test]
async fn a_link_opens_one_ticket_once() {
    let gateway = Harness::start().await;
    gateway.billing.announce(INSTANCE);
    let first = gateway.get(LANDING, &link()).await;
    assert_eq!(first.status, 200);
    assert!(first.body.contains(&format!("lnd_{}", "a".repeat(32))));
    assert!(
        first.body.contains("2026-03-01 03:01:30") && first.body.contains("https://console.example.com/")
    );
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-frame-options: deny",
    ] {
        assert!(first.head.contains(header), "{header} is missing in {}", first.head);
    }
    let second = gateway.get(LANDING, &link()).await;
    assert_eq!(second.status, 410);
    assert!(!second.body.contains("lnd_"));
    // The same link in capitals, and at the other door.
    let token = link().split("token=").nth(1).unwrap()[..32].to_owned();
    let third = gateway.get(CALLBACKS, &link().replace(&token, &token.to_uppercase())).await;
    assert!(matches!(third.status, 403 | 410), "{third:?}");
    let calls = gateway.billing.calls();
    assert_ne!(calls[0].request_id, calls[1].request_id);
    let landing = calls[0].landing.clone().unwrap();
    assert_eq!(landing.proof_digest.len(), 64);
    assert_eq!(landing.vendor_instance_id, INSTANCE);
}

#[tokio::test]
async fn the_page_is_in_the_browser_s_language() {
    let gateway = Harness::start().await;
    let page = async |header: &str| gateway.get_with(LANDING, &link(), header).await.body;
    assert!(page("accept-language: en-GB,en;q=0.9\r\n").await.contains("lang=\"en\""));
    assert!(page("accept-language: zh-CN\r\n").await.contains("lang=\"zh-CN\""));
    // The market's own, when the browser asks for neither.
    assert!(page("accept-language: fr\r\n").await.contains("lang=\"zh-CN\""));
}

#[tokio::test]
async fn an_old_link_is_refused_by_its_age_at_both_doors() {
    let gateway = Harness::start().await;
    gateway.billing.announce(INSTANCE);
    for away in [-301, 301] {
        let mut fields = fields();
        fields.at = Some(now().saturating_add(SignedDuration::from_secs(away)).unwrap());
        for door in [LANDING, CALLBACKS] {
            let answer = gateway.get(door, &signed(CallbackAction::Land, &fields)).await;
            assert_eq!(answer.status, 403);
            assert!(
                answer.head.contains("text/html") && answer.body.contains("<h1>"),
                "a person waits for it"
            );
        }
    }
    assert!(gateway.billing.calls().is_empty());
}

#[tokio::test]
async fn a_forged_or_incomplete_link_shows_a_page_and_asks_nobody() {
    let gateway = Harness::start().await;
    let forged = link().replace(INSTANCE, "1551234568");
    let incomplete = sign_query(KEY, &[("action", "verify"), ("timeStamp", "2026-03-01 10:01:30")]);
    for query in [forged, incomplete, String::new()] {
        let answer = gateway.get(LANDING, &query).await;
        assert_eq!(answer.status, 403, "{query}");
        assert!(answer.head.contains("text/html"));
    }
    assert!(gateway.billing.calls().is_empty());
}

#[tokio::test]
async fn each_refusal_has_a_page_of_its_own() {
    let gateway = Harness::start().await;
    assert_eq!(gateway.get(LANDING, &link()).await.status, 404, "nobody announced it");
    for (reason, status) in [
        (Reason::PurchasePending, 409),
        (Reason::PurchaseSuspended, 409),
        (Reason::PurchaseEnded, 410),
        (Reason::InvalidField, 503),
        (Reason::Internal, 503),
        (Reason::Overloaded, 503),
    ] {
        let fail = || Script::Fail(Fault::new(reason).into());
        gateway.billing.script([fail(), fail()]);
        let answer = gateway.get(LANDING, &link()).await;
        assert_eq!(answer.status, status, "{reason:?}");
        assert!(answer.head.contains("text/html"));
        // What was scripted for a second try that was not made.
        let _ = gateway.get(LANDING, &link()).await;
    }
}

#[tokio::test]
async fn while_billing_is_away_the_buyer_is_asked_to_come_again() {
    let gateway = Harness::start_without_billing().await;
    let answer = gateway.get(LANDING, &link()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after"));
}
