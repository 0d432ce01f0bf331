//! Published price lists, log modes, and usage that is statistics only.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0003_prices"
    }
}

/// Tables refused to change once written, by trigger (`reliability.md` 4.6).
const APPEND_ONLY: [&str; 2] = ["price_list", "price"];

const TABLES: &[&str] = &[
    // One row that bills share and a publication takes alone, so that no bill is made by a list that was in force a
    // moment ago.
    "CREATE TABLE price_gate (name TEXT PRIMARY KEY)",
    "INSERT INTO price_gate (name) VALUES ('prices')",
    // By which item a workspace's logs are charged, from a usage day on; without a row by count. It belongs to the
    // workspace, whoever pays for it: a small reference table like the directory.
    "CREATE TABLE workspace_log_mode (
        workspace_id TEXT NOT NULL,
        effective_day INTEGER NOT NULL,
        mode TEXT NOT NULL,
        set_at BIGINT NOT NULL,
        set_by TEXT NOT NULL,
        PRIMARY KEY (workspace_id, effective_day)
    )",
    // What a day's mode leaves uncharged is set aside by the day's bill run and not looked at again.
    "ALTER TABLE usage_day ADD COLUMN set_aside BOOLEAN NOT NULL DEFAULT false",
    "DROP INDEX usage_day_unbilled",
    "CREATE INDEX usage_day_unbilled ON usage_day (billing_account_id, workspace_id)
        WHERE quantity <> billed AND NOT set_aside",
    // Final bills are made before their day is closed: the greatest of their days is asked for at each publication.
    "CREATE INDEX daily_bill_final_day ON daily_bill (usage_day) WHERE kind = 'final'",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in TABLES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        for table in APPEND_ONLY {
            tandem_service_kit::db::append_only(manager, table).await?;
        }
        Ok(())
    }
}
