//! `billing.v1.JobService`.

use std::sync::Arc;

use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::job_service_server::JobService;
use tandem_proto::day::UsageDay;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::server::caller;
use tandem_service_kit::validate;
use tonic::{Request, Response, Status};

use crate::context::Context;
use crate::domain::job::{Job, due_until};
use crate::ops::jobs;
use crate::store::job::{self, JobState};

/// Serves jobs.
pub struct Service(pub Arc<Context>);

#[tonic::async_trait]
impl JobService for Service {
    async fn get_jobs(
        &self,
        _request: Request<pb::GetJobsRequest>,
    ) -> Result<Response<pb::GetJobsResponse>, Status> {
        let states = job::all(&self.0.db.read).await?;
        let message = |job: &Job| message(*job, states.iter().find(|state| state.job == *job));
        Ok(Response::new(pb::GetJobsResponse { jobs: Job::ALL.iter().map(message).collect() }))
    }

    async fn run_job(
        &self,
        request: Request<pb::RunJobRequest>,
    ) -> Result<Response<pb::RunJobResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let key =
            RequestKey::new(&caller, "/tandem.billing.v1.JobService/RunJob", &request.request_id, &request)?;
        let job: Job = validate::parse("job", &request.job)?;
        let day: Option<UsageDay> = super::optional("day", &request.day)?;
        let now = self.0.clock.now();
        let due = day.map_or(Some(now), |day| due_until(day, now));
        let due = due.ok_or_else(|| Fault::field("day", "must not lie in the future"))?;
        if let Some(answer) = request_log::replay(&self.0.db, &key).await? {
            return Ok(Response::new(answer));
        }
        // A job has its own transactions and finds by itself what is done; the answer is stored after it.
        let done = jobs::run(&self.0, job, due).await?;
        let response = pb::RunJobResponse { done_count: i64::try_from(done).unwrap_or(i64::MAX) };
        match request_log::open(&self.0.db, key).await? {
            Open::Answered(answer) => Ok(Response::new(answer)),
            Open::Fresh(pending) => Ok(Response::new(pending.finish(response, self.0.clock.now()).await?)),
        }
    }
}

fn message(job: Job, state: Option<&JobState>) -> pb::Job {
    let time = |at| Some(validate::to_message(at));
    pb::Job {
        name: job.name().to_owned(),
        run_time: state.and_then(|state| time(state.ran_at)),
        work_time: state.and_then(|state| state.worked_at.and_then(time)),
        done_count: state.map_or(0, |state| state.done_count),
        failure_count: state.map_or(0, |state| state.failure_count),
        problem: state.map(|state| state.problem.clone()).unwrap_or_default(),
    }
}
