//! The daily bill run: a site's closed day, a bounded number of workspaces a transaction, from where it stopped.

use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use super::cover_usage;
use super::issue_bills::{Run, Work, issue};
use super::log_modes;
use crate::context::Context;
use crate::domain::bill::BillKind;
use crate::store::{account, settled, site_day, usage, workspace};

/// Workspaces in one transaction: at 12 lines each some ten thousand rows, far below the statement time limit, and few
/// enough that accounts are locked for a moment only.
const BATCH: i64 = 250;

/// What one step of a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Bills that were made.
    pub issued: usize,
    /// Whether all bills of the day are made.
    pub done: bool,
}

/// Makes the next bills of a site's closed day. `None` when the day is not closed.
///
/// Where the run stands is kept with the bills, so that it goes on after a crash and a second run changes nothing.
pub async fn step(ctx: &Context, site: &str, day: UsageDay) -> Result<Option<Step>, Fault> {
    let now = ctx.clock.now();
    let tx = ctx.db.begin().await?;
    let Some(mark) = site_day::lock(&tx, site, day).await? else { return Ok(None) };
    if mark.billed_at.is_some() {
        return Ok(Some(Step { issued: 0, done: true }));
    }
    let found = usage::next_unbilled(&tx, site, day, &mark.cursor, BATCH).await?;
    let done = i64::try_from(found.len()).is_ok_and(|found| found < BATCH);
    let cursor = match found.last() {
        Some((account, last)) => format!("{account}/{last}"),
        None => mark.cursor.clone(),
    };
    let payers: Vec<BillingAccountId> = found.iter().map(|(account, _)| account.clone()).collect();
    let accounts = account::lock_all(&tx, &payers).await?;
    let places = cover_usage::together(&tx, site, day, found).await?;
    let workspaces = workspace::lock_places(&tx, &places).await?;
    let mut unbilled = usage::unbilled(&tx, &places, day).await?;
    log_modes::set_aside(&tx, &mut unbilled).await?;
    let mut routes = settled::before(&tx, &places, mark.ends_at).await?;
    let works = workspaces
        .into_iter()
        .filter_map(|workspace| {
            let place = (workspace.billing_account.clone(), workspace.id.clone());
            let usage = unbilled.remove(&place)?;
            // A purchase that has ended since, or is frozen, takes nothing.
            let route = routes.remove(&place).flatten().filter(|route| route.state.takes_usage());
            Some(Work { workspace, day, usage, route })
        })
        .collect();
    let run = Run { kind: BillKind::Daily, until: mark.ends_at, now };
    let issued = issue(&tx, ctx, run, works, &accounts).await?;
    site_day::save_progress(&tx, site, day, &cursor, done.then_some(now)).await?;
    tx.commit().await?;
    ctx.wakes.feed.notify_one();
    ctx.wakes.metering.notify_one();
    if issued > 0 {
        tracing::info!(site, day = %day, bills = issued, "issued {issued} bills of {site} for {day}");
    }
    Ok(Some(Step { issued, done }))
}

/// Makes all bills of a site's closed day, earlier closed days first. Returns how many it made.
///
/// Fails with `DAY_NOT_OVER` when the day is not closed, and with `SITE_NOT_FOUND` when nothing is known of the site.
pub async fn run(ctx: &Context, site: &str, day: UsageDay) -> Result<usize, Fault> {
    let db = &ctx.db.read;
    if site_day::find(db, site, day).await?.is_none() {
        return Err(match site_day::is_known(db, site).await? {
            true => Fault::new(Reason::DayNotOver).with("usage_day", day.to_string()),
            false => Fault::new(Reason::SiteNotFound).with("site", site),
        });
    }
    let mut issued = 0;
    for open in site_day::open_until(db, site, day).await? {
        loop {
            let Some(step) = step(ctx, site, open).await? else { break };
            issued += step.issued;
            if step.done {
                break;
            }
        }
    }
    Ok(issued)
}
