//! Records usage points: callers at the same time share a commit, a lone caller waits for nobody.
//!
//! In a lane two tasks work hand in hand. One takes whatever batches are waiting, looks up what has to be known of them
//! and judges their points; the other writes what the first one prepared, in one transaction: points, marks of changed
//! days, and the answers. A lane writes in the order of arrival, and a stream stays in its lane, so that of two points of
//! one key the later one stays.
//!
//! The next group is prepared while one is being written. Of large batches the work on the points counts most, and on
//! PostgreSQL a second lane shares it. Small ones all go through the first lane in two groups that take turns: as many as
//! possible share a commit, which counts most for them, and while one half is written the other half is answered and
//! calls again, so that neither the database nor the service waits for the other.

mod prepare;
mod write;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sea_orm::DbBackend;
use tandem_proto::console::v1::{PointOutcome, RecordUsageResponse, RefusedPoint};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::RequestKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::Context;
use crate::domain::point::{PointKey, RawPoint, Refusal};

/// Most points of one batch (contract).
pub const BATCH_POINTS_MAX: usize = 5_000;
/// Points that may wait or be written at a time: some megabytes, about half a second's work.
const WAITING_POINTS_MAX: usize = 60_000;
/// Points from which on a group takes no further batch, so that its statement stays far below the time limit.
const GROUP_POINTS_MAX: usize = 8_000;

/// What every batch is answered with.
pub type Answer = Result<RecordUsageResponse, Fault>;

/// Lanes on PostgreSQL, whose commits may share a flush to disk. SQLite has one writer, so one lane.
const LANES: usize = 2;
/// Points from which on a batch is large.
const LARGE_POINTS: usize = 200;
/// How long small batches wait at most for the callers who can be back by now.
const LINGER_MAX: Duration = Duration::from_millis(3);
/// Groups whose callers are remembered.
const COMPANY_GROUPS: usize = 4;
/// Groups of a lane that may be on their way: one is written, one is prepared.
const GROUPS_MAX: usize = 2;

/// Takes batches. Cheap to clone; recording goes on until every clone is dropped.
#[derive(Clone)]
pub struct Recorder {
    lanes: Arc<[mpsc::UnboundedSender<Job>]>,
    turn: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
}

/// Where a stream's batches are written, in order.
#[derive(Clone)]
pub struct Lane {
    queue: Option<mpsc::UnboundedSender<Job>>,
    room: Arc<Semaphore>,
}

/// How a batch came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Alone: its answer names the outcome of every point.
    Unary,
    /// In a stream: its answer counts outcomes and names refusals.
    Streamed,
}

/// A batch on its way.
struct Job {
    key: RequestKey,
    points: Vec<RawPoint>,
    form: Form,
    answer: oneshot::Sender<Answer>,
    /// Its share of the room, held until it is answered.
    room: OwnedSemaphorePermit,
}

/// A batch whose points were judged, all but Free quotas.
struct Prepared {
    key: RequestKey,
    form: Form,
    count: usize,
    good: Vec<GoodPoint>,
    refused: Vec<(usize, Refusal)>,
    answer: oneshot::Sender<Answer>,
    room: OwnedSemaphorePermit,
}

/// Batches to be written together, and their place in the lane.
struct Group {
    batches: Vec<Prepared>,
    place: OwnedSemaphorePermit,
    /// Its callers among those who wait for an answer.
    callers: Flying,
}

