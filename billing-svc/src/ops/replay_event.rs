//! Gives an event that was quarantined, or that waits, all its tries again.

use jiff::Timestamp;
use tandem_proto::ids::MarketplaceEventId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::store::marketplace_event::{self, Event};

/// Makes the event due; the caller applies it after the commit.
///
/// Fails with `OBJECT_NOT_FOUND`, and with `RECORD_NOT_RESOLVABLE` when it was applied or refused.
pub async fn run(tx: &Tx, id: &MarketplaceEventId, now: Timestamp) -> Result<Event, Fault> {
    let find = || marketplace_event::find_all(tx, std::slice::from_ref(id));
    if find().await?.is_empty() {
        return Err(Fault::not_found("event_id"));
    }
    if !marketplace_event::revive(tx, id, now).await? {
        return Err(Fault::new(Reason::RecordNotResolvable));
    }
    find().await?.pop().ok_or(Fault::not_found("event_id"))
}
