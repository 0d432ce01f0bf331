//! Calls to the provider.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;

use super::config::Config;
use super::signature::{self, Purpose};
use super::wire::{ErrorSaid, OrderAnswer, OrderCall, OrderSaid, QueryCall};
use crate::Surroundings;
use crate::error::{ClientError, ConfigError};
use crate::http::{Answer, HttpClient, Idempotency, Request, Target};
use crate::payment::{NewOrder, OrderError, OrderState, PaymentClient};

/// Longest page address that is passed on.
const URL_BYTES_MAX: usize = 1_024;
/// Longest code of the provider's that is passed on.
const CODE_CHARS_MAX: usize = 64;

/// The outbound half.
pub(super) struct Client {
    config: Arc<Config>,
    orders: HttpClient,
    queries: HttpClient,
    surroundings: Surroundings,
}

impl Client {
    /// Builds the client. Fails when the address is not allowed.
    pub(super) fn new(config: Arc<Config>, surroundings: Surroundings) -> Result<Client, ConfigError> {
        let settings = &config.settings;
        let at = |path: &str| {
            HttpClient::new(&Target {
                base_url: format!("{}{path}", settings.base_url.trim_end_matches('/')),
                allow_insecure: settings.allow_insecure,
                timeout: settings.timeout(),
            })
        };
        let (orders, queries) = (at("/orders")?, at("/orders/query")?);
        Ok(Client { config, orders, queries, surroundings })
    }

    async fn post(&self, http: &HttpClient, purpose: Purpose, body: String) -> Result<Answer, ClientError> {
        let make = || {
            let now = (self.surroundings.now)();
            let key = self.config.api_key.expose_secret();
            let mut headers = signature::sign(purpose, body.as_bytes(), key, now).to_vec();
            headers.push(("content-type", "application/json".to_owned()));
            Request { method: Method::POST, query: String::new(), headers, body: body.clone() }
        };
        // Both calls may be repeated: the order's number keeps a second one from being opened.
        let sent = http.send(Idempotency::Idempotent, make).await;
        sent.map_err(|error| ClientError::Unavailable { code: error.label().to_owned() })
    }
}

/// Why the provider did not do it: `None` when only what was asked is wrong.
fn trouble(answer: &Answer) -> Option<ClientError> {
    let code = code(answer);
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(ClientError::Denied { code }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Some(ClientError::Unavailable { code })
        }
        status if status.is_client_error() => None,
        status if status.is_server_error() => Some(ClientError::Unavailable { code }),
        _ => Some(ClientError::Unclear { what: "status" }),
    }
}

/// The provider's code, fit for a log line.
fn code(answer: &Answer) -> String {
    let said: Option<ErrorSaid> = serde_json::from_slice(&answer.body).ok();
    let code = said.map_or_else(|| answer.status.as_u16().to_string(), |said| said.code);
    code.chars().filter(|c| c.is_ascii_graphic()).take(CODE_CHARS_MAX).collect()
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    serde_json::from_slice(&answer.body).map_err(|_| ClientError::Unclear { what: "body" })
}

#[async_trait]
impl PaymentClient for Client {
    async fn create_order(&self, order: &NewOrder) -> Result<String, OrderError> {
        let settings = &self.config.settings;
        let call = OrderCall {
            merchant: settings.merchant.clone(),
            order_id: order.order_id.clone(),
            amount_minor: order.amount.minor,
            currency: order.amount.currency.code().to_owned(),
            expires_at: order.expires_at,
            notify_url: settings.notify_url.clone(),
            return_url: settings.return_url.clone(),
        };
        let body = serde_json::to_string(&call).map_err(|_| ClientError::Unclear { what: "order" })?;
        let answer = self.post(&self.orders, Purpose::Order, body).await?;
        if answer.status != StatusCode::OK {
            return Err(
                trouble(&answer).map_or_else(|| OrderError::Refused { code: code(&answer) }, Into::into)
            );
        }
        let opened: OrderAnswer = read(&answer)?;
        let page =
            url::Url::parse(&opened.payment_url).ok().filter(|_| opened.payment_url.len() <= URL_BYTES_MAX);
        // The page is opened in the customer's browser: only the web, and only securely.
        let is_web =
            page.is_some_and(|p| p.scheme() == "https" || (p.scheme() == "http" && settings.allow_insecure));
        if opened.order_id != order.order_id || !is_web {
            return Err(ClientError::Unclear { what: "page" }.into());
        }
        Ok(opened.payment_url)
    }

    async fn look_up_order(&self, order_id: &str) -> Result<OrderState, ClientError> {
        let call =
            QueryCall { merchant: self.config.settings.merchant.clone(), order_id: order_id.to_owned() };
        let body = serde_json::to_string(&call).map_err(|_| ClientError::Unclear { what: "query" })?;
        let answer = self.post(&self.queries, Purpose::Query, body).await?;
        if answer.status == StatusCode::OK {
            let said: OrderSaid = read(&answer)?;
            return said.state(order_id).map_err(|_| ClientError::Unclear { what: "order" });
        }
        match trouble(&answer) {
            Some(error) => Err(error),
            None if answer.status == StatusCode::NOT_FOUND && code(&answer) == "ORDER_NOT_FOUND" => {
                Ok(OrderState::Unknown)
            }
            None => Err(ClientError::Unclear { what: "query" }),
        }
    }
}
