//! Metering records: usage for a cloud, fixed before it is sent.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::ids::{BillId, BillingAccountId, MeteringRecordId, SubscriptionId};
use tandem_proto::money::Money;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};
use tandem_service_kit::telemetry::trace_context;

use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::metering::{State, Window};

const TABLE: &str = "metering_record";

/// Usage for a cloud. All but state and what belongs to it is fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeteringRecord {
    /// Opaque.
    pub id: MeteringRecordId,
    /// The purchase.
    pub subscription: SubscriptionId,
    /// Whose.
    pub billing_account: BillingAccountId,
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The purchase's number there.
    pub vendor_instance_id: String,
    /// The buyer's number there.
    pub vendor_account_id: String,
    /// The vendor's product code.
    pub product_code: String,
    /// The metering dimension.
    pub dimension: String,
    /// The window, and until when it may be sent.
    pub window: Window,
    /// Units of the dimension.
    pub quantity: i64,
    /// What it is worth.
    pub amount: Money,
    /// Whether it is the last usage before the end of the purchase; such records are sent first.
    pub is_final: bool,
    /// Where it stands.
    pub state: State,
    /// Tries so far.
    pub attempts: i32,
    /// Earliest time of the next try.
    pub available_at: Timestamp,
    /// The vendor's last code.
    pub vendor_code: String,
    /// The vendor's reference.
    pub vendor_reference: String,
    /// An operator's note.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it came to its state.
    pub decided_at: Option<Timestamp>,
    /// The trace of its cause.
    pub traceparent: Option<String>,
}

/// A record with the bills it settles and the minor units of each.
pub type RecordWithBills = (MeteringRecord, Vec<(BillId, i64)>);

