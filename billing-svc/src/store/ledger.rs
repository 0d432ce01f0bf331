//! The journal and the balances that are folds over it.
//!
//! Callers hold the lock of the billing accounts they post to; the compare-and-set here guards all the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, Money};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::lot;
use super::read::{self, Row, micros};
use crate::domain::ledger::{Account, AccountKind, CauseKind, Transfer};

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
    /// What the ledger account is.
    pub kind: AccountKind,
    /// By how much.
    pub amount: Money,
    /// The balance after it.
    pub balance_after: Money,
    /// Its place in its ledger account, from 1.
    pub number: i64,
    /// When.
    pub entered_at: Timestamp,
    /// What caused it.
    pub cause: CauseKind,
    /// The bill, lot or other thing behind it.
    pub cause_id: String,
}

/// Which entries are listed.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// From this instant on.
    pub from: Timestamp,
    /// Before this one.
    pub until: Timestamp,
    /// Only of accounts that are the customer's: the balances and the debt.
    pub customers_only: bool,
}

#[derive(Clone, Copy)]
struct Balance {
    kind: AccountKind,
    currency: Currency,
    minor: i64,
    entries: i64,
}

type Key = (String, String);

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
            touched.insert(key(posting, account), (account.clone(), posting.currency));
        }
    }
    let (before, renamed) = read_all(tx, &touched).await?;
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
            let key = key(posting, account);
            let key = renamed.get(&key).unwrap_or(&key).clone();
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
                cause.kind.name().into(),
                cause.id.as_str().into(),
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
    save(tx, &before, &balances).await?;
    let emptied = balances.iter().filter(|(key, balance)| {
        balance.minor == 0 && matches!(touched.get(*key), Some((Account::Lot(..), _)))
    });
    lot::close(tx, emptied.map(|(key, _)| key)).await
}

fn key(posting: &Posting, account: &Account) -> Key {
    (posting.billing_account.as_str().to_owned(), account.name())
}

/// Reads ledger accounts, those that are missing as empty ones, and says which go by another name.
///
/// A ledger account has one currency for ever. After an account's currency was changed, those of the new one are named
/// with it: `revenue:USD` beside `revenue`.
async fn read_all(
    tx: &Tx,
    touched: &BTreeMap<Key, (Account, Currency)>,
) -> Result<(BTreeMap<Key, Balance>, BTreeMap<Key, Key>), StoreError> {
    let (mut balances, taken) = read_some(tx, touched).await?;
    let mut renamed = BTreeMap::new();
    let mut again = BTreeMap::new();
    for key in taken {
        let Some((account, currency)) = touched.get(&key) else { continue };
        let name = (key.0.clone(), format!("{}:{currency}", key.1));
        again.insert(name.clone(), (account.clone(), *currency));
        renamed.insert(key, name);
    }
    if !again.is_empty() {
        let (more, taken) = read_some(tx, &again).await?;
        if !taken.is_empty() {
            return Err(StoreError::Corrupt { table: TABLE, column: "currency" });
        }
        balances.extend(more);
    }
    Ok((balances, renamed))
}

/// Reads ledger accounts, those that are missing as empty ones; names that hold another currency come apart.
async fn read_some(
    tx: &Tx,
    touched: &BTreeMap<Key, (Account, Currency)>,
) -> Result<(BTreeMap<Key, Balance>, Vec<Key>), StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("account", Kind::Text)]);
    for (billing_account, name) in touched.keys() {
        rows.push([billing_account.as_str().into(), name.as_str().into()]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT l.billing_account_id, l.account, l.currency, l.balance, l.entry_count FROM {} JOIN ledger_account l \
         ON l.billing_account_id = r.billing_account_id AND l.account = r.account",
        rel.sql
    );
    let empty = |(key, (account, currency)): (&Key, &(Account, Currency))| {
        (key.clone(), Balance { kind: account.kind(), currency: *currency, minor: 0, entries: 0 })
    };
    let mut balances: BTreeMap<Key, Balance> = touched.iter().map(empty).collect();
    let mut taken = Vec::new();
    for row in read::all(tx, &text, rel.values).await? {
        let row = Row(&row, TABLE);
        let key = (row.text("billing_account_id")?, row.text("account")?);
        let Some(balance) = balances.get_mut(&key) else { continue };
        if row.parse::<Currency>("currency")? == balance.currency {
            (balance.minor, balance.entries) = (row.int("balance")?, row.int("entry_count")?);
        } else {
            balances.remove(&key);
            taken.push(key);
        }
    }
    Ok((balances, taken))
}

