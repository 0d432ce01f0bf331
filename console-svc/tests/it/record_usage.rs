//! Recording: outcomes, repetitions, quotas, streams, many callers at once.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::PointOutcome::{Accepted, Duplicate, Refused, Replaced};
use tandem_proto::reason::Reason;

use crate::harness::{ENGINES, Harness, point, reason, request_id};

const TEN: &str = "2026-03-01T10:00:00Z";

fn outcomes(answer: &console::RecordUsageResponse) -> Vec<console::PointOutcome> {
    answer.outcomes.iter().map(|number| console::PointOutcome::try_from(*number).unwrap()).collect()
}

fn counts(answer: &console::RecordUsageResponse) -> [i32; 4] {
    [answer.accepted_count, answer.duplicate_count, answer.replaced_count, answer.refused_count]
}

async fn day(h: &Harness, workspace: &str) -> Vec<(i32, i64)> {
    let request = console::ListUsageRequest {
        workspace_id: workspace.to_owned(),
        start_day: "2026-02-01".into(),
        end_day: "2026-03-31".into(),
        ..console::ListUsageRequest::default()
    };
    let usage = h.usage().list_usage(request).await.unwrap().into_inner().usage;
    usage.into_iter().map(|usage| (usage.item, usage.quantity_hundredths)).collect()
}

#[tokio::test]
async fn every_point_of_a_mixed_batch_has_its_outcome() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        h.record(vec![point(&w, TEN, 2, 5), point(&w, TEN, 12, 7)]).await;
        let unknown = format!("wks_{}", "0".repeat(32));
        let answer = h
            .record(vec![
                point(&w, TEN, 2, 5),                    // there already
                point(&w, TEN, 12, 8),                   // another quantity
                point(&w, "2026-03-01T09:00:00Z", 2, 1), // new
                point(&w, "2026-03-01T09:00:00Z", 2, 1), // the same in this batch
                point(&w, "2026-03-01T09:00:00Z", 2, 2), // replaced in this batch
                point(&unknown, TEN, 2, 1),
                point(&w, "2026-02-20T10:00:00Z", 2, 1),
                point(&w, "2026-03-01T12:00:00Z", 2, 1),
                point(&w, "2026-03-01T10:30:00Z", 2, 1),
                point(&w, TEN, 99, 1),
                point(&w, TEN, 2, -1),
            ])
            .await;
        let expected = [
            Duplicate, Replaced, Accepted, Duplicate, Replaced, Refused, Refused, Refused, Refused, Refused,
            Refused,
        ];
        assert_eq!(outcomes(&answer), expected);
        assert_eq!(counts(&answer), [1, 2, 2, 6]);
        let refused: Vec<_> =
            answer.refused.iter().map(|point| (point.index, point.reason.as_str())).collect();
        let expected = [
            (5, "OBJECT_NOT_FOUND"),
            (6, "HOUR_OUT_OF_RANGE"),
            (7, "HOUR_OUT_OF_RANGE"),
            (8, "INVALID_FIELD"),
            (9, "INVALID_FIELD"),
            (10, "INVALID_FIELD"),
        ];
        assert_eq!(refused, expected);
        assert!(answer.refused.iter().all(|point| !point.message.is_empty()));
        // The whole day on which the workspace was made is charged.
        assert_eq!(day(&h, &w).await, [(2, 700), (12, 800)]);
        assert_eq!(h.count("usage_point WHERE item = 2 AND quantity = 2").await, 1);
        h.stop().await;
    }
}

#[tokio::test]
async fn a_repetition_has_the_same_answer_and_no_effect() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        let first = h.record_as("batch 1", vec![point(&w, TEN, 2, 5), point(&w, TEN, 99, 5)]).await.unwrap();
        h.record(vec![point(&w, TEN, 2, 6)]).await;
        let again = h.record_as("batch 1", vec![point(&w, TEN, 2, 5), point(&w, TEN, 99, 5)]).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(day(&h, &w).await, [(2, 600)]);
        assert_eq!(reason(h.record_as("batch 1", vec![point(&w, TEN, 2, 7)]).await), Reason::RequestIdReused);
        assert_eq!(reason(h.record_as("batch 2", Vec::new()).await), Reason::InvalidField);
        assert_eq!(reason(h.record_as("", vec![point(&w, TEN, 2, 7)]).await), Reason::InvalidField);
        assert_eq!(
            reason(h.record_as("batch 3", vec![point(&w, TEN, 2, 7); 5_001]).await),
            Reason::InvalidField
        );
        h.stop().await;
    }
}

