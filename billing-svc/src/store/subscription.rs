//! Cloud accounts and the purchases made with them.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, CloudAccountId, SubscriptionId};
use tandem_proto::page::Page;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::{StoreError, Tx};

use super::binding::limit;
use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::subscription::{Owner, Subscription};

const TABLE: &str = "subscription";
const COLUMNS: &str = "s.id, s.vendor, s.market, s.vendor_instance_id, s.vendor_account_id, s.cloud_account_id, \
    s.billing_account_id, s.product_code, s.plan, s.state, s.trial, s.expires_at, s.activated_at, s.closed_at, \
    s.revision";
const LIVE: &str = "('active', 'suspended')";
const OPEN: &str = "('pending_binding', 'active', 'suspended')";

/// A cloud customer's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudAccount {
    /// Opaque.
    pub id: CloudAccountId,
    /// The cloud.
    pub vendor: Vendor,
    /// Its number there.
    pub vendor_account_id: String,
    /// Whose it is (D20: one billing account's).
    pub billing_account: BillingAccountId,
    /// When it was first used.
    pub created_at: Timestamp,
}

/// Adds a purchase; `false` when its instance is recorded already. The first comparison with the vendor is due one
/// interval from now.
pub async fn insert(tx: &Tx, s: &Subscription, now: Timestamp) -> Result<bool, StoreError> {
    let text = "INSERT INTO subscription (id, vendor, market, vendor_instance_id, vendor_account_id, \
                cloud_account_id, billing_account_id, product_code, plan, state, trial, expires_at, activated_at, \
                closed_at, created_at, reconciled_at, next_submit_at, revision) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                ON CONFLICT (vendor, vendor_instance_id) DO NOTHING";
    let values: [Value; 18] = [
        s.id.as_str().into(),
        s.vendor.name().into(),
        s.market.name().into(),
        s.vendor_instance_id.as_str().into(),
        s.vendor_account_id.clone().into(),
        s.owner.as_ref().map(|o| o.cloud_account.as_str().to_owned()).into(),
        s.owner.as_ref().map(|o| o.billing_account.as_str().to_owned()).into(),
        s.product_code.as_str().into(),
        s.plan.as_str().into(),
        s.state.name().into(),
        s.trial.into(),
        maybe_micros(s.expires_at),
        maybe_micros(s.activated_at),
        maybe_micros(s.closed_at),
        micros(now),
        micros(now),
        micros(now),
        s.revision.into(),
    ];
    Ok(tx.run(text, values).await? == 1)
}

/// Saves a changed purchase over the revision before.
///
/// Fails with a conflict when another change came between.
pub async fn save(tx: &Tx, s: &Subscription) -> Result<(), StoreError> {
    let text = "UPDATE subscription SET vendor_account_id = ?, cloud_account_id = ?, billing_account_id = ?, \
                product_code = ?, plan = ?, state = ?, trial = ?, expires_at = ?, activated_at = ?, closed_at = ?, \
                revision = ? WHERE id = ? AND revision = ?";
    let values: [Value; 13] = [
        s.vendor_account_id.clone().into(),
        s.owner.as_ref().map(|o| o.cloud_account.as_str().to_owned()).into(),
        s.owner.as_ref().map(|o| o.billing_account.as_str().to_owned()).into(),
        s.product_code.as_str().into(),
        s.plan.as_str().into(),
        s.state.name().into(),
        s.trial.into(),
        maybe_micros(s.expires_at),
        maybe_micros(s.activated_at),
        maybe_micros(s.closed_at),
        s.revision.into(),
        s.id.as_str().into(),
        (s.revision - 1).into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Finds a purchase.
pub async fn find(
    db: &impl ConnectionTrait,
    id: &SubscriptionId,
) -> Result<Option<Subscription>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM subscription s WHERE s.id = ?");
    read::one(db, &text, [id.as_str().into()]).await?.as_ref().map(subscription).transpose()
}

/// Finds a purchase by its vendor's number.
pub async fn find_instance(
    db: &impl ConnectionTrait,
    vendor: Vendor,
    instance: &str,
) -> Result<Option<Subscription>, StoreError> {
    let text =
        format!("SELECT {COLUMNS} FROM subscription s WHERE s.vendor = ? AND s.vendor_instance_id = ?");
    read::one(db, &text, [vendor.name().into(), instance.into()])
        .await?
        .as_ref()
        .map(subscription)
        .transpose()
}

/// Reads a purchase by its vendor's number and locks it.
pub async fn lock_instance(
    tx: &Tx,
    vendor: Vendor,
    instance: &str,
) -> Result<Option<Subscription>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM subscription s WHERE s.vendor = ? AND s.vendor_instance_id = ?{}",
        for_update(tx)
    );
    read::one(tx, &text, [vendor.name().into(), instance.into()])
        .await?
        .as_ref()
        .map(subscription)
        .transpose()
}

