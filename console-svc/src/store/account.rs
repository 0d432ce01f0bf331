//! Console accounts.

use jiff::Timestamp;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, Set};
use tandem_proto::ids::ConsoleAccountId;
use tandem_service_kit::db::StoreError;

use super::entity::console_account::{ActiveModel, Column, Entity, Model};
use super::{id, time};
use crate::domain::account::{Account, Company, Stage, email_key};

const TABLE: &str = "console_account";

/// Adds an account; `false` means that its site has one with this address already.
pub async fn insert(tx: &impl ConnectionTrait, account: &Account) -> Result<bool, StoreError> {
    let created_at = account.created_at.as_microsecond();
    let row = ActiveModel {
        id: Set(account.id.to_string()),
        site: Set(account.site.clone()),
        email: Set(account.email.clone()),
        email_key: Set(email_key(&account.email)),
        username: Set(account.username.clone()),
        password_hash: Set(account.password_hash.clone()),
        phone: Set(account.phone.clone()),
        company_name: Set(account.company.name.clone()),
        company_industry: Set(account.company.industry.clone()),
        company_region: Set(account.company.region.clone()),
        company_description: Set(account.company.description.clone()),
        stage: Set(account.stage.number()),
        agreements_accepted_at: Set(created_at),
        created_at: Set(created_at),
    };
    let taken = OnConflict::columns([Column::Site, Column::EmailKey]).do_nothing().to_owned();
    Ok(Entity::insert(row).on_conflict(taken).exec_without_returning(tx).await? == 1)
}

/// The account of an id.
pub async fn find(
    db: &impl ConnectionTrait,
    account: &ConsoleAccountId,
) -> Result<Option<Account>, StoreError> {
    Entity::find_by_id(account.as_str()).one(db).await?.map(from_row).transpose()
}

/// The account of a site's address, compared without regard to case.
pub async fn find_by_email(
    db: &impl ConnectionTrait,
    site: &str,
    email: &str,
) -> Result<Option<Account>, StoreError> {
    let wanted = Entity::find().filter(Column::Site.eq(site)).filter(Column::EmailKey.eq(email_key(email)));
    wanted.one(db).await?.map(from_row).transpose()
}

/// Replaces the password; `false` means that there is no such account.
pub async fn set_password(
    tx: &impl ConnectionTrait,
    account: &ConsoleAccountId,
    hash: &str,
) -> Result<bool, StoreError> {
    let row = ActiveModel { password_hash: Set(hash.to_owned()), ..ActiveModel::default() };
    let done = Entity::update_many().set(row).filter(Column::Id.eq(account.as_str())).exec(tx).await?;
    Ok(done.rows_affected == 1)
}

/// Records that the account has had a workspace.
pub async fn set_activated(tx: &impl ConnectionTrait, account: &ConsoleAccountId) -> Result<(), StoreError> {
    let row = ActiveModel { stage: Set(Stage::Activated.number()), ..ActiveModel::default() };
    Entity::update_many().set(row).filter(Column::Id.eq(account.as_str())).exec(tx).await?;
    Ok(())
}

fn from_row(row: Model) -> Result<Account, StoreError> {
    let created_at: Timestamp = time(row.created_at, TABLE, "created_at")?;
    Ok(Account {
        id: id(&row.id, TABLE, "id")?,
        site: row.site,
        email: row.email,
        username: row.username,
        password_hash: row.password_hash,
        phone: row.phone,
        company: Company {
            name: row.company_name,
            industry: row.company_industry,
            region: row.company_region,
            description: row.company_description,
        },
        stage: Stage::from_number(row.stage).ok_or(StoreError::Corrupt { table: TABLE, column: "stage" })?,
        created_at,
    })
}
