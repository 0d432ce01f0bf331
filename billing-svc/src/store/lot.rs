//! Lots: what customers can pay with, and how much of it is left.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, Money};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, micros};
use crate::domain::ledger::Account;
use crate::domain::wallet::{Lot, LotKind, Wallet};

const TABLE: &str = "lot";

/// A lot to be added; its balance comes with the posting that fills it.
#[derive(Debug, Clone)]
pub struct NewLot {
    /// Whose.
    pub billing_account: BillingAccountId,
    /// What it is, its id and validity. Its balance is not looked at.
    pub lot: Lot,
    /// What it was worth at first.
    pub face: Money,
    /// What it came from: a recharge, a voucher code, a card that brought a voucher, or a note of staff.
    pub origin: String,
}

/// A lot in a list.
#[derive(Debug, Clone)]
pub struct ListedLot {
    /// What it is and what is left.
    pub lot: Lot,
    /// What it was worth at first.
    pub face: Money,
    /// What it came from.
    pub origin: String,
    /// When what was left of it was lost.
    pub expired_at: Option<Timestamp>,
}

/// Adds lots. Post what fills them in the same transaction.
pub async fn insert(tx: &Tx, lots: &[NewLot]) -> Result<(), StoreError> {
    if lots.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("id", Kind::Text),
        ("account", Kind::Text),
        ("kind", Kind::Text),
        ("currency", Kind::Text),
        ("face", Kind::Int),
        ("min_spend", Kind::Int),
        ("opened_at", Kind::Int),
        ("valid_from", Kind::Int),
        ("last_day", Kind::Int),
        ("origin", Kind::Text),
    ]);
    for NewLot { billing_account, lot, face, origin } in lots {
        rows.push([
            billing_account.as_str().into(),
            lot.id.as_str().into(),
            Account::Lot(lot.kind, lot.id.clone()).name().into(),
            lot.kind.name().into(),
            face.currency.code().into(),
            face.minor.into(),
            lot.min_spend.into(),
            micros(lot.opened_at),
            micros(lot.valid_from),
            lot.last_day.map(|day| i64::from(day.number())).into(),
            origin.as_str().into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, id, account, kind, currency, face, min_spend, opened_at, valid_from, \
                   last_day, origin";
    let text =
        format!("INSERT INTO lot ({columns}, is_open) SELECT {columns}, true FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Marks lots as closed, by account and ledger account: nothing is left of them.
pub(super) async fn close<'a>(
    tx: &Tx,
    emptied: impl IntoIterator<Item = &'a (String, String)>,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("id", Kind::Text)]);
    for (billing_account, account) in emptied {
        let id = account.split_once(':').map_or(account.as_str(), |(_, id)| id);
        rows.push([billing_account.as_str().into(), id.into()]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE lot SET is_open = false FROM {} WHERE lot.billing_account_id = r.billing_account_id AND lot.id = r.id",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Notes that what was left of lots was lost.
pub async fn set_expired(
    tx: &Tx,
    lots: &[(BillingAccountId, String)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("id", Kind::Text)]);
    lots.iter().for_each(|(account, id)| rows.push([account.as_str().into(), id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE lot SET expired_at = {} FROM {} WHERE lot.billing_account_id = r.billing_account_id AND lot.id = r.id",
        now.as_microsecond(),
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Lots with a balance whose last day is before a day, and is billed on every site the account has workspaces on. A
/// site that began later had nothing to bill that day.
pub async fn due(
    db: &impl ConnectionTrait,
    before: UsageDay,
    limit: i64,
) -> Result<Vec<(BillingAccountId, String)>, StoreError> {
    let text = "SELECT l.billing_account_id, l.id FROM lot l WHERE l.is_open AND l.last_day < ? \
                AND NOT EXISTS (SELECT 1 FROM workspace w WHERE w.billing_account_id = l.billing_account_id \
                    AND NOT EXISTS (SELECT 1 FROM site_day d WHERE d.site = w.site \
                        AND d.usage_day = l.last_day AND d.billed_at IS NOT NULL) \
                    AND NOT (EXISTS (SELECT 1 FROM site_day d WHERE d.site = w.site) \
                        AND NOT EXISTS (SELECT 1 FROM site_day d WHERE d.site = w.site \
                            AND d.usage_day <= l.last_day))) \
                ORDER BY l.last_day, l.billing_account_id, l.id LIMIT ?";
    let rows = read::all(db, text, [before.number().into(), limit.into()]).await?;
    let place = |row| {
        let row = Row(row, TABLE);
        Ok((row.parse("billing_account_id")?, row.text("id")?))
    };
    rows.iter().map(place).collect()
}

/// What customers can pay with and what they owe; one without lots has nothing.
pub async fn wallets(
    db: &impl ConnectionTrait,
    accounts: &[BillingAccountId],
) -> Result<HashMap<BillingAccountId, Wallet>, StoreError> {
    wallets_of(db, accounts, LotKind::ALL).await
}

/// What customers owe, and their lots of some kinds only: an account may hold very many of another.
async fn wallets_of(
    db: &impl ConnectionTrait,
    accounts: &[BillingAccountId],
    kinds: &[LotKind],
) -> Result<HashMap<BillingAccountId, Wallet>, StoreError> {
    let mut wanted = Rows::new(&[("billing_account_id", Kind::Text)]);
    accounts.iter().for_each(|id| wanted.push([id.as_str().into()]));
    let rel = wanted.relation(db.get_database_backend(), "r", 1)?;
    let mut lots: HashMap<BillingAccountId, Vec<Lot>> = HashMap::new();
    if !kinds.is_empty() {
        let names: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.name())).collect();
        let text = format!(
            "SELECT l.billing_account_id, l.kind, l.id, l.opened_at, l.valid_from, l.last_day, l.min_spend, a.balance \
             FROM {} JOIN lot l ON l.billing_account_id = r.billing_account_id AND l.is_open AND l.kind IN ({}) \
             JOIN ledger_account a ON a.billing_account_id = l.billing_account_id AND a.account = l.account",
            rel.sql,
            names.join(", ")
        );
        for row in read::all(db, &text, rel.values.clone()).await? {
            let account = Row(&row, TABLE).parse("billing_account_id")?;
            lots.entry(account).or_default().push(read_lot(&row)?);
        }
    }
    // An account that changed its currency has one for each; that of the old currency is empty (`store::ledger`).
    let text = format!(
        "SELECT a.billing_account_id, CAST(SUM(a.balance) AS BIGINT) AS balance FROM {} JOIN ledger_account a \
         ON a.billing_account_id = r.billing_account_id \
         AND a.account IN ('overdraft', 'overdraft:CNY', 'overdraft:USD') GROUP BY a.billing_account_id",
        rel.sql
    );
    let mut debts: HashMap<BillingAccountId, i64> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "ledger_account");
        debts.insert(row.parse("billing_account_id")?, row.int("balance")?);
    }
    let wallet = |id: &BillingAccountId| {
        let wallet =
            Wallet::new(lots.remove(id).unwrap_or_default(), debts.get(id).copied().unwrap_or_default());
        (id.clone(), wallet)
    };
    Ok(accounts.iter().map(wallet).collect())
}

/// One customer's wallet.
pub async fn wallet(db: &impl ConnectionTrait, account: &BillingAccountId) -> Result<Wallet, StoreError> {
    wallet_of(db, account, LotKind::ALL).await
}

/// One customer's debt, and the lots of some kinds only.
pub async fn wallet_of(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    kinds: &[LotKind],
) -> Result<Wallet, StoreError> {
    let mut found = wallets_of(db, std::slice::from_ref(account), kinds).await?;
    Ok(found.remove(account).unwrap_or_default())
}

/// Which lots are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<LotKind>,
    /// Also those that are used up or expired.
    pub with_closed: bool,
}

/// An account's lots after an id, in the order of ids, which is the order they came in for each kind of id.
pub async fn list(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    filter: Filter,
    after: &[String],
    limit: u64,
) -> Result<Vec<ListedLot>, StoreError> {
    let mut text = String::from(
        "SELECT l.*, a.balance FROM lot l JOIN ledger_account a ON a.billing_account_id = l.billing_account_id \
         AND a.account = l.account WHERE l.billing_account_id = ? AND l.id > ?",
    );
    let after = after.first().map(String::as_str).unwrap_or_default();
    let mut values: Vec<Value> = vec![account.as_str().into(), after.into()];
    if let Some(kind) = filter.kind {
        text.push_str(" AND l.kind = ?");
        values.push(kind.name().into());
    }
    if !filter.with_closed {
        text.push_str(" AND l.is_open");
    }
    text.push_str(" ORDER BY l.id LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(listed).collect()
}

/// Finds one of an account's lots.
pub async fn find(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    id: &str,
) -> Result<Option<ListedLot>, StoreError> {
    let text = "SELECT l.*, a.balance FROM lot l JOIN ledger_account a \
                ON a.billing_account_id = l.billing_account_id AND a.account = l.account \
                WHERE l.billing_account_id = ? AND l.id = ?";
    read::one(db, text, [account.as_str().into(), id.into()]).await?.as_ref().map(listed).transpose()
}

pub(super) fn listed(row: &QueryResult) -> Result<ListedLot, StoreError> {
    let columns = Row(row, TABLE);
    let currency: Currency = columns.parse("currency")?;
    Ok(ListedLot {
        lot: read_lot(row)?,
        face: Money { minor: columns.int("face")?, currency },
        origin: columns.text("origin")?,
        expired_at: columns.maybe_time("expired_at")?,
    })
}

fn read_lot(row: &QueryResult) -> Result<Lot, StoreError> {
    let row = Row(row, TABLE);
    let last_day = row.maybe_small("last_day")?;
    let last_day =
        last_day.map(|n| UsageDay::from_number(n).map_err(|_| row.corrupt("last_day"))).transpose()?;
    Ok(Lot {
        kind: row.parse("kind")?,
        id: row.text("id")?,
        balance: row.int("balance")?,
        opened_at: row.time("opened_at")?,
        valid_from: row.time("valid_from")?,
        last_day,
        min_spend: row.int("min_spend")?,
    })
}