/// Reads the live purchases of a cloud account and locks them, the newest first.
pub async fn lock_live(tx: &Tx, cloud_account: &CloudAccountId) -> Result<Vec<Subscription>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM subscription s WHERE s.cloud_account_id = ? AND s.state IN {LIVE} \
         ORDER BY s.id DESC{}",
        for_update(tx)
    );
    read::all(tx, &text, [cloud_account.as_str().into()]).await?.iter().map(subscription).collect()
}

/// The purchases after a page's key, in the order of their ids; of one account, or all.
pub async fn list(
    db: &impl ConnectionTrait,
    account: Option<&BillingAccountId>,
    page: &Page,
) -> Result<Vec<Subscription>, StoreError> {
    let after = page.after.first().map(String::as_str).unwrap_or_default();
    let (only, mut values) = match account {
        Some(account) => ("s.billing_account_id = ? AND ", vec![account.as_str().into()]),
        None => ("", Vec::new()),
    };
    let text = format!("SELECT {COLUMNS} FROM subscription s WHERE {only}s.id > ? ORDER BY s.id LIMIT ?");
    values.extend([after.into(), limit(page)]);
    read::all(db, &text, values).await?.iter().map(subscription).collect()
}

/// Purchases that have not ended and were compared with their vendor last before an instant, longest ago first.
pub async fn due_for_reconcile(
    db: &impl ConnectionTrait,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Subscription>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM subscription s WHERE s.state IN {OPEN} \
         AND (s.reconciled_at IS NULL OR s.reconciled_at <= ?) ORDER BY COALESCE(s.reconciled_at, 0), s.id LIMIT ?"
    );
    read::all(db, &text, [micros(before), limit.into()]).await?.iter().map(subscription).collect()
}

/// Notes when a purchase was compared with its vendor last; `None` makes the comparison due now.
pub async fn save_reconciled(
    db: &impl ConnectionTrait,
    id: &SubscriptionId,
    at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let text = "UPDATE subscription SET reconciled_at = ? WHERE id = ?";
    let values = [maybe_micros(at), id.as_str().into()];
    db.execute_raw(tandem_service_kit::db::statement(db.get_database_backend(), text, values)).await?;
    Ok(())
}

/// Makes the comparison of every purchase that has not ended due now; returns how many there are.
pub async fn make_all_due(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    let text = format!("UPDATE subscription SET reconciled_at = NULL WHERE state IN {OPEN}");
    let done =
        db.execute_raw(tandem_service_kit::db::statement(db.get_database_backend(), &text, [])).await?;
    Ok(done.rows_affected())
}

/// Purchases that became known before an instant and were never bound.
pub async fn idle(
    db: &impl ConnectionTrait,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Subscription>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM subscription s WHERE s.state = 'pending_binding' AND s.created_at <= ? \
         ORDER BY s.id LIMIT ?"
    );
    read::all(db, &text, [micros(before), limit.into()]).await?.iter().map(subscription).collect()
}

