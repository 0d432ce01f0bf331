//! Deletes the hourly points of workspaces that were locked or dissolved (`domain.md` 3.12).
//!
//! Bills, and the daily quantities that they rest on, stay. No point goes before Billing has its day's quantity. Of a
//! locked workspace the days that late usage may still change keep their points until they cannot change any more (D13):
//! were it unlocked meanwhile, a day that is counted anew without them would come out too small.

use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::lease::after;

use super::Context;
use crate::domain::usage_day::UsageDay;
use crate::store::ending::{self, Purge};

/// Workspaces of one round.
const BATCH: u32 = 20;
/// Points deleted in one transaction: some tens of milliseconds, far below the statement's time limit.
const POINTS_MAX: u32 = 2_000;
/// When points that had to stay are looked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(600);
/// Days beside those that are open for late points: a batch that was judged before midnight may be written after it.
const MARGIN_DAYS: i32 = 1;

/// Deletes a bounded number of points; returns how many.
pub async fn some(context: &Context) -> Result<usize, Fault> {
    let due = ending::due(&context.db.read, context.now(), BATCH).await?;
    let mut deleted: usize = 0;
    for purge in &due {
        let tx = context.db.begin().await?;
        let count = one(&tx, context, purge).await?;
        tx.commit().await?;
        deleted = deleted.saturating_add(count);
        if count > 0 {
            tracing::info!(workspace.id = %purge.workspace, points = count, "deleted {count} points of {}", purge.workspace);
        }
    }
    Ok(deleted)
}

async fn one(tx: &Tx, context: &Context, purge: &Purge) -> Result<usize, Fault> {
    let last_day = if purge.dissolved { i32::MAX } else { last_final_day(context, purge)? };
    let count = ending::delete_points(tx, purge, last_day, POINTS_MAX).await?;
    if count < u64::from(POINTS_MAX) {
        let again = if purge.dissolved { std::time::Duration::from_secs(2) } else { AGAIN };
        ending::settle(tx, purge, after(context.now(), again)).await?;
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The last day whose points nobody can change any more.
fn last_final_day(context: &Context, purge: &Purge) -> Result<i32, Fault> {
    let site = context.site(&purge.site)?;
    let open = i32::from(context.usage.late_days).saturating_add(MARGIN_DAYS);
    let day = UsageDay::of(context.now(), &site.zone).plus(-open.saturating_add(1));
    Ok(day.map_or(0, UsageDay::number))
}
