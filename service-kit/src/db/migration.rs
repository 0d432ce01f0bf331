//! The tables this crate keeps.

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::prelude::async_trait;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) fn all() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(KitTables), Box::new(Audit)]
}

/// Request log, outbox, verification codes, leases and the health probe.
struct KitTables;

impl MigrationName for KitTables {
    fn name(&self) -> &str {
        "kit_0001_tables"
    }
}

/// `BYTES` stands for the engine's type of bytes, `BY TIME` for its cheapest index over a column that grows with the rows:
/// PostgreSQL keeps one entry for each run of pages.
const TABLES: &[&str] = &[
    "CREATE TABLE request_log (
        principal TEXT NOT NULL,
        method TEXT NOT NULL,
        request_id TEXT NOT NULL,
        digest BYTES NOT NULL,
        reply BYTES,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (principal, method, request_id)
    )",
    "CREATE INDEX request_log_created_at ON request_log BY TIME (created_at)",
    // `seq` grows within an aggregate, so that its messages leave in order although ids come from several processes.
    // `state` is tandem.common.v1.OutboxState: 1 pending, 2 delivered, 3 quarantined.
    "CREATE TABLE outbox (
        id TEXT NOT NULL PRIMARY KEY,
        topic TEXT NOT NULL,
        aggregate_id TEXT NOT NULL,
        seq BIGINT NOT NULL,
        dedupe_key TEXT UNIQUE,
        payload BYTES NOT NULL,
        traceparent TEXT,
        state INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        available_at BIGINT NOT NULL,
        claimed_by TEXT,
        claimed_until BIGINT,
        last_error TEXT,
        created_at BIGINT NOT NULL
    )",
    "CREATE INDEX outbox_due ON outbox (available_at, id) WHERE state = 1",
    "CREATE INDEX outbox_order ON outbox (aggregate_id, seq)",
    "CREATE INDEX outbox_pending_order ON outbox (aggregate_id, seq, id) WHERE state = 1",
    "CREATE INDEX outbox_quarantined ON outbox (id) WHERE state = 3",
    "CREATE INDEX outbox_created_at ON outbox (created_at) WHERE state = 2",
    "CREATE TABLE verification_code (
        purpose TEXT NOT NULL,
        address TEXT NOT NULL,
        salt BYTES NOT NULL,
        digest BYTES NOT NULL,
        tries INTEGER NOT NULL,
        issued_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        redeemed_at BIGINT,
        PRIMARY KEY (purpose, address)
    )",
    "CREATE INDEX verification_code_expires_at ON verification_code (expires_at)",
    "CREATE TABLE lease (
        name TEXT NOT NULL PRIMARY KEY,
        holder TEXT NOT NULL,
        held_until BIGINT NOT NULL
    )",
    "CREATE TABLE health_probe (
        name TEXT NOT NULL PRIMARY KEY,
        probed_at BIGINT NOT NULL
    )",
];

/// The audit.
struct Audit;

impl MigrationName for Audit {
    fn name(&self) -> &str {
        "kit_0002_audit"
    }
}

/// Rows that are only added; a chain is written by one process, one transaction at a time.
const AUDIT: &[&str] = &[
    "CREATE TABLE audit_row (
        chain TEXT NOT NULL,
        number BIGINT NOT NULL,
        happened_at BIGINT NOT NULL,
        principal TEXT NOT NULL,
        role TEXT NOT NULL,
        method TEXT NOT NULL,
        request_id TEXT NOT NULL,
        digest BYTES NOT NULL,
        object_1 TEXT NOT NULL,
        object_2 TEXT NOT NULL,
        object_3 TEXT NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT NOT NULL,
        attempts BIGINT NOT NULL,
        note TEXT NOT NULL,
        key_id TEXT NOT NULL,
        prev_hash BYTES NOT NULL,
        hash BYTES NOT NULL,
        PRIMARY KEY (chain, number),
        CHECK (number > 0 AND attempts > 0)
    )",
    "CREATE INDEX audit_row_time ON audit_row (happened_at, chain, number)",
    "CREATE INDEX audit_row_object_1 ON audit_row (object_1, happened_at) WHERE object_1 <> ''",
    "CREATE INDEX audit_row_object_2 ON audit_row (object_2, happened_at) WHERE object_2 <> ''",
    "CREATE INDEX audit_row_object_3 ON audit_row (object_3, happened_at) WHERE object_3 <> ''",
];

#[async_trait::async_trait]
impl MigrationTrait for Audit {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let bytes = if manager.get_database_backend() == DbBackend::Postgres { "BYTEA" } else { "BLOB" };
        for statement in AUDIT {
            manager.get_connection().execute_unprepared(&statement.replace("BYTES", bytes)).await?;
        }
        super::append_only(manager, "audit_row").await
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("what was acknowledged is never dropped".to_owned()))
    }
}

#[async_trait::async_trait]
impl MigrationTrait for KitTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (bytes, by_time) = match manager.get_database_backend() {
            DbBackend::Postgres => ("BYTEA", "USING brin"),
            _ => ("BLOB", ""),
        };
        for table in TABLES {
            let text = table.replace("BYTES", bytes).replace("BY TIME", by_time);
            manager.get_connection().execute_unprepared(&text).await?;
        }
        Ok(())
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("what was acknowledged is never dropped".to_owned()))
    }
}
