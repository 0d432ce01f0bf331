//! Invoice profiles and delivery addresses.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, DeliveryAddressId, InvoiceProfileId};
use tandem_service_kit::db::{StoreError, Tx, get};

use super::read::{self, Row, micros};
use crate::domain::invoice::{Address, Details};

const PROFILE: &str = "invoice_profile";
const ADDRESS: &str = "delivery_address";

/// How a company wants its invoices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Opaque.
    pub id: InvoiceProfileId,
    /// What it says.
    pub details: Details,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where invoices are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAddress {
    /// Opaque.
    pub id: DeliveryAddressId,
    /// What it says.
    pub address: Address,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How many profiles an account has.
pub async fn count_profiles(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
) -> Result<i64, StoreError> {
    count(db, PROFILE, "SELECT COUNT(*) AS n FROM invoice_profile WHERE billing_account_id = ?", account)
        .await
}

/// How many addresses an account has.
pub async fn count_addresses(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
) -> Result<i64, StoreError> {
    count(db, ADDRESS, "SELECT COUNT(*) AS n FROM delivery_address WHERE billing_account_id = ?", account)
        .await
}

async fn count(
    db: &impl ConnectionTrait,
    table: &'static str,
    text: &str,
    account: &BillingAccountId,
) -> Result<i64, StoreError> {
    let row = read::one(db, text, [account.as_str().into()]).await?;
    row.map_or(Ok(0), |row| get(&row, table, "n"))
}

/// Adds a profile, or replaces what the one of its id says.
pub async fn save_profile(tx: &Tx, account: &BillingAccountId, p: &Profile) -> Result<(), StoreError> {
    let text = "INSERT INTO invoice_profile (billing_account_id, id, kind, bank, bank_account, registered_address, \
                landline, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (billing_account_id, id) \
                DO UPDATE SET kind = excluded.kind, bank = excluded.bank, bank_account = excluded.bank_account, \
                registered_address = excluded.registered_address, landline = excluded.landline";
    let values: [Value; 8] = [
        account.as_str().into(),
        p.id.as_str().into(),
        p.details.kind.name().into(),
        p.details.bank.as_str().into(),
        p.details.bank_account.as_str().into(),
        p.details.registered_address.as_str().into(),
        p.details.landline.as_str().into(),
        micros(p.created_at),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Adds an address, or replaces what the one of its id says.
pub async fn save_address(tx: &Tx, account: &BillingAccountId, a: &StoredAddress) -> Result<(), StoreError> {
    let text = "INSERT INTO delivery_address (billing_account_id, id, recipient, phone, email, postal, created_at) \
                VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (billing_account_id, id) DO UPDATE SET \
                recipient = excluded.recipient, phone = excluded.phone, email = excluded.email, \
                postal = excluded.postal";
    let values: [Value; 7] = [
        account.as_str().into(),
        a.id.as_str().into(),
        a.address.recipient.as_str().into(),
        a.address.phone.as_str().into(),
        a.address.email.as_str().into(),
        a.address.postal.as_str().into(),
        micros(a.created_at),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Deletes a profile; `false` means there was none.
pub async fn delete_profile(
    tx: &Tx,
    account: &BillingAccountId,
    id: &InvoiceProfileId,
) -> Result<bool, StoreError> {
    let text = "DELETE FROM invoice_profile WHERE billing_account_id = ? AND id = ?";
    Ok(tx.run(text, [account.as_str().into(), id.as_str().into()]).await? == 1)
}

/// Deletes an address; `false` means there was none.
pub async fn delete_address(
    tx: &Tx,
    account: &BillingAccountId,
    id: &DeliveryAddressId,
) -> Result<bool, StoreError> {
    let text = "DELETE FROM delivery_address WHERE billing_account_id = ? AND id = ?";
    Ok(tx.run(text, [account.as_str().into(), id.as_str().into()]).await? == 1)
}

/// Finds an account's profile.
pub async fn find_profile(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    id: &InvoiceProfileId,
) -> Result<Option<Profile>, StoreError> {
    let text = "SELECT * FROM invoice_profile WHERE billing_account_id = ? AND id = ?";
    read::one(db, text, [account.as_str().into(), id.as_str().into()])
        .await?
        .as_ref()
        .map(profile)
        .transpose()
}

/// Finds an account's address.
pub async fn find_address(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    id: &DeliveryAddressId,
) -> Result<Option<StoredAddress>, StoreError> {
    let text = "SELECT * FROM delivery_address WHERE billing_account_id = ? AND id = ?";
    read::one(db, text, [account.as_str().into(), id.as_str().into()])
        .await?
        .as_ref()
        .map(address)
        .transpose()
}

/// An account's profiles after an id, in the order of ids.
pub async fn profiles(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    after: &[String],
    limit: u64,
) -> Result<Vec<Profile>, StoreError> {
    let text = "SELECT * FROM invoice_profile WHERE billing_account_id = ? AND id > ? ORDER BY id LIMIT ?";
    read::all(db, text, page(account, after, limit)).await?.iter().map(profile).collect()
}

/// An account's addresses after an id, in the order of ids.
pub async fn addresses(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    after: &[String],
    limit: u64,
) -> Result<Vec<StoredAddress>, StoreError> {
    let text = "SELECT * FROM delivery_address WHERE billing_account_id = ? AND id > ? ORDER BY id LIMIT ?";
    read::all(db, text, page(account, after, limit)).await?.iter().map(address).collect()
}

fn page(account: &BillingAccountId, after: &[String], limit: u64) -> [Value; 3] {
    let after = after.first().map(String::as_str).unwrap_or_default();
    [account.as_str().into(), after.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()]
}

fn profile(row: &QueryResult) -> Result<Profile, StoreError> {
    let row = Row(row, PROFILE);
    Ok(Profile { id: row.parse("id")?, details: details(row)?, created_at: row.time("created_at")? })
}

fn address(row: &QueryResult) -> Result<StoredAddress, StoreError> {
    let row = Row(row, ADDRESS);
    Ok(StoredAddress { id: row.parse("id")?, address: delivery(row)?, created_at: row.time("created_at")? })
}

/// The details in a row of profiles or invoices.
pub(super) fn details(row: Row<'_>) -> Result<Details, StoreError> {
    Ok(Details {
        kind: row.parse("kind")?,
        bank: row.text("bank")?,
        bank_account: row.text("bank_account")?,
        registered_address: row.text("registered_address")?,
        landline: row.text("landline")?,
    })
}

/// The address in a row of addresses or invoices.
pub(super) fn delivery(row: Row<'_>) -> Result<Address, StoreError> {
    Ok(Address {
        recipient: row.text("recipient")?,
        phone: row.text("phone")?,
        email: row.text("email")?,
        postal: row.text("postal")?,
    })
}
