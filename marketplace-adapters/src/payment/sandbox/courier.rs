//! Delivers notices: each signed anew for every try, until the merchant says that it was done.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::{PaymentNotice, PaymentSandbox};
use crate::http::{Answer, HttpClient, Idempotency, Request, SendError, Target};
use crate::payment::hosted::signature::{self, Purpose};
use crate::payment::hosted::wire::OrderSaid;
use crate::sandbox::TRIES_MAX;
use crate::sandbox::state::NoticeState;

/// Longest sleep when nothing is owed; a change wakes the courier at once.
const IDLE: Duration = Duration::from_secs(3_600);
/// Time for one try.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Delivers until the task is ended.
pub(super) async fn run(sandbox: PaymentSandbox) {
    loop {
        match next(&sandbox) {
            Ok(notice) => deliver(&sandbox, &notice).await,
            Err(due) => {
                // A change in between has left its mark: the next wait ends at once.
                let _ = tokio::time::timeout_at(due, sandbox.0.changed.notified()).await;
            }
        }
    }
}

/// The next notice to be sent, or when to look again.
fn next(sandbox: &PaymentSandbox) -> Result<PaymentNotice, Instant> {
    let now = Instant::now();
    let mut wait = now + IDLE;
    for notice in sandbox.lock().notices.iter().filter(|n| n.state == NoticeState::Waiting) {
        match notice.due {
            Some(due) if due > now => wait = wait.min(due),
            _ => return Ok(notice.clone()),
        }
    }
    Err(wait)
}

async fn deliver(sandbox: &PaymentSandbox, notice: &PaymentNotice) {
    let answers = match said(sandbox, notice) {
        Some((url, body)) => {
            let sends = (0..notice.copies).map(|_| send(sandbox, &url, &body));
            join_all(sends).await
        }
        None => Vec::new(),
    };
    let last_status = answers.last().and_then(|a| a.as_ref().ok()).map_or(0, |a| a.status.as_u16());
    let done = answers.iter().flatten().any(is_done);
    let due = Instant::now() + sandbox.0.config.spacing;
    let saved = sandbox.change(|state| {
        if let Some(kept) = state.notices.iter_mut().find(|n| n.number == notice.number) {
            kept.tries = kept.tries.saturating_add(1);
            kept.last_status = last_status;
            kept.due = Some(due);
            kept.state = match (done, kept.tries >= TRIES_MAX) {
                (true, _) => NoticeState::Done,
                (false, true) => NoticeState::Failed,
                (false, false) => NoticeState::Waiting,
            };
        }
    });
    if let Err(error) = saved {
        warn!(%error, "the payment sandbox could not save");
    }
}

/// Where a notice goes and what it says.
fn said(sandbox: &PaymentSandbox, notice: &PaymentNotice) -> Option<(String, OrderSaid)> {
    let order = sandbox.order(&notice.order_id)?;
    let payment = order.payments.iter().find(|p| p.payment_id == notice.payment_id)?;
    let merchant = Some(sandbox.0.config.merchant.clone());
    let said = OrderSaid { merchant, ..order.said(Some(payment), (sandbox.0.now)()) };
    Some((order.notify_url.clone(), said))
}

async fn send(sandbox: &PaymentSandbox, url: &str, said: &OrderSaid) -> Result<Answer, SendError> {
    let body = serde_json::to_string(said).map_err(|_| SendError::NotSent("bad_request"))?;
    let now = (sandbox.0.now)();
    let headers =
        signature::sign(Purpose::Notice, body.as_bytes(), sandbox.0.notice_key.expose_secret(), now);
    post(url, headers.to_vec(), body).await
}

/// Posts JSON to a merchant, once.
pub(super) async fn post(
    url: &str,
    mut headers: Vec<(&'static str, String)>,
    body: String,
) -> Result<Answer, SendError> {
    headers.push(("content-type", "application/json".to_owned()));
    let target = Target { base_url: url.to_owned(), allow_insecure: true, timeout: TIMEOUT };
    let client = HttpClient::new(&target).map_err(|_| SendError::NotSent("bad_address"))?;
    let request = Request { method: Method::POST, query: String::new(), headers, body };
    client.send(Idempotency::OnceOnly, || request.clone()).await
}

fn is_done(answer: &Answer) -> bool {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == http::StatusCode::OK && said.get("result") == Some(&Value::from("success"))
}
