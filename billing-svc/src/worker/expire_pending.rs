//! Ends purchases that were never bound.

use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::expire_pending;

/// Ends a bounded number of them. Returns how many.
pub async fn batch(ctx: &Context) -> Result<usize, Fault> {
    expire_pending::run(ctx, ctx.clock.now()).await
}
