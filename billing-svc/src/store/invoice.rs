//! Invoices and what they are for.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, InvoiceId};
use tandem_proto::money::Money;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::invoice_profile::{delivery, details};
use super::invoiceable::source;
use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::invoice::{Address, Details, InvoiceState, Line, Source};

const TABLE: &str = "invoice";

/// An invoice, from the request on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Opaque.
    pub id: InvoiceId,
    /// Whose.
    pub billing_account: BillingAccountId,
    /// Where it stands.
    pub state: InvoiceState,
    /// What it is for, in all.
    pub amount: Money,
    /// The verified company's name at the time of the request.
    pub title: String,
    /// Its taxpayer ID.
    pub taxpayer_id: String,
    /// The profile's details at the time of the request.
    pub details: Details,
    /// The address at the time of the request.
    pub address: Address,
    /// The number the tax office knows it by.
    pub number: Option<String>,
    /// How to find the consignment; may be empty.
    pub tracking: String,
    /// Why it was rejected; else empty.
    pub reason: String,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// When it was rejected.
    pub rejected_at: Option<Timestamp>,
}

/// Adds a requested invoice with its lines; `numbers` are the next ones of sources that have lines already.
///
/// Fails with a conflict when another request took the same amounts meanwhile.
pub async fn insert(
    tx: &Tx,
    i: &Invoice,
    lines: &[Line],
    numbers: &HashMap<Source, i32>,
) -> Result<(), StoreError> {
    let text = "INSERT INTO invoice (billing_account_id, id, state, currency, amount, title, taxpayer_id, kind, bank, \
                bank_account, registered_address, landline, recipient, phone, email, postal, tracking, reason, \
                requested_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values: [Value; 19] = [
        i.billing_account.as_str().into(),
        i.id.as_str().into(),
        i.state.name().into(),
        i.amount.currency.code().into(),
        i.amount.minor.into(),
        i.title.as_str().into(),
        i.taxpayer_id.as_str().into(),
        i.details.kind.name().into(),
        i.details.bank.as_str().into(),
        i.details.bank_account.as_str().into(),
        i.details.registered_address.as_str().into(),
        i.details.landline.as_str().into(),
        i.address.recipient.as_str().into(),
        i.address.phone.as_str().into(),
        i.address.email.as_str().into(),
        i.address.postal.as_str().into(),
        i.tracking.as_str().into(),
        i.reason.as_str().into(),
        micros(i.requested_at),
    ];
    tx.run(text, values).await?;
    let mut rows = Rows::new(&[
        ("source_kind", Kind::Text),
        ("source_id", Kind::Text),
        ("number", Kind::Int),
        ("amount", Kind::Int),
    ]);
    for line in lines {
        let number = numbers.get(&line.source).copied().unwrap_or(1);
        rows.push([
            line.source.kind().name().into(),
            line.source.id().into(),
            number.into(),
            line.amount.into(),
        ]);
    }
    // The relation's parameters come first, so the two ids are found by place after them.
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO invoice_line (source_kind, source_id, number, amount, billing_account_id, invoice_id, currency, \
         released) SELECT r.source_kind, r.source_id, r.number, r.amount, i.billing_account_id, i.id, i.currency, false FROM {}, invoice i \
         WHERE i.billing_account_id = ? AND i.id = ? ON CONFLICT DO NOTHING",
        rel.sql
    );
    let owner = [i.billing_account.as_str().into(), i.id.as_str().into()];
    let added = tx.run(&text, rel.values.into_iter().chain(owner)).await?;
    if usize::try_from(added) == Ok(lines.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Saves where an invoice stands. Fails with a conflict when its state was not `before` any more.
pub async fn save(tx: &Tx, i: &Invoice, before: InvoiceState) -> Result<(), StoreError> {
    let text = "UPDATE invoice SET state = ?, invoice_number = ?, tracking = ?, reason = ?, issued_at = ?, sent_at = ?, \
                rejected_at = ? WHERE billing_account_id = ? AND id = ? AND state = ?";
    let values: [Value; 10] = [
        i.state.name().into(),
        i.number.clone().into(),
        i.tracking.as_str().into(),
        i.reason.as_str().into(),
        maybe_micros(i.issued_at),
        maybe_micros(i.sent_at),
        maybe_micros(i.rejected_at),
        i.billing_account.as_str().into(),
        i.id.as_str().into(),
        before.name().into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Frees what an invoice is for.
pub async fn release(tx: &Tx, account: &BillingAccountId, id: &InvoiceId) -> Result<(), StoreError> {
    let text = "UPDATE invoice_line SET released = true WHERE billing_account_id = ? AND invoice_id = ?";
    tx.run(text, [account.as_str().into(), id.as_str().into()]).await?;
    Ok(())
}

/// Whether an invoice of any account has this number.
pub async fn number_is_used(db: &impl ConnectionTrait, number: &str) -> Result<bool, StoreError> {
    let text = "SELECT 1 AS one FROM invoice WHERE invoice_number = ?";
    Ok(read::one(db, text, [number.into()]).await?.is_some())
}

/// Finds an account's invoice.
pub async fn find(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    id: &InvoiceId,
) -> Result<Option<Invoice>, StoreError> {
    let text = "SELECT * FROM invoice WHERE billing_account_id = ? AND id = ?";
    read::one(db, text, [account.as_str().into(), id.as_str().into()])
        .await?
        .as_ref()
        .map(invoice)
        .transpose()
}

/// Reads an account's invoice and locks it.
pub async fn lock(
    tx: &Tx,
    account: &BillingAccountId,
    id: &InvoiceId,
) -> Result<Option<Invoice>, StoreError> {
    let text = format!("SELECT * FROM invoice WHERE billing_account_id = ? AND id = ?{}", for_update(tx));
    read::one(tx, &text, [account.as_str().into(), id.as_str().into()])
        .await?
        .as_ref()
        .map(invoice)
        .transpose()
}

/// What an invoice is for: months, then cards, each oldest first.
pub async fn lines(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    id: &InvoiceId,
) -> Result<Vec<Line>, StoreError> {
    let text = "SELECT source_kind, source_id, amount FROM invoice_line WHERE billing_account_id = ? \
                AND invoice_id = ? ORDER BY source_kind DESC, source_id";
    let found = read::all(db, text, [account.as_str().into(), id.as_str().into()]).await?;
    let line = |row| {
        let row = Row(row, "invoice_line");
        Ok(Line { source: source(row)?, amount: row.int("amount")? })
    };
    found.iter().map(line).collect()
}

/// Invoices, newest first, of one account or of all, after an id.
pub async fn list(
    db: &impl ConnectionTrait,
    account: Option<&BillingAccountId>,
    state: Option<InvoiceState>,
    after: &[String],
    limit: u64,
) -> Result<Vec<Invoice>, StoreError> {
    let mut text = String::from("SELECT * FROM invoice WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(account) = account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    if let Some(state) = state {
        text.push_str(" AND state = ?");
        values.push(state.name().into());
    }
    if let [id] = after {
        text.push_str(" AND id < ?");
        values.push(id.as_str().into());
    }
    text.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(invoice).collect()
}

fn invoice(row: &QueryResult) -> Result<Invoice, StoreError> {
    let row = Row(row, TABLE);
    Ok(Invoice {
        id: row.parse("id")?,
        billing_account: row.parse("billing_account_id")?,
        state: row.parse("state")?,
        amount: Money { minor: row.int("amount")?, currency: row.parse("currency")? },
        title: row.text("title")?,
        taxpayer_id: row.text("taxpayer_id")?,
        details: details(row)?,
        address: delivery(row)?,
        number: row.maybe_text("invoice_number")?,
        tracking: row.text("tracking")?,
        reason: row.text("reason")?,
        requested_at: row.time("requested_at")?,
        issued_at: row.maybe_time("issued_at")?,
        sent_at: row.maybe_time("sent_at")?,
        rejected_at: row.maybe_time("rejected_at")?,
    })
}
