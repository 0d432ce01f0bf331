//! Payments that providers announced.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, PaymentId, RechargeId};
use tandem_proto::payment::PaymentChannel;
use tandem_service_kit::db::{StoreError, Tx};

use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::payment::{Announced, PaymentProblem, PaymentState};

const TABLE: &str = "payment";

/// A payment as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Opaque.
    pub id: PaymentId,
    /// What the provider said.
    pub announced: Announced,
    /// Whose recharge it names, or to whom it was booked.
    pub billing_account: Option<BillingAccountId>,
    /// When we heard of it.
    pub received_at: Timestamp,
    /// Where it stands.
    pub state: PaymentState,
    /// Why it was parked.
    pub problem: Option<PaymentProblem>,
    /// The recharge it was booked as.
    pub recharge: Option<RechargeId>,
    /// Why it was decided as it was.
    pub note: String,
    /// Who decided it.
    pub resolver: String,
    /// When it was decided.
    pub resolved_at: Option<Timestamp>,
}

/// Adds a payment.
///
/// Fails with a conflict when it was announced before.
pub async fn insert(tx: &Tx, p: &Payment) -> Result<(), StoreError> {
    let text = "INSERT INTO payment (id, channel, external_ref, order_id, billing_account_id, currency, amount, paid_at, \
                received_at, state, problem, recharge_id, note, resolver, resolved_at) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values: [Value; 15] = [
        p.id.as_str().into(),
        p.announced.channel.name().into(),
        p.announced.external_ref.as_str().into(),
        p.announced.order_id.as_str().into(),
        p.billing_account.as_ref().map(|id| id.as_str().to_owned()).into(),
        p.announced.currency.as_str().into(),
        p.announced.minor.into(),
        micros(p.announced.paid_at),
        micros(p.received_at),
        p.state.name().into(),
        p.problem.map(|problem| problem.name().to_owned()).into(),
        p.recharge.as_ref().map(|id| id.as_str().to_owned()).into(),
        p.note.as_str().into(),
        p.resolver.as_str().into(),
        maybe_micros(p.resolved_at),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Finds a payment by its provider's number.
pub async fn find_announced(
    db: &impl ConnectionTrait,
    channel: PaymentChannel,
    external_ref: &str,
) -> Result<Option<Payment>, StoreError> {
    let text = "SELECT * FROM payment WHERE channel = ? AND external_ref = ?";
    let found = read::one(db, text, [channel.name().into(), external_ref.into()]).await?;
    found.as_ref().map(read_row).transpose()
}

/// Finds a payment.
pub async fn find(db: &impl ConnectionTrait, id: &PaymentId) -> Result<Option<Payment>, StoreError> {
    let found = read::one(db, "SELECT * FROM payment WHERE id = ?", [id.as_str().into()]).await?;
    found.as_ref().map(read_row).transpose()
}

/// Reads a payment and locks it.
pub async fn lock(tx: &Tx, id: &PaymentId) -> Result<Option<Payment>, StoreError> {
    let text = format!("SELECT * FROM payment WHERE id = ?{}", for_update(tx));
    read::one(tx, &text, [id.as_str().into()]).await?.as_ref().map(read_row).transpose()
}

/// Saves what was decided of a payment.
///
/// Fails with a conflict when it was not parked any more.
pub async fn save_decision(tx: &Tx, p: &Payment) -> Result<(), StoreError> {
    let text = "UPDATE payment SET state = ?, billing_account_id = ?, recharge_id = ?, note = ?, resolver = ?, resolved_at = ? \
                WHERE id = ? AND state = 'parked'";
    let values: [Value; 7] = [
        p.state.name().into(),
        p.billing_account.as_ref().map(|id| id.as_str().to_owned()).into(),
        p.recharge.as_ref().map(|id| id.as_str().to_owned()).into(),
        p.note.as_str().into(),
        p.resolver.as_str().into(),
        maybe_micros(p.resolved_at),
        p.id.as_str().into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Payments before an id, the newest first.
pub async fn list(
    db: &impl ConnectionTrait,
    state: Option<PaymentState>,
    account: Option<&BillingAccountId>,
    before: &[String],
    limit: u64,
) -> Result<Vec<Payment>, StoreError> {
    let mut text = String::from("SELECT * FROM payment WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(before) = before.first() {
        text.push_str(" AND id < ?");
        values.push(before.as_str().into());
    }
    if let Some(state) = state {
        text.push_str(" AND state = ?");
        values.push(state.name().into());
    }
    if let Some(account) = account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    text.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(read_row).collect()
}

fn read_row(row: &QueryResult) -> Result<Payment, StoreError> {
    let row = Row(row, TABLE);
    Ok(Payment {
        id: row.parse("id")?,
        announced: Announced {
            channel: row.parse("channel")?,
            external_ref: row.text("external_ref")?,
            order_id: row.text("order_id")?,
            minor: row.int("amount")?,
            currency: row.text("currency")?,
            paid_at: row.time("paid_at")?,
        },
        billing_account: row.maybe_parse("billing_account_id")?,
        received_at: row.time("received_at")?,
        state: row.parse("state")?,
        problem: row.maybe_parse("problem")?,
        recharge: row.maybe_parse("recharge_id")?,
        note: row.text("note")?,
        resolver: row.text("resolver")?,
        resolved_at: row.maybe_time("resolved_at")?,
    })
}
