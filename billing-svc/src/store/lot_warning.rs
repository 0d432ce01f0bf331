//! Lots whose last day is near, and which warning of it was sent.

use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::lot::{ListedLot, listed};
use super::read::{self, Row, for_update};

const TABLE: &str = "lot";

/// Lots with a balance whose last day is not over and at most so many days away, and whose nearest warning was further away.
const NEAR: &str = "l.is_open AND l.last_day >= ? AND l.last_day <= ? \
                    AND (l.warned_days IS NULL OR l.warned_days > ?) \
                    AND EXISTS (SELECT 1 FROM billing_account o WHERE o.id = l.billing_account_id AND o.region = ?)";

/// A lot that may be warned of.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Whose.
    pub billing_account: BillingAccountId,
    /// The lot.
    pub listed: ListedLot,
    /// The last warning that was sent.
    pub warned: Option<i32>,
}

fn values(region: BillingRegion, today: UsageDay, days: i32) -> [Value; 4] {
    let until = today.plus_days(days);
    [today.number().into(), until.number().into(), days.into(), region.name().into()]
}

/// Whether there are lots that a warning is for.
pub async fn any(
    db: &impl ConnectionTrait,
    region: BillingRegion,
    today: UsageDay,
    days: i32,
) -> Result<bool, StoreError> {
    let text = format!("SELECT 1 FROM lot l WHERE {NEAR} LIMIT 1");
    Ok(read::one(db, &text, values(region, today, days)).await?.is_some())
}

/// Reads lots that a warning is for and locks them, by account.
pub async fn lock(
    tx: &Tx,
    region: BillingRegion,
    today: UsageDay,
    days: i32,
    limit: i64,
) -> Result<Vec<Candidate>, StoreError> {
    let lock = if for_update(tx).is_empty() { "" } else { " FOR UPDATE OF l" };
    let text = format!(
        "SELECT l.*, a.balance FROM lot l JOIN ledger_account a ON a.billing_account_id = l.billing_account_id \
         AND a.account = l.account WHERE {NEAR} ORDER BY l.billing_account_id, l.id LIMIT ?{lock}"
    );
    let values = values(region, today, days).into_iter().chain([limit.into()]);
    read::all(tx, &text, values).await?.iter().map(candidate).collect()
}

/// Notes which warning was sent of lots.
pub async fn set_warned(tx: &Tx, lots: &[Candidate], days: i32) -> Result<(), StoreError> {
    if lots.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("id", Kind::Text)]);
    for lot in lots {
        rows.push([lot.billing_account.as_str().into(), lot.listed.lot.id.as_str().into()]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE lot SET warned_days = {days} FROM {} WHERE lot.billing_account_id = r.billing_account_id AND lot.id = r.id",
        rel.sql
    );
    tx.run(&text, rel.values).await?;
    Ok(())
}

fn candidate(row: &QueryResult) -> Result<Candidate, StoreError> {
    let columns = Row(row, TABLE);
    Ok(Candidate {
        billing_account: columns.parse("billing_account_id")?,
        listed: listed(row)?,
        warned: columns.maybe_small("warned_days")?,
    })
}
