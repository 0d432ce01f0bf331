//! Rolls usage up, tells Billing, and closes days.

use std::time::Duration;

use tandem_service_kit::fault::Fault;
use tandem_service_kit::singleton::try_hold;
use tandem_service_kit::worker::spawn_loop;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ops::{Context, close_day, deliver_usage, roll_up};
use crate::store::usage_total::Scope;

/// How often to look whether a day is over; a clock that is moved wakes the loop as well.
const CLOSE_EVERY: Duration = Duration::from_secs(5);
/// How long a replica keeps a job without renewing: longer than a round takes.
const HOLD_SECS: u32 = 60;

pub(super) fn spawn_delivery(
    context: &Context,
    holder: &str,
    shutdown: &CancellationToken,
) -> JoinHandle<()> {
    let (context, holder) = (context.clone(), holder.to_owned());
    let (clock, every) = (context.clock.clone(), context.usage.deliver_every());
    spawn_loop("deliver-usage", clock, every, None, shutdown.clone(), move || {
        let (context, holder) = (context.clone(), holder.clone());
        async move {
            if !try_hold(&context.db, "deliver-usage", &holder, context.now(), HOLD_SECS).await? {
                return Ok(0);
            }
            let rolled_up = roll_up::some(&context.db, Scope::All).await?.changes;
            let delivered = deliver_usage::some(&context, None).await?;
            Ok::<_, Fault>(rolled_up.saturating_add(delivered))
        }
    })
}

pub(super) fn spawn_closing(context: &Context, holder: &str, shutdown: &CancellationToken) -> JoinHandle<()> {
    let (context, holder) = (context.clone(), holder.to_owned());
    spawn_loop("close-days", context.clock.clone(), CLOSE_EVERY, None, shutdown.clone(), move || {
        let (context, holder) = (context.clone(), holder.clone());
        async move {
            if !try_hold(&context.db, "close-days", &holder, context.now(), HOLD_SECS).await? {
                return Ok(0);
            }
            let mut closed = 0;
            let mut failed = None;
            for site in context.sites.iter() {
                // One site's trouble does not keep the others open.
                match close_day::next(&context, site).await {
                    Ok(true) => closed += 1,
                    Ok(false) => {}
                    Err(fault) => failed = Some(fault),
                }
            }
            match failed {
                Some(fault) => Err(fault),
                None => Ok(closed),
            }
        }
    })
}
