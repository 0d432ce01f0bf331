//! `tandem job`: what Billing does by the calendar.

use clap::Subcommand;
use serde_json::json;
use tandem_proto::billing::v1::{GetJobsRequest, Job, RunJobRequest};

use crate::cli::{Global, Once};
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};

/// Show how Billing's jobs went, or run one at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tandem job list
  tandem job run bill_run
  tandem job run expiry --day 2026-03-31

Jobs run by themselves, on one replica at a time. Running one again changes nothing.")]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Every job and how it last went
    List,
    /// Do at once whatever a job finds due
    Run {
        /// The job's name, as `tandem job list` shows it
        job: String,
        /// Only what was due by the end of this day in UTC, YYYY-MM-DD
        #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
        day: String,
        #[command(flatten)]
        once: Once,
    },
}

/// Lists jobs or runs one.
pub async fn run(global: &Global, args: Args) -> Result<()> {
    let (clients, output) = (global.clients()?, global.output());
    match args.act {
        Act::List => {
            let jobs = clients.jobs().get_jobs(GetJobsRequest {}).await?.into_inner().jobs;
            output.table(&jobs_table(&jobs))
        }
        Act::Run { job, day, once } => {
            let request_id = once.id();
            let request = RunJobRequest { request_id: request_id.clone(), job: job.clone(), day };
            let answer = clients.jobs().run_job(request).await;
            let done = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner().done_count;
            if global.json {
                return output.value(&json!({ "job": job, "done": done }));
            }
            output.say(&if done == 0 {
                format!("{job}: nothing was due")
            } else {
                format!("{job}: {done} done")
            })
        }
    }
}

/// Jobs as a table.
pub fn jobs_table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&["job", "last_run", "last_work", "done", "failures", "problem"]);
    for job in jobs {
        table.row([
            Cell::text(&job.name),
            Cell::time(job.run_time),
            Cell::time(job.work_time),
            Cell::Number(job.done_count),
            Cell::Number(job.failure_count),
            Cell::text(&job.problem),
        ]);
    }
    table
}
