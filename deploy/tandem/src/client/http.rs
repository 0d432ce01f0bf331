//! Plain HTTP calls of the command line: to the sandbox cloud's control addresses and to the gateway's callbacks.

use std::time::Duration;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tandem_adapters::callback::{CallbackAction, SignedCallback};
use tandem_adapters::http::{Answer, HttpClient, Idempotency, Request, Target};
use tandem_adapters::sandbox::Buy;
use tandem_adapters::sandbox::faults::{DeliverySettings, Fault};
use tandem_adapters::sandbox::state::{Notice, RememberedUsage, SandboxPurchase};

use crate::failure::{Attempt as _, Failure, Result};

/// Longer than the gateway takes for a callback, and than the sandbox waits for callbacks to settle.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The sandbox cloud's control addresses.
#[derive(Debug, Clone)]
pub struct SandboxClient {
    base: String,
}

impl SandboxClient {
    /// Names the sandbox's address; nothing is connected yet.
    pub fn new(base: impl Into<String>) -> SandboxClient {
        SandboxClient { base: base.into() }
    }

    /// Buys as a customer.
    pub async fn buy(&self, buy: &Buy) -> Result<SandboxPurchase> {
        let body = serde_json::json!({
            "account_id": buy.account_id, "product_code": buy.product_code, "plan": buy.plan, "trial": buy.trial,
            "expires_at": buy.expires_at,
        });
        self.call(Method::POST, "buy", Some(body)).await
    }

    /// Does something with a purchase: `renew`, `expire`, `release` ….
    pub async fn act(&self, instance: &str, act: &str, body: Value) -> Result<SandboxPurchase> {
        self.call(Method::POST, &format!("purchases/{instance}/{act}"), Some(body)).await
    }

    /// Sends the last callback of this kind once more.
    pub async fn repeat(&self, instance: &str, action: CallbackAction) -> Result<()> {
        let body = serde_json::json!({ "action": action });
        let _: Value = self.call(Method::POST, &format!("purchases/{instance}/repeat"), Some(body)).await?;
        Ok(())
    }

    /// The signed link with which the buyer opens the product.
    pub async fn landing_link(&self, instance: &str) -> Result<String> {
        let answer: Value =
            self.call(Method::GET, &format!("purchases/{instance}/landing-link"), None).await?;
        let url = answer.get("url").and_then(Value::as_str).map(str::to_owned);
        url.ok_or_else(|| Failure::failed("the sandbox's answer lacks `url`"))
    }

    /// Every purchase.
    pub async fn purchases(&self) -> Result<Vec<SandboxPurchase>> {
        self.call(Method::GET, "purchases", None).await
    }

    /// The usage it has taken, in order.
    pub async fn usage(&self) -> Result<Vec<RememberedUsage>> {
        self.call(Method::GET, "usage", None).await
    }

    /// Every callback and what became of it.
    pub async fn callbacks(&self) -> Result<Vec<Notice>> {
        self.call(Method::GET, "callbacks", None).await
    }

    /// Makes the next calls of ours fail.
    pub async fn add_fault(&self, fault: &Fault) -> Result<()> {
        let body = serde_json::to_value(fault).attempt(|| "writing JSON".to_owned())?;
        let _: Value = self.call(Method::POST, "faults", Some(body)).await?;
        Ok(())
    }

    /// Takes all faults away.
    pub async fn clear_faults(&self) -> Result<()> {
        let _: Value = self.call(Method::DELETE, "faults", None).await?;
        Ok(())
    }

    /// Says how callbacks are delivered from now on.
    pub async fn set_delivery(&self, settings: &DeliverySettings) -> Result<()> {
        let body = serde_json::to_value(settings).attempt(|| "writing JSON".to_owned())?;
        let _: Value = self.call(Method::PUT, "delivery", Some(body)).await?;
        Ok(())
    }

    /// Waits until no callback is waiting.
    pub async fn settle(&self, limit: Duration) -> Result<()> {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let body = serde_json::json!({ "timeout_millis": millis });
        let _: Value = self.call(Method::POST, "settle", Some(body)).await?;
        Ok(())
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T> {
        let url = format!("{}/sandbox/{path}", self.base.trim_end_matches('/'));
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = send(&url, Request { method, query: String::new(), headers, body }).await?;
        if !answer.status.is_success() {
            let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let said = said.get("error").and_then(Value::as_str).map(str::to_owned);
            let said = said.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
            return Err(Failure::failed(format!("the sandbox refused ({}): {said}", answer.status)));
        }
        serde_json::from_slice(&answer.body).attempt(|| "reading the sandbox's answer".to_owned())
    }
}

/// Sends a signed callback to an address.
pub async fn send_callback(url: &str, callback: &SignedCallback) -> Result<Answer> {
    let headers = callback.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let headers = headers.map(|(_, value)| ("content-type", value.clone())).collect();
    let request = Request {
        method: callback.method.clone(),
        query: callback.query.clone(),
        headers,
        body: callback.body.clone(),
    };
    send(url, request).await
}

/// Opens a page as a browser set to English does.
pub async fn open_page(url: &str) -> Result<Answer> {
    let headers = vec![("accept-language", "en".to_owned())];
    send(url, Request { method: Method::GET, query: String::new(), headers, body: String::new() }).await
}

async fn send(url: &str, request: Request) -> Result<Answer> {
    let target = Target { base_url: url.to_owned(), allow_insecure: true, timeout: TIMEOUT };
    let client = HttpClient::new(&target).attempt(|| format!("{url} cannot be called"))?;
    let answer = client.send(Idempotency::OnceOnly, || request.clone()).await;
    answer.map_err(|source| Failure::Unreachable { what: url.to_owned(), source: Box::new(source) })
}
