//! Billing's tables, in numbered steps. Each step is also safe for the release that is still running.
//!
//! Conventions (`design.md` 5.6): a table that belongs to a customer has `billing_account_id` first in its key;
//! instants are microseconds since 1970 in BIGINT, days are `yyyymmdd` in INTEGER, money is minor units or micros in
//! BIGINT, quantities are hundredths in BIGINT. No sequences, no foreign keys across customers.

mod m0001_initial;
mod m0002_payment;
mod m0003_prices;
mod m0004_reports;
mod m0005_approvals;
mod m0006_packages;
mod m0007_invoices;
mod m0009_changes;
mod m0010_alerts;
mod m0011_jobs;
mod m0012_lots;

use sea_orm_migration::MigrationTrait;

/// Every step, oldest first; the kit's own tables come before these.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m0001_initial::Migration),
        Box::new(m0002_payment::Migration),
        Box::new(m0003_prices::Migration),
        Box::new(m0004_reports::Migration),
        Box::new(m0005_approvals::Migration),
        Box::new(m0006_packages::Migration),
        Box::new(m0007_invoices::Migration),
        Box::new(m0009_changes::Migration),
        Box::new(m0010_alerts::Migration),
        Box::new(m0011_jobs::Migration),
        Box::new(m0012_lots::Migration),
    ]
}
