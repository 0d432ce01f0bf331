//! Sends metering records, takes over what was left behind and moves what came too late.

use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::submit_usage;

/// Does a bounded piece of each. Returns how much there was.
pub async fn batch(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    // Each piece is done whatever becomes of the others (I-27).
    let taken_over = submit_usage::take_over(ctx, now).await;
    let expired = submit_usage::expire(ctx, now).await;
    let warned = submit_usage::warn_late(ctx, now).await;
    let sent = submit_usage::run(ctx, now).await?;
    warned?;
    Ok(taken_over? + expired? + sent)
}
