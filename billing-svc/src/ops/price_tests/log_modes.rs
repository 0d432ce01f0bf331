//! Logs charged by count or by volume, exactly one of the two on each day.

use jiff::Timestamp;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::price_service_server::PriceService as _;
use tandem_proto::item::BillingItem::{LogCount, LogIngest};
use tandem_proto::money::{Currency, Money};
use tandem_proto::reason::Reason;
use tonic::Request;

use super::{by_operator, differences, end_of, lines, refusal, set_mode};
use crate::domain::alert::Watched;
use crate::domain::job::Job;
use crate::domain::log_mode::LogMode;
use crate::grpc::price::Service;
use crate::ops::{jobs, set_alert};
use crate::testing::{Bench, at, both};

const GB: i64 = 1_000_000_000;

async fn charged(bench: &Bench, account: &tandem_proto::ids::BillingAccountId, on: &str) -> Vec<String> {
    let lines = lines(bench, account, on).await;
    lines.iter().map(|l| format!("{} {}", l.item.unwrap(), l.amount)).collect()
}

/// Delivers a million logs of a gigabyte, by both measures.
async fn logs(
    bench: &Bench,
    workspace: &tandem_proto::ids::WorkspaceId,
    on: &str,
    revision: i64,
    times: i64,
) {
    let usage = [(LogCount, 14, times * 1_000_000), (LogIngest, 14, times * GB)];
    bench.deliver(workspace, on, revision, &usage).await;
}

