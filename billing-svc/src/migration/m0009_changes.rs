//! Changes that wait for a purchase, and workspaces that were moved to another billing account.

use sea_orm_migration::prelude::*;

/// The step.
pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "billing_0009_changes"
    }
}

const STATEMENTS: &[&str] = &[
    // A change to a cloud whose purchase is still to be made (D11); at most one for each workspace.
    "CREATE TABLE settlement_change (
        billing_account_id TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        settlement_method TEXT NOT NULL,
        requested_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (billing_account_id, workspace_id),
        CHECK (settlement_method <> 'billing_center'),
        CHECK (expires_at > requested_at)
    )",
    "CREATE INDEX settlement_change_due ON settlement_change (expires_at)",
    // Which account pays for a moved workspace's days before one. Routes by workspace, as its directory does.
    "CREATE TABLE workspace_move (
        workspace_id TEXT NOT NULL,
        moved_at BIGINT NOT NULL,
        first_day INTEGER NOT NULL,
        from_account_id TEXT NOT NULL,
        to_account_id TEXT NOT NULL,
        PRIMARY KEY (workspace_id, moved_at),
        CHECK (from_account_id <> to_account_id)
    )",
    // Set on the row that a workspace leaves behind: what late usage of its earlier days is still rated by.
    "ALTER TABLE workspace ADD COLUMN left_at BIGINT",
    // A workspace's history goes over all accounts it has belonged to.
    "CREATE INDEX workspace_binding_history ON workspace_binding (workspace_id, effective_from)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        tandem_service_kit::db::append_only(manager, "workspace_move").await
    }
}
