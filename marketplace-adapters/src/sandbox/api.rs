//! The vendor's own interface, with the faults that were asked for.

use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tracing::info;

use super::faults::FaultKind;
use super::{ApiAnswer, ApiCall, SandboxHandle};

/// Largest body of a call.
const BODY_BYTES_MAX: usize = 256 * 1024;

pub(super) fn routes() -> Router<SandboxHandle> {
    Router::new().route("/", get(call).post(call))
}

async fn call(Shared(handle): Shared<SandboxHandle>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut headers: std::collections::BTreeMap<String, String> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    if let Some(authority) = parts.uri.authority() {
        headers.entry("host".to_owned()).or_insert_with(|| authority.to_string());
    }
    let call = ApiCall {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    };
    let action = handle.dialect().action(&call);
    let fault = if handle.look(|state| state.faults.is_empty()) {
        None
    } else {
        match handle.change(|state| state.take_fault(&action)) {
            Ok(fault) => fault.map(|fault| fault.kind),
            Err(_) => return written(&handle.dialect().error(500, "UnknownError")),
        }
    };
    match &fault {
        Some(FaultKind::Refuse { status, code }) => return written(&handle.dialect().error(*status, code)),
        Some(FaultKind::HangBefore) => return hang(&handle).await,
        _ => {}
    }
    let now = handle.now();
    let answer = handle.change(|state| handle.dialect().answer(state, &call, now));
    let answer = answer.unwrap_or_else(|_| handle.dialect().error(500, "UnknownError"));
    info!(action, status = answer.status.as_u16(), "sandbox answered {action}");
    match fault {
        Some(FaultKind::HangAfter) => hang(&handle).await,
        Some(FaultKind::Nonsense) => (StatusCode::OK, "<html>nonsense</html>").into_response(),
        Some(FaultKind::Doubt) => written(&handle.dialect().doubt()),
        Some(FaultKind::Delay { millis }) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            written(&answer)
        }
        _ => written(&answer),
    }
}

/// Keeps the connection open without an answer, until the caller leaves or the sandbox stops.
async fn hang(handle: &SandboxHandle) -> Response {
    handle.stopped().await;
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn written(answer: &ApiAnswer) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (answer.status, kind, answer.body.clone()).into_response()
}
