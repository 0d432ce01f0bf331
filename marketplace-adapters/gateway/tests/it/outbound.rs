//! What Billing asks of the cloud.

use tandem_proto::common::v1::{Market, Role, Vendor};
use tandem_proto::marketplace::v1 as pb;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::{Fault, reason_of};
use tandem_service_kit::identity::SigningKey;
use tandem_service_kit::validate;
use tonic::Status;

use crate::harness::{ACCOUNT, Harness, INSTANCE, PRODUCT};
use crate::market::Answer;

const INSTANCE_JSON: &str = r#"{"InstanceId":1551234567,"OrderId":204200000000017,"ProductCode":"cmgj00099001",
    "ProductSkuCode":"cmgj00099001-postpay","ProductType":"APP","Status":"OPENED","RequestId":"R"}"#;
const ORDER_JSON: &str = r#"{"AliUid":1744500000000021,"OrderId":204200000000017,"InstanceIds":["1551234567"],
    "OrderStatus":"NORMAL","OrderType":"NEW","PayStatus":"PAID","ProductCode":"cmgj00099001","RequestId":"R"}"#;

fn look_up() -> pb::LookUpPurchaseRequest {
    pb::LookUpPurchaseRequest {
        vendor: Vendor::Alibaba.into(),
        market: Market::China.into(),
        vendor_instance_id: INSTANCE.to_owned(),
        vendor_account_id: ACCOUNT.to_owned(),
    }
}

fn record(number: u32, start: &str, end: &str) -> pb::UsageRecord {
    let time = |text: &str| Some(validate::to_message(text.parse().unwrap()));
    pb::UsageRecord {
        id: format!("mtr_{number:032x}"),
        vendor_instance_id: INSTANCE.to_owned(),
        vendor_account_id: ACCOUNT.to_owned(),
        product_code: PRODUCT.to_owned(),
        dimension: "Unit".to_owned(),
        start_time: time(start),
        end_time: time(end),
        quantity: 1340,
    }
}

fn usage(records: Vec<pb::UsageRecord>) -> pb::SubmitUsageRequest {
    let (vendor, market) = (Vendor::Alibaba.into(), Market::China.into());
    pb::SubmitUsageRequest { request_id: "push-1".to_owned(), vendor, market, records }
}

fn fields(status: &Status) -> Vec<String> {
    Fault::from_status(status).unwrap().fields.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_purchase_is_looked_up_in_the_vendor_s_own_record() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    gateway.market.on("DescribeInstanceForIsv", Answer::Say(200, INSTANCE_JSON));
    gateway.market.on("DescribeOrderForIsv", Answer::Say(200, ORDER_JSON));
    let mut request = look_up();
    request.vendor_instance_id = format!(" {INSTANCE} ");
    let found = client.look_up_purchase(request).await.unwrap().into_inner();
    assert!(found.found && found.product_is_ours);
    assert_eq!(
        (found.vendor_account_id.as_str(), found.vendor_order_id.as_str()),
        (ACCOUNT, "204200000000017")
    );
    assert_eq!((found.state(), found.expire_time), (pb::PurchaseState::Active, None));
    let mut without_account = look_up();
    without_account.vendor_account_id.clear();
    assert!(client.look_up_purchase(without_account).await.unwrap().into_inner().found);
    gateway.market.on("DescribeInstanceForIsv", Answer::Say(400, r#"{"Code":"IllegalPermission"}"#));
    assert!(!client.look_up_purchase(look_up()).await.unwrap().into_inner().found);
}

#[tokio::test]
async fn an_unclear_vendor_decides_nothing() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    for answer in [
        Answer::Say(500, r#"{"Code":"UnknownError"}"#),
        Answer::Say(200, "<html>"),
        Answer::Say(403, r#"{"Code":"SignatureDoesNotMatch"}"#),
        Answer::Hang,
    ] {
        gateway.market.on("DescribeInstanceForIsv", answer);
        let status = client.look_up_purchase(look_up()).await.unwrap_err();
        assert_eq!(reason_of(&status), Some(Reason::VendorUnavailable), "{status:?}");
    }
}

#[tokio::test]
async fn wrong_ids_are_named_and_nobody_is_asked() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    let mut wrong = async |change: fn(&mut pb::LookUpPurchaseRequest)| {
        let mut request = look_up();
        change(&mut request);
        let status = client.look_up_purchase(request).await.unwrap_err();
        (reason_of(&status).unwrap(), fields(&status))
    };
    let field = |name: &str| (Reason::InvalidField, vec![name.to_owned()]);
    assert_eq!(wrong(|r| r.vendor = 0).await, field("vendor"));
    assert_eq!(wrong(|r| r.market = 9).await, field("market"));
    assert_eq!(wrong(|r| r.vendor_instance_id = "x1".to_owned()).await, field("vendor_instance_id"));
    assert_eq!(wrong(|r| r.vendor_instance_id.clear()).await, field("vendor_instance_id"));
    assert_eq!(wrong(|r| r.vendor_account_id = "12".to_owned()).await, field("vendor_account_id"));
    let sub_user = wrong(|r| r.vendor_account_id = "204195741430123456".to_owned()).await;
    assert_eq!(sub_user, (Reason::MainAccountRequired, vec!["vendor_account_id".to_owned()]));
    assert_eq!(wrong(|r| r.vendor = Vendor::Aws.into()).await.0, Reason::VendorNotConfigured);
    assert_eq!(wrong(|r| r.market = Market::International.into()).await.0, Reason::VendorNotConfigured);
    assert!(gateway.market.calls().is_empty());
}

#[tokio::test]
async fn usage_is_handed_over_once_and_each_record_hears_its_own_outcome() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    gateway.market.on("PushMeteringData", Answer::Say(200, r#"{"Success":true,"RequestId":"REF-1"}"#));
    let mut unknown = record(3, "2026-03-01T01:30:00Z", "2026-03-01T01:40:00Z");
    unknown.dimension = "Bananas".to_owned();
    let records = vec![
        record(1, "2026-03-01T01:10:00Z", "2026-03-01T01:20:00Z"),
        record(2, "2026-02-01T01:10:00Z", "2026-02-01T01:20:00Z"),
        unknown,
    ];
    let results = client.submit_usage(usage(records)).await.unwrap().into_inner().results;
    let outcomes: Vec<_> = results.iter().map(pb::SubmittedRecord::outcome).collect();
    use pb::SubmitOutcome as Outcome;
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Expired, Outcome::Refused]);
    assert_eq!(results[0].vendor_reference, "REF-1");
    assert_eq!(results[0].id, format!("mtr_{:032x}", 1));
    assert_eq!(gateway.market.calls(), ["PushMeteringData"]);
    // Within a minute of the first: not sent at all.
    let again = usage(vec![record(4, "2026-03-01T01:20:00Z", "2026-03-01T01:30:00Z")]);
    let results = client.submit_usage(again).await.unwrap().into_inner().results;
    assert_eq!(results[0].outcome(), Outcome::RetryLater);
    assert!(results[0].retry_time.is_some());
    assert_eq!(gateway.market.calls().len(), 1);
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_unknown_and_never_repeated() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    gateway.market.on("PushMeteringData", Answer::Hang);
    let request = usage(vec![record(1, "2026-03-01T01:10:00Z", "2026-03-01T01:20:00Z")]);
    let results = client.submit_usage(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].outcome(), pb::SubmitOutcome::Unknown);
    assert_eq!(gateway.market.calls(), ["PushMeteringData"]);
}

