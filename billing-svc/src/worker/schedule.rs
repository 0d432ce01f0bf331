//! Runs the schedule: a loop for each job, so that a long one holds up no other.

use std::sync::Arc;
use std::time::Duration;

use tandem_service_kit::worker::spawn_loop;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::domain::job::Job;
use crate::ops::jobs::Schedule;

/// How often old rows are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// Starts every job. When `stop` is given and all have ended, the schedule is free for another replica.
pub(super) fn spawn(ctx: &Arc<Context>, poll: Duration, stop: &CancellationToken) -> JoinHandle<()> {
    let schedule = Arc::new(Schedule::default());
    let jobs: Vec<_> = Job::ALL.iter().map(|job| spawn_job(ctx, &schedule, *job, poll, stop)).collect();
    let ctx = Arc::clone(ctx);
    tokio::spawn(async move {
        for job in jobs {
            if let Err(error) = job.await {
                tracing::error!(error = %error, "a job did not stop by itself");
            }
        }
        schedule.release(&ctx).await;
    })
}

fn spawn_job(
    ctx: &Arc<Context>,
    schedule: &Arc<Schedule>,
    job: Job,
    poll: Duration,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let (poll, wake): (Duration, Option<Arc<Notify>>) = match job {
        Job::BillRun => (poll, Some(Arc::clone(&ctx.wakes.billing))),
        Job::Repayment | Job::Tidy => (TIDY_EVERY, None),
        _ => (poll, None),
    };
    let (ctx, schedule) = (Arc::clone(ctx), Arc::clone(schedule));
    spawn_loop(job.name(), ctx.clock.clone(), poll, wake, stop.clone(), move || {
        let (ctx, schedule) = (Arc::clone(&ctx), Arc::clone(&schedule));
        async move { schedule.turn(&ctx, job).await }
    })
}
