//! How the sandbox shall misbehave. Everything here is off until it is asked for.

use serde::{Deserialize, Serialize};

/// What goes wrong with a call of the seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FaultKind {
    /// Answers an error without looking at the call.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The vendor's code.
        code: String,
    },
    /// Never answers, and does nothing.
    HangBefore,
    /// Does what was asked, and never answers.
    HangAfter,
    /// Does what was asked, and answers something that is none of its answers.
    Nonsense,
    /// Does what was asked, and says that it did not succeed, without a code.
    Doubt,
    /// Does what was asked, and answers late.
    Delay {
        /// How late.
        millis: u64,
    },
}

/// A fault, and how often it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The vendor's name of the call, or `*` for any.
    pub action: String,
    /// How many calls it hits.
    pub times: u32,
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// How callbacks are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// How often each callback is sent, at the same time.
    pub copies: u32,
    /// Holds callbacks back until they are let go, in order or in reverse.
    pub hold: bool,
    /// How many callbacks get lost from now on.
    pub lose_next: u32,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self { copies: 1, hold: false, lose_next: 0 }
    }
}

/// Most copies of one callback.
pub const COPIES_MAX: u32 = 32;

/// In which order held callbacks are let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetGo {
    /// As they came.
    Forward,
    /// The last one first.
    Backward,
}

/// A ready-made purchase that a careful seller turns down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awkward {
    /// Of another seller: we are not told of it.
    OtherSeller,
    /// Of ours, but of a product this system does not sell.
    OtherProduct,
    /// Frozen.
    Frozen,
    /// Closed.
    Closed,
    /// Open, but the money was given back.
    Refunded,
    /// Not confirmed yet.
    Preparing,
    /// In order, but its callback never came.
    Unannounced,
}