/// Callers of a group that is on its way; they are counted until it is written.
struct Flying {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Flying {
    fn start(all: &Arc<AtomicUsize>, own: usize) -> Flying {
        all.fetch_add(own, Ordering::Relaxed);
        Flying { all: Arc::clone(all), own }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

/// A point that may be written.
struct GoodPoint {
    /// Its place in the batch.
    place: usize,
    key: PointKey,
    quantity: i64,
    /// Whether a Free quota has to be looked at.
    free: bool,
}

impl Recorder {
    /// Starts the lanes on `tasks`.
    pub fn start(context: Context, tasks: &mut JoinSet<()>) -> Recorder {
        let count = if context.db.backend() == DbBackend::Postgres { LANES } else { 1 };
        let lane = |_| {
            let (queue, waiting) = mpsc::unbounded_channel();
            // The lane's places bound what is in here.
            let (ready, groups) = mpsc::unbounded_channel();
            tasks.spawn(prepare_groups(context.clone(), waiting, ready));
            tasks.spawn(write_groups(context.clone(), groups));
            queue
        };
        let lanes = (0..count).map(lane).collect();
        Recorder { lanes, turn: Arc::default(), room: Arc::new(Semaphore::new(WAITING_POINTS_MAX)) }
    }

    /// The lane whose turn it is, for a stream.
    pub fn lane(&self) -> Lane {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.lane_at(turn % self.lanes.len().max(1))
    }

    /// Records a batch. Fails with `OVERLOADED` at once when too much is waiting.
    pub async fn record(&self, key: RequestKey, points: Vec<RawPoint>) -> Answer {
        let share = share(&points)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(share);
        let room = room.map_err(|_| Fault::new(Reason::Overloaded))?;
        // Small batches meet in one lane, so that they share a commit.
        let lane = if points.len() < LARGE_POINTS { self.lane_at(0) } else { self.lane() };
        answered(lane.enqueue(key, points, Form::Unary, room)).await
    }

    fn lane_at(&self, place: usize) -> Lane {
        Lane { queue: self.lanes.get(place).cloned(), room: Arc::clone(&self.room) }
    }
}

impl Lane {
    /// Takes a batch of a stream, waiting until there is room; the answer comes later.
    pub async fn take(
        &self,
        key: RequestKey,
        points: Vec<RawPoint>,
    ) -> Result<oneshot::Receiver<Answer>, Fault> {
        let share = share(&points)?;
        let room = Arc::clone(&self.room).acquire_many_owned(share).await;
        let room = room.map_err(|_| Fault::new(Reason::Overloaded))?;
        Ok(self.enqueue(key, points, Form::Streamed, room))
    }

    fn enqueue(
        &self,
        key: RequestKey,
        points: Vec<RawPoint>,
        form: Form,
        room: OwnedSemaphorePermit,
    ) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // A queue without a reader drops the job, and with it the sender: the caller learns that nothing was decided.
        if let Some(queue) = &self.queue {
            let _ = queue.send(Job { key, points, form, answer, room });
        }
        answered
    }
}

/// Waits for a batch's answer.
pub async fn answered(answer: oneshot::Receiver<Answer>) -> Answer {
    answer.await.unwrap_or(Err(Fault::new(Reason::StorageUnavailable)))
}

fn share(points: &[RawPoint]) -> Result<u32, Fault> {
    let wrong = || Fault::field("points", "1 to 5000 points");
    if points.is_empty() || points.len() > BATCH_POINTS_MAX {
        return Err(wrong());
    }
    u32::try_from(points.len()).map_err(|_| wrong())
}

async fn prepare_groups(
    context: Context,
    mut waiting: mpsc::UnboundedReceiver<Job>,
    ready: mpsc::UnboundedSender<Group>,
) {
    let mut arrived: VecDeque<Job> = VecDeque::new();
    // How many callers of small batches there were at a time, lately, and how many of them wait for an answer.
    let mut company: VecDeque<usize> = VecDeque::with_capacity(COMPANY_GROUPS);
    let flying: Arc<AtomicUsize> = Arc::default();
    let mut known = prepare::Known::default();
    let lane = Arc::new(Semaphore::new(GROUPS_MAX));
    loop {
        if arrived.is_empty() {
            let Some(job) = waiting.recv().await else { return };
            arrived.push_back(job);
        }
        let small = arrived.front().is_some_and(|job| job.points.len() < LARGE_POINTS);
        // Never closed, so this only ever waits.
        let Ok(place) = Arc::clone(&lane).acquire_owned().await else { return };
        if small {
            let all = company.iter().copied().max().unwrap_or(0);
            linger(&mut waiting, &mut arrived, all, &flying).await;
        }
        while let Ok(job) = waiting.try_recv() {
            arrived.push_back(job);
        }
        let group = take_group(&mut arrived);
        if company.len() == COMPANY_GROUPS {
            company.pop_front();
        }
        let at_a_time = group.len() + arrived.len() + flying.load(Ordering::Relaxed);
        company.push_back(if small { at_a_time } else { 0 });
        let callers = Flying::start(&flying, group.len());
        let batches = prepare::group(&context, &mut known, group).await;
        if !batches.is_empty() && ready.send(Group { batches, place, callers }).is_err() {
            return;
        }
    }
}

/// Gives callers who were answered a moment ago, and mostly call again at once, the time to come back: then they share
/// the next commit as well. Half of `all` makes a group, and those who still wait for an answer cannot be back. A lone
/// caller had no company and waits for nobody.
async fn linger(
    waiting: &mut mpsc::UnboundedReceiver<Job>,
    arrived: &mut VecDeque<Job>,
    all: usize,
    flying: &AtomicUsize,
) {
    let all_are_back = async {
        while arrived.len() < (all / 2).min(all.saturating_sub(flying.load(Ordering::Relaxed)))
            && let Some(job) = waiting.recv().await
        {
            arrived.push_back(job);
        }
    };
    // Whether all came or the time is over: those that are here are written.
    let _ = tokio::time::timeout(LINGER_MAX, all_are_back).await;
}

/// Takes the batches that are written together.
fn take_group(arrived: &mut VecDeque<Job>) -> Vec<Job> {
    let (mut points, mut keys, mut group) = (0, HashSet::new(), Vec::new());
    while points < GROUP_POINTS_MAX
        && let Some(job) = arrived.pop_front()
    {
        // A repetition must find the answer of the first one, so it goes into the next group.
        if !keys.insert(place_of(&job.key)) {
            arrived.push_front(job);
            break;
        }
        points += job.points.len();
        group.push(job);
    }
    group
}

async fn write_groups(context: Context, mut groups: mpsc::UnboundedReceiver<Group>) {
    let mut habit = write::Habit::default();
    while let Some(group) = groups.recv().await {
        write::group(&context, &mut habit, group.batches).await;
        drop(group.callers);
        drop(group.place);
    }
}

fn place_of(key: &RequestKey) -> (String, &'static str, String) {
    (key.principal().to_owned(), key.method(), key.request_id().to_owned())
}

/// Puts a batch's answer together. `outcomes` has one entry for each point.
fn response(form: Form, outcomes: &[PointOutcome], refused: &[(usize, Refusal)]) -> RecordUsageResponse {
    let count = |wanted: PointOutcome| {
        i32::try_from(outcomes.iter().filter(|outcome| **outcome == wanted).count()).unwrap_or(i32::MAX)
    };
    let mut refused: Vec<_> = refused
        .iter()
        .map(|(place, refusal)| RefusedPoint {
            index: i64::try_from(*place).unwrap_or(i64::MAX),
            reason: refusal.reason.name().to_owned(),
            message: refusal.message.to_owned(),
        })
        .collect();
    refused.sort_by_key(|point| point.index);
    RecordUsageResponse {
        accepted_count: count(PointOutcome::Accepted),
        duplicate_count: count(PointOutcome::Duplicate),
        replaced_count: count(PointOutcome::Replaced),
        refused_count: count(PointOutcome::Refused),
        outcomes: match form {
            Form::Unary => outcomes.iter().map(|outcome| i32::from(*outcome)).collect(),
            Form::Streamed => Vec::new(),
        },
        refused,
    }
}
