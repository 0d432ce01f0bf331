//! Judges the points of a group of batches, after looking up their workspaces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;

use super::{Context, GoodPoint, Job, Prepared};
use crate::domain::point::{Refusal, Window, WorkspaceFacts, check};
use crate::domain::workspace::Plan;
use crate::store;

type Facts = HashMap<Arc<str>, WorkspaceFacts>;

/// Judges the batches. Whether one was answered before is found when its answer is stored: repetitions are rare.
pub(super) async fn group(context: &Context, jobs: Vec<Job>) -> Vec<Prepared> {
    let window = Window { now: context.now(), late_days: i32::from(context.usage.late_days) };
    let facts = match look_up(context, &jobs).await {
        Ok(facts) => facts,
        Err(error) => {
            let fault = Fault::from(error);
            jobs.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
            return Vec::new();
        }
    };
    jobs.into_iter().map(|job| judge(job, &facts, window)).collect()
}

/// One query for all workspaces.
async fn look_up(context: &Context, jobs: &[Job]) -> Result<Facts, StoreError> {
    let mut ids: HashSet<&str> = HashSet::new();
    for job in jobs {
        let mut last = "";
        for point in &job.points {
            // Batches mostly name the same workspace many times in a row.
            if point.workspace_id != last {
                last = &point.workspace_id;
                // What is no id names no workspace, and must not spoil its neighbours' query.
                if last.parse::<WorkspaceId>().is_ok() {
                    ids.insert(last);
                }
            }
        }
    }
    let ids: Vec<_> = ids.into_iter().collect();
    store::workspace::facts(&context.db.read, &context.sites, &ids, false).await
}

fn judge(job: Job, facts: &Facts, window: Window) -> Prepared {
    let count = job.points.len();
    let (mut good, mut refused) = (Vec::with_capacity(count), Vec::new());
    for (place, point) in job.points.into_iter().enumerate() {
        let Some(known) = facts.get(point.workspace_id.as_str()) else {
            refused.push((place, Refusal::of(Reason::ObjectNotFound)));
            continue;
        };
        match check(point, known, window) {
            Ok((key, quantity)) => {
                good.push(GoodPoint { place, key, quantity, free: known.plan == Plan::Free })
            }
            Err(refusal) => refused.push((place, refusal)),
        }
    }
    Prepared { key: job.key, form: job.form, count, good, refused, answer: job.answer, room: job.room }
}
