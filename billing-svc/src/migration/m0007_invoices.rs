//! Company verification, invoice profiles, delivery addresses and invoices.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0007_invoices"
    }
}

const TABLES: &[&str] = &[
    // Each time a company was handed in; the greatest number is what counts.
    "CREATE TABLE company_verification (
        billing_account_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        company_name TEXT NOT NULL,
        taxpayer_id TEXT NOT NULL,
        submitted_at BIGINT NOT NULL,
        decided_at BIGINT,
        reason TEXT NOT NULL,
        PRIMARY KEY (billing_account_id, number),
        CHECK (state IN ('pending', 'verified', 'rejected')),
        CHECK ((state = 'pending') = (decided_at IS NULL))
    )",
    "CREATE UNIQUE INDEX company_verification_open ON company_verification (billing_account_id)
        WHERE state <> 'rejected'",
    "CREATE INDEX company_verification_queue ON company_verification (submitted_at, billing_account_id, number)",
    // Title and taxpayer id are the verified company's, so they are not here.
    "CREATE TABLE invoice_profile (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        kind TEXT NOT NULL,
        bank TEXT NOT NULL,
        bank_account TEXT NOT NULL,
        registered_address TEXT NOT NULL,
        landline TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, id)
    )",
    "CREATE TABLE delivery_address (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        recipient TEXT NOT NULL,
        phone TEXT NOT NULL,
        email TEXT NOT NULL,
        postal TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, id)
    )",
    // What profile and address said is copied: later changes of them do not reach an invoice.
    "CREATE TABLE invoice (
        billing_account_id TEXT NOT NULL,
        id TEXT NOT NULL,
        state TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        title TEXT NOT NULL,
        taxpayer_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        bank TEXT NOT NULL,
        bank_account TEXT NOT NULL,
        registered_address TEXT NOT NULL,
        landline TEXT NOT NULL,
        recipient TEXT NOT NULL,
        phone TEXT NOT NULL,
        email TEXT NOT NULL,
        postal TEXT NOT NULL,
        invoice_number TEXT,
        tracking TEXT NOT NULL,
        reason TEXT NOT NULL,
        requested_at BIGINT NOT NULL,
        issued_at BIGINT,
        sent_at BIGINT,
        rejected_at BIGINT,
        PRIMARY KEY (billing_account_id, id),
        CHECK (amount > 0),
        CHECK ((issued_at IS NULL) = (invoice_number IS NULL)),
        CHECK ((state = 'rejected') = (rejected_at IS NOT NULL)),
        CHECK ((state = 'sent') = (sent_at IS NOT NULL))
    )",
    "CREATE UNIQUE INDEX invoice_id ON invoice (id)",
    "CREATE UNIQUE INDEX invoice_number ON invoice (invoice_number) WHERE invoice_number IS NOT NULL",
    // What invoices are for. The number counts the lines of one source: two requests that saw the same amount open get
    // the same number, and one of them fails.
    "CREATE TABLE invoice_line (
        billing_account_id TEXT NOT NULL,
        source_kind TEXT NOT NULL,
        source_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        invoice_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        released BOOLEAN NOT NULL,
        PRIMARY KEY (billing_account_id, source_kind, source_id, number),
        CHECK (amount > 0)
    )",
    "CREATE INDEX invoice_line_invoice ON invoice_line (billing_account_id, invoice_id)",
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
