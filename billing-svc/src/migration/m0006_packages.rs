//! Annual and traffic packages, what is drawn of their quotas, and the package a bill's line is for.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0006_packages"
    }
}

/// Tables refused to change once written, by trigger (`reliability.md` 4.6).
const APPEND_ONLY: [&str; 3] = ["package_item", "package_workspace", "package_use"];

const TABLES: &[&str] = &[
    // A package as it was sold. `last_day` ends earlier when a larger one takes its place; `term_end` never changes.
    // `price` is for 372 days, `charged` is what the order took for it.
    "CREATE TABLE package (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        order_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        offer TEXT NOT NULL,
        multiple BIGINT NOT NULL,
        percent INTEGER NOT NULL,
        currency TEXT NOT NULL,
        price BIGINT NOT NULL,
        charged BIGINT NOT NULL,
        first_day INTEGER NOT NULL,
        last_day INTEGER NOT NULL,
        term_end INTEGER NOT NULL,
        bought_at BIGINT NOT NULL,
        replaced_by TEXT,
        warned_days INTEGER,
        PRIMARY KEY (billing_account_id, id),
        CHECK (multiple > 0 AND percent BETWEEN 1 AND 100 AND price >= 0 AND charged >= 0),
        CHECK (last_day <= term_end)
    )",
    "CREATE INDEX package_last_day ON package (last_day)",
    // Whom a package is for; the first place uses its quota first.
    "CREATE TABLE package_workspace (
        billing_account_id TEXT NOT NULL,
        package_id TEXT NOT NULL,
        place INTEGER NOT NULL,
        workspace_id TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, package_id, place)
    )",
    "CREATE UNIQUE INDEX package_workspace_once ON package_workspace (billing_account_id, workspace_id, package_id)",
    // What a package contains a day, with the price beyond it; both at the default retention.
    "CREATE TABLE package_item (
        billing_account_id TEXT NOT NULL,
        package_id TEXT NOT NULL,
        item TEXT NOT NULL,
        quota BIGINT NOT NULL,
        unit_size BIGINT NOT NULL,
        unit_price BIGINT NOT NULL,
        factors TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, package_id, item),
        CHECK (quota > 0 AND unit_size > 0 AND unit_price >= 0)
    )",
    // What bills drew of a usage day's quotas, and what they charged beyond them, in order. Without a bill where there
    // was nothing to pay.
    "CREATE TABLE package_use (
        billing_account_id TEXT NOT NULL,
        usage_day INTEGER NOT NULL,
        number BIGINT NOT NULL,
        package_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        item TEXT NOT NULL,
        retention_days INTEGER NOT NULL,
        sub_key TEXT NOT NULL,
        covered BIGINT NOT NULL,
        excess BIGINT NOT NULL,
        factor BIGINT NOT NULL,
        bill_id TEXT,
        entered_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, usage_day, number),
        CHECK (factor > 0 AND (covered = 0) <> (excess = 0)),
        CHECK (excess = 0 OR bill_id IS NOT NULL)
    )",
    "CREATE INDEX package_use_bill ON package_use (billing_account_id, bill_id) WHERE bill_id IS NOT NULL",
    "ALTER TABLE bill_line ADD COLUMN package_id TEXT",
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
