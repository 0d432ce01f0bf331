//! Loops that do what nobody calls for: resuming, delivering, closing, following, tidying up.

mod deliver;
mod ended;
mod follow_feed;
mod profile;
mod resume;
mod tidy;

pub use profile::ProfileHandler;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ops::Context;

/// Starts every loop; each ends soon after `shutdown`.
pub fn spawn_all(context: &Context, holder: &str, shutdown: &CancellationToken) -> Vec<JoinHandle<()>> {
    vec![
        resume::spawn(context, shutdown),
        deliver::spawn_delivery(context, holder, shutdown),
        deliver::spawn_closing(context, holder, shutdown),
        follow_feed::spawn(context, shutdown),
        ended::spawn(context, shutdown),
        tidy::spawn(context, shutdown),
    ]
}