#[tokio::test]
async fn many_callers_at_once_are_answered_each_for_itself() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        // Each request id comes twice at the same time, some with another body the second time.
        let calls = (0..120_i64).map(|number| {
            let (number, twin) = (number / 2, number % 2);
            let mut point = point(&w, TEN, 2, number);
            point.sub_key = format!("index-{number}");
            if twin == 1 && number % 10 == 0 {
                point.quantity += 1;
            }
            let request =
                console::RecordUsageRequest { request_id: format!("call {number}"), points: vec![point] };
            let mut counter = h.counter();
            async move { (number, counter.record_usage(request).await) }
        });
        let mut calls = futures_util::stream::iter(calls).buffer_unordered(50);
        let mut accepted = HashSet::new();
        let mut reused = 0;
        while let Some((number, result)) = calls.next().await {
            match result {
                Ok(answer) => {
                    assert_eq!(counts(&answer.into_inner()), [1, 0, 0, 0], "call {number}");
                    accepted.insert(number);
                }
                Err(status) => {
                    assert_eq!(reason(Err::<(), _>(status)), Reason::RequestIdReused);
                    assert_eq!(number % 10, 0);
                    reused += 1;
                }
            }
        }
        drop(calls);
        assert_eq!((accepted.len(), reused), (60, 6));
        assert_eq!(h.count("usage_point").await, 60);
        h.stop().await;
    }
}

#[tokio::test]
async fn shuffled_and_doubled_points_come_to_the_same() {
    for engine in ENGINES {
        let h = Harness::start_with(engine, "2026-03-02T01:00:00Z", "").await;
        let (a, b) = (h.commercial("us1", "anna").await.id, h.commercial("us1", "bert").await.id);
        let points = |w: &str| {
            let mut points = Vec::new();
            for hour in 0..24 {
                let hour = format!("2026-03-01T{hour:02}:00:00Z");
                points.push(point(w, &hour, 1, 6_000));
                points.push(point(w, &hour, 2, 1_000));
                points.push(console::UsagePoint { measure: 1, ..point(w, &hour, 7, 61) });
                points.push(point(w, &hour, 7, 6));
            }
            points
        };
        // The day before a workspace was made cannot be its own: five of these hours are of that day in New York. So
        // nothing is acknowledged and then not charged.
        assert_eq!(counts(&h.record(points(&a)).await), [76, 0, 0, 20]);
        let h2 = Harness::start_with(engine, "2026-02-28T12:00:00Z", "").await;
        let (c, d) = (h2.commercial("us1", "anna").await.id, h2.commercial("us1", "bert").await.id);
        h2.advance_to("2026-03-02T01:00:00Z");
        h2.record(points(&c)).await;
        let mut shuffled = points(&d);
        // A fixed shuffle; a third comes twice, in other batches.
        shuffled.sort_by_key(|point| {
            (point.item * 7 + i32::try_from(point.hour_start_time.unwrap().seconds / 3600).unwrap() * 31) % 17
        });
        let third = shuffled.iter().step_by(3).cloned().collect::<Vec<_>>();
        for batch in shuffled.chunks(11) {
            h2.record(batch.to_vec()).await;
        }
        let answer = h2.record(third.clone()).await;
        assert_eq!(counts(&answer), [0, i32::try_from(third.len()).unwrap(), 0, 0]);
        assert_eq!(day(&h2, &c).await, day(&h2, &d).await);
        // Hours before five o'clock UTC belong to the day before in New York.
        assert_eq!(
            day(&h2, &c).await,
            [(1, 600_000), (2, 500_000), (7, 3_050), (1, 600_000), (2, 1_900_000), (7, 11_590)]
        );
        let _ = b;
        h2.stop().await;
        h.stop().await;
    }
}

