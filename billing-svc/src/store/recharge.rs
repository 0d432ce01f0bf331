//! Recharges of the cash balance.

use std::collections::HashSet;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, RechargeId};
use tandem_proto::money::Money;
use tandem_proto::names;
use tandem_proto::payment::PaymentChannel;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::recharge as rule;

const TABLE: &str = "recharge";

names! {
    /// How recharged money comes.
    RechargeChannel: "bank_transfer, alipay";
    /// A bank transfer, booked by staff.
    BankTransfer = "bank_transfer";
    /// Alipay, paid online.
    Alipay = "alipay";
}

impl RechargeChannel {
    /// How it is paid online; `None` when it is not.
    pub fn online(self) -> Option<PaymentChannel> {
        match self {
            RechargeChannel::BankTransfer => None,
            RechargeChannel::Alipay => Some(PaymentChannel::Alipay),
        }
    }

    /// The channel of a payment.
    pub fn of_payment(channel: PaymentChannel) -> RechargeChannel {
        match channel {
            PaymentChannel::Alipay => RechargeChannel::Alipay,
        }
    }
}

names! {
    /// Where a recharge stands.
    RechargeState: "created, paid, closed";
    /// Waits for its money.
    Created = "created";
    /// Booked.
    Paid = "paid";
    /// Given up.
    Closed = "closed";
}

/// Money on its way into a balance.
#[derive(Debug, Clone)]
pub struct Recharge {
    /// Opaque.
    pub id: RechargeId,
    /// Whose.
    pub billing_account: BillingAccountId,
    /// How much.
    pub amount: Money,
    /// How it comes.
    pub channel: RechargeChannel,
    /// Where it stands.
    pub state: RechargeState,
    /// Whether the money becomes a prepaid card.
    pub buys_card: bool,
    /// The payment's reference, once paid.
    pub external_ref: Option<String>,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When it was booked.
    pub paid_at: Option<Timestamp>,
    /// The page to pay on, once its order is open.
    pub payment_url: Option<String>,
    /// Until when it waits for its money; missing where an older release announced it.
    pub expires_at: Option<Timestamp>,
    /// When it was given up.
    pub closed_at: Option<Timestamp>,
}

impl Recharge {
    /// Until when it waits for its money.
    pub fn ends_at(&self) -> Timestamp {
        let online = self.channel.online().is_some();
        self.expires_at.unwrap_or_else(|| rule::expires_at(online, self.created_at))
    }
}

/// Adds a recharge.
pub async fn insert(tx: &Tx, r: &Recharge) -> Result<(), StoreError> {
    let text = "INSERT INTO recharge (billing_account_id, id, currency, amount, channel, state, buys_card, created_at, \
                expires_at, check_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values: [Value; 10] = [
        r.billing_account.as_str().into(),
        r.id.as_str().into(),
        r.amount.currency.code().into(),
        r.amount.minor.into(),
        r.channel.name().into(),
        r.state.name().into(),
        r.buys_card.into(),
        micros(r.created_at),
        maybe_micros(r.expires_at),
        micros(rule::first_check(r.channel.online().is_some(), r.created_at)),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Reads an account's recharges and locks them, in the order of ids.
pub async fn lock_all(
    tx: &Tx,
    account: &BillingAccountId,
    ids: &[RechargeId],
) -> Result<Vec<Recharge>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF c" };
    let text = format!(
        "SELECT c.* FROM {} JOIN recharge c ON c.id = r.id WHERE c.billing_account_id = ? ORDER BY c.id{lock}",
        rel.sql
    );
    let values = rel.values.into_iter().chain([account.as_str().into()]);
    read::all(tx, &text, values).await?.iter().map(read_row).collect()
}

