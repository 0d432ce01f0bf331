//! Ends purchases that were never bound, and forgets failed proofs that no longer count.

use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::expire_pending;
use crate::store::failed_try;

/// Ends a bounded number of purchases. Returns how many.
pub async fn batch(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    failed_try::purge(&ctx.db, now).await?;
    expire_pending::run(ctx, now).await
}