/// Adds records with the bills they settle.
///
/// Fails when another record of the same purchase and dimension has one of the windows.
pub async fn insert(tx: &Tx, records: &[RecordWithBills]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let traceparent = trace_context::current();
    let mut rows = Rows::new(&[
        ("id", Kind::Text),
        ("subscription_id", Kind::Text),
        ("billing_account_id", Kind::Text),
        ("vendor", Kind::Text),
        ("market", Kind::Text),
        ("vendor_instance_id", Kind::Text),
        ("vendor_account_id", Kind::Text),
        ("product_code", Kind::Text),
        ("dimension", Kind::Text),
        ("window_start", Kind::Int),
        ("window_end", Kind::Int),
        ("deadline", Kind::Int),
        ("quantity", Kind::Int),
        ("currency", Kind::Text),
        ("amount", Kind::Int),
        ("final", Kind::Bool),
        ("state", Kind::Text),
        ("available_at", Kind::Int),
        ("created_at", Kind::Int),
        ("traceparent", Kind::Text),
    ]);
    let mut links = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("metering_record_id", Kind::Text),
        ("bill_id", Kind::Text),
        ("amount", Kind::Int),
    ]);
    for (r, bills) in records {
        rows.push([
            r.id.as_str().into(),
            r.subscription.as_str().into(),
            r.billing_account.as_str().into(),
            r.vendor.name().into(),
            r.market.name().into(),
            r.vendor_instance_id.as_str().into(),
            r.vendor_account_id.as_str().into(),
            r.product_code.as_str().into(),
            r.dimension.as_str().into(),
            micros(r.window.start),
            micros(r.window.end),
            micros(r.window.deadline),
            r.quantity.into(),
            r.amount.currency.code().into(),
            r.amount.minor.into(),
            r.is_final.into(),
            r.state.name().into(),
            micros(r.available_at),
            micros(r.created_at),
            traceparent.clone().into(),
        ]);
        for (bill, amount) in bills {
            links.push([
                r.billing_account.as_str().into(),
                r.id.as_str().into(),
                bill.as_str().into(),
                (*amount).into(),
            ]);
        }
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "id, subscription_id, billing_account_id, vendor, market, vendor_instance_id, vendor_account_id, \
                   product_code, dimension, window_start, window_end, deadline, quantity, currency, amount, final, \
                   state, available_at, created_at, traceparent";
    let text = format!(
        "INSERT INTO metering_record ({columns}, attempts, vendor_code, vendor_reference, note) \
         SELECT {columns}, 0, '', '', '' FROM {} WHERE true",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    let rel = links.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO metering_bill (billing_account_id, metering_record_id, bill_id, amount) \
         SELECT billing_account_id, metering_record_id, bill_id, amount FROM {} WHERE true",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// The starts of the windows that records of purchases have since an instant.
pub async fn windows(
    db: &impl ConnectionTrait,
    subscriptions: &[SubscriptionId],
    since: Timestamp,
) -> Result<Vec<(SubscriptionId, Timestamp)>, StoreError> {
    let mut rows = Rows::new(&[("subscription_id", Kind::Text)]);
    subscriptions.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT m.subscription_id, m.window_start FROM {} JOIN metering_record m \
         ON m.subscription_id = r.subscription_id WHERE m.window_start >= ?",
        rel.sql
    );
    let found = read::all(db, &text, rel.values.into_iter().chain([micros(since)])).await?;
    found
        .iter()
        .map(|row| Row(row, TABLE))
        .map(|row| Ok((row.parse("subscription_id")?, row.time("window_start")?)))
        .collect()
}

/// Reads records and locks them.
pub async fn lock(tx: &Tx, ids: &[MeteringRecordId]) -> Result<Vec<MeteringRecord>, StoreError> {
    let mut rows = Rows::new(&[("id", Kind::Text)]);
    ids.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF m" };
    let text =
        format!("SELECT m.* FROM {} JOIN metering_record m ON m.id = r.id ORDER BY m.id{lock}", rel.sql);
    read::all(tx, &text, rel.values).await?.iter().map(record).collect()
}

/// The bills that records settle, with the part of each: record, bill, minor units.
pub async fn bills_of(
    db: &impl ConnectionTrait,
    records: &[(BillingAccountId, MeteringRecordId)],
) -> Result<Vec<(MeteringRecordId, BillId, i64)>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("id", Kind::Text)]);
    records.iter().for_each(|(account, id)| rows.push([account.as_str().into(), id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT b.metering_record_id, b.bill_id, b.amount FROM {} JOIN metering_bill b \
         ON b.billing_account_id = r.billing_account_id AND b.metering_record_id = r.id ORDER BY b.bill_id",
        rel.sql
    );
    let found = read::all(db, &text, rel.values).await?;
    let row = |row| {
        let row = Row(row, "metering_bill");
        Ok((row.parse("metering_record_id")?, row.parse("bill_id")?, row.int("amount")?))
    };
    found.iter().map(row).collect()
}

/// Saves where a record stands.
pub async fn save_state(tx: &Tx, r: &MeteringRecord) -> Result<(), StoreError> {
    let text = "UPDATE metering_record SET state = ?, attempts = ?, available_at = ?, vendor_code = ?, \
                vendor_reference = ?, note = ?, decided_at = ? WHERE id = ?";
    let values = [
        r.state.name().into(),
        r.attempts.into(),
        micros(r.available_at),
        r.vendor_code.as_str().into(),
        r.vendor_reference.as_str().into(),
        r.note.as_str().into(),
        maybe_micros(r.decided_at),
        r.id.as_str().into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Reads a record's row.
pub fn record(row: &QueryResult) -> Result<MeteringRecord, StoreError> {
    let row = Row(row, TABLE);
    Ok(MeteringRecord {
        id: row.parse("id")?,
        subscription: row.parse("subscription_id")?,
        billing_account: row.parse("billing_account_id")?,
        vendor: row.parse("vendor")?,
        market: row.parse("market")?,
        vendor_instance_id: row.text("vendor_instance_id")?,
        vendor_account_id: row.text("vendor_account_id")?,
        product_code: row.text("product_code")?,
        dimension: row.text("dimension")?,
        window: Window {
            start: row.time("window_start")?,
            end: row.time("window_end")?,
            deadline: row.time("deadline")?,
        },
        quantity: row.int("quantity")?,
        amount: Money { minor: row.int("amount")?, currency: row.parse("currency")? },
        is_final: row.truth("final")?,
        state: row.parse("state")?,
        attempts: row.small("attempts")?,
        available_at: row.time("available_at")?,
        vendor_code: row.text("vendor_code")?,
        vendor_reference: row.text("vendor_reference")?,
        note: row.text("note")?,
        created_at: row.time("created_at")?,
        decided_at: row.maybe_time("decided_at")?,
        traceparent: row.maybe_text("traceparent")?,
    })
}
