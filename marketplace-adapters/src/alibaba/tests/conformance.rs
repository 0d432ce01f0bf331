//! The shared suite, with this vendor's samples.

use std::sync::Arc;

use super::super::{Adapter, LINK_WINDOW, open, sign_query};
use super::{KEY, adapter, config_with, now, settings, surroundings};
use crate::conformance::{Proof, Sample, Subject, check_adapter, check_unreachable_client};
use crate::delivery::Delivery;
use crate::event::EventKind;
use crate::usage::UsageRecord;

const OTHER_KEY: &str = "0b1d2f3a-another-isv-key-77e5";

fn sample(name: &'static str, kind: EventKind, pairs: &[(&str, &str)]) -> Sample {
    let delivery = Delivery::get("/callback", &sign_query(KEY, pairs));
    Sample { name, delivery, received_at: now(), fresh_for: None, kinds: vec![kind] }
}

fn genuine() -> Vec<Sample> {
    let create = [
        ("action", "createInstance"),
        ("aliUid", "1744500000000021"),
        ("orderBizId", "1551234567"),
        ("orderId", "204211111111111"),
        ("productCode", "cmgj00099001"),
        ("skuId", "cmgj00099001-prepay"),
    ];
    let mut prepaid = create.to_vec();
    prepaid.extend([
        ("trial", "false"),
        ("expiredOn", "2026-12-31 23:59:59"),
        ("Count", "2"),
        ("template", ""),
    ]);
    let mut other_account = create.to_vec();
    other_account[1] = ("aliUid", "1744500000000099");
    let mut paid = create.to_vec();
    paid[0] = ("action", "orderPay");
    paid.push(("requestId", "469363e82a2847838bfcaeed436da272"));
    let instance = ("instanceId", "1551234567");
    let mut samples = vec![
        sample("create", EventKind::Subscribed, &prepaid),
        sample("create for another account", EventKind::Subscribed, &other_account),
        sample("order paid", EventKind::Paid, &paid),
        sample(
            "renew",
            EventKind::Renewed,
            &[
                ("action", "renewInstance"),
                instance,
                ("orderId", "205060317920890"),
                ("expiredOn", "2027-12-31 23:59:59"),
            ],
        ),
        sample(
            "upgrade",
            EventKind::PlanChanged,
            &[
                ("action", "upgradeInstance"),
                instance,
                ("orderId", "206060317920890"),
                ("skuId", "cmgj00099001-postpay"),
            ],
        ),
        sample("expire", EventKind::Suspended, &[("action", "expiredInstance"), instance]),
        sample(
            "release",
            EventKind::Cancelled,
            &[("action", "releaseInstance"), instance, ("isRefund", "true")],
        ),
        sample(
            "refund of a renewal",
            EventKind::RenewalReturned,
            &[("action", "refundRenewInstance"), instance, ("expiredOn", "2026-12-31 23:59:59")],
        ),
        sample("a word from the future", EventKind::Unknown, &[("action", "moveInstance"), instance]),
    ];
    let link = [("action", "verify"), instance, ("timeStamp", "2026-03-01 10:00:00")];
    samples.push(Sample {
        fresh_for: Some(LINK_WINDOW),
        kinds: Vec::new(),
        ..sample("landing", EventKind::Unknown, &link)
    });
    samples
}

fn forged() -> Vec<Delivery> {
    let unsigned = "action=releaseInstance&instanceId=1551234567";
    let with = |token: String| Delivery::get("/callback", &format!("{unsigned}&token={token}"));
    let digest = |text: String| hex::encode(<md5::Md5 as md5::Digest>::digest(text));
    vec![
        // One older page prints the formula without the key.
        with(digest(unsigned.to_owned())),
        with(digest(format!("{unsigned}&key="))),
        with(digest(format!("{unsigned}{KEY}"))),
        with(digest(format!("{KEY}{unsigned}"))),
        with(digest(format!("{unsigned}&key={OTHER_KEY}"))),
        Delivery::get(
            "/callback",
            &sign_query("", &[("action", "releaseInstance"), ("instanceId", "1551234567")]),
        ),
    ]
}

#[test]
fn passes_the_suite() {
    let rotated = Adapter::new(Arc::new(config_with(settings(), OTHER_KEY, Some(KEY))));
    let other = Adapter::new(Arc::new(config_with(settings(), OTHER_KEY, None)));
    let subject = Subject {
        adapter: &adapter(),
        rotated: &rotated,
        other: &other,
        genuine: genuine(),
        proof: Proof::QueryParameter("token"),
        forged: forged(),
    };
    let report = check_adapter(&subject);
    println!("{} genuine accepted, {} forged refused", report.genuine, report.forged);
}

#[test]
#[should_panic(expected = "accepted a forgery")]
fn the_suite_notices_a_verifier_that_is_fooled() {
    let rotated = Adapter::new(Arc::new(config_with(settings(), OTHER_KEY, Some(KEY))));
    let other = Adapter::new(Arc::new(config_with(settings(), OTHER_KEY, None)));
    // Genuine after all: what the suite must cry out about.
    let forged = vec![Delivery::get(
        "/",
        &sign_query(KEY, &[("action", "expiredInstance"), ("instanceId", "1551234567")]),
    )];
    check_adapter(&Subject {
        adapter: &adapter(),
        rotated: &rotated,
        other: &other,
        genuine: genuine(),
        proof: Proof::QueryParameter("token"),
        forged,
    });
}

#[tokio::test]
async fn the_client_is_honest_about_a_vendor_that_is_away() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings();
    settings["base_url"] = format!("http://{}", listener.local_addr().unwrap()).into();
    settings["allow_insecure"] = true.into();
    drop(listener);
    let connection = open(config_with(settings, KEY, None), surroundings()).unwrap();
    let record = UsageRecord {
        id: "mtr_1".into(),
        vendor_instance_id: "1551234567".into(),
        vendor_account_id: "1744500000000021".into(),
        product_code: "cmgj00099001".into(),
        dimension: "Unit".into(),
        start: "2026-03-01T01:00:00Z".parse().unwrap(),
        end: "2026-03-01T02:00:00Z".parse().unwrap(),
        quantity: 7,
    };
    check_unreachable_client(connection.adapter.capabilities(), &*connection.client, &record).await;
}
