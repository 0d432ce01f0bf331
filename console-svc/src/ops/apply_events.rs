//! Takes Billing's events over: each workspace's standing and method, and how far the feed was followed.

use jiff::Timestamp;
use tandem_proto::billing::v1::Event;
use tandem_proto::billing::v1::event::What;
use tandem_service_kit::db::{Database, StoreError};
use tandem_service_kit::validate;

use crate::domain::workspace::{SettlementMethod, Standing, StandingCopy};
use crate::store;
use crate::store::workspace::StandingChange;

/// Applies events in order and moves the cursor, in one transaction. Events that do not concern the Console are passed
/// over; an older revision changes nothing.
pub async fn run(db: &Database, events: &[Event], now: Timestamp) -> Result<(), StoreError> {
    let Some(last) = events.iter().map(|event| event.position).max() else { return Ok(()) };
    let changes: Vec<_> = events.iter().filter_map(change).collect();
    let tx = db.begin().await?;
    store::workspace::apply_standings(&tx, &changes, now).await?;
    store::feed::advance(&tx, last).await?;
    tx.commit().await
}

fn change(event: &Event) -> Option<StandingChange> {
    let Some(What::WorkspaceChanged(changed)) = &event.what else { return None };
    let standing = Standing::from_number(changed.standing);
    let (Ok(workspace_id), Some(standing)) = (event.workspace_id.parse(), standing) else {
        // Never stops the feed: what follows concerns others.
        tracing::error!(event.id, event.position, "an event of the feed cannot be read; it is passed over");
        return None;
    };
    let copy = StandingCopy {
        standing,
        lock_at: validate::timestamp("lock_time", changed.lock_time).ok(),
        settlement_method: SettlementMethod::from_number(changed.settlement_method),
        billing_account_id: Some(event.billing_account_id.clone()).filter(|id| !id.is_empty()),
    };
    Some(StandingChange { workspace_id, revision: changed.revision, copy })
}