#[tokio::test]
async fn a_switch_counts_from_the_next_usage_day_and_each_day_charges_one_of_the_two() {
    for bench in both("switch").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        // Midday of the 1st in Shanghai.
        bench.clock.advance_to(at("2026-03-01T04:00:00Z"));
        let set = set_mode(&bench, &workspace, LogMode::Ingest).await.unwrap();
        assert_eq!(set.effective_day, crate::testing::day("2026-03-02"));
        logs(&bench, &workspace, "2026-03-01", 1, 1).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        assert_eq!(charged(&bench, &account, "2026-03-01").await, ["LOG_COUNT 1.50 CNY"]);
        logs(&bench, &workspace, "2026-03-02", 1, 1).await;
        // Late for the 1st, by both measures: only the one that is charged on that day is adjusted.
        logs(&bench, &workspace, "2026-03-01", 2, 3).await;
        end_of(&bench, "2026-03-02");
        bench.bill("2026-03-02").await;
        assert_eq!(
            charged(&bench, &account, "2026-03-02").await,
            ["LOG_INGEST 1.00 CNY", "LOG_COUNT 3.00 CNY"]
        );
        let open = "SELECT COUNT(*) FROM usage_day WHERE quantity <> billed AND NOT set_aside";
        assert_eq!(bench.number(open).await, 0, "statistics are not looked at again");
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day WHERE set_aside AND billed <> 0").await, 0);
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day").await, 4, "statistics are kept");
        // Back again.
        set_mode(&bench, &workspace, LogMode::Count).await.unwrap();
        end_of(&bench, "2026-03-03");
        bench.bill("2026-03-03").await;
        logs(&bench, &workspace, "2026-03-04", 1, 1).await;
        end_of(&bench, "2026-03-04");
        bench.bill("2026-03-04").await;
        assert_eq!(charged(&bench, &account, "2026-03-04").await, ["LOG_COUNT 1.50 CNY"]);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_change_that_has_not_begun_is_replaced_and_one_that_changes_nothing_writes_nothing() {
    for bench in both("pending").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        assert_eq!(set_mode(&bench, &workspace, LogMode::Count).await, None, "so it is from the beginning");
        let first = set_mode(&bench, &workspace, LogMode::Ingest).await;
        assert_eq!(set_mode(&bench, &workspace, LogMode::Ingest).await, first);
        bench.pass(super::hours(1));
        let back = set_mode(&bench, &workspace, LogMode::Count).await.unwrap();
        assert_eq!(back.effective_day, first.unwrap().effective_day);
        assert_eq!(bench.number("SELECT COUNT(*) FROM workspace_log_mode").await, 1);
        bench.pass(super::hours(48));
        set_mode(&bench, &workspace, LogMode::Ingest).await.unwrap();
        let service = Service(bench.ctx.clone());
        let (mut told, mut page_token) = (Vec::new(), String::new());
        loop {
            let workspace_id = workspace.as_str().to_owned();
            let request = pb::ListLogModesRequest { workspace_id, page_size: 1, page_token };
            let page = service.list_log_modes(Request::new(request)).await.unwrap().into_inner();
            told.extend(page.periods.into_iter().map(|p| (p.log_mode(), p.start_day, p.set_by)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let row = |mode, day: &str| (mode, day.to_owned(), "tester".to_owned());
        assert_eq!(told, [row(pb::LogMode::Count, "2026-03-02"), row(pb::LogMode::Ingest, "2026-03-04")]);
        // The midnight that counts is the site's: at 17:00 UTC it is tomorrow in Shanghai.
        bench.clock.advance_to(at("2026-03-10T17:00:00Z"));
        let set = set_mode(&bench, &workspace, LogMode::Count).await.unwrap();
        assert_eq!(set.effective_day, crate::testing::day("2026-03-12"));
    }
}

#[tokio::test]
async fn a_switch_needs_a_bound_workspace_and_a_price() {
    for bench in both("switch_refused").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        let ask = |workspace: String, mode: pb::LogMode| pb::SetLogModeRequest {
            request_id: tandem_service_kit::fresh::fresh_uuid().to_string(),
            workspace_id: workspace,
            log_mode: mode.into(),
        };
        let service = Service(bench.ctx.clone());
        let unknown = ask(format!("wks_{}", "0".repeat(32)), pb::LogMode::Ingest);
        assert_eq!(refusal(service.set_log_mode(by_operator(unknown)).await).0, Reason::WorkspaceNotBound);
        let none = ask(workspace.as_str().to_owned(), pb::LogMode::Unspecified);
        assert_eq!(refusal(service.set_log_mode(by_operator(none)).await).0, Reason::InvalidField);
        // A list without volumes, as an installation of its own may have.
        let mut list = crate::store::price::shipped().unwrap();
        list.prices.retain(|key, _| key.item != LogIngest || key.retention_days == 7);
        list.version = "counts".to_owned();
        list.effective_day = crate::testing::day("2026-03-01");
        crate::store::price::store(&bench.db, &list, Timestamp::UNIX_EPOCH).await.unwrap();
        let ingest = ask(workspace.as_str().to_owned(), pb::LogMode::Ingest);
        let (reason, fault) = refusal(service.set_log_mode(by_operator(ingest)).await);
        assert_eq!(reason, Reason::PriceMissing);
        assert_eq!(fault.fields[0].1, "has no price for LOG_INGEST at 3/14/30/60 days in CN CNY");
        assert_eq!(bench.number("SELECT COUNT(*) FROM workspace_log_mode").await, 0);
    }
}

/// The proof knows each day's mode: a bill by the wrong item and usage that was wrongly set aside are found.
#[tokio::test]
async fn the_proof_honours_the_mode() {
    for bench in both("mode_proof").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        logs(&bench, &workspace, "2026-03-01", 1, 1).await;
        end_of(&bench, "2026-03-01");
        bench.bill("2026-03-01").await;
        assert_eq!(differences(&bench).await, Vec::<String>::new());
        let workspace = workspace.as_str();
        let text = "INSERT INTO workspace_log_mode (workspace_id, effective_day, mode, set_at, set_by) \
                    VALUES (?, 20260301, 'ingest', 0, 'nobody')";
        bench.run(text, [workspace.into()]).await;
        let mut found = differences(&bench).await;
        found.sort();
        assert_eq!(found, ["line LOG_COUNT/14 log mode", "usage LOG_INGEST/14 log mode"]);
    }
}

/// A workspace that sends volumes only, by count: nothing to pay, nothing left to look at.
#[tokio::test]
async fn statistics_alone_make_no_bill() {
    for bench in both("statistics").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(LogIngest, 14, GB)]).await;
        end_of(&bench, "2026-03-01");
        assert_eq!(bench.bill("2026-03-01").await, 0);
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day WHERE set_aside").await, 1);
        bench.prove().await;
    }
}

/// `domain.md` 3.16: what a day's mode leaves uncharged is not spent, while the day runs as little as after it.
#[tokio::test]
async fn statistics_trip_no_spend_alert() {
    for bench in both("mode_alert").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        let threshold = Money { minor: 100, currency: Currency::Cny };
        let wish = set_alert::Wish {
            workspace: workspace.clone(),
            watched: Watched::Item(LogIngest),
            threshold,
            notify: Vec::new(),
        };
        let tx = bench.db.begin().await.unwrap();
        set_alert::set(&tx, wish, bench.ctx.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        for (on, told) in [("2026-03-01", 0), ("2026-03-02", 1)] {
            bench.clock.advance_to(at(&format!("{on}T04:00:00Z")));
            logs(&bench, &workspace, on, 1, 9).await;
            jobs::run(&bench.ctx, Job::Alerts, bench.ctx.clock.now()).await.unwrap();
            assert_eq!(bench.number("SELECT COUNT(*) FROM spend_alert_sent").await, told, "{on}");
            set_mode(&bench, &workspace, LogMode::Ingest).await;
        }
    }
}
