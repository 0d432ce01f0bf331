//! Spend alerts and what they have told.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0010_alerts"
    }
}

const TABLES: &[&str] = &[
    // `item` is empty where the workspace's total is watched. `due` says that something changed since the last look.
    "CREATE TABLE spend_alert (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        item TEXT NOT NULL,
        currency TEXT NOT NULL,
        threshold BIGINT NOT NULL,
        notify TEXT NOT NULL,
        due BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, id),
        CHECK (threshold > 0)
    )",
    "CREATE UNIQUE INDEX spend_alert_rule ON spend_alert (billing_account_id, workspace_id, item)",
    "CREATE INDEX spend_alert_due ON spend_alert (billing_account_id, id) WHERE due",
    // Once for each rule and period; a rule with another threshold is another rule.
    "CREATE TABLE spend_alert_sent (
        billing_account_id TEXT NOT NULL,
        alert_id TEXT NOT NULL,
        period INTEGER NOT NULL,
        threshold BIGINT NOT NULL,
        spent BIGINT NOT NULL,
        sent_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, alert_id, period, threshold)
    )",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in TABLES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
