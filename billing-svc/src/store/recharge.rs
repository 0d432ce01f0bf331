//! Recharges of the cash balance.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, RechargeId};
use tandem_proto::money::Money;
use tandem_proto::names;
use tandem_service_kit::db::{StoreError, Tx};

use super::read::{self, Row, for_update, micros};

const TABLE: &str = "recharge";

names! {
    /// How recharged money comes.
    RechargeChannel: "bank_transfer";
    /// A bank transfer, booked by staff.
    BankTransfer = "bank_transfer";
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
    /// The payment's reference, once paid.
    pub external_ref: Option<String>,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When it was booked.
    pub paid_at: Option<Timestamp>,
}

/// Adds a recharge.
pub async fn insert(tx: &Tx, r: &Recharge) -> Result<(), StoreError> {
    let text = "INSERT INTO recharge (billing_account_id, id, currency, amount, channel, state, created_at) \
                VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values: [Value; 7] = [
        r.billing_account.as_str().into(),
        r.id.as_str().into(),
        r.amount.currency.code().into(),
        r.amount.minor.into(),
        r.channel.name().into(),
        r.state.name().into(),
        micros(r.created_at),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Reads a recharge and locks it.
pub async fn lock(
    tx: &Tx,
    account: &BillingAccountId,
    id: &RechargeId,
) -> Result<Option<Recharge>, StoreError> {
    let text = format!("SELECT * FROM recharge WHERE billing_account_id = ? AND id = ?{}", for_update(tx));
    let row = read::one(tx, &text, [account.as_str().into(), id.as_str().into()]).await?;
    row.as_ref().map(read_row).transpose()
}

/// Whether a payment's reference was booked by any recharge.
pub async fn reference_used(db: &impl ConnectionTrait, external_ref: &str) -> Result<bool, StoreError> {
    let text = "SELECT id FROM recharge WHERE external_ref = ?";
    Ok(read::one(db, text, [external_ref.into()]).await?.is_some())
}

/// Marks a recharge as paid; `false` when it was not waiting.
pub async fn set_paid(tx: &Tx, r: &Recharge, external_ref: &str, now: Timestamp) -> Result<bool, StoreError> {
    let text = "UPDATE recharge SET state = 'paid', external_ref = ?, paid_at = ? \
                WHERE billing_account_id = ? AND id = ? AND state = 'created'";
    let values = [external_ref.into(), micros(now), r.billing_account.as_str().into(), r.id.as_str().into()];
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
        external_ref: row.maybe_text("external_ref")?,
        created_at: row.time("created_at")?,
        paid_at: row.maybe_time("paid_at")?,
    })
}
