//! The first tables.
//!
//! Primary keys start with the workspace a row belongs to, no key crosses workspaces and none is made by a sequence, so
//! that the same schema can be distributed (design section 5.6).

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use sea_orm_migration::prelude::async_trait;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "console_0001_tables"
    }
}

/// `BYTES` stands for the engine's type of bytes, `KEY` for a text that is compared byte by byte, which is what ids
/// need and what an index does fastest.
const TABLES: &[&str] = &[
    "CREATE TABLE console_account (
        id KEY NOT NULL PRIMARY KEY,
        site TEXT NOT NULL,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL,
        username TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        phone TEXT NOT NULL,
        company_name TEXT NOT NULL,
        company_industry TEXT NOT NULL,
        company_region TEXT NOT NULL,
        company_description TEXT NOT NULL,
        stage INTEGER NOT NULL,
        agreements_accepted_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        UNIQUE (site, email_key)
    )",
    // One row per address that was tried; the window starts with its first failure.
    "CREATE TABLE sign_in_tries (
        site TEXT NOT NULL,
        email_key TEXT NOT NULL,
        window_started_at BIGINT NOT NULL,
        failures INTEGER NOT NULL,
        PRIMARY KEY (site, email_key)
    )",
    "CREATE INDEX sign_in_tries_window ON sign_in_tries (window_started_at)",
    "CREATE TABLE workspace (
        id KEY NOT NULL PRIMARY KEY,
        site TEXT NOT NULL,
        name TEXT NOT NULL,
        language INTEGER NOT NULL,
        plan INTEGER NOT NULL,
        owner_account_id KEY NOT NULL,
        retention TEXT NOT NULL,
        charge_start_at BIGINT,
        profile_revision BIGINT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE INDEX workspace_charged ON workspace (site, charge_start_at) WHERE charge_start_at IS NOT NULL",
    // What Billing's feed said last; apart from `workspace`, because the feed may be ahead of us.
    "CREATE TABLE workspace_standing (
        workspace_id KEY NOT NULL PRIMARY KEY,
        revision BIGINT NOT NULL,
        standing INTEGER NOT NULL,
        lock_at BIGINT,
        settlement_method INTEGER
    )",
    "CREATE TABLE member (
        workspace_id KEY NOT NULL,
        console_account_id KEY NOT NULL,
        role INTEGER NOT NULL,
        joined_at BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, console_account_id)
    )",
    "CREATE INDEX member_account ON member (console_account_id, workspace_id)",
    // An activation or upgrade whose outcome at Billing is open; deleted in the transaction that finishes it.
    "CREATE TABLE pending_activation (
        workspace_id KEY NOT NULL PRIMARY KEY,
        principal TEXT NOT NULL,
        method TEXT NOT NULL,
        request_id TEXT NOT NULL,
        request BYTES NOT NULL,
        peer_request BYTES NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_at BIGINT NOT NULL,
        last_error TEXT,
        created_at BIGINT NOT NULL,
        UNIQUE (principal, method, request_id)
    )",
    "CREATE INDEX pending_activation_due ON pending_activation (next_attempt_at)",
    // `place` is the point's place in the batch that wrote it: the writing statement tells by it what it changed.
    "CREATE TABLE usage_point (
        workspace_id KEY NOT NULL,
        usage_day INTEGER NOT NULL,
        item INTEGER NOT NULL,
        retention_days INTEGER NOT NULL,
        sub_key KEY NOT NULL,
        measure INTEGER NOT NULL,
        hour_start BIGINT NOT NULL,
        quantity BIGINT NOT NULL CHECK (quantity >= 0),
        place INTEGER NOT NULL,
        PRIMARY KEY (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start)
    )",
    // A mark for every change of a day that was not rolled up yet. Marks are only added and removed, so that writers
    // of one day do not wait for each other's.
    "CREATE TABLE usage_dirty (
        workspace_id KEY NOT NULL,
        usage_day INTEGER NOT NULL,
        token BIGINT NOT NULL,
        PRIMARY KEY (workspace_id, usage_day, token)
    )",
    // Revision 0 is a Free workspace's quantity, of which Billing is never told.
    "CREATE TABLE usage_total (
        workspace_id KEY NOT NULL,
        usage_day INTEGER NOT NULL,
        item INTEGER NOT NULL,
        retention_days INTEGER NOT NULL,
        sub_key KEY NOT NULL,
        quantity_hundredths BIGINT NOT NULL CHECK (quantity_hundredths >= 0),
        revision BIGINT NOT NULL,
        delivered_revision BIGINT NOT NULL,
        refused_reason TEXT,
        retry_at BIGINT,
        PRIMARY KEY (workspace_id, usage_day, item, retention_days, sub_key),
        CHECK (delivered_revision <= revision)
    )",
    "CREATE INDEX usage_total_undelivered ON usage_total (usage_day, workspace_id) WHERE delivered_revision < revision",
    "CREATE TABLE site_day (
        site TEXT NOT NULL,
        usage_day INTEGER NOT NULL,
        delivered_count BIGINT NOT NULL,
        closed_at BIGINT NOT NULL,
        PRIMARY KEY (site, usage_day)
    )",
    "CREATE TABLE feed_cursor (
        feed TEXT NOT NULL PRIMARY KEY,
        position BIGINT NOT NULL
    )",
];

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let (bytes, key) = if postgres { ("BYTEA", "TEXT COLLATE \"C\"") } else { ("BLOB", "TEXT") };
        for table in TABLES {
            let text =
                table.replace(" BYTES ", &format!(" {bytes} ")).replace(" KEY NOT", &format!(" {key} NOT"));
            manager.get_connection().execute_unprepared(&text).await?;
        }
        Ok(())
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("what was acknowledged is never dropped".to_owned()))
    }
}
