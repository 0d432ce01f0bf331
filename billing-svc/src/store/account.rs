//! Billing accounts.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::account::{BillingAccount, Company};
use crate::domain::contact::{Contact, ContactKind};

const TABLE: &str = "billing_account";
const COLUMNS: &str = "a.id, a.region, a.username, a.email, a.phone, a.company_name, a.company_industry, \
    a.company_region, a.company_description, a.currency, a.language, a.any_settlement_allowed, a.standing, \
    a.arrears_since, a.created_at";

/// A username or email in the spelling it is compared by.
pub fn key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Adds an account with the hash of its password.
///
/// Returns the first name that another account of the region has already: username, then email, then phone.
pub async fn insert(
    tx: &Tx,
    a: &BillingAccount,
    password_hash: &str,
) -> Result<Result<(), Reason>, StoreError> {
    let text = "INSERT INTO billing_account (id, region, username, username_key, email, email_key, phone, \
                password_hash, company_name, company_industry, company_region, company_description, currency, \
                language, any_settlement_allowed, standing, arrears_since, created_at) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let values: [Value; 18] = [
        a.id.as_str().into(),
        a.region.name().into(),
        a.username.as_str().into(),
        key(&a.username).into(),
        a.email.as_str().into(),
        key(&a.email).into(),
        a.phone.clone().into(),
        password_hash.into(),
        a.company.name.as_str().into(),
        a.company.industry.as_str().into(),
        a.company.region.as_str().into(),
        a.company.description.as_str().into(),
        a.currency.code().into(),
        a.language.name().into(),
        a.any_settlement_allowed.into(),
        a.standing.name().into(),
        maybe_micros(a.arrears_since),
        micros(a.created_at),
    ];
    if tx.run(text, values).await? == 1 {
        return Ok(Ok(()));
    }
    let text = "SELECT MAX(CASE WHEN username_key = ? THEN 1 ELSE 0 END) AS username, \
                MAX(CASE WHEN email_key = ? THEN 1 ELSE 0 END) AS email FROM billing_account WHERE region = ?";
    let values = [key(&a.username).into(), key(&a.email).into(), a.region.name().into()];
    let row = read::one(tx, text, values).await?.ok_or(StoreError::Conflict)?;
    let row = Row(&row, TABLE);
    Ok(Err(if row.small("username")? == 1 {
        Reason::UsernameTaken
    } else if row.small("email")? == 1 {
        Reason::EmailTaken
    } else {
        Reason::PhoneTaken
    }))
}

/// Finds an account.
pub async fn find(
    db: &impl ConnectionTrait,
    id: &BillingAccountId,
) -> Result<Option<BillingAccount>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM billing_account a WHERE a.id = ?");
    read::one(db, &text, [id.as_str().into()]).await?.as_ref().map(account).transpose()
}

/// Finds accounts, in the order of their ids.
pub async fn find_all(
    db: &impl ConnectionTrait,
    ids: &[BillingAccountId],
) -> Result<Vec<BillingAccount>, StoreError> {
    select_all(db, ids, "").await
}

/// Reads accounts and locks them, in the order of their ids; the first lock of every act on money.
pub async fn lock_all(tx: &Tx, ids: &[BillingAccountId]) -> Result<Vec<BillingAccount>, StoreError> {
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF a" };
    select_all(tx, ids, lock).await
}

async fn select_all(
    db: &impl ConnectionTrait,
    ids: &[BillingAccountId],
    lock: &str,
) -> Result<Vec<BillingAccount>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().collect::<BTreeSet<_>>().into_iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT {COLUMNS} FROM {} JOIN billing_account a ON a.id = r.id ORDER BY a.id{lock}",
        rel.sql
    );
    read::all(db, &text, rel.values).await?.iter().map(account).collect()
}

/// Reads and locks accounts in arrears since before an instant, a bounded number of them.
pub async fn lock_overdue(
    tx: &Tx,
    since_before: Timestamp,
    limit: i64,
) -> Result<Vec<BillingAccount>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM billing_account a WHERE a.arrears_since IS NOT NULL AND a.arrears_since <= ? \
         AND a.standing = 'arrears' ORDER BY a.id LIMIT ?{}",
        for_update(tx)
    );
    read::all(tx, &text, [micros(since_before), limit.into()]).await?.iter().map(account).collect()
}

