//! Compares each purchase that has not ended with its vendor, at least hourly (`reliability.md` 3.5).

use jiff::Timestamp;
use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::reconcile::{self, Comparison};
use crate::store::subscription;

/// Purchases compared in one batch: few, because each is a call to a vendor.
const BATCH: i64 = 8;

/// Compares a bounded number of purchases that are due. Returns how many.
pub(super) async fn step(ctx: &Context, due: Timestamp) -> Result<usize, Fault> {
    let (now, interval) = (ctx.clock.now(), ctx.reconcile_every);
    let due = subscription::due_for_reconcile(&ctx.db.read, due.min(now) - interval, BATCH).await?;
    let mut found = Comparison::default();
    for purchase in &due {
        reconcile::run(ctx, purchase, interval, now, &mut found).await?;
    }
    Ok(due.len())
}
