//! The jobs, and the one schedule they all run by.
//!
//! Any number of replicas may run the schedule: one of them holds its lease and does the work, another takes over when
//! it is gone. The lease saves work and guards nothing, because every job decides under the locks of the rows it changes:
//! a clock that jumps, or a holder that wakes up late, makes two replicas do the same and the second one find it done.
//! A clock that jumped forward makes everything due that lies between, oldest first.

mod bill_run;
mod reconcile_due;
mod tidy;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::singleton;

use super::{
    check_recharges, end_grace, expire_changes, expire_lots, expire_pending, repay_due, roll_months,
    send_alerts, stand, warn_expiring, warn_packages,
};
use crate::context::Context;
use crate::domain::job::Job;
use crate::store;
use crate::store::failed_try;

/// The schedule's name among the leases.
const LEASE: &str = "jobs";
/// How long a replica keeps the schedule without renewing: as long as everybody waits after it has died.
const HOLD_SECS: u32 = 10;
/// How long before its end a lease is renewed.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_secs(5);
/// How often a look that found nothing is noted.
const NOTE_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// One replica's part in the schedule.
pub struct Schedule {
    holder: String,
    held_until: Mutex<Option<Timestamp>>,
    noted: Mutex<BTreeMap<Job, Timestamp>>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        let holder = format!("billing-{}", fresh_uuid());
        Schedule { holder, held_until: Mutex::default(), noted: Mutex::default() }
    }
}

impl Schedule {
    /// Does the next bounded piece of a job, unless another replica holds the schedule. Returns how much was done.
    pub async fn turn(&self, ctx: &Context, job: Job) -> Result<usize, Fault> {
        let now = ctx.clock.now();
        if !self.holds(ctx, now).await? {
            return Ok(0);
        }
        let outcome = step(ctx, job, now).await;
        if !matches!(outcome, Ok(0)) || self.should_note(job, now) {
            note(ctx, job, &outcome).await?;
        }
        outcome
    }

    /// Lets another replica go on at once.
    pub async fn release(&self, ctx: &Context) {
        // Failing is no harm: the lease ends by itself.
        let _ = singleton::release(&ctx.db, LEASE, &self.holder).await;
    }

    async fn holds(&self, ctx: &Context, now: Timestamp) -> Result<bool, Fault> {
        let held = *self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        // A lease that reaches further than one can was taken by a clock that has jumped back since.
        let longest = now + SignedDuration::from_secs(i64::from(HOLD_SECS));
        if held.is_some_and(|until| until - RENEW_BEFORE > now && until <= longest) {
            return Ok(true);
        }
        let holds = singleton::try_hold(&ctx.db, LEASE, &self.holder, now, HOLD_SECS).await?;
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner) = holds.then_some(longest);
        Ok(holds)
    }

    fn should_note(&self, job: Job, now: Timestamp) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = noted.get(&job).is_none_or(|last| *last + NOTE_EVERY <= now || *last > now);
        if due {
            noted.insert(job, now);
        }
        due
    }
}

/// Does everything a job finds due at `due`, for an operator who does not want to wait. Returns how much.
pub async fn run(ctx: &Context, job: Job, due: Timestamp) -> Result<usize, Fault> {
    let mut done = 0;
    loop {
        let outcome = step(ctx, job, due).await;
        if !matches!(outcome, Ok(0)) {
            note(ctx, job, &outcome).await?;
        }
        match outcome? {
            0 => return Ok(done),
            more => done += more,
        }
    }
}

/// Does a bounded piece of what is due at `due`. Returns how much, in the job's own units; 0 when nothing is left.
async fn step(ctx: &Context, job: Job, due: Timestamp) -> Result<usize, Fault> {
    match job {
        Job::BillRun => bill_run::step(ctx, due).await,
        Job::MonthlyBills => roll_months::run(ctx, due).await,
        Job::Standing => {
            let overdue = stand::set_overdue(ctx, due).await?;
            let graces = end_grace::run(ctx, due).await?;
            let locked = stand::lock_due(ctx, due).await?;
            if locked + graces > 0 {
                ctx.wakes.feed.notify_one();
            }
            Ok(overdue + graces + locked)
        }
        // Nobody is warned of what is over, so these look at now.
        Job::Reminders => {
            let warned = stand::warn_soon(ctx).await? + warn_packages::run(ctx, ctx.clock.now()).await?;
            Ok(warned + warn_expiring::run(ctx, ctx.clock.now()).await?)
        }
        Job::Alerts => send_alerts::run(ctx, due).await,
        Job::Expiry => expire_lots::run(ctx, due).await,
        Job::Repayment => repay_due::run(ctx).await,
        Job::Recharges => check_recharges::run(ctx, due).await,
        Job::PendingPurchases => {
            Ok(expire_pending::run(ctx, due).await? + expire_changes::run(ctx, due).await?)
        }
        Job::Reconcile => reconcile_due::step(ctx, due).await,
        Job::Tidy => {
            failed_try::purge(&ctx.db, ctx.clock.now()).await?;
            tidy::step(ctx).await
        }
    }
}

