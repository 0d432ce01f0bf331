//! Delivery, the close of days, and Billing's feed.

use tandem_proto::billing::v1::WorkspaceChanged;
use tandem_proto::console::v1 as console;
use tandem_proto::reason::Reason;

use crate::billing::Mood;
use crate::harness::{ENGINES, Harness, eventually, point, reason, request_id};

const TEN: &str = "2026-03-01T10:00:00Z";

fn close(site: &str, day: &str) -> console::CloseUsageDayRequest {
    console::CloseUsageDayRequest { request_id: request_id(), site: site.into(), usage_day: day.into() }
}

#[tokio::test]
async fn quantities_converge_although_billing_comes_and_goes() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        h.billing.set_mood(Mood::Away);
        for quantity in 1..5 {
            h.record(vec![point(&w, TEN, 2, quantity)]).await;
        }
        h.billing.set_mood(Mood::Flaps);
        h.record(vec![point(&w, TEN, 12, 9)]).await;
        h.clock.advance_by(jiff::SignedDuration::from_secs(2));
        h.billing_has(|state| state.usage.len() == 2).await;
        h.billing.set_mood(Mood::LosesAnswers);
        h.record(vec![point(&w, TEN, 2, 77)]).await;
        h.clock.advance_by(jiff::SignedDuration::from_secs(2));
        h.billing_has(|state| state.usage.values().any(|(_, hundredths)| *hundredths == 7_700)).await;
        h.billing.set_mood(Mood::Fine);
        let request = console::ListUsageRequest {
            workspace_id: w.clone(),
            start_day: "2026-03-01".into(),
            end_day: "2026-03-01".into(),
            ..console::ListUsageRequest::default()
        };
        eventually(async || {
            let usage = h.usage().list_usage(request.clone()).await.unwrap().into_inner().usage;
            usage.len() == 2 && usage.iter().all(|usage| usage.delivered)
        })
        .await;
        let usage = h.usage().list_usage(request).await.unwrap().into_inner().usage;
        for usage in usage {
            let key = (w.clone(), usage.usage_day, usage.item, usage.retention_days, usage.sub_key);
            let kept = h.billing.state.lock().unwrap().usage[&key];
            assert_eq!(kept, (usage.revision, usage.quantity_hundredths));
        }
        h.stop().await;
    }
}

#[tokio::test]
async fn what_billing_refuses_is_kept_and_tried_again() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        h.billing.state.lock().unwrap().refuse_usage = Some(Reason::WorkspaceNotBound);
        h.record(vec![point(&w, TEN, 2, 1)]).await;
        eventually(async || h.count("usage_total WHERE refused_reason = 'WORKSPACE_NOT_BOUND'").await == 1)
            .await;
        h.billing.state.lock().unwrap().refuse_usage = None;
        h.clock.advance_by(jiff::SignedDuration::from_secs(601));
        h.billing_has(|state| state.usage.len() == 1).await;
        eventually(async || h.count("usage_total WHERE refused_reason IS NOT NULL").await == 0).await;
        h.stop().await;
    }
}

