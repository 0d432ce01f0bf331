//! Rows of `member`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "member")]
pub struct Model {
    /// `wks_…`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: String,
    /// `cac_…`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub console_account_id: String,
    /// What it may do.
    pub role: i32,
    /// Since when, in microseconds.
    pub joined_at: i64,
}

/// No relations: rows are joined by id where needed.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
