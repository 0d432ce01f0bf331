//! Numbers the events of the feed.

use tandem_service_kit::fault::Fault;
use tokio::sync::watch;

use crate::context::Context;
use crate::store::feed;

/// Events numbered in one transaction.
const BATCH: i64 = 2_000;

/// Numbers a bounded number of events and tells the followers of this process. Returns how many.
pub async fn batch(ctx: &Context, head: &watch::Sender<i64>) -> Result<usize, Fault> {
    if !feed::any_new(&ctx.db.read).await? {
        return Ok(0);
    }
    let tx = ctx.db.begin().await?;
    let numbered = feed::number(&tx, BATCH).await?;
    tx.commit().await?;
    if numbered > 0 {
        head.send_modify(|position| {
            *position = position.saturating_add(i64::try_from(numbered).unwrap_or(0))
        });
    }
    Ok(usize::try_from(numbered).unwrap_or(usize::MAX))
}
