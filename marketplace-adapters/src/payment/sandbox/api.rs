//! The provider's interface, its pages, and the control addresses.

use axum::extract::{DefaultBodyLimit, Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Forgery, Pay, PaymentSandbox, PaymentSandboxError, SandboxOrder};
use crate::payment::hosted::signature::{Proof, Purpose};
use crate::payment::hosted::wire::{ErrorSaid, OrderAnswer, OrderCall, QueryCall};

/// Largest body of a call.
const BODY_BYTES_MAX: usize = 64 * 1024;

type Handle = Shared<PaymentSandbox>;
type Answer = Result<Response, PaymentSandboxError>;
/// Status and code of a call that is not taken.
type Refusal = (StatusCode, &'static str);

pub(super) fn routes() -> Router<PaymentSandbox> {
    Router::new()
        .route("/payments/orders", post(open_order))
        .route("/payments/orders/query", post(query_order))
        .route("/payments/pay/{order}", get(page).post(pay_on_page))
        .route("/sandbox/payments", get(orders))
        .route("/sandbox/payments/notices", get(notices))
        .route("/sandbox/payments/let-go", post(let_go))
        .route("/sandbox/payments/fail-calls", post(fail_calls))
        .route("/sandbox/payments/{order}/pay", post(pay))
        .route("/sandbox/payments/{order}/repeat", post(repeat))
        .route("/sandbox/payments/{order}/forge", post(forge))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

impl IntoResponse for PaymentSandboxError {
    fn into_response(self) -> Response {
        let status = match &self {
            PaymentSandboxError::NoOrder => StatusCode::NOT_FOUND,
            PaymentSandboxError::NotWaiting | PaymentSandboxError::NoAmount => StatusCode::CONFLICT,
            PaymentSandboxError::Config(_) | PaymentSandboxError::Storage(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, Json(ErrorSaid { code: code.to_owned() })).into_response()
}

impl PaymentSandbox {
    /// Checks a call's proof and merchant, then reads it.
    fn read<T: DeserializeOwned>(
        &self,
        purpose: Purpose,
        headers: &HeaderMap,
        body: &Bytes,
        merchant: fn(&T) -> &str,
    ) -> Result<T, Refusal> {
        if let Some(status) = self.lock().fails_with {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            return Err((status, "SANDBOX_SAYS_SO"));
        }
        let keys = std::iter::once(self.0.api_key.expose_secret());
        let proved = Proof::of(headers).and_then(|p| p.check(purpose, body, keys, (self.0.now)()));
        proved.map_err(|_| (StatusCode::UNAUTHORIZED, "SIGNATURE_WRONG"))?;
        let call: T = serde_json::from_slice(body).map_err(|_| (StatusCode::BAD_REQUEST, "BODY_WRONG"))?;
        if merchant(&call) == self.0.config.merchant {
            Ok(call)
        } else {
            Err((StatusCode::FORBIDDEN, "MERCHANT_UNKNOWN"))
        }
    }

    fn page_url(&self, order_id: &str) -> String {
        format!("{}/payments/pay/{order_id}", self.0.config.base_url.trim_end_matches('/'))
    }
}

async fn open_order(Shared(sandbox): Handle, headers: HeaderMap, body: Bytes) -> Response {
    let call: OrderCall = match sandbox.read(Purpose::Order, &headers, &body, |c: &OrderCall| &c.merchant) {
        Ok(call) => call,
        Err((status, code)) => return error(status, code),
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if call.amount_minor <= 0 || call.order_id.is_empty() || !is_number(&call.order_id) {
        return error(StatusCode::BAD_REQUEST, "ORDER_WRONG");
    }
    if !matches!(call.currency.as_str(), "CNY" | "USD") {
        return error(StatusCode::BAD_REQUEST, "CURRENCY_NOT_TAKEN");
    }
    let order = SandboxOrder {
        order_id: call.order_id,
        amount_minor: call.amount_minor,
        currency: call.currency,
        expires_at: call.expires_at,
        notify_url: call.notify_url,
        return_url: call.return_url,
        payments: Vec::new(),
    };
    let answer =
        OrderAnswer { payment_url: sandbox.page_url(&order.order_id), order_id: order.order_id.clone() };
    let same = sandbox.change(|state| {
        let kept = state.orders.entry(order.order_id.clone()).or_insert_with(|| order.clone());
        SandboxOrder { payments: Vec::new(), ..kept.clone() } == order
    });
    match same {
        Ok(true) => Json(answer).into_response(),
        Ok(false) => error(StatusCode::CONFLICT, "ORDER_DIFFERS"),
        Err(problem) => problem.into_response(),
    }
}

async fn query_order(Shared(sandbox): Handle, headers: HeaderMap, body: Bytes) -> Response {
    let call: QueryCall = match sandbox.read(Purpose::Query, &headers, &body, |c: &QueryCall| &c.merchant) {
        Ok(call) => call,
        Err((status, code)) => return error(status, code),
    };
    match sandbox.order(&call.order_id) {
        Some(order) => Json(order.said(order.payments.first(), (sandbox.0.now)())).into_response(),
        None => error(StatusCode::NOT_FOUND, "ORDER_NOT_FOUND"),
    }
}

async fn page(Shared(sandbox): Handle, Path(order): Path<String>) -> Answer {
    let order = sandbox.order(&order).ok_or(PaymentSandboxError::NoOrder)?;
    let amount = format!("{}.{:02}", order.amount_minor / 100, order.amount_minor % 100);
    let foot = match order.status((sandbox.0.now)()) {
        "WAITING" => "<form method=\"post\"><button>Pay · 支付</button></form>".to_owned(),
        status => format!("<p><strong>{status}</strong></p>"),
    };
    // The number holds letters, digits and underscores only, and the currency is one of two: nothing to escape.
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Sandbox payment</title><h1>Sandbox payment · 沙箱支付</h1>\
         <p>{amount} {}</p><p>{}</p>{foot}",
        order.currency, order.order_id
    );
    let no_scripts = (header::CONTENT_SECURITY_POLICY, "default-src 'none'");
    Ok(([no_scripts], Html(text)).into_response())
}

async fn pay_on_page(Shared(sandbox): Handle, Path(order_id): Path<String>) -> Answer {
    let order = sandbox.order(&order_id).ok_or(PaymentSandboxError::NoOrder)?;
    sandbox.pay(&order_id, &Pay::default())?;
    let next = if order.return_url.is_empty() { sandbox.page_url(&order_id) } else { order.return_url };
    Ok(Redirect::to(&next).into_response())
}

async fn orders(Shared(sandbox): Handle) -> Response {
    Json(sandbox.orders()).into_response()
}

async fn notices(Shared(sandbox): Handle) -> Response {
    Json(sandbox.notices()).into_response()
}

async fn pay(Shared(sandbox): Handle, Path(order): Path<String>, how: Option<Json<Pay>>) -> Answer {
    Ok(Json(sandbox.pay(&order, &how.unwrap_or_default())?).into_response())
}

async fn repeat(Shared(sandbox): Handle, Path(order): Path<String>) -> Answer {
    sandbox.repeat(&order)?;
    Ok(Json(json!({})).into_response())
}

async fn let_go(Shared(sandbox): Handle) -> Answer {
    sandbox.let_go()?;
    Ok(Json(json!({})).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailBody {
    status: Option<u16>,
}

async fn fail_calls(Shared(sandbox): Handle, Json(body): Json<FailBody>) -> Response {
    sandbox.fail_calls(body.status);
    Json(json!({})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgeBody {
    how: Forgery,
}

async fn forge(Shared(sandbox): Handle, Path(order): Path<String>, Json(body): Json<ForgeBody>) -> Answer {
    let status = sandbox.forge(&order, body.how).await?;
    Ok(Json(json!({ "status": status })).into_response())
}
