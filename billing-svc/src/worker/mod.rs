//! Loops: bounded batches, back-off, one claim a row. Queues have a loop each; what is due by the calendar runs by the
//! schedule.

pub mod feed;
pub mod inbox;
pub mod metering;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use tandem_service_kit::worker::spawn_loop;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::JobsSection;
use crate::context::Context;

/// Starts every loop of the process.
pub fn spawn(
    ctx: &Arc<Context>,
    jobs: &JobsSection,
    head: watch::Sender<i64>,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let poll = Duration::from_secs(u64::from(jobs.poll_secs));
    let head = Arc::new(head);
    macro_rules! looped {
        ($name:literal, $wake:expr, |$ctx:ident| $batch:expr) => {{
            let shared = Arc::clone(ctx);
            let wake: Option<&Arc<Notify>> = $wake;
            spawn_loop($name, ctx.clock.clone(), poll, wake.cloned(), stop.clone(), move || {
                let $ctx = Arc::clone(&shared);
                async move { $batch.await }
            })
        }};
    }
    let number = {
        let (shared, head) = (Arc::clone(ctx), Arc::clone(&head));
        // Followers wait for this, so it looks more often than the other loops.
        let poll = poll.min(Duration::from_millis(500));
        spawn_loop("feed", ctx.clock.clone(), poll, Some(ctx.wakes.feed.clone()), stop.clone(), move || {
            let (ctx, head) = (Arc::clone(&shared), Arc::clone(&head));
            async move { feed::batch(&ctx, &head).await }
        })
    };
    vec![
        number,
        looped!("inbox", Some(&ctx.wakes.inbox), |ctx| inbox::batch(&ctx)),
        looped!("metering", Some(&ctx.wakes.metering), |ctx| metering::batch(&ctx)),
        schedule::spawn(ctx, poll, stop),
    ]
}
