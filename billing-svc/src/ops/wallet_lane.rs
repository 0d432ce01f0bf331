//! Gathers callers of one account: whoever asks while a transaction on the account runs is served together by the next.
//!
//! Acts on one account wait for its lock anyway; gathered, they share the lock, the statements and the commit, so that a
//! busy account becomes faster with more callers instead of slower. Callers who were answered a moment ago, and mostly
//! call again at once, are given the time to come back; a lone caller waits for nobody, and no account for another.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Answers, RequestKey};
use tokio::sync::{Notify, oneshot};

use super::wallet_acts::{self, Act, Done};
use crate::context::Context;
use crate::store::account;

/// Most acts in one transaction: some thousand rows, far below the statement time limit.
const TOGETHER_MAX: usize = 256;
/// Most callers that wait for one account; more are told to come again.
const WAITING_MAX: usize = 4_096;

/// How long callers are waited for at most who can be back by now: less than what serving them apart would take.
const LINGER_MAX: Duration = Duration::from_millis(2);
/// Groups whose callers are remembered.
const COMPANY_GROUPS: usize = 4;

/// An encoded answer, or why there is none.
type Answer = Result<Vec<u8>, Fault>;

/// Encodes what was done as its method's answer.
type Encode = Box<dyn Fn(&Done) -> Vec<u8> + Send + Sync>;

/// The callers that wait, by account. An account has an entry while somebody serves it.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<BillingAccountId, Lane>>);

/// Who waits for one account.
#[derive(Default)]
struct Lane {
    waiting: Vec<Waiting>,
    /// Woken by every caller that comes.
    came: Arc<Notify>,
}

struct Waiting {
    key: RequestKey,
    act: Act,
    encode: Encode,
    answer: oneshot::Sender<Answer>,
}

/// Makes an act on an account, together with those of others who ask at the same time; returns its encoded answer.
///
/// A repetition gets the stored answer. The act goes on when the caller leaves.
pub async fn act(
    ctx: &Arc<Context>,
    account: BillingAccountId,
    key: RequestKey,
    act: Act,
    encode: Encode,
) -> Answer {
    let (answer, answered) = oneshot::channel();
    let waiting = Waiting { key, act, encode, answer };
    if ctx.lanes.enter(&account, waiting)? {
        let ctx = Arc::clone(ctx);
        tokio::spawn(async move { serve(&ctx, &account).await });
    }
    // Whoever served it has gone without a word only by a panic: then nothing was committed, or its answer is stored.
    answered.await.unwrap_or(Err(Fault::new(Reason::Conflict)))
}

impl Lanes {
    /// Queues a caller; `true` when nobody serves the account yet.
    fn enter(&self, account: &BillingAccountId, caller: Waiting) -> Result<bool, Fault> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lane) = lanes.get_mut(account) else {
            lanes.insert(account.clone(), Lane { waiting: vec![caller], ..Lane::default() });
            return Ok(true);
        };
        if lane.waiting.len() >= WAITING_MAX {
            return Err(Reason::Overloaded.into());
        }
        lane.waiting.push(caller);
        lane.came.notify_one();
        Ok(false)
    }

    /// How many wait for an account, and what wakes when another one comes.
    fn waiting(&self, account: &BillingAccountId) -> Option<(usize, Arc<Notify>)> {
        let lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.get(account).map(|lane| (lane.waiting.len(), Arc::clone(&lane.came)))
    }

    /// Waits a moment until as many wait as there were lately.
    async fn gather(&self, account: &BillingAccountId, all: usize) {
        let all_are_back = async {
            while let Some((waiting, came)) = self.waiting(account)
                && waiting < all
            {
                came.notified().await;
            }
        };
        // Whether all came or the time is over: those that are here are served.
        let _ = tokio::time::timeout(LINGER_MAX, all_are_back).await;
    }

    /// The next callers to be served together, no request twice; `None`, and the lane is gone, when nobody waits.
    fn next(&self, account: &BillingAccountId) -> Option<Vec<Waiting>> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Lane { waiting, came } = lanes.remove(account)?;
        if waiting.is_empty() {
            return None;
        }
        let (mut together, mut later, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for caller in waiting {
            let name =
                (caller.key.principal().to_owned(), caller.key.method(), caller.key.request_id().to_owned());
            if together.len() < TOGETHER_MAX && seen.insert(name) {
                together.push(caller);
            } else {
                later.push(caller);
            }
        }
        lanes.insert(account.clone(), Lane { waiting: later, came });
        Some(together)
    }
}

