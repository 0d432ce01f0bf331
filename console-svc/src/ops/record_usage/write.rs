//! Writes a group of batches: points, marks of changed days and answers, in one transaction.
//!
//! Most points are recorded once and never again. PostgreSQL is therefore first asked to add them as new, in a single
//! statement that fails when any is there; only after such a failure, and until points are new again, are they compared
//! with what is stored.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use opentelemetry::KeyValue;
use prost::Message as _;
use sea_orm::DbBackend;
use tandem_proto::console::v1::{PointOutcome, RecordUsageResponse};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{Answers, replay_all};

use super::{Context, Prepared, response};
use crate::domain::point::{PointKey, Refusal};
use crate::domain::quota::{FreeUsage, Verdict};
use crate::domain::workspace::Plan;
use crate::store;
use crate::store::usage_point::{self, Effect};

/// Tries of a transaction that met a lock or a deadlock (`reliability.md` 4.4).
const TRIES: u32 = 3;

/// What a lane has seen lately.
pub(super) struct Habit {
    /// Whether the points of the last group were all new.
    all_new: bool,
}

impl Default for Habit {
    fn default() -> Habit {
        Habit { all_new: true }
    }
}

/// Writes the group and answers each batch.
///
/// A repetition is found when its answer is to be stored: then nothing of the group is kept, those that were answered
/// before get that answer, and the others are written anew. Any other failure of a group may be due to one batch, so
/// each is then written alone. A failed commit leaves the outcome open: the callers repeat, and find their answers if
/// it happened.
pub(super) async fn group(context: &Context, habit: &mut Habit, mut group: Vec<Prepared>) {
    let mut rounds = 0;
    while !group.is_empty() {
        rounds += 1;
        let as_new = habit.all_new && context.db.backend() == DbBackend::Postgres && !any_free(&group);
        let result =
            if as_new { insert_new(context, &group).await } else { try_group(context, &group).await };
        match result {
            Ok(answers) => {
                habit.all_new =
                    answers.iter().all(|answer| answer.duplicate_count + answer.replaced_count == 0);
                answers.iter().for_each(|answer| count(context, answer));
                return answer_all(group, answers);
            }
            Err(StoreError::Conflict) if rounds <= TRIES => {
                habit.all_new = false;
                group = answer_repetitions(context, group).await;
            }
            Err(StoreError::Database(error)) if group.len() > 1 => {
                tracing::warn!(error = %error, batches = group.len(), "a group could not be written; writing one by one");
                for batch in group {
                    alone(context, batch).await;
                }
                return;
            }
            Err(error) => return refuse_all(group, &Fault::from(error)),
        }
    }
}

/// Answers those that were answered before, and returns the others.
async fn answer_repetitions(context: &Context, group: Vec<Prepared>) -> Vec<Prepared> {
    let keys: Vec<_> = group.iter().map(|batch| &batch.key).collect();
    let earlier = match replay_all::<RecordUsageResponse>(&context.db.write, &keys).await {
        Ok(earlier) => earlier,
        Err(error) => {
            refuse_all(group, &Fault::from(error));
            return Vec::new();
        }
    };
    let mut rest = Vec::new();
    for (batch, earlier) in group.into_iter().zip(earlier) {
        match earlier {
            Ok(None) => rest.push(batch),
            Ok(Some(answer)) => drop(batch.answer.send(Ok(answer))),
            Err(fault) => drop(batch.answer.send(Err(fault))),
        }
    }
    rest
}

/// Writes one batch of a group that could not be written together.
async fn alone(context: &Context, batch: Prepared) {
    let mut rest = answer_repetitions(context, vec![batch]).await;
    let Some(batch) = rest.pop() else { return };
    let answer = match try_group(context, std::slice::from_ref(&batch)).await {
        Ok(mut answers) => answers.pop().ok_or(Fault::new(Reason::Internal)),
        Err(error) => Err(Fault::from(error)),
    };
    if let Ok(answer) = &answer {
        count(context, answer);
    }
    let _ = batch.answer.send(answer);
}

