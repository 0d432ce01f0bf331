//! The sandbox payment provider: an honest stand-in that speaks the hosted page's wire both ways (feature `sandbox`).
//!
//! It checks signatures of calls and signs its own notices, shows a page to pay on, keeps what it knows over a restart,
//! repeats notices until they are acknowledged, and pays when it is told to: also twice, late, with another amount, with
//! notices that are held back or lost. It can play a forger, too. The adapter cannot tell it from a real provider
//! except by its address and keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

mod api;
mod courier;
mod forger;

pub use forger::Forgery;

use super::hosted::wire::OrderSaid;
use crate::error::ConfigError;
use crate::sandbox::Clock;
use crate::sandbox::state::NoticeState;

/// Most copies of one notice.
const COPIES_MAX: u32 = 32;

/// What the sandbox is made of.
#[derive(Clone)]
pub struct PaymentSandboxConfig {
    /// Our name at the provider.
    pub merchant: String,
    /// The adapter's secrets, by its names.
    pub secrets: BTreeMap<String, SecretString>,
    /// Where it is reached; its pages stand below.
    pub base_url: String,
    /// Time between two tries of a notice.
    pub spacing: Duration,
    /// Keeps what the sandbox knows over a restart.
    pub state_file: Option<PathBuf>,
}

/// Why the sandbox did not do something.
#[derive(Debug, thiserror::Error)]
pub enum PaymentSandboxError {
    /// What it is made of cannot be used.
    #[error("sandbox configuration")]
    Config(#[from] ConfigError),
    /// The state file cannot be read or written.
    #[error("sandbox state file")]
    Storage(#[source] std::io::Error),
    /// There is no such order.
    #[error("the sandbox has no such order")]
    NoOrder,
    /// The order is paid or closed.
    #[error("the order is paid or closed; say `again` or `late` to pay it all the same")]
    NotWaiting,
    /// An amount that nobody can pay.
    #[error("the amount must be above zero")]
    NoAmount,
}

/// One payment of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPayment {
    /// The provider's number of it.
    pub payment_id: String,
    /// What was paid, in minor units.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// When.
    pub paid_at: Timestamp,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxOrder {
    /// The merchant's number of it.
    pub order_id: String,
    /// What is to be paid, in minor units.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Where notices go.
    pub notify_url: String,
    /// Where the customer's browser goes.
    pub return_url: String,
    /// Its payments: none, one, or more when the sandbox was told to pay again.
    pub payments: Vec<SandboxPayment>,
}

impl SandboxOrder {
    /// Its state in the contract's words.
    pub fn status(&self, now: Timestamp) -> &'static str {
        match self.payments.is_empty() {
            false => "PAID",
            true if now >= self.expires_at => "CLOSED",
            true => "WAITING",
        }
    }

    fn said(&self, payment: Option<&SandboxPayment>, now: Timestamp) -> OrderSaid {
        OrderSaid {
            merchant: None,
            order_id: self.order_id.clone(),
            status: self.status(now).to_owned(),
            payment_id: payment.map(|p| p.payment_id.clone()),
            amount_minor: payment.map(|p| p.amount_minor),
            currency: payment.map(|p| p.currency.clone()),
            paid_at: payment.map(|p| p.paid_at),
        }
    }
}

/// A notice the sandbox owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentNotice {
    /// Its number; notices are sent in this order.
    pub number: u64,
    /// The order that was paid.
    pub order_id: String,
    /// The payment.
    pub payment_id: String,
    /// How often it is sent at a time.
    pub copies: u32,
    /// What became of it.
    pub state: NoticeState,
    /// How often it was tried.
    pub tries: u32,
    /// The HTTP status of the last answer; 0 when there was none.
    pub last_status: u16,
    /// Not before this.
    #[serde(skip)]
    due: Option<Instant>,
}

/// How an order is paid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pay {
    /// Another amount than the order's, in minor units.
    pub amount_minor: Option<i64>,
    /// Another currency than the order's.
    pub currency: Option<String>,
    /// How often the notice is sent, at the same time; once when 0.
    pub copies: u32,
    /// How long the notice waits, in milliseconds.
    pub delay_millis: u64,
    /// Holds the notice back until it is let go.
    pub hold: bool,
    /// Loses the notice.
    pub lose: bool,
    /// Pays although the order was paid: a second payment.
    pub again: bool,
    /// Pays although the order is closed.
    pub late: bool,
}

/// Everything the sandbox knows.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    numbers: u64,
    orders: BTreeMap<String, SandboxOrder>,
    notices: Vec<PaymentNotice>,
    /// Answers this status to calls, instead of looking at them.
    #[serde(skip)]
    fails_with: Option<u16>,
}

struct Inner {
    config: PaymentSandboxConfig,
    api_key: SecretString,
    notice_key: SecretString,
    now: Clock,
    state: Mutex<State>,
    changed: Notify,
}

/// A sandbox provider; cheap to clone.
#[derive(Clone)]
pub struct PaymentSandbox(Arc<Inner>);

