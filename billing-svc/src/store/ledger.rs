//! The journal and the balances that are folds over it.
//!
//! Callers hold the lock of the billing accounts they post to; the compare-and-set here guards all the same.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, Money};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row};
use crate::domain::deduction::Wallet;
use crate::domain::ledger::{Account, AccountKind, Transfer};

const TABLE: &str = "ledger_account";

/// A transfer in a customer's ledger.
#[derive(Debug, Clone)]
pub struct Posting {
    /// Whose ledger.
    pub billing_account: BillingAccountId,
    /// The currency of all its legs.
    pub currency: Currency,
    /// What moves.
    pub transfer: Transfer,
}

/// A change of one ledger account.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The transfer it belongs to.
    pub transfer_id: String,
    /// The ledger account's name.
    pub account: String,
    /// By how much.
    pub amount: Money,
    /// The balance after it.
    pub balance_after: Money,
    /// Its place in its ledger account, from 1.
    pub number: i64,
    /// When.
    pub entered_at: Timestamp,
    /// What caused it.
    pub cause: String,
    /// The bill or recharge behind it.
    pub cause_id: String,
}

#[derive(Clone, Copy)]
struct Balance {
    minor: i64,
    entries: i64,
}

type Key = (String, String);

/// The balances of customers; one without entries has none.
pub async fn wallets(
    db: &impl ConnectionTrait,
    accounts: &[BillingAccountId],
) -> Result<HashMap<BillingAccountId, Wallet>, StoreError> {
    let mut wanted = Rows::new(&[("billing_account_id", Kind::Text)]);
    accounts.iter().for_each(|id| wanted.push([id.as_str().into()]));
    let rel = wanted.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT l.billing_account_id, l.kind, l.balance FROM {} \
         JOIN ledger_account l ON l.billing_account_id = r.billing_account_id \
         WHERE l.kind IN ('cash', 'overdraft')",
        rel.sql
    );
    let mut wallets: HashMap<BillingAccountId, Wallet> =
        accounts.iter().map(|id| (id.clone(), Wallet::default())).collect();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, TABLE);
        let wallet = wallets.entry(row.parse("billing_account_id")?).or_default();
        match row.parse("kind")? {
            AccountKind::Cash => wallet.cash = row.int("balance")?,
            AccountKind::Overdraft => wallet.overdraft = row.int("balance")?,
            AccountKind::Revenue | AccountKind::Funding | AccountKind::CloudClearing => {}
        }
    }
    Ok(wallets)
}

/// Posts transfers, in this order.
///
/// Fails with a conflict when a transfer was posted before or a balance was changed by somebody else meanwhile; a
/// balance that would pass its limit fails at the table's own check.
pub async fn post(tx: &Tx, postings: &[Posting], now: Timestamp) -> Result<(), StoreError> {
    if postings.is_empty() {
        return Ok(());
    }
    let mut touched: BTreeMap<Key, (Account, Currency)> = BTreeMap::new();
    for posting in postings {
        for (account, _) in posting.transfer.legs() {
            touched.insert(key(posting, *account), (*account, posting.currency));
        }
    }
    let before = open(tx, &touched).await?;
    let mut balances = before.clone();
    let mut entries = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("account", Kind::Text),
        ("number", Kind::Int),
        ("transfer_id", Kind::Text),
        ("currency", Kind::Text),
        ("amount", Kind::Int),
        ("balance_after", Kind::Int),
        ("cause", Kind::Text),
        ("cause_id", Kind::Text),
    ]);
    for posting in postings {
        let cause = &posting.transfer.cause;
        for (account, minor) in posting.transfer.legs() {
            let key = key(posting, *account);
            let balance =
                balances.get_mut(&key).ok_or(StoreError::Corrupt { table: TABLE, column: "account" })?;
            let overflow = StoreError::Corrupt { table: TABLE, column: "balance" };
            balance.minor = balance.minor.checked_add(*minor).ok_or(overflow)?;
            balance.entries += 1;
            entries.push([
                key.0.into(),
                key.1.into(),
                balance.entries.into(),
                cause.transfer_id().into(),
                posting.currency.code().into(),
                (*minor).into(),
                balance.minor.into(),
                cause.name().into(),
                cause.id().into(),
            ]);
        }
    }
    let rel = entries.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO ledger_entry (billing_account_id, account, number, transfer_id, currency, amount, \
         balance_after, cause, cause_id, entered_at) SELECT billing_account_id, account, number, transfer_id, \
         currency, amount, balance_after, cause, cause_id, {} FROM {} WHERE true",
        now.as_microsecond(),
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    save(tx, &before, &balances).await
}

