//! Records what vendors announced, once by the sender's key, before anything is done about it (`reliability.md` 3.2).

use jiff::Timestamp;
use tandem_service_kit::db::{StoreError, Tx};

use crate::store::marketplace_event::{self, Recorded, Taken};

/// Most events in one call.
pub const EVENTS_MAX: usize = 100;

/// Records the events; the answers are in the same order. Applying them is [`super::apply_event`]'s part, after the
/// commit.
pub async fn run(tx: &Tx, events: &[Recorded], now: Timestamp) -> Result<Vec<Taken>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    marketplace_event::record(tx, events, now).await
}
