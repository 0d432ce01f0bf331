//! What is known of a call while it runs, and what becomes of it if nothing else records it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use super::chain::Audit;
use super::ids::Objects;
use super::row::{Outcome, Record};
use crate::clock::SharedClock;
use crate::fault::Fault;
use crate::identity::{Caller, role_name};

tokio::task_local! {
    static CURRENT: Arc<Attempt>;
}

/// The attempt that this task serves.
pub(crate) fn current() -> Option<Arc<Attempt>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// A call that wants to change something.
#[derive(Debug, Default)]
pub(crate) struct Attempt(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    principal: String,
    role: String,
    request_id: String,
    digest: Vec<u8>,
    objects: Objects,
    bulk: bool,
    attempts: i64,
    recorded: Recorded,
}

/// What became of it, as far as a row is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Recorded {
    /// Nothing yet.
    #[default]
    No,
    /// Its row goes with its effect.
    WithEffect,
    /// It had been made before.
    Before,
}

impl Attempt {
    /// Notes who calls.
    pub(crate) fn by(&self, caller: &Caller) {
        let mut known = self.known();
        known.principal.clone_from(&caller.name);
        known.role = role_name(caller.role);
    }

    /// The caller's role by name.
    pub(crate) fn role(&self) -> String {
        self.known().role.clone()
    }

    /// Notes what is asked.
    pub(crate) fn asks(&self, request_id: &str, digest: &[u8], objects: &[String]) {
        let mut known = self.known();
        request_id.clone_into(&mut known.request_id);
        known.digest = digest.to_vec();
        known.objects = objects.to_vec();
        known.attempts = 1;
    }

    /// Notes one more of many batches that are recorded together.
    pub(crate) fn asks_in_bulk(&self, request_id: &str, digest: &[u8]) {
        let mut known = self.known();
        known.bulk = true;
        known.attempts += 1;
        known.digest = fold(&known.digest, request_id, digest);
    }

    /// Notes that its row goes with its effect. Should that fail the call fails as well and is recorded for that.
    pub(crate) fn goes_with_effect(&self) {
        self.known().recorded = Recorded::WithEffect;
    }

    /// Notes that it had been made before.
    pub(crate) fn made_before(&self) {
        self.known().recorded = Recorded::Before;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A digest over digests, in their order.
pub(super) fn fold(before: &[u8], name: &str, digest: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [before, name.as_bytes(), digest] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// Sees to it that an attempt is recorded, whatever becomes of it.
pub(crate) struct Watch {
    audit: Arc<Audit>,
    clock: SharedClock,
    method: &'static str,
    attempt: Arc<Attempt>,
    told: bool,
}

impl Watch {
    /// Begins to watch a call.
    pub(crate) fn new(audit: Arc<Audit>, clock: SharedClock, method: &'static str) -> Watch {
        Watch { audit, clock, method, attempt: Arc::default(), told: false }
    }

    /// What is known of it.
    pub(crate) fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Runs the call's handler, which can then say what is asked.
    pub(crate) async fn over<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(Arc::clone(&self.attempt), work).await
    }

    /// Takes the answer.
    pub(crate) fn answered(mut self, status: Option<&Status>) {
        self.told = true;
        let status = status.filter(|status| status.code() != Code::Ok);
        let recorded = self.attempt.known().recorded;
        let (outcome, reason) = match (status, recorded) {
            (None, Recorded::WithEffect) => return,
            (None, Recorded::Before) => (Outcome::Repeated, String::new()),
            (None, Recorded::No) => (Outcome::Accepted, String::new()),
            (Some(status), _) => (outcome_of(status.code()), reason_of(status)),
        };
        self.tell(outcome, reason);
    }

    fn tell(&self, outcome: Outcome, reason: String) {
        let record = self.record(self.clock.now(), outcome, reason);
        // At the door callers may come in any number and from anybody: those are counted, not listed.
        let many =
            self.attempt.known().bulk || matches!(record.reason.as_str(), "TOKEN_INVALID" | "OVERLOADED");
        self.audit.gather(record, many);
    }

    fn record(&self, at: Timestamp, outcome: Outcome, reason: String) -> Record {
        let known = self.attempt.known();
        Record {
            at,
            principal: known.principal.clone(),
            role: known.role.clone(),
            method: self.method.to_owned(),
            request_id: known.request_id.clone(),
            digest: known.digest.clone(),
            objects: known.objects.clone(),
            outcome,
            reason,
            attempts: known.attempts.max(1),
            note: String::new(),
        }
    }
}

/// The caller has left before the answer: what was begun may still have its effect, and then a row of its own.
impl Drop for Watch {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Outcome::Failed, "CALLER_LEFT".to_owned());
        }
    }
}

/// Whether an error says that nothing was changed.
fn outcome_of(code: Code) -> Outcome {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Outcome::Refused,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Outcome::Failed,
    }
}

/// The reason's name, or the code's where there is none of ours. Messages are not kept: they may name what was sent.
fn reason_of(status: &Status) -> String {
    Fault::from_status(status)
        .map_or_else(|| format!("{:?}", status.code()), |fault| fault.reason.name().to_owned())
}
