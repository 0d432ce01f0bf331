//! Delivers callbacks: one after the other, each until the seller says that it was done.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::SandboxHandle;
use super::state::{Notice, NoticeState, Status};
use crate::callback::CallbackAction;
use crate::http::{Answer, HttpClient, Idempotency, Request, SendError};

/// Longest sleep when nothing is owed; a change wakes the courier at once.
const IDLE: Duration = Duration::from_secs(3_600);

/// Delivers until the task is ended.
pub(super) async fn run(handle: SandboxHandle) {
    loop {
        // Registered before looking, so that a change in between is not missed.
        let changed = handle.changed();
        match next(&handle) {
            Next::Send(notice, copies) => send(&handle, &notice, copies).await,
            Next::WaitUntil(at) => {
                let _ = tokio::time::timeout_at(at, changed).await;
            }
        }
    }
}

enum Next {
    Send(Box<Notice>, u32),
    WaitUntil(Instant),
}

fn next(handle: &SandboxHandle) -> Next {
    let now = Instant::now();
    handle.look(|state| {
        let mut wait = now + IDLE;
        for notice in state.notices.iter().filter(|n| n.state == NoticeState::Waiting) {
            match notice.due {
                Some(due) if due > now => wait = wait.min(due),
                _ => return Next::Send(Box::new(notice.clone()), state.delivery.copies.max(1)),
            }
        }
        Next::WaitUntil(wait)
    })
}

async fn send(handle: &SandboxHandle, notice: &Notice, copies: u32) {
    let signed = match handle.dialect().sign(notice.action, &notice.fields) {
        Ok(signed) => signed,
        Err(error) => {
            warn!(%error, "sandbox cannot make this callback");
            return settle(handle, notice.number, NoticeState::Failed, 0);
        }
    };
    let request =
        Request { method: signed.method, query: signed.query, headers: Vec::new(), body: signed.body };
    let client: &HttpClient = handle.courier();
    let sends = (0..copies).map(|_| client.send(Idempotency::OnceOnly, || request.clone()));
    let answers: Vec<Result<Answer, SendError>> = join_all(sends).await;
    let last_status = answers.last().and_then(|a| a.as_ref().ok()).map_or(0, |answer| answer.status.as_u16());
    let read = |answer: &Answer| handle.dialect().read(notice.action, answer.status.as_u16(), &answer.body);
    let Some(done) = answers.iter().flatten().find_map(read) else {
        let last = notice.tries.saturating_add(1) >= super::TRIES_MAX;
        let state = if last { NoticeState::Failed } else { NoticeState::Waiting };
        return settle(handle, notice.number, state, last_status);
    };
    if notice.action == CallbackAction::Create {
        let confirmed = handle.change(|state| {
            let purchase = notice.fields.instance.as_ref().and_then(|id| state.purchases.get_mut(id));
            if let Some(purchase) = purchase {
                purchase.landing_url = done.landing_url.or(purchase.landing_url.take());
                if purchase.status == Status::Preparing {
                    purchase.status = Status::Open;
                }
            }
        });
        if let Err(error) = confirmed {
            warn!(%error, "sandbox could not save");
        }
    }
    info!(action = notice.action.name(), "sandbox callback {} was acknowledged", notice.action.name());
    settle(handle, notice.number, NoticeState::Done, last_status);
}

fn settle(handle: &SandboxHandle, number: u64, to: NoticeState, last_status: u16) {
    let due = Instant::now() + handle.callback_spacing();
    let saved = handle.change(|state| {
        if let Some(notice) = state.notices.iter_mut().find(|n| n.number == number) {
            notice.state = to;
            notice.tries = notice.tries.saturating_add(1);
            notice.last_status = last_status;
            notice.due = Some(due);
        }
    });
    if let Err(error) = saved {
        warn!(%error, "sandbox could not save");
    }
}
