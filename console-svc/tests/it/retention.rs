//! Changing how long data is kept, in the middle of a day (`domain.md` 3.19), through to what Billing is told.

use tandem_proto::console::v1 as console;

use crate::harness::{ENGINES, Harness, point, request_id};

const LOGS: i32 = 2;
const SERIES: i32 = 1;

async fn set(h: &Harness, workspace: &console::Workspace, item: i32, days: i32) -> console::ItemRetention {
    let request = console::SetRetentionRequest {
        request_id: request_id(),
        workspace_id: workspace.id.clone(),
        acting_account_id: workspace.owner_account_id.clone(),
        item,
        retention_days: days,
    };
    let changed = h.workspaces().set_retention(request).await.unwrap().into_inner().workspace.unwrap();
    changed.retention.into_iter().find(|retention| retention.item == item).unwrap()
}

/// What Billing has been told: day, retention, hundredths.
fn told(state: &crate::billing::State, item: i32) -> Vec<(String, i32, i64)> {
    let of_item = state.usage.iter().filter(|((_, _, of, _, _), _)| *of == item);
    of_item.map(|((_, day, _, days, _), (_, quantity))| (day.clone(), *days, *quantity)).collect()
}

fn line(day: &str, days: i32, hundredths: i64) -> (String, i32, i64) {
    (day.to_owned(), days, hundredths)
}

#[tokio::test]
async fn logs_of_a_day_count_by_the_policy_of_their_hour() {
    for engine in ENGINES {
        let h = Harness::start_with(engine, "2026-03-01T01:10:00Z", "").await;
        let workspace = h.commercial("cn1", "wang").await;
        let w = workspace.id.as_str();
        let hour = |hour: i32| format!("2026-03-01T{hour:02}:00:00Z");
        h.record(vec![point(w, &hour(0), LOGS, 10), point(w, &hour(1), LOGS, 20)]).await;
        let first = set(&h, &workspace, LOGS, 30).await;
        assert_eq!((first.days, first.next_days), (14, 30));
        h.advance_to("2026-03-01T03:30:00Z");
        assert_eq!(h.workspace(w).await.retention.iter().find(|r| r.item == LOGS).unwrap().days, 30);
        h.record(vec![point(w, &hour(2), LOGS, 40), point(w, &hour(3), LOGS, 80)]).await;
        // Sent again, and corrected, hours stay under their own policy.
        let again = h.record(vec![point(w, &hour(1), LOGS, 20), point(w, &hour(0), LOGS, 11)]).await;
        assert_eq!((again.duplicate_count, again.replaced_count), (1, 1));
        // Further changes wait for the next day; the last one counts.
        for days in [60, 3] {
            let waiting = set(&h, &workspace, LOGS, days).await;
            assert_eq!((waiting.days, waiting.next_days), (30, days));
        }
        h.record(vec![point(w, &hour(4), LOGS, 160)]).await;
        h.billing_has(|state| {
            told(state, LOGS) == [line("2026-03-01", 14, 3_100), line("2026-03-01", 30, 28_000)]
        })
        .await;
        h.advance_to("2026-03-01T16:10:00Z");
        h.record(vec![point(w, "2026-03-01T16:00:00Z", LOGS, 7), point(w, "2026-03-01T15:00:00Z", LOGS, 1)])
            .await;
        h.billing_has(|state| {
            told(state, LOGS)
                == [line("2026-03-01", 14, 3_100), line("2026-03-01", 30, 28_100), line("2026-03-02", 3, 700)]
        })
        .await;
        h.stop().await;
    }
}

#[tokio::test]
async fn time_series_of_a_day_count_once_by_the_new_policy() {
    for engine in ENGINES {
        let h = Harness::start_with(engine, "2026-03-01T01:10:00Z", "").await;
        let workspace = h.commercial("cn1", "wang").await;
        let w = workspace.id.as_str();
        h.record(vec![
            point(w, "2026-03-01T01:00:00Z", SERIES, 900),
            point(w, "2026-03-01T01:00:00Z", LOGS, 5),
        ])
        .await;
        h.billing_has(|state| told(state, SERIES) == [line("2026-03-01", 7, 90_000)]).await;
        set(&h, &workspace, SERIES, 30).await;
        // At once, without a further point: nothing is left to be charged by the old policy.
        let moved = [line("2026-03-01", 7, 0), line("2026-03-01", 30, 90_000)];
        h.billing_has(|state| told(state, SERIES) == moved).await;
        h.advance_to("2026-03-01T03:10:00Z");
        // Running values go on; an old one that is sent again adds nothing.
        h.record(vec![
            point(w, "2026-03-01T03:00:00Z", SERIES, 1_200),
            point(w, "2026-03-01T01:00:00Z", SERIES, 900),
        ])
        .await;
        let grown = [line("2026-03-01", 7, 0), line("2026-03-01", 30, 120_000)];
        h.billing_has(|state| told(state, SERIES) == grown).await;
        // A second change of the day is for tomorrow, and drops nothing of today.
        let second = set(&h, &workspace, SERIES, 3).await;
        assert_eq!((second.days, second.next_days), (30, 3));
        h.record(vec![point(w, "2026-03-01T03:00:00Z", SERIES, 1_300)]).await;
        h.advance_to("2026-03-01T16:10:00Z");
        h.record(vec![point(w, "2026-03-01T16:00:00Z", SERIES, 100)]).await;
        let next = [line("2026-03-01", 7, 0), line("2026-03-01", 30, 130_000), line("2026-03-02", 3, 10_000)];
        h.billing_has(|state| told(state, SERIES) == next).await;
        let logs = [line("2026-03-01", 14, 500)];
        h.billing_has(|state| told(state, LOGS) == logs).await;
        h.stop().await;
    }
}