#[tokio::test]
async fn malformed_records_are_named_by_their_place_and_nothing_is_sent() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    let good = || record(1, "2026-03-01T01:10:00Z", "2026-03-01T01:20:00Z");
    let mut wrong = async |change: fn(&mut pb::SubmitUsageRequest)| {
        let mut request = usage(vec![good(), good()]);
        change(&mut request);
        fields(&client.submit_usage(request).await.unwrap_err())
    };
    assert_eq!(wrong(|r| r.request_id.clear()).await, ["request_id"]);
    assert_eq!(wrong(|r| r.records.clear()).await, ["records"]);
    assert_eq!(wrong(|r| r.records = vec![r.records[0].clone(); 101]).await, ["records"]);
    assert_eq!(wrong(|r| r.records[1].id = "bil_1".to_owned()).await, ["records[1].id"]);
    assert_eq!(wrong(|r| r.records[0].end_time = None).await, ["records[0].end_time"]);
    assert_eq!(wrong(|r| r.records[1].quantity = -1).await, ["records[1].quantity"]);
    assert!(gateway.market.calls().is_empty());
}

#[tokio::test]
async fn a_vendor_that_cannot_be_asked_says_so() {
    let gateway = Harness::start().await;
    let mut client = gateway.client();
    let time = |text: &str| Some(validate::to_message(text.parse().unwrap()));
    let mut request = pb::GetSubmittedUsageRequest {
        vendor: Vendor::Alibaba.into(),
        market: Market::China.into(),
        vendor_instance_id: INSTANCE.to_owned(),
        start_time: time("2026-03-01T00:00:00Z"),
        end_time: time("2026-03-02T00:00:00Z"),
    };
    let answer = client.get_submitted_usage(request.clone()).await.unwrap().into_inner();
    assert!(!answer.supported && answer.records.is_empty());
    request.end_time = request.start_time;
    assert_eq!(fields(&client.get_submitted_usage(request).await.unwrap_err()), ["end_time"]);
}

#[tokio::test]
async fn a_slow_vendor_fills_its_own_room_only() {
    let gateway = Harness::start().await;
    let client = gateway.client();
    gateway.market.on("DescribeInstanceForIsv", Answer::Hang);
    let call = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.look_up_purchase(look_up()).await })
    };
    let slow: Vec<_> = (0..16).map(|_| call()).collect();
    gateway.market.wait_for(16).await;
    let turned_away = call().await.unwrap().unwrap_err();
    assert_eq!(reason_of(&turned_away), Some(Reason::Overloaded));
    for call in slow {
        assert_eq!(reason_of(&call.await.unwrap().unwrap_err()), Some(Reason::VendorUnavailable));
    }
}

#[tokio::test]
async fn strangers_and_other_roles_are_refused() {
    let gateway = Harness::start().await;
    let mut stranger = gateway.client_as("billing", Role::Billing, SigningKey::generate().unwrap());
    let status = stranger.look_up_purchase(look_up()).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::TokenInvalid));
    assert!(gateway.market.calls().is_empty());
}
