//! How each job last went, for operators.

use jiff::Timestamp;
use sea_orm::ConnectionTrait;
use tandem_service_kit::db::{Database, StoreError};

use super::read::{self, Row, micros};
use crate::domain::job::Job;

const TABLE: &str = "job";

/// How a job last went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    /// Which.
    pub job: Job,
    /// When it last looked for work; a look that finds nothing is noted once a minute.
    pub ran_at: Timestamp,
    /// When it last found work.
    pub worked_at: Option<Timestamp>,
    /// How much it has done since the first start, in its own units.
    pub done_count: i64,
    /// Failures since it last went well.
    pub failure_count: i64,
    /// The reason of the last of them; empty when it last went well.
    pub problem: String,
}

/// Notes that a job ran at `now` and did so much, or failed.
pub async fn note(
    db: &Database,
    job: Job,
    now: Timestamp,
    outcome: Result<usize, &str>,
) -> Result<(), StoreError> {
    let done = i64::try_from(outcome.unwrap_or(0)).unwrap_or(i64::MAX);
    let (failures, problem) = outcome.map_or_else(|problem| (1_i64, problem), |_| (0, ""));
    let worked_at = read::maybe_micros((done > 0).then_some(now));
    // Two replicas may note at once: counts add up, and the later note of a time stays.
    let text = "INSERT INTO job (name, ran_at, worked_at, done_count, failure_count, problem) \
                VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET \
                ran_at = excluded.ran_at, worked_at = COALESCE(excluded.worked_at, job.worked_at), \
                done_count = job.done_count + excluded.done_count, \
                failure_count = CASE WHEN excluded.failure_count = 0 THEN 0 ELSE job.failure_count + 1 END, \
                problem = excluded.problem";
    let values = [job.name().into(), micros(now), worked_at, done.into(), failures.into(), problem.into()];
    db.run_alone(text, values).await?;
    Ok(())
}

/// Every job that has run, by name. Rows of jobs that this release does not have are left out.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<JobState>, StoreError> {
    let mut found = Vec::new();
    for row in read::all(db, "SELECT * FROM job ORDER BY name", []).await? {
        let row = Row(&row, TABLE);
        let Ok(job) = row.text("name")?.parse() else { continue };
        found.push(JobState {
            job,
            ran_at: row.time("ran_at")?,
            worked_at: row.maybe_time("worked_at")?,
            done_count: row.int("done_count")?,
            failure_count: row.int("failure_count")?,
            problem: row.text("problem")?,
        });
    }
    Ok(found)
}
