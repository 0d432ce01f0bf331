//! What an account has open in its currency, and the change of it.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Currency;
use tandem_service_kit::db::{StoreError, Tx};

use super::read::{self, Row};
use crate::domain::currency::Open;
use crate::domain::price::PriceKey;

const TABLE: &str = "billing_account";

/// Counts what an account has open in its currency. The account must be locked.
pub async fn open(db: &impl ConnectionTrait, account: &BillingAccountId) -> Result<Open, StoreError> {
    // A day that has a final bill and is not billed to its end would come in two currencies.
    let text = "SELECT \
        (SELECT COUNT(*) FROM lot l WHERE l.billing_account_id = a.id AND l.is_open) AS lots, \
        (SELECT COUNT(*) FROM ledger_account l WHERE l.billing_account_id = a.id AND l.kind = 'overdraft' \
            AND l.balance <> 0) AS debts, \
        (SELECT COUNT(*) FROM daily_bill b WHERE b.billing_account_id = a.id AND b.state <> 'paid') AS bills, \
        (SELECT COUNT(*) FROM recharge r WHERE r.billing_account_id = a.id AND r.state = 'created') AS recharges, \
        (SELECT COUNT(*) FROM subscription s WHERE s.billing_account_id = a.id \
            AND s.state IN ('active', 'suspended')) AS purchases, \
        (SELECT COUNT(*) FROM site_day d WHERE d.billed_at IS NULL AND d.site IN (\
            SELECT w.site FROM workspace w WHERE w.billing_account_id = a.id)) AS closed_days, \
        (SELECT COUNT(*) FROM daily_bill b JOIN workspace w ON w.billing_account_id = b.billing_account_id \
            AND w.workspace_id = b.workspace_id WHERE b.billing_account_id = a.id AND b.kind = 'final' \
            AND NOT EXISTS (SELECT 1 FROM site_day d WHERE d.site = w.site AND d.usage_day = b.usage_day \
                AND d.billed_at IS NOT NULL)) AS begun_days \
        FROM billing_account a WHERE a.id = ?";
    let row = read::one(db, text, [account.as_str().into()]).await?;
    let row = row.ok_or(StoreError::Corrupt { table: TABLE, column: "id" })?;
    let row = Row(&row, TABLE);
    Ok(Open {
        lots: row.int("lots")?,
        debts: row.int("debts")?,
        bills: row.int("bills")?,
        recharges: row.int("recharges")?,
        purchases: row.int("purchases")?,
        closed_days: row.int("closed_days")?,
        begun_days: row.int("begun_days")?,
    })
}

/// What an account's workspaces used from a day on, as prices in another currency.
pub async fn keys_used(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    from: UsageDay,
    currency: Currency,
) -> Result<HashSet<PriceKey>, StoreError> {
    let text = "SELECT DISTINCT w.price_zone, u.item, u.retention_days FROM workspace w \
                JOIN usage_day u ON u.billing_account_id = w.billing_account_id AND u.workspace_id = w.workspace_id \
                WHERE w.billing_account_id = ? AND u.usage_day >= ? AND NOT u.set_aside";
    let key = |row| {
        let row = Row(row, "usage_day");
        Ok(PriceKey {
            zone: row.parse("price_zone")?,
            currency,
            item: row.parse("item")?,
            retention_days: row.small("retention_days")?,
        })
    };
    read::all(db, text, [account.as_str().into(), from.number().into()]).await?.iter().map(key).collect()
}

/// The greatest day that is billed on a site of the account's workspaces.
pub async fn last_billed_day(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
) -> Result<Option<UsageDay>, StoreError> {
    let text = "SELECT MAX(d.usage_day) AS usage_day FROM site_day d WHERE d.billed_at IS NOT NULL AND d.site IN (\
                SELECT w.site FROM workspace w WHERE w.billing_account_id = ?)";
    let row = read::one(db, text, [account.as_str().into()]).await?;
    let Some(row) = row else { return Ok(None) };
    let row = Row(&row, "site_day");
    let day = row.maybe_small("usage_day")?;
    day.map(|n| UsageDay::from_number(n).map_err(|_| row.corrupt("usage_day"))).transpose()
}

/// Saves an account's currency.
pub async fn save(tx: &Tx, account: &BillingAccountId, currency: Currency) -> Result<(), StoreError> {
    let values: [Value; 2] = [currency.code().into(), account.as_str().into()];
    tx.run("UPDATE billing_account SET currency = ? WHERE id = ?", values).await?;
    Ok(())
}