/// Those of these payments' references that were booked by any recharge.
pub async fn used_references(
    db: &impl ConnectionTrait,
    references: &[String],
) -> Result<HashSet<String>, StoreError> {
    let mut rows = Rows::new(&[("external_ref", Kind::Text)]);
    references.iter().for_each(|reference| rows.push([reference.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text =
        format!("SELECT c.external_ref FROM {} JOIN recharge c ON c.external_ref = r.external_ref", rel.sql);
    read::all(db, &text, rel.values).await?.iter().map(|row| Row(row, TABLE).text("external_ref")).collect()
}

/// Marks recharges as paid.
///
/// Fails with a conflict when one was not waiting any more.
pub async fn set_paid(tx: &Tx, recharges: &[Recharge]) -> Result<(), StoreError> {
    if recharges.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("id", Kind::Text),
        ("external_ref", Kind::Text),
        ("paid_at", Kind::Int),
    ]);
    for r in recharges {
        rows.push([
            r.billing_account.as_str().into(),
            r.id.as_str().into(),
            r.external_ref.clone().into(),
            maybe_micros(r.paid_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE recharge SET state = 'paid', external_ref = r.external_ref, paid_at = r.paid_at FROM {} \
         WHERE recharge.billing_account_id = r.billing_account_id AND recharge.id = r.id \
         AND recharge.state = 'created'",
        rel.sql
    );
    let paid = tx.run(&text, rel.values).await?;
    if usize::try_from(paid) == Ok(recharges.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// An account's recharges after an id, in the order of ids.
pub async fn list(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    state: Option<RechargeState>,
    after: &[String],
    limit: u64,
) -> Result<Vec<Recharge>, StoreError> {
    let mut text = String::from("SELECT * FROM recharge WHERE billing_account_id = ? AND id > ?");
    let after = after.first().map(String::as_str).unwrap_or_default();
    let mut values: Vec<Value> = vec![account.as_str().into(), after.into()];
    if let Some(state) = state {
        text.push_str(" AND state = ?");
        values.push(state.name().into());
    }
    text.push_str(" ORDER BY id LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(read_row).collect()
}

/// Whose a recharge is.
pub async fn owner(
    db: &impl ConnectionTrait,
    id: &RechargeId,
) -> Result<Option<BillingAccountId>, StoreError> {
    let text = "SELECT billing_account_id FROM recharge WHERE id = ?";
    let found = read::one(db, text, [id.as_str().into()]).await?;
    found.map(|row| Row(&row, TABLE).parse("billing_account_id")).transpose()
}

/// Notes the page to pay on.
///
/// Fails with a conflict when the recharge is gone: a twin had been refused by the provider.
pub async fn set_page(tx: &Tx, r: &Recharge, payment_url: &str) -> Result<(), StoreError> {
    let text = "UPDATE recharge SET payment_url = ? WHERE billing_account_id = ? AND id = ?";
    let values = [payment_url.into(), r.billing_account.as_str().into(), r.id.as_str().into()];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Takes back a recharge whose order the provider refused. One that has a page, or does not wait any more, stays.
pub async fn take_back(tx: &Tx, r: &Recharge) -> Result<(), StoreError> {
    let text = "DELETE FROM recharge WHERE billing_account_id = ? AND id = ? AND state = 'created' AND payment_url IS NULL";
    tx.run(text, [r.billing_account.as_str().into(), r.id.as_str().into()]).await?;
    Ok(())
}

/// Recharges of any account that wait and are to be looked at, the longest due first.
pub async fn due(db: &impl ConnectionTrait, now: Timestamp, limit: i64) -> Result<Vec<Recharge>, StoreError> {
    let text = "SELECT * FROM recharge WHERE state = 'created' AND (check_at IS NULL OR check_at <= ?) \
                ORDER BY check_at, id LIMIT ?";
    read::all(db, text, [micros(now), limit.into()]).await?.iter().map(read_row).collect()
}

/// Notes when to look at a waiting recharge again.
pub async fn check_again(tx: &Tx, r: &Recharge, at: Timestamp) -> Result<(), StoreError> {
    let text = "UPDATE recharge SET check_at = ?, expires_at = ? WHERE billing_account_id = ? AND id = ? AND state = 'created'";
    let place = [r.billing_account.as_str().into(), r.id.as_str().into()];
    tx.run(text, [micros(at), micros(r.ends_at())].into_iter().chain(place)).await?;
    Ok(())
}

/// Gives a recharge up; `false` when it did not wait any more.
pub async fn close(tx: &Tx, r: &Recharge, now: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE recharge SET state = 'closed', closed_at = ? \
                WHERE billing_account_id = ? AND id = ? AND state = 'created'";
    let values = [micros(now), r.billing_account.as_str().into(), r.id.as_str().into()];
    Ok(tx.run(text, values).await? == 1)
}

fn read_row(row: &QueryResult) -> Result<Recharge, StoreError> {
    let row = Row(row, TABLE);
    Ok(Recharge {
        id: row.parse("id")?,
        billing_account: row.parse("billing_account_id")?,
        amount: Money { minor: row.int("amount")?, currency: row.parse("currency")? },
        channel: row.parse("channel")?,
        state: row.parse("state")?,
        buys_card: row.truth("buys_card")?,
        external_ref: row.maybe_text("external_ref")?,
        created_at: row.time("created_at")?,
        paid_at: row.maybe_time("paid_at")?,
        payment_url: row.maybe_text("payment_url")?,
        expires_at: row.maybe_time("expires_at")?,
        closed_at: row.maybe_time("closed_at")?,
    })
}
