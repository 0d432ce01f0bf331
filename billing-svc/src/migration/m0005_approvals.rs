//! Requests for acts that take two people, and workspaces that were unlocked without payment.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0005_approvals"
    }
}

const TABLES: &[&str] = &[
    // `expired` is never stored: it is what waits longer than `expires_at`.
    "CREATE TABLE approval (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        currency TEXT,
        amount BIGINT,
        recharge_id TEXT,
        external_ref TEXT,
        workspace_id TEXT,
        grace_days INTEGER,
        reason TEXT NOT NULL,
        state TEXT NOT NULL,
        requested_by TEXT NOT NULL,
        requested_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        decided_by TEXT,
        decided_at BIGINT,
        note TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, id),
        CHECK (amount IS NULL OR amount > 0),
        CHECK ((amount IS NULL) = (currency IS NULL)),
        CHECK ((state = 'waiting') = (decided_by IS NULL)),
        CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
        CHECK (state NOT IN ('executed', 'rejected') OR decided_by <> requested_by)
    )",
    "CREATE UNIQUE INDEX approval_id ON approval (id)",
    // A payment that took money out is booked once.
    "CREATE UNIQUE INDEX approval_external_ref ON approval (external_ref)
        WHERE state = 'executed' AND external_ref IS NOT NULL",
    // Workspaces in use although the account owes, until when, and by which request.
    "CREATE TABLE unlock_grace (
        billing_account_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        ends_at BIGINT NOT NULL,
        approval_id TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, workspace_id)
    )",
    "CREATE INDEX unlock_grace_ends_at ON unlock_grace (ends_at)",
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
