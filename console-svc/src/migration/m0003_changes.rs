//! Retention settings that hold from an instant on, and which billing account pays.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::prelude::async_trait;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Changes;

impl MigrationName for Changes {
    fn name(&self) -> &str {
        "console_0003_changes"
    }
}

const STATEMENTS: &[&str] = &[
    // The settings in `retention` hold until these changes do.
    "ALTER TABLE workspace ADD COLUMN retention_changes TEXT NOT NULL DEFAULT ''",
    // Days on which a change dropped what was there: the whole day counts by the new policy. `KEY` as in the first step.
    "CREATE TABLE retention_drop (
        workspace_id KEY NOT NULL,
        usage_day INTEGER NOT NULL,
        item INTEGER NOT NULL,
        old_days INTEGER NOT NULL,
        new_days INTEGER NOT NULL,
        PRIMARY KEY (workspace_id, usage_day, item),
        CHECK (old_days <> new_days)
    )",
    // What Billing's feed said last, as the columns beside it.
    "ALTER TABLE workspace_standing ADD COLUMN billing_account_id TEXT",
];

#[async_trait::async_trait]
impl MigrationTrait for Changes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let key = if postgres { " TEXT COLLATE \"C\" NOT" } else { " TEXT NOT" };
        for statement in STATEMENTS {
            let text = statement.replace(" KEY NOT", key);
            manager.get_connection().execute_unprepared(&text).await?;
        }
        Ok(())
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("what was acknowledged is never dropped".to_owned()))
    }
}
