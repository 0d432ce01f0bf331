//! Correctly signed callbacks of a vendor, for trials by an operator and for the sandbox.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which callback to make. Each vendor spells it in its own way, or has no such word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallbackAction {
    /// A purchase was made.
    Create,
    /// Renewed, or overdue bills were settled.
    Renew,
    /// Another plan.
    Upgrade,
    /// The term ran out, or a bill is overdue.
    Expire,
    /// Ended for good.
    Release,
    /// A renewal was given back.
    RefundRenew,
    /// An order was paid.
    OrderPay,
    /// A buyer opens the product from the vendor's console.
    Land,
}

/// A text that names no callback.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of create, renew, upgrade, expire, release, refund-renew, order-pay, land")]
pub struct UnknownAction;

impl CallbackAction {
    /// Every action.
    pub const ALL: [CallbackAction; 8] = [
        CallbackAction::Create,
        CallbackAction::Renew,
        CallbackAction::Upgrade,
        CallbackAction::Expire,
        CallbackAction::Release,
        CallbackAction::RefundRenew,
        CallbackAction::OrderPay,
        CallbackAction::Land,
    ];

    /// The name an operator types.
    pub fn name(self) -> &'static str {
        match self {
            CallbackAction::Create => "create",
            CallbackAction::Renew => "renew",
            CallbackAction::Upgrade => "upgrade",
            CallbackAction::Expire => "expire",
            CallbackAction::Release => "release",
            CallbackAction::RefundRenew => "refund-renew",
            CallbackAction::OrderPay => "order-pay",
            CallbackAction::Land => "land",
        }
    }
}

impl std::str::FromStr for CallbackAction {
    type Err = UnknownAction;
    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        CallbackAction::ALL.into_iter().find(|a| a.name() == text).ok_or(UnknownAction)
    }
}

/// What a callback says. Fields that an action has no use for are left out of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallbackFields {
    /// The purchase.
    pub instance: Option<String>,
    /// The buyer's account.
    pub account: Option<String>,
    /// The order.
    pub order: Option<String>,
    /// The vendor's product code.
    pub product: Option<String>,
    /// The vendor's name of the plan.
    pub plan: Option<String>,
    /// Whether it is a trial.
    pub trial: bool,
    /// Whether money is given back.
    pub refund: bool,
    /// The expiry.
    pub expires_at: Option<Timestamp>,
    /// When a buyer pressed the link, for [`CallbackAction::Land`].
    pub at: Option<Timestamp>,
    /// The message's own id, where the vendor sends one.
    pub message_id: Option<String>,
    /// Further fields by the vendor's names.
    pub extra: Vec<(String, String)>,
}

/// A signed callback, ready to be sent to a callback address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCallback {
    /// The HTTP method.
    pub method: Method,
    /// The query, encoded, with its proof.
    pub query: String,
    /// Headers beside the usual ones.
    pub headers: Vec<(String, String)>,
    /// The body; empty when everything stands in the query.
    pub body: String,
}

/// Why a callback cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The vendor has no adapter yet.
    #[error("there is no adapter for this vendor yet")]
    VendorNotBuilt,
    /// This action needs a field that was not given.
    #[error("this callback needs {0}")]
    MissingField(&'static str),
}
