//! Open lots are found by kind, so that an account's very many cards cost nothing where only its cash is asked for.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0012_lots"
    }
}

const STATEMENTS: [&str; 2] =
    ["CREATE INDEX lot_open_kind ON lot (billing_account_id, kind) WHERE is_open", "DROP INDEX lot_open"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