fn count(context: &Context, answer: &RecordUsageResponse) {
    let counts = [
        ("accepted", answer.accepted_count),
        ("duplicate", answer.duplicate_count),
        ("replaced", answer.replaced_count),
        ("refused", answer.refused_count),
    ];
    for (outcome, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let count = u64::try_from(count).unwrap_or(0);
        context.meters.points.add(count, &[KeyValue::new("outcome", outcome)]);
    }
}

fn answer_all(group: Vec<Prepared>, answers: Vec<RecordUsageResponse>) {
    for (batch, answer) in group.into_iter().zip(answers) {
        // A caller that left finds its answer when it repeats.
        let _ = batch.answer.send(Ok(answer));
        drop(batch.room);
    }
}

fn refuse_all(group: Vec<Prepared>, fault: &Fault) {
    for batch in group {
        let _ = batch.answer.send(Err(fault.clone()));
    }
}

async fn try_group(context: &Context, group: &[Prepared]) -> Result<Vec<RecordUsageResponse>, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(context, group).await {
            Err(StoreError::Busy) if tries < TRIES => {}
            result => return result,
        }
    }
}

/// Writes points that compare with what is stored.
async fn once(context: &Context, group: &[Prepared]) -> Result<Vec<RecordUsageResponse>, StoreError> {
    let tx = context.db.begin().await?;
    let exhausted = judge_free(context, &tx, group).await?;
    let writes = Writes::of(group, &exhausted);
    let effects = writes.upsert(&tx).await?;
    let answers = answers(group, &exhausted, &writes.outcomes(group, effects));
    encoded(group, &answers, context).save(&tx).await?;
    tx.commit().await?;
    Ok(answers)
}

/// Writes points that are all new, in one statement; fails with [`StoreError::Conflict`] when one is not.
async fn insert_new(context: &Context, group: &[Prepared]) -> Result<Vec<RecordUsageResponse>, StoreError> {
    let exhausted = HashSet::new();
    let writes = Writes::of(group, &exhausted);
    let points = writes.last_of_each_key();
    let answers = answers(group, &exhausted, &writes.outcomes(group, vec![Effect::New; points.len()]));
    let saved = encoded(group, &answers, context);
    usage_point::insert_new_postgres(&context.db, &points, &saved).await?;
    Ok(answers)
}

fn answers(
    group: &[Prepared],
    exhausted: &HashSet<(usize, usize)>,
    outcomes: &[Vec<PointOutcome>],
) -> Vec<RecordUsageResponse> {
    let answers = group.iter().enumerate().zip(outcomes).map(|((index, batch), outcomes)| {
        let used_up = batch.good.iter().filter(|point| exhausted.contains(&(index, point.place)));
        let used_up = used_up.map(|point| (point.place, Refusal::of(Reason::QuotaExhausted)));
        let refused: Vec<_> = batch.refused.iter().cloned().chain(used_up).collect();
        response(batch.form, outcomes, &refused)
    });
    answers.collect()
}

fn encoded(group: &[Prepared], answers: &[RecordUsageResponse], context: &Context) -> Answers {
    let encoded = group.iter().zip(answers).map(|(batch, answer)| (&batch.key, answer.encode_to_vec()));
    Answers::new(encoded, context.now())
}

fn any_free(group: &[Prepared]) -> bool {
    group.iter().any(|batch| batch.good.iter().any(|point| point.free))
}