impl PaymentSandbox {
    /// Makes the sandbox, with what its state file holds.
    ///
    /// Fails when a secret is missing or the state file cannot be read.
    pub fn new(config: PaymentSandboxConfig, now: Clock) -> Result<PaymentSandbox, PaymentSandboxError> {
        let secret =
            |name: &'static str| config.secrets.get(name).cloned().ok_or(ConfigError::MissingSecret(name));
        let (api_key, notice_key) = (secret("api_key")?, secret("notice_key")?);
        let state = match &config.state_file {
            Some(path) if path.exists() => {
                let bytes = std::fs::read(path).map_err(PaymentSandboxError::Storage)?;
                serde_json::from_slice(&bytes).map_err(|e| PaymentSandboxError::Storage(e.into()))?
            }
            _ => State::default(),
        };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Ok(PaymentSandbox(Arc::new(Inner { config, api_key, notice_key, now, state, changed })))
    }

    /// The provider's interface and pages under `/payments`, the control addresses under `/sandbox/payments`.
    pub fn router(&self) -> axum::Router {
        api::routes().with_state(self.clone())
    }

    /// Delivers notices until the task is ended.
    pub async fn deliver(self) {
        courier::run(self).await;
    }

    /// Pays an order.
    ///
    /// Fails when there is no such order, or it does not wait and neither `again` nor `late` says otherwise.
    pub fn pay(&self, order_id: &str, how: &Pay) -> Result<SandboxPayment, PaymentSandboxError> {
        let now = (self.0.now)();
        let amount = how.amount_minor;
        if amount.is_some_and(|minor| minor <= 0) {
            return Err(PaymentSandboxError::NoAmount);
        }
        let payment = self.change(|state| {
            let order = state.orders.get_mut(order_id).ok_or(PaymentSandboxError::NoOrder)?;
            let may = match order.status(now) {
                "WAITING" => true,
                "CLOSED" => how.late,
                _ => how.again,
            };
            if !may {
                return Err(PaymentSandboxError::NotWaiting);
            }
            state.numbers = state.numbers.saturating_add(1);
            let payment = SandboxPayment {
                payment_id: format!("{}{:010}", now.as_second(), state.numbers),
                amount_minor: amount.unwrap_or(order.amount_minor),
                currency: how.currency.clone().unwrap_or_else(|| order.currency.clone()),
                paid_at: now,
            };
            order.payments.push(payment.clone());
            state.notices.push(PaymentNotice {
                number: state.numbers,
                order_id: order_id.to_owned(),
                payment_id: payment.payment_id.clone(),
                copies: how.copies.clamp(1, COPIES_MAX),
                state: match (how.lose, how.hold) {
                    (true, _) => NoticeState::Lost,
                    (false, true) => NoticeState::Held,
                    (false, false) => NoticeState::Waiting,
                },
                tries: 0,
                last_status: 0,
                due: Some(Instant::now() + Duration::from_millis(how.delay_millis)),
            });
            Ok(payment)
        })??;
        Ok(payment)
    }

    /// Sends the notice of every payment of an order once more.
    ///
    /// Fails when there is no such order.
    pub fn repeat(&self, order_id: &str) -> Result<(), PaymentSandboxError> {
        self.change(|state| {
            if !state.orders.contains_key(order_id) {
                return Err(PaymentSandboxError::NoOrder);
            }
            for notice in state.notices.iter_mut().filter(|notice| notice.order_id == order_id) {
                notice.state = NoticeState::Waiting;
                notice.due = None;
            }
            Ok(())
        })?
    }

    /// Lets held notices go, in order.
    pub fn let_go(&self) -> Result<(), PaymentSandboxError> {
        self.change(|state| {
            for notice in state.notices.iter_mut().filter(|notice| notice.state == NoticeState::Held) {
                notice.state = NoticeState::Waiting;
            }
        })
    }

    /// Answers this HTTP status to every call from now on; `None` looks at calls again.
    pub fn fail_calls(&self, status: Option<u16>) {
        self.lock().fails_with = status;
    }

    /// Every order, by number.
    pub fn orders(&self) -> Vec<SandboxOrder> {
        self.lock().orders.values().cloned().collect()
    }

    /// One order.
    pub fn order(&self, order_id: &str) -> Option<SandboxOrder> {
        self.lock().orders.get(order_id).cloned()
    }

    /// Every notice and what became of it.
    pub fn notices(&self) -> Vec<PaymentNotice> {
        self.lock().notices.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what it knows, keeps it, and wakes the courier.
    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, PaymentSandboxError> {
        let mut state = self.lock();
        let done = act(&mut state);
        if let Some(path) = &self.0.config.state_file {
            let bytes =
                serde_json::to_vec_pretty(&*state).map_err(|e| PaymentSandboxError::Storage(e.into()))?;
            // Whole under another name first, so that a crash leaves no half file behind.
            let new = path.with_extension("new");
            std::fs::write(&new, bytes).map_err(PaymentSandboxError::Storage)?;
            std::fs::rename(&new, path).map_err(PaymentSandboxError::Storage)?;
        }
        drop(state);
        self.0.changed.notify_one();
        Ok(done)
    }
}
