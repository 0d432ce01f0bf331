//! The control addresses, for a person with `curl` and for programs in another process. JSON in, JSON out.

use std::time::Duration;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::faults::{Awkward, DeliverySettings, Fault, LetGo};
use super::{Buy, SandboxError, SandboxHandle};
use crate::callback::CallbackAction;

/// Longest wait for callbacks.
const SETTLE_MAX: Duration = Duration::from_secs(60);

type Handle = Shared<SandboxHandle>;
type Answer = Result<Response, SandboxError>;

pub(super) fn routes() -> Router<SandboxHandle> {
    Router::new()
        .route("/sandbox/buy", post(buy))
        .route("/sandbox/awkward", post(awkward))
        .route("/sandbox/purchases", get(purchases))
        .route("/sandbox/purchases/{instance}", get(purchase))
        .route("/sandbox/purchases/{instance}/renew", post(renew))
        .route("/sandbox/purchases/{instance}/upgrade", post(upgrade))
        .route("/sandbox/purchases/{instance}/expire", post(expire))
        .route("/sandbox/purchases/{instance}/release", post(release))
        .route("/sandbox/purchases/{instance}/refund-renewal", post(refund_renewal))
        .route("/sandbox/purchases/{instance}/order-paid", post(order_paid))
        .route("/sandbox/purchases/{instance}/repeat", post(repeat))
        .route("/sandbox/purchases/{instance}/landing-link", get(landing_link))
        .route("/sandbox/usage", get(usage))
        .route("/sandbox/callbacks", get(callbacks))
        .route("/sandbox/faults", post(add_fault).delete(clear_faults))
        .route("/sandbox/delivery", put(set_delivery))
        .route("/sandbox/delivery/let-go", post(let_go))
        .route("/sandbox/settle", post(settle))
}

impl IntoResponse for SandboxError {
    fn into_response(self) -> Response {
        let status = match &self {
            SandboxError::NoPurchase => StatusCode::NOT_FOUND,
            SandboxError::NotOnSale
            | SandboxError::Closed
            | SandboxError::NotConfirmed
            | SandboxError::Callback(_) => StatusCode::CONFLICT,
            SandboxError::NotSettled => StatusCode::REQUEST_TIMEOUT,
            SandboxError::Config(_) | SandboxError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

fn said(value: impl Serialize) -> Answer {
    Ok(Json(value).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AwkwardBody {
    kind: Awkward,
    account_id: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ExpiryBody {
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundRenewalBody {
    expires_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanBody {
    plan: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ReleaseBody {
    refund: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepeatBody {
    action: CallbackAction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LetGoBody {
    order: LetGo,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleBody {
    timeout_millis: u64,
}

async fn buy(Shared(handle): Handle, Json(body): Json<Buy>) -> Answer {
    said(handle.buy(&body)?)
}

async fn awkward(Shared(handle): Handle, Json(body): Json<AwkwardBody>) -> Answer {
    said(handle.awkward(body.kind, &body.account_id)?)
}

async fn purchases(Shared(handle): Handle) -> Answer {
    said(handle.purchases())
}

async fn purchase(Shared(handle): Handle, Path(instance): Path<String>) -> Answer {
    said(handle.purchase(&instance).ok_or(SandboxError::NoPurchase)?)
}

async fn renew(
    Shared(handle): Handle,
    Path(instance): Path<String>,
    body: Option<Json<ExpiryBody>>,
) -> Answer {
    said(handle.renew(&instance, body.unwrap_or_default().expires_at)?)
}

async fn upgrade(Shared(handle): Handle, Path(instance): Path<String>, Json(body): Json<PlanBody>) -> Answer {
    said(handle.upgrade(&instance, &body.plan)?)
}

async fn expire(Shared(handle): Handle, Path(instance): Path<String>) -> Answer {
    said(handle.expire(&instance)?)
}

async fn release(
    Shared(handle): Handle,
    Path(instance): Path<String>,
    body: Option<Json<ReleaseBody>>,
) -> Answer {
    said(handle.release(&instance, body.unwrap_or_default().refund)?)
}

async fn refund_renewal(
    Shared(handle): Handle,
    Path(instance): Path<String>,
    Json(body): Json<RefundRenewalBody>,
) -> Answer {
    said(handle.refund_renewal(&instance, body.expires_at)?)
}

async fn order_paid(Shared(handle): Handle, Path(instance): Path<String>) -> Answer {
    said(handle.order_paid(&instance)?)
}

async fn repeat(
    Shared(handle): Handle,
    Path(instance): Path<String>,
    Json(body): Json<RepeatBody>,
) -> Answer {
    handle.repeat(&instance, body.action)?;
    said(json!({}))
}

async fn landing_link(Shared(handle): Handle, Path(instance): Path<String>) -> Answer {
    said(json!({"url": handle.landing_link(&instance)?}))
}

async fn usage(Shared(handle): Handle) -> Answer {
    said(handle.usage())
}

async fn callbacks(Shared(handle): Handle) -> Answer {
    said(handle.callbacks())
}

async fn add_fault(Shared(handle): Handle, Json(body): Json<Fault>) -> Answer {
    handle.add_fault(body)?;
    said(json!({}))
}

async fn clear_faults(Shared(handle): Handle) -> Answer {
    handle.clear_faults()?;
    said(json!({}))
}

async fn set_delivery(Shared(handle): Handle, Json(body): Json<DeliverySettings>) -> Answer {
    handle.set_delivery(body)?;
    said(json!({}))
}

async fn let_go(Shared(handle): Handle, Json(body): Json<LetGoBody>) -> Answer {
    handle.let_go(body.order)?;
    said(json!({}))
}

async fn settle(Shared(handle): Handle, Json(body): Json<SettleBody>) -> Answer {
    handle.settle(Duration::from_millis(body.timeout_millis).min(SETTLE_MAX)).await?;
    said(json!({}))
}