/// Serves an account until nobody waits.
async fn serve(ctx: &Context, account: &BillingAccountId) {
    let _gone = Leaving { lanes: &ctx.lanes, account };
    // How many callers there were at a time, lately.
    let mut company: VecDeque<usize> = VecDeque::with_capacity(COMPANY_GROUPS);
    loop {
        let all = company.iter().copied().max().unwrap_or(0).min(TOGETHER_MAX);
        ctx.lanes.gather(account, all).await;
        let Some(callers) = ctx.lanes.next(account) else { return };
        if company.len() == COMPANY_GROUPS {
            company.pop_front();
        }
        company.push_back(callers.len() + ctx.lanes.waiting(account).map_or(0, |(later, _)| later));
        match together(ctx, account, &callers).await {
            Ok(answers) => tell(callers, answers),
            // One that fails as a whole must not fail the others.
            Err(_) if callers.len() > 1 => {
                let mut answers = Vec::with_capacity(callers.len());
                for caller in &callers {
                    let alone = together(ctx, account, std::slice::from_ref(caller)).await;
                    answers.push(alone.and_then(|mut one| one.pop().unwrap_or(Err(Reason::Conflict.into()))));
                }
                tell(callers, answers);
            }
            Err(fault) => tell(callers, vec![Err(fault)]),
        }
    }
}

/// Closes the lane of a server that panicked: its callers are told, and the next one opens a new lane.
struct Leaving<'a> {
    lanes: &'a Lanes,
    account: &'a BillingAccountId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.account);
        }
    }
}

fn tell(callers: Vec<Waiting>, answers: Vec<Answer>) {
    for (caller, answer) in callers.into_iter().zip(answers) {
        // A caller that has left asks again with the same request id and gets the stored answer.
        let _left = caller.answer.send(answer);
    }
}

/// Makes the acts of callers in one transaction, those not that were made before.
async fn together(
    ctx: &Context,
    account: &BillingAccountId,
    callers: &[Waiting],
) -> Result<Vec<Answer>, Fault> {
    let now = ctx.clock.now();
    let tx = ctx.db.begin().await?;
    let payer = account::lock(&tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let keys: Vec<&RequestKey> = callers.iter().map(|caller| &caller.key).collect();
    let before = request_log::replay_raw(&tx, &keys).await?;
    let fresh: Vec<&Waiting> =
        callers.iter().zip(&before).filter(|(_, found)| matches!(found, Ok(None))).map(|(c, _)| c).collect();
    let acts: Vec<Act> = fresh.iter().map(|caller| caller.act.clone()).collect();
    let outcomes = wallet_acts::apply(&tx, ctx, payer, &acts, now).await?;
    let outcomes: Vec<Answer> = fresh
        .iter()
        .zip(outcomes)
        .map(|(caller, outcome)| outcome.map(|done| (caller.encode)(&done)))
        .collect();
    let done = fresh.iter().zip(&outcomes).filter_map(|(caller, outcome)| {
        let reply = outcome.as_ref().ok()?;
        Some((&caller.key, reply.clone()))
    });
    let done: Vec<_> = done.collect();
    if done.is_empty() {
        tx.rollback().await;
    } else {
        Answers::new(done, now).save(&tx).await?;
        tx.commit().await?;
        ctx.wakes.feed.notify_one();
    }
    let mut outcomes = outcomes.into_iter();
    let answer = |found: Result<Option<Vec<u8>>, Fault>| match found {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => outcomes.next().unwrap_or(Err(Reason::Conflict.into())),
        Err(fault) => Err(fault),
    };
    Ok(before.into_iter().map(answer).collect())
}
