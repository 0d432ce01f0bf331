//! Part 9: what happens by the calendar can be run for a day, and running it again changes nothing.

use tandem_proto::billing::v1::{GetJobsRequest, LotState, RunJobRequest};

use super::tenant::{Tenant, must, tell_mails};
use super::wallet::SHORT_LIFE;
use crate::commands::{job, wallet};
use crate::demo::stage::{Calendar, Stage};
use crate::failure::Result;

/// Lets a voucher expire and shows how the jobs went.
pub async fn expire(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("9. Jobs")?;
    stage.teller.step("A voucher's last day is over: what is left of it is taken away, once")?;
    stage.arrive(calendar, SHORT_LIFE + 2, 12, 0).await?;
    let expired = stage.until("the voucher to expire", async || {
        let lots = wallet::lots(&stage.portal, &tenant.account, true).await?.rows;
        let expired: Vec<_> = lots.into_iter().filter(|lot| lot.state() == LotState::Expired).collect();
        Ok((!expired.is_empty()).then_some(expired))
    });
    stage.teller.table(&wallet::lots_table(&expired.await?))?;
    let day = calendar.day(SHORT_LIFE).to_string();
    let run = RunJobRequest { request_id: stage.request_id(), job: "expiry".to_owned(), day: day.clone() };
    let done = stage.operator.jobs().run_job(run).await?.into_inner().done_count;
    stage.teller.tell(&format!("expiry run again for {day}: {done} done"))?;
    must(done == 0, || format!("{done} vouchers expired twice"))?;
    stage.teller.step("How every job went")?;
    let jobs = stage.operator.jobs().get_jobs(GetJobsRequest {}).await?.into_inner().jobs;
    stage.teller.table(&job::jobs_table(&jobs))?;
    tell_mails(stage)
}