#[tokio::test]
async fn free_points_are_held_to_the_quota_and_start_anew_at_midnight() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.free("cn1", "wang").await.id;
        let answer = h
            .record(vec![
                point(&w, "2026-03-01T08:00:00Z", 8, 50),
                point(&w, "2026-03-01T09:00:00Z", 8, 50), // crosses 60: counted whole
                point(&w, TEN, 8, 1),
                point(&w, TEN, 13, 1),                    // not available
                point(&w, "2026-03-01T09:00:00Z", 8, 50), // a repetition adds nothing
                console::UsagePoint { retention_days: 14, ..point(&w, TEN, 2, 1) },
            ])
            .await;
        assert_eq!(outcomes(&answer), [Accepted, Accepted, Refused, Refused, Duplicate, Refused]);
        let reasons: Vec<_> = answer.refused.iter().map(|point| point.reason.as_str()).collect();
        assert_eq!(reasons, ["QUOTA_EXHAUSTED", "QUOTA_EXHAUSTED", "INVALID_FIELD"]);
        let request = console::GetQuotaRequest { workspace_id: w.clone(), acting_account_id: String::new() };
        let quotas = h.usage().get_quota(request.clone()).await.unwrap().into_inner().quotas;
        let profile = quotas.iter().find(|quota| quota.item == 8).unwrap();
        assert_eq!((profile.limit, profile.used), (60, 100));
        assert_eq!(quotas.iter().find(|quota| quota.item == 13).unwrap().limit, 0);
        // Midnight in Shanghai is at 16:00 UTC.
        h.advance_to("2026-03-01T15:30:00Z");
        assert_eq!(counts(&h.record(vec![point(&w, "2026-03-01T15:00:00Z", 8, 1)]).await), [0, 0, 0, 1]);
        h.advance_to("2026-03-01T16:00:00Z");
        assert_eq!(counts(&h.record(vec![point(&w, "2026-03-01T16:00:00Z", 8, 1)]).await), [1, 0, 0, 0]);
        let quotas = h.usage().get_quota(request).await.unwrap().into_inner().quotas;
        assert_eq!(quotas.iter().find(|quota| quota.item == 8).unwrap().used, 1);
        // Nothing of it ever leaves.
        let close = console::CloseUsageDayRequest {
            request_id: request_id(),
            site: "cn1".into(),
            usage_day: "2026-03-01".into(),
        };
        h.operator().close_usage_day(close).await.unwrap();
        assert!(h.billing.state.lock().unwrap().usage.is_empty());
        h.stop().await;
    }
}

#[tokio::test]
async fn a_quota_holds_against_callers_at_the_same_time() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.free("cn1", "wang").await.id;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..20 {
            let mut counter = h.counter();
            let point = console::UsagePoint { sub_key: format!("s{number}"), ..point(&w, TEN, 8, 25) };
            let request = console::RecordUsageRequest { request_id: request_id(), points: vec![point] };
            calls.spawn(
                async move { counter.record_usage(request).await.unwrap().into_inner().accepted_count },
            );
        }
        let accepted: i32 = calls.join_all().await.into_iter().sum();
        assert_eq!(accepted, 3, "the third point crosses 60");
        h.stop().await;
    }
}

#[tokio::test]
async fn a_stream_is_answered_once_for_all_its_batches() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        let batches: Vec<_> = (0..30_i64)
            .map(|number| console::RecordUsageStreamRequest {
                request_id: format!("batch {number}"),
                // Each batch replaces what the one before said of the same hour.
                points: vec![
                    point(&w, TEN, 2, number),
                    console::UsagePoint { sub_key: format!("{number}"), ..point(&w, TEN, 12, 1) },
                    point(&w, TEN, 99, 1),
                ],
            })
            .collect();
        let stream = || tokio_stream::iter(batches.clone());
        let first = h.counter().record_usage_stream(stream()).await.unwrap().into_inner();
        assert_eq!(
            (first.accepted_count, first.duplicate_count, first.replaced_count, first.refused_count),
            (31, 0, 29, 30)
        );
        let places: Vec<_> = first.refused.iter().map(|point| point.index).collect();
        assert_eq!(places, (0..30).map(|number| number * 3 + 2).collect::<Vec<_>>());
        let again = h.counter().record_usage_stream(stream()).await.unwrap().into_inner();
        assert_eq!(first, again);
        assert_eq!(day(&h, &w).await.first(), Some(&(2, 2_900)));
        let mut reused = batches;
        reused[3].points.truncate(1);
        let result = h.counter().record_usage_stream(tokio_stream::iter(reused)).await;
        assert_eq!(reason(result), Reason::RequestIdReused);
        h.stop().await;
    }
}

