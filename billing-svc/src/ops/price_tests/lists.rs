//! Publishing, and that a bill keeps the list it used.

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::price_service_server::PriceService as _;
use tandem_proto::item::BillingItem;
use tandem_proto::item::BillingItem::{LogCount, Sms, Trigger};
use tandem_proto::reason::Reason;
use tonic::Request;

use super::{CN_CNY, by_operator, differences, end_of, lines, prices, publish, refusal, with_price};
use crate::domain::bill::LineKind;
use crate::domain::price::{Price, PriceKey, PriceList};
use crate::grpc::price::Service;
use crate::ops::publish_price_list;
use crate::store::price;
use crate::testing::{Bench, both};

fn key(item: BillingItem, retention_days: i32) -> PriceKey {
    PriceKey { zone: CN_CNY.0, currency: CN_CNY.1, item, retention_days }
}

async fn listed(bench: &Bench, page_size: i32) -> Vec<pb::PriceListSummary> {
    let service = Service(bench.ctx.clone());
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListPriceListsRequest { page_size, page_token };
        let page = service.list_price_lists(Request::new(request)).await.unwrap().into_inner();
        all.extend(page.price_lists);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// D35, I-14: the day before the change keeps its list, also in what comes late for it; the proofs say so.
#[tokio::test]
async fn a_bill_keeps_the_list_it_used_across_a_change() {
    for bench in both("list_change").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        publish(&bench, "dear", "2026-03-02", &with_price(Trigger, 5_000_000)).await.unwrap();
        bench.deliver(&workspace, "2026-03-01", 2, &[(Trigger, 0, 50_000)]).await;
        bench.deliver(&workspace, "2026-03-02", 1, &[(Trigger, 0, 10_000)]).await;
        end_of(&bench, "2026-03-02");
        bench.bill("2026-03-02").await;
        let told: Vec<_> = lines(&bench, &account, "2026-03-02")
            .await
            .into_iter()
            .map(|l| (l.kind, l.amount.to_string(), l.price_list_version))
            .collect();
        assert_eq!(
            told,
            [
                (LineKind::PayAsYouGo, "5.00 CNY".to_owned(), "dear".to_owned()),
                (LineKind::Adjustment, "3.00 CNY".to_owned(), "default-2026-01".to_owned()),
            ]
        );
        // Downwards and a day later still: what was billed at the old price is given back at it.
        bench.deliver(&workspace, "2026-03-01", 3, &[(Trigger, 0, 40_000)]).await;
        bench.deliver(&workspace, "2026-03-03", 1, &[(Trigger, 0, 10_000)]).await;
        end_of(&bench, "2026-03-03");
        bench.bill("2026-03-03").await;
        assert_eq!(bench.number("SELECT payable FROM daily_bill WHERE usage_day = 20260303").await, 400);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_list_begins_after_every_billed_day() {
    for bench in both("billed_day").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        let list = with_price(Trigger, 5_000_000);
        for late in ["2026-02-01", "2026-03-01"] {
            let (reason, fault) = refusal(publish(&bench, "late", late, &list).await);
            assert_eq!(reason, Reason::PriceDayBilled);
            assert_eq!(fault.metadata, [("last_billed_day".to_owned(), "2026-03-01".to_owned())]);
            assert_eq!(fault.fields[0].0, "effective_day");
        }
        // A day without anything to pay is billed as well.
        end_of(&bench, "2026-03-02");
        bench.bill("2026-03-02").await;
        assert_eq!(refusal(publish(&bench, "late", "2026-03-02", &list).await).0, Reason::PriceDayBilled);
        publish(&bench, "late", "2026-03-03", &list).await.unwrap();
        assert_eq!(
            refusal(publish(&bench, "late", "2026-03-04", &list).await).0,
            Reason::PriceListExists,
            "a version never changes"
        );
        bench.prove().await;
    }
}

/// A final bill is made while its day still runs: no list may begin on that day any more.
#[tokio::test]
async fn a_list_begins_after_the_day_of_a_final_bill() {
    for bench in both("final_day").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        let subscription = bench.settle_by_cloud(&account, &[&workspace]).await;
        bench.clock.advance_to(crate::testing::at("2026-03-01T04:30:00Z"));
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        let tx = bench.db.begin().await.unwrap();
        let ending = crate::store::subscription::find(&tx, &subscription).await.unwrap().unwrap();
        let locked = crate::store::workspace::lock(&tx, std::slice::from_ref(&workspace)).await.unwrap();
        let now = bench.ctx.clock.now();
        crate::ops::issue_bills::issue_final(&tx, &bench.ctx, &ending, &locked, now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(bench.number("SELECT COUNT(*) FROM daily_bill WHERE kind = 'final'").await, 1);
        let list = with_price(Trigger, 5_000_000);
        assert_eq!(refusal(publish(&bench, "v", "2026-03-01", &list).await).0, Reason::PriceDayBilled);
        publish(&bench, "v", "2026-03-02", &list).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_that_lacks_a_price_is_refused_with_all_of_them_named() {
    for bench in both("lacking").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        let mut list = price::shipped().unwrap();
        list.prices.remove(&key(LogCount, 7)).unwrap();
        list.prices.remove(&key(LogCount, 14)).unwrap();
        list.prices.retain(|key, _| key.item != Sms);
        let (reason, fault) = refusal(publish(&bench, "v", "2026-03-02", &list).await);
        assert_eq!(reason, Reason::PriceMissing);
        let told: Vec<_> = fault.fields.iter().map(|(field, what)| format!("{field} {what}")).collect();
        assert_eq!(
            told,
            [
                "prices has no price for LOG_COUNT at 7/14 days in CN CNY",
                "prices has no price for SMS in CN CNY"
            ]
        );
        assert_eq!(fault.metadata, [("missing_count".to_owned(), "3".to_owned())]);
        // What nobody can come into may be left out: mainland sites in dollars, sites abroad in yuan.
        let mut two = price::shipped().unwrap();
        two.prices.retain(|k, _| (k.zone, k.currency) == CN_CNY || (k.zone, k.currency) == super::COLUMNS[3]);
        publish(&bench, "two", "2026-03-02", &two).await.unwrap();
        // Once somebody is there it may not.
        bench.run("UPDATE billing_account SET currency = 'USD'", []).await;
        publish(&bench, "four", "2026-03-02", &price::shipped().unwrap()).await.unwrap();
        let (reason, fault) = refusal(publish(&bench, "two-again", "2026-03-03", &two).await);
        assert_eq!(reason, Reason::PriceMissing);
        assert!(fault.fields.iter().all(|(_, what)| what.ends_with("in CN USD")), "{:?}", fault.fields);
        bench.run("UPDATE billing_account SET currency = 'CNY'", []).await;
        // What is used and was never sold has to be priced from then on.
        bench.deliver(&workspace, "2026-03-02", 1, &[(LogCount, 90, 1_000_000)]).await;
        let (reason, fault) = refusal(publish(&bench, "w", "2026-03-03", &price::shipped().unwrap()).await);
        assert_eq!(reason, Reason::PriceMissing);
        assert!(fault.fields[0].1.contains("LOG_COUNT at 90 days in CN CNY"), "{:?}", fault.fields);
        let mut complete = price::shipped().unwrap();
        let dear = *complete.prices.get(&key(LogCount, 60)).unwrap();
        complete.prices.insert(key(LogCount, 90), Price { ..dear });
        publish(&bench, "w", "2026-03-02", &complete).await.unwrap();
        end_of(&bench, "2026-03-02");
        assert_eq!(bench.bill("2026-03-02").await, 1, "now it can be rated");
        assert_eq!(bench.number("SELECT payable FROM daily_bill").await, 250);
        bench.prove().await;
    }
}

#[tokio::test]
async fn entries_that_come_twice_or_make_no_sense_are_named_by_place() {
    for bench in both("senseless").await {
        let list = price::shipped().unwrap();
        let ask = async |change: &dyn Fn(&mut pb::PublishPriceListRequest)| {
            let mut request = pb::PublishPriceListRequest {
                request_id: tandem_service_kit::fresh::fresh_uuid().to_string(),
                version: "v".into(),
                effective_day: "2026-04-01".into(),
                prices: prices(&list),
            };
            change(&mut request);
            let answer = Service(bench.ctx.clone()).publish_price_list(by_operator(request)).await;
            let (reason, fault) = refusal(answer);
            assert_eq!(reason, Reason::InvalidField);
            fault.fields
        };
        let twice = ask(&|r| r.prices.push(r.prices[3].clone())).await;
        assert_eq!(twice[0].0, format!("prices[{}]", list.prices.len()));
        assert!(twice[0].1.contains("entry 3"), "{twice:?}");
        let negative = ask(&|r| r.prices[5].unit_price.as_mut().unwrap().micros = -1).await;
        assert_eq!(negative[0].0, "prices[5].unit_price");
        assert_eq!(ask(&|r| r.prices[0].unit_size = 7).await[0].0, "prices[0].unit_size");
        assert_eq!(ask(&|r| r.prices[0].price_zone = 9).await[0].0, "prices[0].price_zone");
        assert_eq!(ask(&|r| r.prices[0].item = 17).await[0].0, "prices[0].item");
        assert_eq!(ask(&|r| r.prices[0].retention_days = -3).await[0].0, "prices[0].retention_days");
        assert_eq!(ask(&|r| r.prices.clear()).await[0].0, "prices");
        assert_eq!(ask(&|r| r.version = "a b".into()).await[0].0, "version");
        assert_eq!(ask(&|r| r.effective_day = "2206-04-01".into()).await[0].0, "effective_day");
        assert_eq!(ask(&|r| r.effective_day = "soon".into()).await[0].0, "effective_day");
        assert_eq!(bench.number("SELECT COUNT(*) FROM price_list").await, 1);
    }
}

#[tokio::test]
async fn lists_are_listed_with_the_days_they_are_used_for_page_by_page() {
    for bench in both("listed").await {
        let list = price::shipped().unwrap();
        for (version, day) in [
            ("april", "2026-04-01"),
            ("march", "2026-03-10"),
            ("april-typo", "2026-04-01"),
            ("april-3", "2026-04-01"),
        ] {
            // The clock stands still: the order of publications counts all the same.
            publish(&bench, version, day, &list).await.unwrap();
        }
        for page_size in [1, 2, 500] {
            let told: Vec<_> = listed(&bench, page_size)
                .await
                .into_iter()
                .map(|l| (l.version, l.effective_day, l.last_day, l.superseded))
                .collect();
            let row = |version: &str, from: &str, to: &str, superseded| {
                (version.to_owned(), from.to_owned(), to.to_owned(), superseded)
            };
            assert_eq!(
                told,
                [
                    row("april-3", "2026-04-01", "", false),
                    row("april-typo", "2026-04-01", "", true),
                    row("april", "2026-04-01", "", true),
                    row("march", "2026-03-10", "2026-03-31", false),
                    row("default-2026-01", "2000-01-01", "2026-03-09", false),
                ]
            );
        }
        let service = Service(bench.ctx.clone());
        for (day, version) in [("2026-04-01", "april-3"), ("2026-03-31", "march"), ("", "default-2026-01")] {
            let request = pb::GetPriceListRequest { version: String::new(), day: day.to_owned() };
            let found = service.get_price_list(Request::new(request)).await.unwrap().into_inner();
            assert_eq!(found.price_list.unwrap().version, version);
        }
    }
}

#[tokio::test]
async fn a_quote_is_what_the_bill_says() {
    for bench in both("quote").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        let usage = [(LogCount, 7, 2_345_678), (Trigger, 0, 33_333), (Sms, 0, 7)];
        let service = Service(bench.ctx.clone());
        let quote = |usage: Vec<(BillingItem, i32, i64)>, day: &str| pb::QuotePriceRequest {
            usage: usage
                .into_iter()
                .map(|(item, retention_days, units)| pb::QuotedUsage {
                    item: item.to_message().into(),
                    retention_days,
                    quantity_hundredths: units * 100,
                })
                .collect(),
            price_zone: CN_CNY.0.to_message().into(),
            currency_code: "CNY".into(),
            day: day.into(),
        };
        let quoted = service
            .quote_price(Request::new(quote(usage.to_vec(), "2026-03-01")))
            .await
            .unwrap()
            .into_inner();
        bench.deliver(&workspace, "2026-03-01", 1, &usage).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        let payable = bench.number("SELECT payable FROM daily_bill").await;
        assert_eq!(quoted.total.unwrap().minor_units, payable);
        assert_eq!(quoted.price_list_version, "default-2026-01");
        let billed: Vec<_> =
            lines(&bench, &account, "2026-03-01").await.iter().map(|l| l.amount.micros).collect();
        let told: Vec<_> =
            quoted.lines.iter().filter(|l| l.item != 0).map(|l| l.amount.clone().unwrap().micros).collect();
        assert_eq!(told, billed);
        // A quote for a day of another list, and quotes that cannot be.
        publish(&bench, "dear", "2026-04-01", &with_price(Trigger, 5_000_000)).await.unwrap();
        let later = quote(vec![(Trigger, 0, 10_000)], "2026-04-02");
        let later = service.quote_price(Request::new(later)).await.unwrap().into_inner();
        assert_eq!((later.total.unwrap().minor_units, later.price_list_version.as_str()), (500, "dear"));
        for (usage, day, reason) in [
            (vec![(LogCount, 5, 1)], "2026-03-01", Reason::PriceMissing),
            (vec![(Trigger, 0, 1)], "1999-12-31", Reason::ObjectNotFound),
            (vec![(LogCount, 7, 1), (BillingItem::LogIngest, 7, 1)], "", Reason::InvalidField),
            (vec![(BillingItem::Collector, 0, 1)], "", Reason::InvalidField),
            (vec![(Trigger, 0, 0)], "", Reason::InvalidField),
            (vec![], "", Reason::InvalidField),
            (vec![(Trigger, 0, i64::MAX / 100); 400], "", Reason::InvalidField),
        ] {
            assert_eq!(refusal(service.quote_price(Request::new(quote(usage, day))).await).0, reason);
        }
    }
}

/// Bills that are being made hold a publication up, and the other way round, so that no bill uses a list that was not in
/// force on its day. One writer at a time makes this true on SQLite by itself.
#[tokio::test]
async fn no_list_is_published_while_a_bill_is_being_made() {
    for bench in both("gate").await {
        if bench.number("SELECT COUNT(*) FROM price_gate").await != 1 || !is_postgres(&bench) {
            continue;
        }
        let list = PriceList { version: "v".into(), ..with_price(Trigger, 1) };
        let list = PriceList { effective_day: crate::testing::day("2026-03-02"), ..list };
        let now = bench.ctx.clock.now();
        let (one, other) = (bench.db.begin().await.unwrap(), bench.db.begin().await.unwrap());
        price::all_for_bills(&one).await.unwrap();
        assert_eq!(price::all_for_bills(&other).await.unwrap().len(), 1, "bills do not wait for each other");
        let publishing = bench.db.begin().await.unwrap();
        assert!(publish_price_list::run(&publishing, &list, now).await.is_err(), "it waits for bills");
        publishing.rollback().await;
        one.rollback().await;
        other.rollback().await;
        let publishing = bench.db.begin().await.unwrap();
        publish_price_list::run(&publishing, &list, now).await.unwrap();
        let billing = bench.db.begin().await.unwrap();
        assert!(price::all_for_bills(&billing).await.is_err(), "bills wait for it");
        billing.rollback().await;
        publishing.commit().await.unwrap();
        let billing = bench.db.begin().await.unwrap();
        assert_eq!(price::all_for_bills(&billing).await.unwrap().len(), 2);
    }
}

fn is_postgres(bench: &Bench) -> bool {
    bench.db.read.get_database_backend() == sea_orm::DbBackend::Postgres
}

/// What was tampered with is found: the list a bill names, and the prices of a published list.
#[tokio::test]
async fn a_bill_by_another_list_and_an_altered_list_are_found() {
    for bench in both("tampered").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        publish(&bench, "same", "2026-03-02", &price::shipped().unwrap()).await.unwrap();
        assert_eq!(differences(&bench).await, Vec::<String>::new());
        bench.run("UPDATE daily_bill SET price_list_version = 'same'", []).await;
        assert_eq!(differences(&bench).await, ["price list"]);
        bench.run("UPDATE daily_bill SET price_list_version = 'default-2026-01'", []).await;
        let alter = "UPDATE price SET unit_price = unit_price + 1 WHERE item = 'SMS'";
        let tx = bench.db.begin().await.unwrap();
        assert!(tx.run(alter, []).await.is_err(), "stored prices never change");
        tx.rollback().await;
        let unlock = match is_postgres(&bench) {
            true => "ALTER TABLE price DISABLE TRIGGER ALL",
            false => "DROP TRIGGER price_no_update",
        };
        bench.run(unlock, []).await;
        bench.run(alter, []).await;
        assert_eq!(differences(&bench).await, ["price list default-2026-01"]);
    }
}
