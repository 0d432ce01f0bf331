//! Follows up on workspaces that were locked or dissolved: tells Billing, deletes points.

use std::time::Duration;

use tandem_service_kit::fault::Fault;
use tandem_service_kit::worker::spawn_loop;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ops::{Context, purge_points, tell_dissolved};

/// How often to look: the pair of services converges within seconds (I-36).
const EVERY: Duration = Duration::from_secs(2);

/// Several replicas may do this at once: Billing knows repetitions, and what is deleted is deleted once.
pub(super) fn spawn(context: &Context, shutdown: &CancellationToken) -> JoinHandle<()> {
    let context = context.clone();
    spawn_loop("ended-workspaces", context.clock.clone(), EVERY, None, shutdown.clone(), move || {
        let context = context.clone();
        async move {
            let told = tell_dissolved::some(&context).await?;
            let deleted = purge_points::some(&context).await?;
            Ok::<_, Fault>(told.saturating_add(deleted))
        }
    })
}
