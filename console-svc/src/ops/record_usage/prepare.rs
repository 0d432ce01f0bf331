//! Judges the points of a group of batches, after looking up their workspaces and earlier answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tandem_proto::console::v1::RecordUsageResponse;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::replay_all;

use super::{Context, GoodPoint, Job, Prepared};
use crate::domain::point::{Refusal, Window, WorkspaceFacts, check};
use crate::domain::workspace::Plan;
use crate::store;

type Facts = HashMap<Arc<str>, WorkspaceFacts>;

/// Answers what was answered before, judges the rest.
pub(super) async fn group(context: &Context, jobs: Vec<Job>) -> Vec<Prepared> {
    let window = Window { now: context.now(), late_days: i32::from(context.usage.late_days) };
    let looked_up = look_up(context, &jobs).await;
    let (facts, answers) = match looked_up {
        Ok(found) => found,
        Err(error) => {
            let fault = Fault::from(error);
            jobs.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
            return Vec::new();
        }
    };
    let mut prepared = Vec::with_capacity(jobs.len());
    for (job, answer) in jobs.into_iter().zip(answers) {
        match answer {
            Ok(None) => prepared.push(judge(job, &facts, window)),
            Ok(Some(answer)) => drop(job.answer.send(Ok(answer))),
            Err(fault) => drop(job.answer.send(Err(fault))),
        }
    }
    prepared
}

type Earlier = Vec<Result<Option<RecordUsageResponse>, Fault>>;

/// One query for all workspaces and one for all request ids, at the same time.
async fn look_up(context: &Context, jobs: &[Job]) -> Result<(Facts, Earlier), StoreError> {
    let mut ids: HashSet<&str> = HashSet::new();
    for job in jobs {
        let mut last = "";
        for point in &job.points {
            // Batches mostly name the same workspace many times in a row.
            if point.workspace_id != last {
                last = &point.workspace_id;
                ids.insert(last);
            }
        }
    }
    let ids: Vec<_> = ids.into_iter().collect();
    let keys: Vec<_> = jobs.iter().map(|job| &job.key).collect();
    let facts = store::workspace::facts(&context.db.read, &context.sites, &ids, false);
    tokio::try_join!(facts, replay_all(&context.db.read, &keys))
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
            Ok((key, quantity)) => good.push(GoodPoint { place, key, quantity, free: known.plan == Plan::Free }),
            Err(refusal) => refused.push((place, refusal)),
        }
    }
    Prepared { key: job.key, form: job.form, count, good, refused, answer: job.answer, room: job.room }
}
