//! The end of workspaces: which were dissolved, whom Billing has not heard of, and whose points are to be deleted.

use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::prelude::async_trait;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Debt;

impl MigrationName for Debt {
    fn name(&self) -> &str {
        "console_0002_debt"
    }
}

/// New columns may all be missing, so a release that does not know them goes on writing rows.
const STEPS: &[&str] = &[
    // Set once and for ever by the owner's confirmation, whatever Billing's feed says meanwhile.
    "ALTER TABLE workspace_standing ADD COLUMN dissolved_at BIGINT",
    // When Billing is to be told of it; nothing is to be told when missing.
    "ALTER TABLE workspace_standing ADD COLUMN tell_at BIGINT",
    // Points of hours before this instant are to be deleted; nothing is when missing.
    "ALTER TABLE workspace_standing ADD COLUMN purge_before BIGINT",
    // When to look for them next.
    "ALTER TABLE workspace_standing ADD COLUMN purge_at BIGINT",
    "CREATE INDEX workspace_standing_tell ON workspace_standing (tell_at) WHERE tell_at IS NOT NULL",
    "CREATE INDEX workspace_standing_purge ON workspace_standing (purge_at) WHERE purge_at IS NOT NULL",
];

#[async_trait::async_trait]
impl MigrationTrait for Debt {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for step in STEPS {
            manager.get_connection().execute_unprepared(step).await?;
        }
        Ok(())
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("what was acknowledged is never dropped".to_owned()))
    }
}
