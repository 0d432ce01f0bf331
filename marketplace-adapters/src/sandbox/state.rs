//! What the sandbox knows: purchases, orders, usage it was given, callbacks it owes, and how it shall misbehave.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::faults::{DeliverySettings, Fault};
use crate::callback::{CallbackAction, CallbackFields};
use crate::capability::BillingCycle;

/// A product on sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The plans, by the vendor's names.
    pub plans: Vec<String>,
    /// The ids of billing items by dimension: usage of anything else is refused.
    pub items: BTreeMap<String, String>,
    /// How often usage is billed.
    pub cycle: BillingCycle,
}

/// Where a purchase stands at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Paid, and not confirmed by the seller yet.
    Preparing,
    /// In use.
    Open,
    /// Expired or overdue.
    Frozen,
    /// Ended for good.
    Closed,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub order_id: String,
    /// What it did, in the vendor's word.
    pub kind: String,
    /// Whether the money was given back.
    pub refunded: bool,
    /// When it was paid.
    pub paid_at: Timestamp,
}

/// One purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPurchase {
    /// Its number.
    pub instance_id: String,
    /// Who bought it.
    pub account_id: String,
    /// What was bought.
    pub product_code: String,
    /// The vendor's name of the plan.
    pub plan: String,
    /// Whether it is a trial.
    pub trial: bool,
    /// Whether another seller's product was bought: we must not be told anything of it.
    pub other_seller: bool,
    /// Where it stands.
    pub status: Status,
    /// When it was bought.
    pub bought_at: Timestamp,
    /// When it ends; absent for pay-as-you-go.
    pub expires_at: Option<Timestamp>,
    /// When it was frozen or closed.
    pub stopped_at: Option<Timestamp>,
    /// Its orders, the first one first.
    pub orders: Vec<Order>,
    /// Where buyers land, as the seller said when it confirmed the purchase.
    pub landing_url: Option<String>,
}

/// Usage that was taken. Nothing is recognised as a repeat: the vendor documents no such thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedUsage {
    /// The purchase.
    pub instance_id: String,
    /// The product.
    pub product_code: String,
    /// The metering dimension.
    pub dimension: String,
    /// Start of the window.
    pub start: Timestamp,
    /// End of the window.
    pub end: Timestamp,
    /// Units.
    pub quantity: i64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The reference that was answered.
    pub reference: String,
    /// Whether the buyer is billed for it; usage after the end is taken and not billed.
    pub billed: bool,
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeState {
    /// Waits to be sent, or to be sent again.
    Waiting,
    /// Held back until it is let go.
    Held,
    /// The seller said that it was done.
    Done,
    /// Given up after the last try.
    Failed,
    /// Lost on the way, on purpose.
    Lost,
}

/// A callback the sandbox owes the seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number; callbacks are sent in this order.
    pub number: u64,
    /// What it says.
    pub action: CallbackAction,
    /// About what.
    pub fields: CallbackFields,
    /// What became of it.
    pub state: NoticeState,
    /// How often it was tried.
    pub tries: u32,
    /// The HTTP status of the last answer; 0 when there was none.
    pub last_status: u16,
    /// Not before this.
    #[serde(skip)]
    pub due: Option<Instant>,
}

/// Everything the sandbox knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Numbers given out so far.
    pub numbers: u64,
    /// Purchases by number.
    pub purchases: BTreeMap<String, SandboxPurchase>,
    /// Usage in the order it was taken.
    pub usage: Vec<RememberedUsage>,
    /// Callbacks by number.
    pub notices: Vec<Notice>,
    /// How callbacks are delivered.
    #[serde(default)]
    pub delivery: DeliverySettings,
    /// Faults to come.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Numbers used once, and when.
    #[serde(skip)]
    pub nonces: BTreeMap<String, Timestamp>,
    /// The last usage call for each instance.
    #[serde(skip)]
    pub last_push: BTreeMap<String, Timestamp>,
}

impl State {
    /// Gives out the next number.
    pub fn next_number(&mut self) -> u64 {
        self.numbers = self.numbers.saturating_add(1);
        self.numbers
    }

    /// The purchase that an order belongs to, and the order.
    pub fn order(&self, order_id: &str) -> Option<(&SandboxPurchase, &Order)> {
        self.purchases.values().find_map(|p| p.orders.iter().find(|o| o.order_id == order_id).map(|o| (p, o)))
    }

    /// Queues a callback, as the delivery settings say.
    pub fn notify(&mut self, action: CallbackAction, fields: CallbackFields) {
        let number = self.next_number();
        let state = if self.delivery.lose_next > 0 {
            self.delivery.lose_next -= 1;
            NoticeState::Lost
        } else if self.delivery.hold {
            NoticeState::Held
        } else {
            NoticeState::Waiting
        };
        self.notices.push(Notice { number, action, fields, state, tries: 0, last_status: 0, due: None });
    }

    /// Takes one use of the first fault for this action, if there is any.
    pub fn take_fault(&mut self, action: &str) -> Option<Fault> {
        let at = self.faults.iter().position(|f| f.times > 0 && (f.action == "*" || f.action == action))?;
        let fault = self.faults.get_mut(at)?;
        fault.times -= 1;
        let taken = fault.clone();
        self.faults.retain(|f| f.times > 0);
        Some(taken)
    }
}
