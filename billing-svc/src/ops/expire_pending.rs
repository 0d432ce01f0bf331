//! Ends purchases that were bought and never bound (`domain.md` 5.4: 30 days).

use jiff::{SignedDuration, Timestamp};
use tandem_service_kit::fault::Fault;

use super::apply_event;
use crate::context::Context;
use crate::domain::subscription::EventKind;
use crate::store::subscription;

/// How long a purchase may wait for its first workspace.
const IDLE_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Purchases ended in one batch.
const BATCH: i64 = 50;

/// Ends a bounded number of them, and returns how many were found for the first time.
pub async fn run(ctx: &Context, now: Timestamp) -> Result<usize, Fault> {
    let idle = subscription::idle(&ctx.db.read, now - IDLE_MAX, BATCH).await?;
    let event = |s: &_| apply_event::synthetic(s, EventKind::Cancelled, format!("idle:{}", s.id), None);
    let events: Vec<_> = idle.iter().map(event).collect();
    apply_event::record_and_run(ctx, &events, now).await
}
