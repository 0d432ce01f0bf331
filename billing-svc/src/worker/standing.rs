//! Makes debts overdue and locks workspaces when their 14 days are over, and takes expired credit away.

use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::{expire_lots, stand};

/// Handles a bounded number of accounts and workspaces. Returns how many.
pub async fn batch(ctx: &Context) -> Result<usize, Fault> {
    let now = ctx.clock.now();
    let overdue = stand::set_overdue(ctx, now).await?;
    let locked = stand::lock_due(ctx, now).await?;
    let warned = stand::warn_soon(ctx, now).await?;
    if locked > 0 {
        ctx.wakes.feed.notify_one();
    }
    let expired = expire_lots::run(ctx, now).await?;
    Ok(overdue + locked + warned + expired)
}
