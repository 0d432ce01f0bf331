//! Rows of `console_account`.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "console_account")]
pub struct Model {
    /// `cac_…`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The site's code.
    pub site: String,
    /// As written at registration.
    pub email: String,
    /// As compared.
    pub email_key: String,
    /// Offered as the billing account's username.
    pub username: String,
    /// An argon2id hash in PHC form.
    pub password_hash: String,
    /// May be empty.
    pub phone: String,
    /// The company's name.
    pub company_name: String,
    /// May be empty.
    pub company_industry: String,
    /// May be empty.
    pub company_region: String,
    /// May be empty.
    pub company_description: String,
    /// How far registration has come.
    pub stage: i32,
    /// When the agreements were accepted, in microseconds.
    pub agreements_accepted_at: i64,
    /// When it was made, in microseconds.
    pub created_at: i64,
}

/// No relations: rows are joined by id where needed.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