#[tokio::test]
async fn retention_comes_from_the_point_or_the_workspace() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let workspace = h.commercial("cn1", "wang").await;
        let w = workspace.id;
        let set = console::SetRetentionRequest {
            request_id: request_id(),
            workspace_id: w.clone(),
            acting_account_id: workspace.owner_account_id,
            item: 2,
            retention_days: 60,
        };
        h.record(vec![point(&w, TEN, 2, 1)]).await;
        let changed =
            h.workspaces().set_retention(set.clone()).await.unwrap().into_inner().workspace.unwrap();
        let logs = changed.retention.iter().find(|retention| retention.item == 2).unwrap();
        assert_eq!((logs.days, logs.next_days), (14, 60));
        assert_eq!(
            logs.next_time.unwrap().seconds,
            "2026-03-01T11:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second()
        );
        h.advance_to("2026-03-01T11:10:00Z");
        h.record(vec![
            point(&w, TEN, 2, 2),
            point(&w, "2026-03-01T11:00:00Z", 2, 3),
            console::UsagePoint { retention_days: 3, ..point(&w, TEN, 2, 4) },
        ])
        .await;
        let request = console::ListUsageRequest {
            workspace_id: w.clone(),
            start_day: "2026-03-01".into(),
            end_day: "2026-03-01".into(),
            page_size: 2,
            ..console::ListUsageRequest::default()
        };
        let first = h.usage().list_usage(request.clone()).await.unwrap().into_inner();
        let next = console::ListUsageRequest { page_token: first.next_page_token, ..request };
        let second = h.usage().list_usage(next).await.unwrap().into_inner();
        let all: Vec<_> = first.usage.into_iter().chain(second.usage).collect();
        let found: Vec<_> =
            all.iter().map(|usage| (usage.retention_days, usage.quantity_hundredths)).collect();
        // The hour before the change keeps its policy, however late it is reported again.
        assert_eq!(found, [(3, 400), (14, 200), (60, 300)]);
        assert_eq!(second.next_page_token, "");
        let bad = console::SetRetentionRequest { request_id: request_id(), retention_days: 8, ..set.clone() };
        assert_eq!(reason(h.workspaces().set_retention(bad).await), Reason::InvalidField);
        let free = h.free("cn1", "zhao").await;
        let fixed = console::SetRetentionRequest {
            request_id: request_id(),
            workspace_id: free.id,
            acting_account_id: free.owner_account_id,
            ..set
        };
        assert_eq!(reason(h.workspaces().set_retention(fixed).await), Reason::RetentionFixed);
        h.stop().await;
    }
}

#[tokio::test]
async fn a_summary_shows_today_yesterday_and_the_month() {
    for engine in ENGINES {
        let h = Harness::start_with(engine, "2026-03-01T01:00:00Z", "").await;
        let w = h.commercial("cn1", "wang").await.id;
        h.record(vec![point(&w, "2026-03-01T01:00:00Z", 2, 1)]).await;
        h.advance_to("2026-03-02T01:00:00Z");
        h.record(vec![point(&w, "2026-03-02T01:00:00Z", 2, 10)]).await;
        h.advance_to("2026-03-03T01:00:00Z");
        h.record(vec![point(&w, "2026-03-03T01:00:00Z", 2, 100)]).await;
        let request = console::GetUsageSummaryRequest { workspace_id: w, acting_account_id: String::new() };
        let summary = h.usage().get_usage_summary(request).await.unwrap().into_inner();
        assert_eq!(summary.today, "2026-03-03");
        let [logs] = summary.items.as_slice() else { panic!("{summary:?}") };
        assert_eq!(
            (logs.today_hundredths, logs.yesterday_hundredths, logs.month_hundredths),
            (10_000, 1_000, 1_100)
        );
        h.stop().await;
    }
}
