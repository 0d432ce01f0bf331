//! Settlement periods: who is charged for a workspace, and when. History is added to, never rewritten (I-18).

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{BillingAccountId, SubscriptionId, WorkspaceId};
use tandem_proto::page::Page;
use tandem_proto::settlement::SettlementMethod;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, maybe_micros, micros};
use crate::domain::binding::{Period, Settlement};

const TABLE: &str = "workspace_binding";
const COLUMNS: &str = "b.billing_account_id, b.workspace_id, b.effective_from, b.effective_to, \
    b.settlement_method, b.cloud_account_id, b.subscription_id, b.cause";

/// Starts periods, and ends the open ones of the same workspaces at the same instants.
///
/// The workspaces' rows must be locked. Fails with a conflict when a workspace has an open period that begins later.
pub async fn start(tx: &Tx, periods: &[Period]) -> Result<(), StoreError> {
    if periods.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("effective_from", Kind::Int),
        ("effective_to", Kind::Int),
        ("settlement_method", Kind::Text),
        ("cloud_account_id", Kind::Text),
        ("subscription_id", Kind::Text),
        ("cause", Kind::Text),
    ]);
    for p in periods {
        let (cloud_account, subscription) = match &p.settlement {
            Settlement::BillingCenter => (None, None),
            Settlement::Cloud { cloud_account, subscription, .. } => {
                (Some(cloud_account.as_str().to_owned()), Some(subscription.as_str().to_owned()))
            }
        };
        rows.push([
            p.billing_account.as_str().into(),
            p.workspace.as_str().into(),
            micros(p.from),
            maybe_micros(p.to),
            p.settlement.method().name().into(),
            cloud_account.into(),
            subscription.into(),
            p.cause.name().into(),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "UPDATE workspace_binding SET effective_to = r.effective_from FROM {} \
         WHERE workspace_binding.billing_account_id = r.billing_account_id \
         AND workspace_binding.workspace_id = r.workspace_id AND workspace_binding.effective_to IS NULL",
        rel.sql
    );
    tx.run(&text, rel.values.clone()).await?;
    let columns = "billing_account_id, workspace_id, effective_from, effective_to, settlement_method, \
                   cloud_account_id, subscription_id, cause";
    let text =
        format!("INSERT INTO workspace_binding ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Ends the open period that a workspace has at an account and starts one at another account at the same instant.
///
/// Both accounts and the workspace must be locked. Fails with a conflict when there is no such open period.
pub async fn hand_over(tx: &Tx, from: &BillingAccountId, next: &Period) -> Result<(), StoreError> {
    let text = "UPDATE workspace_binding SET effective_to = ? WHERE billing_account_id = ? AND workspace_id = ? \
                AND effective_to IS NULL";
    let values = [micros(next.from), from.as_str().into(), next.workspace.as_str().into()];
    if tx.run(text, values).await? != 1 {
        return Err(StoreError::Conflict);
    }
    start(tx, std::slice::from_ref(next)).await
}

/// Ends a lasting period, with none after it: the workspace is no longer bound. The workspace's row must be locked.
pub async fn end(tx: &Tx, period: &Period, at: Timestamp) -> Result<(), StoreError> {
    let text = "UPDATE workspace_binding SET effective_to = ? \
                WHERE billing_account_id = ? AND workspace_id = ? AND effective_to IS NULL";
    let values = [micros(at), period.billing_account.as_str().into(), period.workspace.as_str().into()];
    tx.run(text, values).await?;
    Ok(())
}

/// The period that lasts now.
pub async fn current(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
) -> Result<Option<Period>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace_directory d JOIN workspace_binding b \
         ON b.billing_account_id = d.billing_account_id AND b.workspace_id = d.workspace_id \
         WHERE d.workspace_id = ? AND b.effective_to IS NULL"
    );
    read::one(db, &text, [workspace.as_str().into()]).await?.as_ref().map(period).transpose()
}

/// The periods that last now, of an account's workspaces after a page's key, in the order of workspace ids.
pub async fn current_of_account(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    page: &Page,
) -> Result<Vec<Period>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace_binding b WHERE b.billing_account_id = ? AND b.effective_to IS NULL \
         AND b.workspace_id > ? ORDER BY b.workspace_id LIMIT ?"
    );
    let after = page.after.first().map(String::as_str).unwrap_or_default();
    let values = [account.as_str().into(), after.into(), limit(page)];
    read::all(db, &text, values).await?.iter().map(period).collect()
}

/// The periods that last now and go through a subscription, in the order of workspace ids.
pub async fn current_through(
    db: &impl ConnectionTrait,
    subscription: &SubscriptionId,
) -> Result<Vec<Period>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace_binding b WHERE b.subscription_id = ? AND b.effective_to IS NULL \
         ORDER BY b.workspace_id"
    );
    read::all(db, &text, [subscription.as_str().into()]).await?.iter().map(period).collect()
}

/// A workspace's periods at all accounts after a page's key (its start in microseconds), oldest first.
pub async fn history(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    page: &Page,
) -> Result<Vec<Period>, StoreError> {
    let text = format!(
        "SELECT {COLUMNS} FROM workspace_binding b WHERE b.workspace_id = ? AND b.effective_from > ? \
         ORDER BY b.effective_from LIMIT ?"
    );
    let after = page.after.first().and_then(|text| text.parse::<i64>().ok()).unwrap_or(i64::MIN);
    let values = [workspace.as_str().into(), after.into(), limit(page)];
    read::all(db, &text, values).await?.iter().map(period).collect()
}

pub(super) fn limit(page: &Page) -> Value {
    i64::try_from(page.limit()).unwrap_or(i64::MAX).into()
}

fn period(row: &QueryResult) -> Result<Period, StoreError> {
    let row = Row(row, TABLE);
    let settlement = match row.parse("settlement_method")? {
        SettlementMethod::BillingCenter => Settlement::BillingCenter,
        SettlementMethod::Cloud(vendor) => Settlement::Cloud {
            vendor,
            cloud_account: row.parse("cloud_account_id")?,
            subscription: row.parse("subscription_id")?,
        },
    };
    Ok(Period {
        billing_account: row.parse("billing_account_id")?,
        workspace: row.parse("workspace_id")?,
        from: row.time("effective_from")?,
        to: row.maybe_time("effective_to")?,
        settlement,
        cause: row.parse("cause")?,
    })
}
