//! Rows of `workspace`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "workspace")]
pub struct Model {
    /// `wks_…`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The site's code.
    pub site: String,
    /// 1–64 characters.
    pub name: String,
    /// Of its pages and mails.
    pub language: i32,
    /// What it pays for.
    pub plan: i32,
    /// `cac_…`.
    pub owner_account_id: String,
    /// As `Retention::base_column` writes it.
    pub retention: String,
    /// First hour whose usage is charged, in microseconds; none on Free.
    pub charge_start_at: Option<i64>,
    /// Grows with each change that Billing has to know of.
    pub profile_revision: i64,
    /// When it was made, in microseconds.
    pub created_at: i64,
    /// As `Retention::changes_column` writes it.
    pub retention_changes: String,
}

/// No relations: rows are joined by id where needed.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
