//! What Billing decides, as the feed tells it.

use serde::{Deserialize, Serialize};

/// Something that followers of the feed are told. Stored as JSON: fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeedEvent {
    /// A workspace's payer, method or standing is now this.
    WorkspaceChanged {
        /// Grows with each change of the workspace.
        revision: i64,
        /// Name of the settlement method.
        settlement_method: String,
        /// Name of the standing.
        standing: String,
        /// Microseconds since 1970.
        lock_at: Option<i64>,
    },
    /// A bill was issued.
    BillIssued {
        /// `bil_…`.
        bill_id: String,
        /// `yyyymmdd`.
        usage_day: i32,
        /// ISO 4217 code.
        currency: String,
        /// Minor units.
        payable: i64,
        /// Minor units that were not paid at once.
        arrears: i64,
    },
    /// A bill was paid in full.
    BillPaid {
        /// `bil_…`.
        bill_id: String,
    },
    /// A subscription came to another state.
    SubscriptionChanged {
        /// `sub_…`.
        subscription_id: String,
        /// Name of the state.
        state: String,
    },
}
