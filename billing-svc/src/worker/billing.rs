//! Makes the bills of closed days.

use crate::context::Context;
use crate::ops::run_billing;
use crate::store::site_day;
use tandem_service_kit::fault::Fault;

/// Closed days looked at in one batch; the rest comes with the next.
const DAYS: i64 = 20;

/// Makes a bounded number of bills of the oldest closed day of each site. Returns how many steps it made.
pub async fn batch(ctx: &Context) -> Result<usize, Fault> {
    let mut steps = 0;
    let mut seen = std::collections::HashSet::new();
    for open in site_day::open(&ctx.db.read, DAYS).await? {
        // Oldest first, and one day of a site after the other.
        if seen.insert(open.site.clone()) && run_billing::step(ctx, &open.site, open.day).await?.is_some() {
            steps += 1;
        }
    }
    Ok(steps)
}
