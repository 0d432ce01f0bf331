//! Codes that become a voucher once. Only their digests are kept.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait as _, QueryResult};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, VoucherCodeId};
use tandem_proto::money::Money;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, micros};

const TABLE: &str = "voucher_code";

/// A code without its text.
#[derive(Debug, Clone)]
pub struct VoucherCode {
    /// Opaque.
    pub id: VoucherCodeId,
    /// SHA-256 of the code in its compared spelling, in hexadecimal.
    pub digest: String,
    /// What it is worth.
    pub face: Money,
    /// The least payable of a bill it pays.
    pub min_spend: i64,
    /// The last day to activate it, and the last usage day whose bill it pays.
    pub last_day: UsageDay,
    /// What for.
    pub note: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it was activated.
    pub activated_at: Option<Timestamp>,
}

/// Adds codes.
pub async fn insert(tx: &Tx, codes: &[VoucherCode]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("id", Kind::Text),
        ("code_digest", Kind::Text),
        ("currency", Kind::Text),
        ("face", Kind::Int),
        ("min_spend", Kind::Int),
        ("last_day", Kind::Int),
        ("note", Kind::Text),
        ("issued_at", Kind::Int),
    ]);
    for code in codes {
        rows.push([
            code.id.as_str().into(),
            code.digest.as_str().into(),
            code.face.currency.code().into(),
            code.face.minor.into(),
            code.min_spend.into(),
            i64::from(code.last_day.number()).into(),
            code.note.as_str().into(),
            micros(code.issued_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "id, code_digest, currency, face, min_spend, last_day, note, issued_at";
    let text = format!("INSERT INTO voucher_code ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Reads codes by digest and locks them, in the order of ids.
pub async fn lock_all(tx: &Tx, digests: &[String]) -> Result<HashMap<String, VoucherCode>, StoreError> {
    let mut rows = Rows::new(&[("code_digest", Kind::Text)]);
    digests.iter().for_each(|digest| rows.push([digest.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF c" };
    let text = format!(
        "SELECT c.* FROM {} JOIN voucher_code c ON c.code_digest = r.code_digest ORDER BY c.id{lock}",
        rel.sql
    );
    let found = read::all(tx, &text, rel.values).await?;
    found.iter().map(|row| code(row).map(|code| (code.digest.clone(), code))).collect()
}

/// Marks codes as activated by an account.
///
/// Fails with a conflict when one was activated meanwhile.
pub async fn set_activated(
    tx: &Tx,
    digests: &[String],
    account: &BillingAccountId,
    now: Timestamp,
) -> Result<(), StoreError> {
    if digests.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[("code_digest", Kind::Text), ("billing_account_id", Kind::Text)]);
    digests.iter().for_each(|digest| rows.push([digest.as_str().into(), account.as_str().into()]));
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE voucher_code SET billing_account_id = r.billing_account_id, activated_at = {} FROM {} \
         WHERE voucher_code.code_digest = r.code_digest AND voucher_code.activated_at IS NULL",
        now.as_microsecond(),
        rel.sql
    );
    let marked = tx.run(&text, rel.values).await?;
    if usize::try_from(marked) == Ok(digests.len()) { Ok(()) } else { Err(StoreError::Conflict) }
}

fn code(row: &QueryResult) -> Result<VoucherCode, StoreError> {
    let row = Row(row, TABLE);
    Ok(VoucherCode {
        id: row.parse("id")?,
        digest: row.text("code_digest")?,
        face: Money { minor: row.int("face")?, currency: row.parse("currency")? },
        min_spend: row.int("min_spend")?,
        last_day: row.day("last_day")?,
        note: row.text("note")?,
        issued_at: row.time("issued_at")?,
        activated_at: row.maybe_time("activated_at")?,
    })
}
