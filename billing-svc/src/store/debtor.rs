//! What the money side knows of a billing account: its currency, whether it owes, and where its mails go.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Currency;
use tandem_proto::settlement::Language;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::account::AccountStanding;

const TABLE: &str = "billing_account";
const COLUMNS: &str = "a.id, a.currency, a.standing, a.arrears_since, a.email, a.language";

/// A billing account as a debtor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debtor {
    /// The account.
    pub id: BillingAccountId,
    /// What its bills are made in.
    pub currency: Currency,
    /// Whether it owes anything.
    pub standing: AccountStanding,
    /// Since when.
    pub arrears_since: Option<Timestamp>,
    /// Receives the mails.
    pub email: String,
    /// The language of the mails.
    pub language: Language,
}

/// Reads accounts and locks them, in the order of their ids; the first lock of every act on money.
pub async fn lock(tx: &Tx, ids: &[BillingAccountId]) -> Result<Vec<Debtor>, StoreError> {
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF a" };
    select(tx, ids, lock).await
}

/// Reads accounts without locking them.
pub async fn find(db: &impl ConnectionTrait, ids: &[BillingAccountId]) -> Result<Vec<Debtor>, StoreError> {
    select(db, ids, "").await
}

async fn select(db: &impl ConnectionTrait, ids: &[BillingAccountId], lock: &str) -> Result<Vec<Debtor>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().collect::<std::collections::BTreeSet<_>>().into_iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!("SELECT {COLUMNS} FROM {} JOIN billing_account a ON a.id = r.id ORDER BY a.id{lock}", rel.sql);
    read::all(db, &text, rel.values).await?.iter().map(debtor).collect()
}

/// Reads and locks accounts in arrears since before an instant, a bounded number of them.
pub async fn lock_overdue(tx: &Tx, since_before: Timestamp, limit: i64) -> Result<Vec<Debtor>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM billing_account a WHERE a.arrears_since IS NOT NULL AND a.arrears_since <= ? \
         AND a.standing = 'arrears' ORDER BY a.id LIMIT ?{}",
        for_update(tx)
    );
    read::all(tx, &text, [micros(since_before), limit.into()]).await?.iter().map(debtor).collect()
}

/// Saves whether accounts owe anything.
pub async fn save_standings(tx: &Tx, debtors: &[Debtor]) -> Result<(), StoreError> {
    if debtors.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[("id", Kind::Text), ("standing", Kind::Text), ("arrears_since", Kind::Int)]);
    for d in debtors {
        rows.push([d.id.as_str().into(), d.standing.name().into(), maybe_micros(d.arrears_since)]);
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

fn debtor(row: &QueryResult) -> Result<Debtor, StoreError> {
    let row = Row(row, TABLE);
    Ok(Debtor {
        id: row.parse("id")?,
        currency: row.parse("currency")?,
        standing: row.parse("standing")?,
        arrears_since: row.maybe_time("arrears_since")?,
        email: row.text("email")?,
        language: row.parse("language")?,
    })
}