/// Judges the points of Free workspaces against what is stored; returns batch and place of those beyond a quota.
///
/// The workspaces are locked until the transaction ends, so that no other writer's points are missed. One that became
/// Commercial meanwhile has no quota any more.
async fn judge_free(
    context: &Context,
    tx: &Tx,
    group: &[Prepared],
) -> Result<HashSet<(usize, usize)>, StoreError> {
    if !any_free(group) {
        return Ok(HashSet::new());
    }
    let points = || {
        let batches = group.iter().enumerate();
        batches.flat_map(|(index, batch)| {
            batch.good.iter().filter(|point| point.free).map(move |point| (index, point))
        })
    };
    let days: BTreeSet<(Arc<str>, i32)> =
        points().map(|(_, point)| (Arc::clone(&point.key.workspace_id), point.key.usage_day)).collect();
    let ids: BTreeSet<&str> = days.iter().map(|(workspace, _)| &**workspace).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let facts = store::workspace::facts(tx, &context.sites, &ids, true).await?;
    let days: Vec<_> = days.into_iter().collect();
    let mut usage: HashMap<Arc<str>, FreeUsage> = HashMap::new();
    for (key, quantity) in usage_point::of_days(tx, &days).await? {
        usage.entry(Arc::clone(&key.workspace_id)).or_default().know(&key, quantity);
    }
    let mut exhausted = HashSet::new();
    for (index, point) in points() {
        if facts.get(&point.key.workspace_id).is_some_and(|facts| facts.plan == Plan::Commercial) {
            continue;
        }
        let used = usage.entry(Arc::clone(&point.key.workspace_id)).or_default();
        if used.offer(&point.key, point.quantity) == Verdict::Exhausted {
            exhausted.insert((index, point.place));
        }
    }
    Ok(exhausted)
}

/// A point on its way into the table.
struct Write<'a> {
    key: &'a PointKey,
    quantity: i64,
    batch: usize,
    place: usize,
}

/// The points of all batches, sorted by key; those of one key in the order in which they came.
struct Writes<'a>(Vec<Write<'a>>);

impl<'a> Writes<'a> {
    /// The points that may be written.
    fn of(group: &'a [Prepared], exhausted: &HashSet<(usize, usize)>) -> Writes<'a> {
        let mut writes = Vec::with_capacity(group.iter().map(|batch| batch.good.len()).sum());
        for (batch, prepared) in group.iter().enumerate() {
            let taken = prepared.good.iter().filter(|point| !exhausted.contains(&(batch, point.place)));
            writes.extend(taken.map(|point| Write {
                key: &point.key,
                quantity: point.quantity,
                batch,
                place: point.place,
            }));
        }
        // Stable, for the order of those of one key.
        writes.sort_by(|a, b| a.key.cmp(b.key));
        Writes(writes)
    }

    fn runs(&self) -> impl Iterator<Item = &[Write<'a>]> {
        self.0.chunk_by(|a, b| a.key == b.key)
    }

    /// The quantity that stays, for each key.
    fn last_of_each_key(&self) -> Vec<(&'a PointKey, i64)> {
        self.runs().filter_map(|run| run.last()).map(|write| (write.key, write.quantity)).collect()
    }

    /// Writes them as if one after the other; returns the effect of each key's first point, which tells what was stored
    /// before. The last one stays.
    async fn upsert(&self, tx: &Tx) -> Result<Vec<Effect>, StoreError> {
        let first = self.runs().filter_map(|run| run.first()).map(|write| (write.key, write.quantity));
        let effects = usage_point::upsert(tx, &first.collect::<Vec<_>>()).await?;
        let again = self.runs().filter_map(|run| Some((run.first()?, run.last()?)));
        let again = again.filter(|(first, last)| first.quantity != last.quantity);
        let again: Vec<_> = again.map(|(_, last)| (last.key, last.quantity)).collect();
        usage_point::upsert(tx, &again).await?;
        Ok(effects)
    }

    /// The outcome of every point of every batch; those that are not written are refused.
    fn outcomes(&self, group: &[Prepared], effects: Vec<Effect>) -> Vec<Vec<PointOutcome>> {
        let mut outcomes: Vec<_> =
            group.iter().map(|batch| vec![PointOutcome::Refused; batch.count]).collect();
        for (run, effect) in self.runs().zip(effects) {
            let mut before = None;
            for write in run {
                let outcome = match before {
                    None => match effect {
                        Effect::New => PointOutcome::Accepted,
                        Effect::Same => PointOutcome::Duplicate,
                        Effect::Replaced => PointOutcome::Replaced,
                    },
                    Some(quantity) if quantity == write.quantity => PointOutcome::Duplicate,
                    Some(_) => PointOutcome::Replaced,
                };
                before = Some(write.quantity);
                let slot = outcomes.get_mut(write.batch).and_then(|batch| batch.get_mut(write.place));
                if let Some(slot) = slot {
                    *slot = outcome;
                }
            }
        }
        outcomes
    }
}