/// Takes the turn to call the vendor for a purchase; `false` while the time since the last call is too short.
pub async fn take_turn(
    tx: &Tx,
    id: &SubscriptionId,
    now: Timestamp,
    next: Timestamp,
) -> Result<bool, StoreError> {
    let text = "UPDATE subscription SET next_submit_at = ? WHERE id = ? AND next_submit_at <= ?";
    Ok(tx.run(text, [micros(next), id.as_str().into(), micros(now)]).await? == 1)
}

/// Adds a cloud account; `false` when its number is recorded already.
pub async fn insert_cloud_account(tx: &Tx, c: &CloudAccount) -> Result<bool, StoreError> {
    let text = "INSERT INTO cloud_account (id, vendor, vendor_account_id, billing_account_id, created_at) \
                VALUES (?, ?, ?, ?, ?) ON CONFLICT (vendor, vendor_account_id) DO NOTHING";
    let values = [
        c.id.as_str().into(),
        c.vendor.name().into(),
        c.vendor_account_id.as_str().into(),
        c.billing_account.as_str().into(),
        micros(c.created_at),
    ];
    Ok(tx.run(text, values).await? == 1)
}

/// Finds a cloud account.
pub async fn find_cloud_account(
    db: &impl ConnectionTrait,
    id: &CloudAccountId,
) -> Result<Option<CloudAccount>, StoreError> {
    let text = "SELECT * FROM cloud_account WHERE id = ?";
    read::one(db, text, [id.as_str().into()]).await?.as_ref().map(cloud_account).transpose()
}

/// Finds a cloud account by its number.
pub async fn find_cloud_number(
    db: &impl ConnectionTrait,
    vendor: Vendor,
    number: &str,
) -> Result<Option<CloudAccount>, StoreError> {
    let text = "SELECT * FROM cloud_account WHERE vendor = ? AND vendor_account_id = ?";
    read::one(db, text, [vendor.name().into(), number.into()]).await?.as_ref().map(cloud_account).transpose()
}

/// An account's cloud accounts after a page's key, in the order of their ids.
pub async fn list_cloud_accounts(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    page: &Page,
) -> Result<Vec<CloudAccount>, StoreError> {
    let text = "SELECT * FROM cloud_account WHERE billing_account_id = ? AND id > ? ORDER BY id LIMIT ?";
    let after = page.after.first().map(String::as_str).unwrap_or_default();
    let values = [account.as_str().into(), after.into(), limit(page)];
    read::all(db, text, values).await?.iter().map(cloud_account).collect()
}

fn cloud_account(row: &QueryResult) -> Result<CloudAccount, StoreError> {
    let row = Row(row, "cloud_account");
    Ok(CloudAccount {
        id: row.parse("id")?,
        vendor: row.parse("vendor")?,
        vendor_account_id: row.text("vendor_account_id")?,
        billing_account: row.parse("billing_account_id")?,
        created_at: row.time("created_at")?,
    })
}

fn subscription(row: &QueryResult) -> Result<Subscription, StoreError> {
    let row = Row(row, TABLE);
    let owner = match (row.maybe_parse("cloud_account_id")?, row.maybe_parse("billing_account_id")?) {
        (Some(cloud_account), Some(billing_account)) => Some(Owner { cloud_account, billing_account }),
        (None, None) => None,
        _ => return Err(row.corrupt("cloud_account_id")),
    };
    Ok(Subscription {
        id: row.parse("id")?,
        vendor: row.parse("vendor")?,
        market: row.parse("market")?,
        vendor_instance_id: row.text("vendor_instance_id")?,
        vendor_account_id: row.maybe_text("vendor_account_id")?,
        owner,
        product_code: row.text("product_code")?,
        plan: row.text("plan")?,
        state: row.parse("state")?,
        trial: row.truth("trial")?,
        expires_at: row.maybe_time("expires_at")?,
        activated_at: row.maybe_time("activated_at")?,
        closed_at: row.maybe_time("closed_at")?,
        revision: row.int("revision")?,
    })
}
