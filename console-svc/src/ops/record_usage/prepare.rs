//! Judges the points of a group of batches, by what is known of their workspaces.
//!
//! What was looked up is remembered for a second: the same workspaces report again and again. A change that this process
//! commits is seen at once; one of another replica within that second, which is sooner than Billing's word on a workspace
//! arrives anyway. Free quotas are not judged here but inside the transaction, and a workspace that is not known is always
//! looked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;

use super::{Context, GoodPoint, Job, Prepared};
use crate::domain::point::{Refusal, Window, WorkspaceFacts, check};
use crate::domain::workspace::Plan;
use crate::store;

/// How long workspaces are remembered.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Workspaces remembered at most, some hundred bytes each.
const REMEMBERED_MAX: usize = 20_000;

/// What a lane remembers of workspaces.
#[derive(Default)]
pub(super) struct Known {
    facts: HashMap<Arc<str>, WorkspaceFacts>,
    edition: u64,
    since: Option<Instant>,
}

impl Known {
    /// Forgets everything that may be out of date.
    fn refresh(&mut self, edition: u64) {
        let young = self.since.is_some_and(|since| since.elapsed() < REMEMBERED);
        if !young || self.edition != edition || self.facts.len() > REMEMBERED_MAX {
            self.facts.clear();
            (self.edition, self.since) = (edition, Some(Instant::now()));
        }
    }
}

/// Judges the batches. Whether one was answered before is found when its answer is stored: repetitions are rare.
pub(super) async fn group(context: &Context, known: &mut Known, jobs: Vec<Job>) -> Vec<Prepared> {
    let window = Window { now: context.now(), late_days: i32::from(context.usage.late_days) };
    if let Err(error) = look_up(context, known, &jobs).await {
        let fault = Fault::from(error);
        jobs.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
        return Vec::new();
    }
    jobs.into_iter().map(|job| judge(job, &known.facts, window)).collect()
}

/// One query for all workspaces that are not known.
async fn look_up(context: &Context, known: &mut Known, jobs: &[Job]) -> Result<(), StoreError> {
    known.refresh(context.db.edition());
    let mut ids: HashSet<&str> = HashSet::new();
    for job in jobs {
        let mut last = "";
        for point in &job.points {
            // Batches mostly name the same workspace many times in a row.
            if point.workspace_id != last {
                last = &point.workspace_id;
                // What is no id names no workspace, and must not spoil its neighbours' query.
                if !known.facts.contains_key(last) && last.parse::<WorkspaceId>().is_ok() {
                    ids.insert(last);
                }
            }
        }
    }
    if !ids.is_empty() {
        let ids: Vec<_> = ids.into_iter().collect();
        let found = store::workspace::facts(&context.db.read, &context.sites, &ids, false).await?;
        known.facts.extend(found);
    }
    Ok(())
}

fn judge(job: Job, facts: &HashMap<Arc<str>, WorkspaceFacts>, window: Window) -> Prepared {
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
