//! What callbacks mean and how they are answered (`vendors/alibaba.md` 5).

use serde_json::{Value, json};

use super::super::sign_query;
use super::{KEY, adapter, now};
use crate::MarketplaceAdapter;
use crate::callback::{CallbackAction, CallbackError, CallbackFields};
use crate::delivery::{Delivery, Outcome};
use crate::error::{AuthError, ParseError};
use crate::event::{EventKind, KeyScope, MarketplaceEvent, Parsed};

const CREATE: [(&str, &str); 6] = [
    ("action", "createInstance"),
    ("aliUid", "1744500000000021"),
    ("orderBizId", "1551234567"),
    ("orderId", "204211111111111"),
    ("productCode", "cmgj00099001"),
    ("skuId", "cmgj00099001-postpay"),
];

fn with(
    base: &[(&'static str, &'static str)],
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    let kept = base.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    kept.chain(more).copied().collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<MarketplaceEvent, ParseError> {
    let adapter = adapter();
    let delivery = Delivery::get("/", &sign_query(KEY, pairs));
    match adapter.parse(&adapter.authenticate(&delivery, now()).unwrap())? {
        Parsed::Events(mut events) => Ok(events.remove(0)),
        Parsed::Landing(landing) => panic!("{landing:?}"),
    }
}

fn answer(pairs: &[(&str, &str)], outcome: &Outcome) -> (u16, Value) {
    let adapter = adapter();
    let delivery = Delivery::get("/", &sign_query(KEY, pairs));
    let reply = adapter.reply(&adapter.authenticate(&delivery, now()).unwrap(), outcome);
    (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn a_purchase_says_who_bought_what() {
    let more = [
        ("trial", "true"),
        ("expiredOn", "2026-12-31 23:59:59"),
        ("Count", "2"),
        ("rootPassword", "hunter2"),
        ("AppJson", "{}"),
        ("key", "x"),
    ];
    let event = parse(&with(&CREATE, &more)).unwrap();
    assert_eq!((event.kind, event.key_scope), (EventKind::Subscribed, KeyScope::Unique));
    assert_eq!(event.vendor_instance_id, "1551234567");
    assert_eq!(event.vendor_account_id.as_deref(), Some("1744500000000021"));
    assert_eq!(event.vendor_order_id.as_deref(), Some("204211111111111"));
    assert_eq!(
        (event.product_code.as_deref(), event.plan.as_deref()),
        (Some("cmgj00099001"), Some("commercial"))
    );
    assert!(event.is_trial);
    assert_eq!(event.expires_at.unwrap().to_string(), "2026-12-31T15:59:59Z");
    assert_eq!(event.details["Count"], "2");
    assert_eq!(event.details["expiredOn"], "2026-12-31 23:59:59", "the raw text is kept");
    for secret in ["token", "rootPassword", "AppJson", "key"] {
        assert!(!event.details.contains_key(secret), "kept {secret}");
    }
    assert_eq!(parse(&CREATE).unwrap().expires_at, None, "pay-as-you-go has no end");
}

#[test]
fn a_repeated_purchase_with_other_content_is_another_event() {
    let first = parse(&CREATE).unwrap().event_key;
    assert!(first.starts_with("createInstance:1551234567:"));
    // What is no part of a purchase's identity does not make it another.
    assert_eq!(parse(&with(&CREATE, &[("package_version", "2")])).unwrap().event_key, first);
    for other in
        [("aliUid", "1744500000000099"), ("skuId", "cmgj00099001-prepay"), ("orderId", "204211111111112")]
    {
        assert_ne!(parse(&with(&CREATE, &[other])).unwrap().event_key, first, "{other:?}");
    }
}

#[test]
fn malformed_or_unknown_content_is_refused_by_name() {
    let bad = |field| ParseError::BadField { field };
    let missing = |field| ParseError::MissingField { field };
    let unknown_plan = ParseError::UnknownPlan { plan: "cmgj00099001-gold".into() };
    for (more, error) in [
        (("aliUid", "174450000000002"), bad("aliUid")),
        (("aliUid", "204195741430123456"), bad("aliUid")),
        (("aliUid", ""), missing("aliUid")),
        (("orderBizId", "0"), bad("orderBizId")),
        (("orderId", "12"), bad("orderId")),
        (("trial", "yes"), bad("trial")),
        (("expiredOn", "tomorrow"), bad("expiredOn")),
        (("productCode", "cmgj00099009"), ParseError::UnknownProduct { product_code: "cmgj00099009".into() }),
        (("skuId", "cmgj00099001-gold"), unknown_plan),
        (("action", ""), missing("action")),
    ] {
        assert_eq!(parse(&with(&CREATE, &[more])), Err(error), "{more:?}");
    }
    let renew = [("action", "renewInstance"), ("instanceId", "1551234567"), ("orderId", "205060317920890")];
    assert_eq!(parse(&renew), Err(missing("expiredOn")), "never defaults to now");
    assert_eq!(parse(&with(&renew, &[("expiredOn", "2026-02-30 00:00:00")])), Err(bad("expiredOn")));
    let release = [("action", "releaseInstance"), ("instanceId", "1551234567"), ("isRefund", "maybe")];
    assert_eq!(parse(&release), Err(bad("isRefund")));
}

#[test]
fn keys_reach_as_far_as_the_vendor_allows() {
    let instance = ("instanceId", "1551234567");
    let order = ("orderId", "205060317920890");
    let expiry = ("expiredOn", "2027-12-31 23:59:59");
    for (pairs, kind, key, scope) in [
        (
            vec![("action", "renewInstance"), instance, order, expiry],
            EventKind::Renewed,
            "renewInstance:1551234567:205060317920890",
            KeyScope::Unique,
        ),
        (
            vec![("action", "upgradeInstance"), instance, order, ("skuId", "cmgj00099001-prepay")],
            EventKind::PlanChanged,
            "upgradeInstance:1551234567:205060317920890",
            KeyScope::Unique,
        ),
        (
            vec![("action", "expiredInstance"), instance],
            EventKind::Suspended,
            "expiredInstance:1551234567",
            KeyScope::PerState,
        ),
        (
            vec![("action", "releaseInstance"), instance],
            EventKind::Cancelled,
            "releaseInstance:1551234567",
            KeyScope::PerState,
        ),
        (
            vec![("action", "refundRenewInstance"), instance, expiry],
            EventKind::RenewalReturned,
            "refundRenewInstance:1551234567:2027-12-31T15:59:59Z",
            KeyScope::PerState,
        ),
    ] {
        let event = parse(&pairs).unwrap();
        assert_eq!((event.kind, event.event_key.as_str(), event.key_scope), (kind, key, scope));
    }
    let upgrade =
        parse(&[("action", "upgradeInstance"), instance, ("skuId", "cmgj00099001-prepay"), ("Count", "3")])
            .unwrap();
    assert_eq!(
        (upgrade.key_scope, upgrade.plan.as_deref()),
        (KeyScope::PerState, Some("commercial-prepaid"))
    );
}

#[test]
fn an_unknown_word_is_kept_for_an_operator() {
    let event = parse(&[("action", "getCommodityInfo"), ("x", "1")]).unwrap();
    assert_eq!((event.kind, event.details["action"].as_str()), (EventKind::Unknown, "getCommodityInfo"));
    let other = parse(&[("action", "getCommodityInfo"), ("x", "2")]).unwrap();
    assert_ne!(event.event_key, other.event_key);
    assert_eq!(answer(&[("action", "getCommodityInfo")], &Outcome::Parked), (200, json!({"success": false})));
}

#[test]
fn a_purchase_is_answered_with_its_own_number() {
    let done = json!({
        "instanceId": "1551234567",
        "appInfo": {
            "frontEndUrl": "https://console.saas.example.com",
            "adminUrl": "https://console.saas.example.com/admin",
            "username": "",
            "password": "",
            "authUrl": "https://console.saas.example.com/marketplace/sso"
        },
        "hostInfo": {},
        "info": {}
    });
    for outcome in [Outcome::Applied, Outcome::Duplicate] {
        assert_eq!(answer(&CREATE, &outcome), (200, done.clone()));
    }
    for outcome in [Outcome::Pending, Outcome::Unavailable] {
        assert_eq!(answer(&CREATE, &outcome), (200, json!({"instanceId": "0"})));
    }
    let refused = Outcome::Refused { reason: "EVENT_CONTRADICTS".into() };
    assert_eq!(answer(&CREATE, &refused), (200, json!({"instanceId": "0", "success": false})));
}

#[test]
fn other_callbacks_are_answered_with_a_boolean() {
    let release = [("action", "releaseInstance"), ("instanceId", "1551234567")];
    for (outcome, success) in [
        (Outcome::Applied, true),
        (Outcome::Duplicate, true),
        (Outcome::Pending, true),
        (Outcome::Refused { reason: "SUBSCRIPTION_ENDED".into() }, false),
        (Outcome::Unavailable, false),
    ] {
        assert_eq!(answer(&release, &outcome), (200, json!({"success": success})), "{outcome:?}");
    }
    let reply = adapter().refuse(&AuthError::WrongProof);
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (403, &b"{}"[..]));
}

#[test]
fn a_link_lands_a_buyer_within_its_window_and_counts_once() {
    let link = sign_query(
        KEY,
        &[("action", "verify"), ("instanceId", "1551234567"), ("timeStamp", "2026-03-01 10:00:00")],
    );
    let adapter = adapter();
    let land = |query: &str, at: &str| {
        let delivery = Delivery::get("/sso", query);
        adapter.authenticate(&delivery, at.parse().unwrap()).map(|d| adapter.parse(&d).unwrap())
    };
    let Ok(Parsed::Landing(landing)) = land(&link, "2026-03-01T02:05:00Z") else {
        panic!("refused at 300 s")
    };
    assert_eq!(landing.vendor_instance_id, "1551234567");
    assert_eq!(landing.expires_at.to_string(), "2026-03-01T02:05:00Z");
    assert_eq!(land(&link, "2026-03-01T02:05:01Z"), Err(AuthError::Stale));
    assert_eq!(land(&link, "2026-03-01T01:54:59Z"), Err(AuthError::Stale));
    let (rest, token) = link.rsplit_once('=').unwrap();
    let capitals = land(&format!("{rest}={}", token.to_uppercase()), "2026-03-01T02:00:00Z");
    assert_eq!(capitals, Ok(Parsed::Landing(landing)), "the same link in capitals is the same link");
    let undated = sign_query(KEY, &[("action", "verify"), ("instanceId", "1551234567")]);
    assert_eq!(land(&undated, "2026-03-01T02:00:00Z"), Err(AuthError::Stale));
}

#[test]
fn every_callback_an_operator_can_sign_is_genuine() {
    let fields = CallbackFields {
        instance: Some("1551234567".into()),
        account: Some("1744500000000021".into()),
        order: Some("204211111111111".into()),
        product: Some("cmgj00099001".into()),
        plan: Some("cmgj00099001-postpay".into()),
        expires_at: Some("2026-12-31T15:59:59Z".parse().unwrap()),
        at: Some(now()),
        message_id: Some("469363e82a2847838bfcaeed436da272".into()),
        extra: vec![("siteName".into(), "演示 站点&a=b".into())],
        ..CallbackFields::default()
    };
    let adapter = adapter();
    for action in CallbackAction::ALL {
        assert_eq!(action.name().parse(), Ok(action));
        let signed =
            crate::sign_callback(tandem_proto::vendor::Vendor::Alibaba, &KEY.into(), action, &fields)
                .unwrap();
        let delivery = Delivery::get("/", &signed.query);
        let proved = adapter.authenticate(&delivery, now()).unwrap_or_else(|e| panic!("{action:?}: {e}"));
        adapter.parse(&proved).unwrap_or_else(|e| panic!("{action:?}: {e}"));
        let nothing = super::super::sign_callback(&KEY.into(), action, &CallbackFields::default());
        assert!(matches!(nothing, Err(CallbackError::MissingField(_))), "{action:?}");
    }
}