/// Saves balances: changed ones where nobody else has changed them, new ones where nobody else has made them.
async fn save(
    tx: &Tx,
    before: &BTreeMap<Key, Balance>,
    after: &BTreeMap<Key, Balance>,
) -> Result<(), StoreError> {
    let number = [("balance", Kind::Int), ("entry_count", Kind::Int)];
    let key = [("billing_account_id", Kind::Text), ("account", Kind::Text)];
    let mut changed = Rows::new(&[key[0], key[1], ("old_count", Kind::Int), number[0], number[1]]);
    let mut made =
        Rows::new(&[key[0], key[1], ("kind", Kind::Text), ("currency", Kind::Text), number[0], number[1]]);
    for ((key, old), new) in before.iter().zip(after.values()) {
        let (id, account) = (key.0.as_str().into(), key.1.as_str().into());
        if old.entries == 0 {
            let (kind, currency) = (new.kind.name().into(), new.currency.code().into());
            made.push([id, account, kind, currency, new.minor.into(), new.entries.into()]);
        } else {
            changed.push([id, account, old.entries.into(), new.minor.into(), new.entries.into()]);
        }
    }
    let mut saved = 0;
    if !changed.is_empty() {
        let rel = changed.relation(tx.get_database_backend(), "r", 1)?;
        let text = format!(
            "UPDATE ledger_account SET balance = r.balance, entry_count = r.entry_count FROM {} \
             WHERE ledger_account.billing_account_id = r.billing_account_id AND ledger_account.account = r.account \
             AND ledger_account.entry_count = r.old_count",
            rel.sql
        );
        saved += tx.run(&text, rel.values).await?;
    }
    if !made.is_empty() {
        let rel = made.relation(tx.get_database_backend(), "r", 1)?;
        let text = format!(
            "INSERT INTO ledger_account (billing_account_id, account, kind, currency, balance, entry_count) \
             SELECT billing_account_id, account, kind, currency, balance, entry_count FROM {} WHERE true \
             ON CONFLICT (billing_account_id, account) DO NOTHING",
            rel.sql
        );
        saved += tx.run(&text, rel.values).await?;
    }
    if usize::try_from(saved) == Ok(before.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// An account's entries of a time after a place, oldest first. The place is time, transfer and ledger account.
pub async fn entries(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    range: Range,
    after: &[String],
    limit: u64,
) -> Result<Vec<Entry>, StoreError> {
    let mut text = String::from(
        "SELECT e.transfer_id, e.account, e.currency, e.amount, e.balance_after, e.number, e.entered_at, e.cause, \
         e.cause_id, l.kind FROM ledger_entry e JOIN ledger_account l \
         ON l.billing_account_id = e.billing_account_id AND l.account = e.account \
         WHERE e.billing_account_id = ? AND e.entered_at >= ? AND e.entered_at < ?",
    );
    let mut values: Vec<Value> = vec![account.as_str().into(), micros(range.from), micros(range.until)];
    if range.customers_only {
        let kinds = AccountKind::ALL.iter().filter(|kind| kind.is_the_customers());
        let names: Vec<String> = kinds.map(|kind| format!("'{}'", kind.name())).collect();
        text.push_str(&format!(" AND l.kind IN ({})", names.join(", ")));
    }
    if let [at, transfer, name] = after {
        text.push_str(" AND (e.entered_at, e.transfer_id, e.account) > (?, ?, ?)");
        let at: i64 = at.parse().unwrap_or(i64::MAX);
        values.extend([at.into(), transfer.as_str().into(), name.as_str().into()]);
    }
    text.push_str(" ORDER BY e.entered_at, e.transfer_id, e.account LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(entry).collect()
}

fn entry(row: &QueryResult) -> Result<Entry, StoreError> {
    let row = Row(row, "ledger_entry");
    let currency = row.parse("currency")?;
    Ok(Entry {
        transfer_id: row.text("transfer_id")?,
        account: row.text("account")?,
        kind: row.parse("kind")?,
        amount: Money { minor: row.int("amount")?, currency },
        balance_after: Money { minor: row.int("balance_after")?, currency },
        number: row.int("number")?,
        entered_at: row.time("entered_at")?,
        cause: row.parse("cause")?,
        cause_id: row.text("cause_id")?,
    })
}
