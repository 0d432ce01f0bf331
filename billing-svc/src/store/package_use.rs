//! What bills drew of packages' quotas, in order. Only added to, never changed.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId, PackageId};
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, micros};
use crate::domain::package_cover::{Draw, UsageKey};

const TABLE: &str = "package_use";

/// An account's usage day.
pub type AccountDay = (BillingAccountId, UsageDay);

/// Something that was drawn, or charged beyond a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Whose.
    pub billing_account: BillingAccountId,
    /// Its place among those of the account's usage day, from 1.
    pub number: i64,
    /// Of which usage.
    pub key: UsageKey,
    /// The package: drawn from, or whose price applies.
    pub package: PackageId,
    /// How much of the usage is covered; 0 when it is charged.
    pub covered: Quantity,
    /// How much of the usage is charged; 0 when it is covered.
    pub excess: Quantity,
    /// How much quota a unit takes.
    pub factor: i64,
    /// The bill it stands on; `None` when there was nothing to pay.
    pub bill: Option<BillId>,
}

impl Use {
    /// The draw, of what is covered.
    pub fn draw(&self) -> Option<Draw> {
        (self.covered != Quantity::ZERO).then(|| Draw {
            key: self.key.clone(),
            package: self.package.clone(),
            covered: self.covered,
            factor: self.factor,
        })
    }
}

/// Adds uses. Fails when a number is taken: somebody else drew on the same day meanwhile.
pub async fn insert(tx: &Tx, uses: &[Use], now: Timestamp) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("number", Kind::Int),
        ("package_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("item", Kind::Text),
        ("retention_days", Kind::Int),
        ("sub_key", Kind::Text),
        ("covered", Kind::Int),
        ("excess", Kind::Int),
        ("factor", Kind::Int),
        ("bill_id", Kind::Text),
        ("entered_at", Kind::Int),
    ]);
    for u in uses {
        rows.push([
            u.billing_account.as_str().into(),
            u.key.day.number().into(),
            u.number.into(),
            u.package.as_str().into(),
            u.key.workspace.as_str().into(),
            u.key.item.name().into(),
            u.key.retention_days.into(),
            u.key.sub_key.as_str().into(),
            u.covered.hundredths.into(),
            u.excess.hundredths.into(),
            u.factor.into(),
            u.bill.as_ref().map(|id| id.as_str()).into(),
            micros(now),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, usage_day, number, package_id, workspace_id, item, retention_days, sub_key, \
                   covered, excess, factor, bill_id, entered_at";
    let text = format!("INSERT INTO package_use ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// The uses of accounts' usage days, each in order.
pub async fn of_days(
    db: &impl ConnectionTrait,
    days: &[AccountDay],
) -> Result<HashMap<AccountDay, Vec<Use>>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("usage_day", Kind::Int)]);
    days.iter().for_each(|(account, day)| rows.push([account.as_str().into(), day.number().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT u.* FROM {} JOIN package_use u ON u.billing_account_id = r.billing_account_id \
         AND u.usage_day = r.usage_day ORDER BY u.billing_account_id, u.usage_day, u.number",
        rel.sql
    );
    let mut found: HashMap<AccountDay, Vec<Use>> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let used = read_use(&row)?;
        found.entry((used.billing_account.clone(), used.key.day)).or_default().push(used);
    }
    Ok(found)
}

/// The uses that stand on bills.
pub async fn of_bills(
    db: &impl ConnectionTrait,
    bills: &[(BillingAccountId, BillId)],
) -> Result<Vec<Use>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("bill_id", Kind::Text)]);
    bills.iter().for_each(|(account, bill)| rows.push([account.as_str().into(), bill.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT u.* FROM {} JOIN package_use u ON u.billing_account_id = r.billing_account_id \
         AND u.bill_id = r.bill_id ORDER BY u.bill_id, u.usage_day, u.number",
        rel.sql
    );
    read::all(db, &text, rel.values).await?.iter().map(read_use).collect()
}

/// The accounts' usage days with uses, of one account or all, after a place: account and day.
pub async fn days(
    db: &impl ConnectionTrait,
    account: Option<&BillingAccountId>,
    after: &[String],
    limit: u64,
) -> Result<Vec<AccountDay>, StoreError> {
    let mut text = String::from("SELECT DISTINCT billing_account_id, usage_day FROM package_use WHERE true");
    let mut values: Vec<Value> = Vec::new();
    if let Some(account) = account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    if let [account, day] = after {
        text.push_str(" AND (billing_account_id, usage_day) > (?, ?)");
        values.extend([Value::from(account.as_str()), day.parse().unwrap_or(i32::MAX).into()]);
    }
    text.push_str(" ORDER BY billing_account_id, usage_day LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let rows = read::all(db, &text, values).await?;
    let place = |row| Ok((Row(row, TABLE).parse("billing_account_id")?, Row(row, TABLE).day("usage_day")?));
    rows.iter().map(place).collect()
}

fn read_use(row: &QueryResult) -> Result<Use, StoreError> {
    let row = Row(row, TABLE);
    Ok(Use {
        billing_account: row.parse("billing_account_id")?,
        number: row.int("number")?,
        key: UsageKey {
            workspace: row.parse("workspace_id")?,
            day: row.day("usage_day")?,
            item: row.parse("item")?,
            retention_days: row.small("retention_days")?,
            sub_key: row.text("sub_key")?,
        },
        package: row.parse("package_id")?,
        covered: Quantity { hundredths: row.int("covered")? },
        excess: Quantity { hundredths: row.int("excess")? },
        factor: row.int("factor")?,
        bill: row.maybe_parse("bill_id")?,
    })
}
