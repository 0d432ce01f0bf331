//! How each job last went.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0011_jobs"
    }
}

/// One row a job: a small table that every replica writes now and then.
const TABLE: &str = "CREATE TABLE job (
    name TEXT PRIMARY KEY,
    ran_at BIGINT NOT NULL,
    worked_at BIGINT,
    done_count BIGINT NOT NULL,
    failure_count BIGINT NOT NULL,
    problem TEXT NOT NULL
)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(TABLE).await?;
        Ok(())
    }
}
