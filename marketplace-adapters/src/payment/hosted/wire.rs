//! The messages of the contract (`README.md`), and what they mean.

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::delivery::{Outcome, Reply};
use crate::error::ParseError;
use crate::payment::{Notice, OrderState, Payment};

/// Longest number of an order or a payment.
const ID_CHARS_MAX: usize = 64;

/// Opens an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCall {
    /// Who we are.
    pub merchant: String,
    /// Our number of the order.
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
}

/// The order is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// Our number of the order.
    pub order_id: String,
    /// Where it is paid.
    pub payment_url: String,
}

/// Asks for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryCall {
    /// Who we are.
    pub merchant: String,
    /// Our number of the order.
    pub order_id: String,
}

/// Where an order stands: the answer to a query, and a notice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OrderSaid {
    /// Whose order; answers to queries leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    /// Our number of the order.
    pub order_id: String,
    /// `WAITING`, `PAID` or `CLOSED`.
    pub status: String,
    /// The provider's number of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<String>,
    /// What was paid, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// When it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
}

/// An error's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorSaid {
    /// The provider's code.
    pub code: String,
}

/// A number as it may stand in a log line: letters, digits, hyphens and underscores.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl OrderSaid {
    /// The payment that this tells of.
    fn payment(self) -> Result<Payment, ParseError> {
        let missing = |field| ParseError::MissingField { field };
        let bad = |field| ParseError::BadField { field };
        let payment_id = self.payment_id.ok_or(missing("payment_id"))?;
        let minor = self.amount_minor.ok_or(missing("amount_minor"))?;
        let currency = self.currency.ok_or(missing("currency"))?;
        let paid_at = self.paid_at.ok_or(missing("paid_at"))?;
        if !is_id(&payment_id) {
            return Err(bad("payment_id"));
        }
        if !is_id(&self.order_id) {
            return Err(bad("order_id"));
        }
        if minor <= 0 {
            return Err(bad("amount_minor"));
        }
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(bad("currency"));
        }
        Ok(Payment { payment_id, order_id: self.order_id, minor, currency, paid_at })
    }

    /// Where the order stands; it must be the one that was asked for.
    pub(super) fn state(self, order_id: &str) -> Result<OrderState, ParseError> {
        if self.order_id != order_id {
            return Err(ParseError::BadField { field: "order_id" });
        }
        match self.status.as_str() {
            "WAITING" => Ok(OrderState::Waiting),
            "CLOSED" => Ok(OrderState::Closed),
            "PAID" => self.payment().map(OrderState::Paid),
            _ => Err(ParseError::BadField { field: "status" }),
        }
    }
}

/// Reads a notice for a merchant.
pub(super) fn read_notice(body: &[u8], merchant: &str) -> Result<Notice, ParseError> {
    let said: OrderSaid = serde_json::from_slice(body).map_err(|_| ParseError::BadField { field: "body" })?;
    match said.merchant.as_deref() {
        None => return Err(ParseError::MissingField { field: "merchant" }),
        Some(named) if named != merchant => return Err(ParseError::BadField { field: "merchant" }),
        Some(_) => {}
    }
    if said.status == "PAID" {
        return said.payment().map(Notice::Paid);
    }
    let status = said.status.chars().filter(|c| !c.is_control()).take(ID_CHARS_MAX).collect();
    Ok(Notice::Other { status })
}

/// Tells the provider what became of its notice: done, or to be sent again.
pub(super) fn acknowledgement(outcome: &Outcome) -> Reply {
    match outcome {
        Outcome::Applied | Outcome::Duplicate | Outcome::Pending | Outcome::Parked => {
            Reply::json(StatusCode::OK, &json!({"result": "success"}))
        }
        Outcome::Refused { .. } => {
            Reply::json(StatusCode::UNPROCESSABLE_ENTITY, &json!({"result": "failure"}))
        }
        Outcome::Unavailable => Reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"result": "retry"})),
    }
}

/// Answers a notice that was not proved.
pub(super) fn refusal() -> Reply {
    Reply::json(StatusCode::UNAUTHORIZED, &json!({"result": "failure"}))
}
