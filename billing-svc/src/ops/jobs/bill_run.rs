//! Makes the bills of closed days.

use std::collections::HashSet;

use jiff::Timestamp;
use tandem_service_kit::fault::Fault;

use crate::context::Context;
use crate::ops::run_billing;
use crate::store::site_day;

/// Closed days looked at in one batch; the rest comes with the next.
const DAYS: i64 = 20;

/// Makes a bounded number of bills of the oldest closed day of each site. Returns how many steps it made.
pub(super) async fn step(ctx: &Context, due: Timestamp) -> Result<usize, Fault> {
    let (mut steps, mut failed) = (0, None);
    let mut seen = HashSet::new();
    for open in site_day::open(&ctx.db.read, due, DAYS).await? {
        // Oldest first, and one day of a site after the other.
        if !seen.insert(open.site.clone()) {
            continue;
        }
        match run_billing::step(ctx, &open.site, open.day).await {
            Ok(step) => steps += usize::from(step.is_some()),
            // One site's trouble holds up no other site (I-27).
            Err(fault) => {
                let (site, day) = (&open.site, open.day);
                tracing::error!(site, day = %day, reason = fault.reason.name(), "the bills of {site} for {day} failed");
                failed = Some(fault);
            }
        }
    }
    if let (0, Some(fault)) = (steps, failed) {
        return Err(fault);
    }
    Ok(steps)
}