async fn note(ctx: &Context, job: Job, outcome: &Result<usize, Fault>) -> Result<(), Fault> {
    let outcome = outcome.as_ref().map(|done| *done).map_err(|fault| fault.reason.name());
    Ok(store::job::note(&ctx.db, job, ctx.clock.now(), outcome).await?)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tandem_proto::item::BillingItem;

    use super::*;
    use crate::testing::{both, day};

    /// Closes days of cn1.
    async fn close(bench: &crate::testing::Bench, days: &[&str]) {
        let tx = bench.db.begin().await.unwrap();
        for on in days {
            let now = bench.ctx.clock.now();
            crate::ops::close_day::close_day(&tx, "cn1", day(on), "Asia/Shanghai", now).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn one_replica_runs_the_schedule_and_another_takes_over() {
        for bench in both("job_replicas").await {
            let account = bench.account("ada").await;
            let workspace = bench.workspace(&account, "shop").await;
            bench.deliver(&workspace, "2026-02-28", 1, &[(BillingItem::Trigger, 0, 10_000)]).await;
            close(&bench, &["2026-02-28"]).await;
            let (first, second) = (Schedule::default(), Schedule::default());
            assert_eq!(first.turn(&bench.ctx, Job::Standing).await, Ok(0));
            assert_eq!(
                second.turn(&bench.ctx, Job::BillRun).await,
                Ok(0),
                "the other one holds the schedule"
            );
            // The first one is silent for longer than its lease.
            bench.pass(SignedDuration::from_secs(11));
            assert_eq!(second.turn(&bench.ctx, Job::BillRun).await, Ok(1));
            assert_eq!(first.turn(&bench.ctx, Job::BillRun).await, Ok(0));
            second.release(&bench.ctx).await;
            bench.pass(SignedDuration::from_secs(6));
            assert_eq!(first.turn(&bench.ctx, Job::BillRun).await, Ok(0), "all bills are made");
            let text = "SELECT COUNT(*) FROM daily_bill";
            assert_eq!(bench.number(text).await, 1);
            let states = store::job::all(&bench.db.read).await.unwrap();
            let run = states.iter().find(|state| state.job == Job::BillRun).unwrap();
            assert_eq!((run.done_count, run.failure_count, run.problem.as_str()), (1, 0, ""));
        }
    }

    #[tokio::test]
    async fn a_job_run_for_a_day_leaves_later_days_alone() {
        for bench in both("job_day").await {
            let account = bench.account("ada").await;
            let workspace = bench.workspace(&account, "shop").await;
            bench.pass(SignedDuration::from_hours(5 * 24));
            let days = ["2026-03-01", "2026-03-02", "2026-03-03"];
            for on in days {
                bench.deliver(&workspace, on, 1, &[(BillingItem::Trigger, 0, 10_000)]).await;
            }
            close(&bench, &days).await;
            let bills = "SELECT COUNT(*) FROM daily_bill";
            // 2026-03-02 in Shanghai ends before 2026-03-02 does in UTC.
            let due = crate::domain::job::due_until(day("2026-03-02"), bench.ctx.clock.now()).unwrap();
            assert_eq!(run(&bench.ctx, Job::BillRun, due).await, Ok(2));
            assert_eq!(bench.number(bills).await, 2);
            assert_eq!(run(&bench.ctx, Job::BillRun, due).await, Ok(0), "again changes nothing");
            assert_eq!(run(&bench.ctx, Job::BillRun, bench.ctx.clock.now()).await, Ok(1));
            assert_eq!(bench.number(bills).await, 3);
            bench.prove().await;
        }
    }
}
