//! Gathers callers of one account: whoever asks while a transaction on the account runs is served together by the next.
//!
//! Acts on one account wait for its lock anyway; gathered, they share the lock, the statements and the commit, so that a
//! busy account becomes faster with more callers instead of slower. Other accounts are not waited for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Answers, RequestKey};
use tokio::sync::oneshot;

use super::wallet_acts::{self, Act, Done};
use crate::context::Context;
use crate::store::account;

/// Most acts in one transaction: some thousand rows, far below the statement time limit.
const TOGETHER_MAX: usize = 256;
/// Most callers that wait for one account; more are told to come again.
const WAITING_MAX: usize = 4_096;

/// An encoded answer, or why there is none.
type Answer = Result<Vec<u8>, Fault>;

/// Encodes what was done as its method's answer.
type Encode = Box<dyn Fn(&Done) -> Vec<u8> + Send + Sync>;

/// The callers that wait, by account. An account has an entry while somebody serves it.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<BillingAccountId, Vec<Waiting>>>);

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
        let Some(queue) = lanes.get_mut(account) else {
            lanes.insert(account.clone(), vec![caller]);
            return Ok(true);
        };
        if queue.len() >= WAITING_MAX {
            return Err(Reason::Overloaded.into());
        }
        queue.push(caller);
        Ok(false)
    }

    /// The next callers to be served together, no request twice; `None`, and the lane is gone, when nobody waits.
    fn next(&self, account: &BillingAccountId) -> Option<Vec<Waiting>> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = lanes.remove(account)?;
        if queue.is_empty() {
            return None;
        }
        let (mut together, mut later, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for caller in queue {
            let name =
                (caller.key.principal().to_owned(), caller.key.method(), caller.key.request_id().to_owned());
            if together.len() < TOGETHER_MAX && seen.insert(name) {
                together.push(caller);
            } else {
                later.push(caller);
            }
        }
        lanes.insert(account.clone(), later);
        Some(together)
    }
}

/// Serves an account until nobody waits.
async fn serve(ctx: &Context, account: &BillingAccountId) {
    let _gone = Leaving { lanes: &ctx.lanes, account };
    while let Some(callers) = ctx.lanes.next(account) {
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