/// Saves whether accounts owe anything.
pub async fn save_standings(tx: &Tx, accounts: &[BillingAccount]) -> Result<(), StoreError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[("id", Kind::Text), ("standing", Kind::Text), ("arrears_since", Kind::Int)]);
    for a in accounts {
        rows.push([a.id.as_str().into(), a.standing.name().into(), maybe_micros(a.arrears_since)]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE billing_account SET standing = r.standing, arrears_since = r.arrears_since FROM {} \
         WHERE billing_account.id = r.id",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Finds an account by its username.
pub async fn find_by_username(
    db: &impl ConnectionTrait,
    region: BillingRegion,
    username: &str,
) -> Result<Option<BillingAccount>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM billing_account a WHERE a.region = ? AND a.username_key = ?");
    read::one(db, &text, [region.name().into(), key(username).into()])
        .await?
        .as_ref()
        .map(account)
        .transpose()
}

/// Finds an account and the hash of its password by username, email or phone.
///
/// The three cannot be mixed up: only addresses hold an at sign, only usernames start with a letter otherwise.
pub async fn find_login(
    db: &impl ConnectionTrait,
    region: BillingRegion,
    login_name: &str,
) -> Result<Option<(BillingAccount, String)>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS}, a.password_hash FROM billing_account a \
         WHERE a.region = ? AND (a.username_key = ? OR a.email_key = ? OR a.phone = ?)"
    );
    let name = key(login_name);
    let values = [region.name().into(), name.clone().into(), name.clone().into(), name.into()];
    let row = read::one(db, &text, values).await?;
    row.map(|row| Ok((account(&row)?, Row(&row, TABLE).text("password_hash")?))).transpose()
}

/// Reads an account and locks it.
pub async fn lock(tx: &Tx, id: &BillingAccountId) -> Result<Option<BillingAccount>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM billing_account a WHERE a.id = ?{}", for_update(tx));
    read::one(tx, &text, [id.as_str().into()]).await?.as_ref().map(account).transpose()
}

/// Allows or forbids an account any settlement method.
pub async fn save_any_settlement(tx: &Tx, id: &BillingAccountId, allowed: bool) -> Result<(), StoreError> {
    let text = "UPDATE billing_account SET any_settlement_allowed = ? WHERE id = ?";
    tx.run(text, [allowed.into(), id.as_str().into()]).await?;
    Ok(())
}

/// Whether no account of a region has an address or phone.
pub async fn is_free(
    db: &impl ConnectionTrait,
    region: BillingRegion,
    contact: &Contact,
) -> Result<bool, StoreError> {
    let column = match contact.kind {
        ContactKind::Email => "email_key",
        ContactKind::Phone => "phone",
    };
    let text = format!("SELECT id FROM billing_account WHERE region = ? AND {column} = ?");
    Ok(read::one(db, &text, [region.name().into(), contact.key().into()]).await?.is_none())
}

/// Replaces an address or phone. Fails with a conflict when another account takes the same one at the same time.
pub async fn save_contact(tx: &Tx, id: &BillingAccountId, contact: &Contact) -> Result<(), StoreError> {
    let value = contact.value.as_str();
    match contact.kind {
        ContactKind::Email => {
            let text = "UPDATE billing_account SET email = ?, email_key = ? WHERE id = ?";
            tx.run(text, [value.into(), contact.key().into(), id.as_str().into()]).await?;
        }
        ContactKind::Phone => {
            let text = "UPDATE billing_account SET phone = ? WHERE id = ?";
            tx.run(text, [value.into(), id.as_str().into()]).await?;
        }
    }
    Ok(())
}

/// Replaces the hash of a password.
pub async fn save_password(tx: &Tx, id: &BillingAccountId, password_hash: &str) -> Result<(), StoreError> {
    let text = "UPDATE billing_account SET password_hash = ? WHERE id = ?";
    tx.run(text, [password_hash.into(), id.as_str().into()]).await?;
    Ok(())
}

fn account(row: &QueryResult) -> Result<BillingAccount, StoreError> {
    let row = Row(row, TABLE);
    Ok(BillingAccount {
        id: row.parse("id")?,
        region: row.parse("region")?,
        username: row.text("username")?,
        email: row.text("email")?,
        phone: row.maybe_text("phone")?,
        company: Company {
            name: row.text("company_name")?,
            industry: row.text("company_industry")?,
            region: row.text("company_region")?,
            description: row.text("company_description")?,
        },
        currency: row.parse("currency")?,
        language: row.parse("language")?,
        any_settlement_allowed: row.truth("any_settlement_allowed")?,
        standing: row.parse("standing")?,
        arrears_since: row.maybe_time("arrears_since")?,
        created_at: row.time("created_at")?,
    })
}