#[tokio::test]
async fn an_operator_closes_a_day_once_everything_of_it_is_delivered() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        h.record(vec![point(&w, TEN, 2, 1)]).await;
        assert_eq!(
            reason(h.operator().close_usage_day(close("cn1", "2026-03-01")).await),
            Reason::DayNotOver
        );
        assert_eq!(
            reason(h.operator().close_usage_day(close("xx1", "2026-02-28")).await),
            Reason::SiteNotFound
        );
        // Over in Shanghai, and within the grace in which the worker would still wait.
        h.billing.set_mood(Mood::Away);
        h.advance_to("2026-03-01T16:05:00Z");
        h.record(vec![point(&w, "2026-03-01T15:00:00Z", 2, 5)]).await;
        assert_eq!(
            reason(h.operator().close_usage_day(close("cn1", "2026-03-01")).await),
            Reason::PeerUnavailable
        );
        h.billing.set_mood(Mood::Fine);
        let request = close("cn1", "2026-03-01");
        let answer = h.operator().close_usage_day(request.clone()).await.unwrap().into_inner();
        assert_eq!(h.operator().close_usage_day(request).await.unwrap().into_inner(), answer);
        h.operator().close_usage_day(close("cn1", "2026-03-01")).await.unwrap();
        {
            let state = h.billing.state.lock().unwrap();
            assert_eq!(state.usage.values().map(|(_, hundredths)| *hundredths).collect::<Vec<_>>(), [600]);
            assert_eq!(state.closed, [("cn1".to_owned(), "2026-03-01".to_owned())]);
        }
        // The worker finds nothing left to close.
        h.advance_to("2026-03-01T17:00:00Z");
        h.record(vec![point(&w, "2026-03-01T16:00:00Z", 2, 5)]).await;
        h.billing_has(|state| state.usage.len() == 2).await;
        assert_eq!(h.billing.state.lock().unwrap().closed.len(), 1);
        h.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_closes_every_day_once_and_in_order_also_over_a_restart() {
    for engine in ENGINES {
        let h = Harness::start_with(engine, "2026-03-05T12:00:00Z", "").await;
        h.commercial("us1", "anna").await;
        h.commercial("cn1", "wang").await;
        // Over the day of 23 hours in New York.
        h.advance_to("2026-03-10T04:30:00Z");
        let expected = |site: &str, days: std::ops::RangeInclusive<u8>| -> Vec<(String, String)> {
            days.map(|day| (site.to_owned(), format!("2026-03-{day:02}"))).collect()
        };
        let closed = |h: &Harness, site: &str| -> Vec<(String, String)> {
            h.billing.state.lock().unwrap().closed.iter().filter(|(code, _)| code == site).cloned().collect()
        };
        eventually(async || closed(&h, "us1") == expected("us1", 5..=9)).await;
        eventually(async || closed(&h, "cn1") == expected("cn1", 5..=9)).await;
        // Down over days, with Billing away at first.
        h.billing.set_mood(Mood::Away);
        let h = h.restart().await;
        h.advance_to("2026-03-13T20:00:00Z");
        h.billing.set_mood(Mood::Fine);
        eventually(async || closed(&h, "us1") == expected("us1", 5..=12)).await;
        eventually(async || closed(&h, "cn1") == expected("cn1", 5..=13)).await;
        assert_eq!(
            h.billing.state.lock().unwrap().closed.len(),
            8 + 9,
            "no other site has anything to close"
        );
        h.stop().await;
    }
}

#[tokio::test]
async fn days_are_delivered_oldest_first() {
    for engine in ENGINES {
        let h = Harness::start_with(engine, "2026-03-05T01:00:00Z", "").await;
        let w = h.commercial("cn1", "wang").await.id;
        h.billing.set_mood(Mood::Away);
        h.advance_to("2026-03-07T01:00:00Z");
        for day in [7, 5, 6] {
            h.record(vec![point(&w, &format!("2026-03-0{day}T01:00:00Z"), 2, 1)]).await;
        }
        eventually(async || h.count("usage_dirty").await == 0).await;
        h.billing.set_mood(Mood::Fine);
        h.billing_has(|state| state.usage.len() == 3).await;
        // A day that is being closed is delivered by two loops, so one may come twice; none comes before its turn.
        let mut first_times: Vec<String> = Vec::new();
        for day in h.billing.state.lock().unwrap().delivered_days.clone() {
            if !first_times.contains(&day) {
                first_times.push(day);
            }
        }
        assert_eq!(first_times, ["2026-03-05", "2026-03-06", "2026-03-07"]);
        h.stop().await;
    }
}

#[tokio::test]
async fn the_feed_decides_whether_a_workspace_takes_points() {
    for engine in ENGINES {
        let h = Harness::start(engine).await;
        let w = h.commercial("cn1", "wang").await.id;
        let lock_time = Some(prost_types::Timestamp { seconds: 1_780_000_000, nanos: 0 });
        let say = |revision, standing| {
            let settlement_method = 2;
            h.billing.say(&w, WorkspaceChanged { revision, settlement_method, standing, lock_time });
        };
        say(2, 2);
        eventually(async || h.workspace(&w).await.standing == 2).await;
        let workspace = h.workspace(&w).await;
        assert_eq!((workspace.settlement_method, workspace.lock_time), (2, lock_time));
        assert_eq!(h.record(vec![point(&w, TEN, 2, 1)]).await.accepted_count, 1);
        say(4, 3);
        say(3, 1); // older: changes nothing
        eventually(async || h.count("feed_cursor WHERE position = 3").await == 1).await;
        assert_eq!(h.workspace(&w).await.standing, 3);
        let answer = h.record(vec![point(&w, TEN, 2, 2)]).await;
        assert_eq!(answer.refused[0].reason, "WORKSPACE_LOCKED");
        say(5, 4);
        eventually(async || h.workspace(&w).await.standing == 4).await;
        let answer = h.record(vec![point(&w, TEN, 2, 2)]).await;
        assert_eq!(answer.refused[0].reason, "WORKSPACE_DISSOLVED");
        // After a restart the feed goes on where it was left.
        let h = h.restart().await;
        h.billing
            .say(&w, WorkspaceChanged { revision: 6, settlement_method: 1, standing: 1, lock_time: None });
        eventually(async || h.count("feed_cursor WHERE position = 5").await == 1).await;
        assert_eq!(h.workspace(&w).await.standing, 4, "what was dissolved stays dissolved");
        h.stop().await;
    }
}