fn key(posting: &Posting, account: Account) -> Key {
    (posting.billing_account.as_str().to_owned(), account.name())
}

/// Makes the ledger accounts that are missing and reads all of them.
async fn open(
    tx: &Tx,
    touched: &BTreeMap<Key, (Account, Currency)>,
) -> Result<BTreeMap<Key, Balance>, StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("account", Kind::Text),
        ("kind", Kind::Text),
        ("currency", Kind::Text),
    ]);
    for ((billing_account, name), (account, currency)) in touched {
        let kind = account.kind().name();
        rows.push([
            billing_account.as_str().into(),
            name.as_str().into(),
            kind.into(),
            currency.code().into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO ledger_account (billing_account_id, account, kind, currency, balance, entry_count) \
         SELECT billing_account_id, account, kind, currency, 0, 0 FROM {} WHERE true \
         ON CONFLICT (billing_account_id, account) DO NOTHING",
        rel.sql
    );
    tx.run(&text, rel.values.clone()).await?;
    let text = format!(
        "SELECT l.billing_account_id, l.account, l.balance, l.entry_count FROM {} JOIN ledger_account l \
         ON l.billing_account_id = r.billing_account_id AND l.account = r.account AND l.currency = r.currency",
        rel.sql
    );
    let mut balances = BTreeMap::new();
    for row in read::all(tx, &text, rel.values).await? {
        let row = Row(&row, TABLE);
        let balance = Balance { minor: row.int("balance")?, entries: row.int("entry_count")? };
        balances.insert((row.text("billing_account_id")?, row.text("account")?), balance);
    }
    // One that is missing now holds another currency.
    if balances.len() == touched.len() {
        Ok(balances)
    } else {
        Err(StoreError::Corrupt { table: TABLE, column: "currency" })
    }
}

async fn save(
    tx: &Tx,
    before: &BTreeMap<Key, Balance>,
    after: &BTreeMap<Key, Balance>,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("account", Kind::Text),
        ("old_count", Kind::Int),
        ("balance", Kind::Int),
        ("entry_count", Kind::Int),
    ]);
    for ((key, old), new) in before.iter().zip(after.values()) {
        rows.push([
            key.0.as_str().into(),
            key.1.as_str().into(),
            old.entries.into(),
            new.minor.into(),
            new.entries.into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE ledger_account SET balance = r.balance, entry_count = r.entry_count FROM {} \
         WHERE ledger_account.billing_account_id = r.billing_account_id AND ledger_account.account = r.account \
         AND ledger_account.entry_count = r.old_count",
        rel.sql
    );
    let saved = tx.run(&text, rel.values).await?;
    if usize::try_from(saved) == Ok(before.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// An account's entries after a place, oldest first. The place is time, transfer and ledger account.
pub async fn entries(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    after: &[String],
    limit: u64,
) -> Result<Vec<Entry>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let columns = "SELECT transfer_id, account, currency, amount, balance_after, number, entered_at, cause, cause_id \
                   FROM ledger_entry WHERE billing_account_id = ?";
    let order = "ORDER BY entered_at, transfer_id, account LIMIT ?";
    let rows = match after {
        [at, transfer, name] => {
            let text = format!("{columns} AND (entered_at, transfer_id, account) > (?, ?, ?) {order}");
            let at: i64 = at.parse().unwrap_or(i64::MAX);
            let place = [at.into(), transfer.as_str().into(), name.as_str().into(), limit.into()];
            read::all(db, &text, std::iter::once(account.as_str().into()).chain(place)).await?
        }
        _ => read::all(db, &format!("{columns} {order}"), [account.as_str().into(), limit.into()]).await?,
    };
    rows.iter().map(entry).collect()
}

fn entry(row: &QueryResult) -> Result<Entry, StoreError> {
    let row = Row(row, "ledger_entry");
    let currency = row.parse("currency")?;
    Ok(Entry {
        transfer_id: row.text("transfer_id")?,
        account: row.text("account")?,
        amount: Money { minor: row.int("amount")?, currency },
        balance_after: Money { minor: row.int("balance_after")?, currency },
        number: row.int("number")?,
        entered_at: row.time("entered_at")?,
        cause: row.text("cause")?,
        cause_id: row.text("cause_id")?,
    })
}
