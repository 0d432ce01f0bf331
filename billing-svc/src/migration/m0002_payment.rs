//! Payments through providers, the end of recharges, and warnings before credit expires.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0002_payment"
    }
}

const STATEMENTS: &[&str] = &[
    // The page to pay on, until when it is waited for, when it was given up, and when to look at it next. The release
    // before this one leaves all of them empty: such a recharge is looked at and given its times.
    "ALTER TABLE recharge ADD COLUMN payment_url TEXT",
    "ALTER TABLE recharge ADD COLUMN expires_at BIGINT",
    "ALTER TABLE recharge ADD COLUMN closed_at BIGINT",
    "ALTER TABLE recharge ADD COLUMN check_at BIGINT",
    "CREATE INDEX recharge_check ON recharge (check_at) WHERE state = 'created'",
    // Calls whose recharge is saved and whose order the provider has not confirmed yet: a repetition goes on with the
    // same recharge.
    "CREATE TABLE recharge_call (
        principal TEXT NOT NULL,
        request_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        billing_account_id TEXT NOT NULL,
        recharge_id TEXT NOT NULL,
        PRIMARY KEY (principal, request_id)
    )",
    // What providers announced. One that names no recharge of ours belongs to no account.
    "CREATE TABLE payment (
        id TEXT PRIMARY KEY,
        channel TEXT NOT NULL,
        external_ref TEXT NOT NULL,
        order_id TEXT NOT NULL,
        billing_account_id TEXT,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        paid_at BIGINT NOT NULL,
        received_at BIGINT NOT NULL,
        state TEXT NOT NULL,
        problem TEXT,
        recharge_id TEXT,
        note TEXT NOT NULL,
        resolver TEXT NOT NULL,
        resolved_at BIGINT,
        CHECK (amount > 0),
        CHECK ((state = 'booked') = (recharge_id IS NOT NULL))
    )",
    "CREATE UNIQUE INDEX payment_external_ref ON payment (channel, external_ref)",
    "CREATE INDEX payment_account ON payment (billing_account_id, id)",
    "CREATE INDEX payment_parked ON payment (id) WHERE state = 'parked'",
    // The last warning that was sent, in days before the last day.
    "ALTER TABLE lot ADD COLUMN warned_days INTEGER",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
