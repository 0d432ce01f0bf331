//! Monthly bills and their totals, and the orders in which bills are summed up and exported.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0004_reports"
    }
}

const TABLES: &[&str] = &[
    // One row from the first daily bill of an account's month on. `rolled_…` is how far a month in many steps is summed
    // up: the place of the first daily bill that is not.
    "CREATE TABLE monthly_bill (
        billing_account_id TEXT NOT NULL,
        month INTEGER NOT NULL,
        currency TEXT NOT NULL,
        region TEXT NOT NULL,
        progress TEXT NOT NULL,
        bill_count BIGINT NOT NULL,
        payable BIGINT NOT NULL DEFAULT 0,
        paid BIGINT NOT NULL DEFAULT 0,
        in_cloud BIGINT NOT NULL DEFAULT 0,
        invoiced BIGINT NOT NULL DEFAULT 0,
        rolled_day INTEGER NOT NULL DEFAULT 0,
        rolled_id TEXT NOT NULL DEFAULT '',
        generated_at BIGINT,
        PRIMARY KEY (billing_account_id, month, currency),
        CHECK ((progress = 'generated') = (generated_at IS NOT NULL)),
        CHECK (payable >= 0 AND paid >= 0 AND in_cloud >= 0 AND paid + in_cloud <= payable AND invoiced >= 0)
    )",
    "CREATE INDEX monthly_bill_open ON monthly_bill (region, month, billing_account_id)
        WHERE progress <> 'generated'",
    "CREATE TABLE monthly_bill_workspace (
        billing_account_id TEXT NOT NULL,
        month INTEGER NOT NULL,
        currency TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        workspace_name TEXT NOT NULL,
        bill_count BIGINT NOT NULL,
        payable BIGINT NOT NULL,
        paid BIGINT NOT NULL,
        in_cloud BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, month, currency, workspace_id)
    )",
    // Millionths; the item is empty for what rounding added.
    "CREATE TABLE monthly_bill_item (
        billing_account_id TEXT NOT NULL,
        month INTEGER NOT NULL,
        currency TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        item TEXT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, month, currency, workspace_id, item)
    )",
    "CREATE TABLE monthly_bill_payment (
        billing_account_id TEXT NOT NULL,
        month INTEGER NOT NULL,
        currency TEXT NOT NULL,
        instrument TEXT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, month, currency, instrument)
    )",
    "CREATE INDEX daily_bill_day ON daily_bill (billing_account_id, usage_day, id)",
    // A proof names a bill by its id alone.
    "CREATE INDEX daily_bill_id ON daily_bill (id)",
    // Bills that were made before there were monthly bills.
    "INSERT INTO monthly_bill (billing_account_id, month, currency, region, progress, bill_count)
        SELECT b.billing_account_id, b.usage_day / 100, b.currency, a.region, 'open', COUNT(*)
        FROM daily_bill b JOIN billing_account a ON a.id = b.billing_account_id
        GROUP BY b.billing_account_id, b.usage_day / 100, b.currency, a.region",
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
