//! The Console's tables, step by step; each step is also safe for the release that is still running.

mod m0001_tables;
mod m0002_debt;
mod m0003_changes;

use sea_orm_migration::MigrationTrait;

/// Every migration of this crate, in order, after the service kit's own.
pub fn all() -> Vec<Box<dyn MigrationTrait>> {
    let mut migrations = tandem_service_kit::db::migrations();
    migrations.push(Box::new(m0001_tables::Tables));
    migrations.push(Box::new(m0002_debt::Debt));
    migrations.push(Box::new(m0003_changes::Changes));
    migrations
}
