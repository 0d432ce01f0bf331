//! Applies recorded events that are due; one that fails waits longer each time and delays nobody else (I-27).

use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::apply_event;
use crate::store::marketplace_event;

/// Events tried in one batch.
const BATCH: i64 = 32;

/// Tries a bounded number of events. Returns how many were due.
pub async fn batch(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    let due = marketplace_event::due(&ctx.db.read, now, BATCH).await?;
    for id in &due {
        // What this one has woken is due now and comes with the next batch.
        apply_event::run(ctx, id, now).await?;
    }
    Ok(due.len())
}
