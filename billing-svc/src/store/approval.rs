//! Requests for acts that take two people, and the graces that forced unlocks give.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::ids::{ApprovalId, BillingAccountId, WorkspaceId};
use tandem_proto::money::Money;
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, for_update, maybe_micros, micros};
use crate::domain::approval::{Act, ActKind, Approval, ApprovalState};

const TABLE: &str = "approval";

/// Adds a request.
pub async fn insert(tx: &Tx, a: &Approval) -> Result<(), StoreError> {
    let text = "INSERT INTO approval (billing_account_id, id, kind, currency, amount, recharge_id, external_ref, \
                workspace_id, grace_days, reason, state, requested_by, requested_at, expires_at, decided_by, \
                decided_at, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let amount = a.act.amount();
    let (mut recharge, mut reference, mut workspace, mut days) = (None, None, None, None);
    match &a.act {
        Act::Credit(_) | Act::Debit(_) => {}
        Act::Refund { recharge: id, external_ref, .. } => {
            (recharge, reference) = (Some(id.as_str().to_owned()), Some(external_ref.clone()));
        }
        Act::Unlock { workspace: id, grace_days } => {
            (workspace, days) = (id.as_ref().map(|id| id.as_str().to_owned()), Some(*grace_days));
        }
    }
    let values: [Value; 17] = [
        a.billing_account.as_str().into(),
        a.id.as_str().into(),
        a.act.kind().name().into(),
        amount.map(|amount| amount.currency.code()).into(),
        amount.map(|amount| amount.minor).into(),
        recharge.into(),
        reference.into(),
        workspace.into(),
        days.into(),
        a.reason.as_str().into(),
        a.state.name().into(),
        a.requested_by.as_str().into(),
        micros(a.requested_at),
        micros(a.expires_at),
        a.decided_by.clone().into(),
        maybe_micros(a.decided_at),
        a.note.as_str().into(),
    ];
    tx.run(text, values).await?;
    Ok(())
}

/// Finds a request.
pub async fn find(db: &impl ConnectionTrait, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
    let text = "SELECT * FROM approval WHERE id = ?";
    read::one(db, text, [id.as_str().into()]).await?.as_ref().map(approval).transpose()
}

/// Reads a request and locks it. The account must be locked before.
pub async fn lock(tx: &Tx, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
    let text = format!("SELECT * FROM approval WHERE id = ?{}", for_update(tx));
    read::one(tx, &text, [id.as_str().into()]).await?.as_ref().map(approval).transpose()
}

/// Saves a decision.
///
/// Fails with a conflict when it was decided meanwhile.
pub async fn save_decision(tx: &Tx, a: &Approval) -> Result<(), StoreError> {
    let text = "UPDATE approval SET state = ?, decided_by = ?, decided_at = ?, note = ? \
                WHERE billing_account_id = ? AND id = ? AND state = 'waiting'";
    let values: [Value; 6] = [
        a.state.name().into(),
        a.decided_by.clone().into(),
        maybe_micros(a.decided_at),
        a.note.as_str().into(),
        a.billing_account.as_str().into(),
        a.id.as_str().into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Whether a payment's reference was booked by a refund.
pub async fn is_reference_used(db: &impl ConnectionTrait, external_ref: &str) -> Result<bool, StoreError> {
    let text = "SELECT id FROM approval WHERE external_ref = ? AND state = 'executed'";
    Ok(read::one(db, text, [external_ref.into()]).await?.is_some())
}

/// Which requests are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only about this account.
    pub billing_account: Option<BillingAccountId>,
    /// Only in this state.
    pub state: Option<ApprovalState>,
}

/// Requests after an id, in the order of ids, which is the order they were made in.
pub async fn list(
    db: &impl ConnectionTrait,
    filter: &Filter,
    after: &[String],
    limit: u64,
    now: Timestamp,
) -> Result<Vec<Approval>, StoreError> {
    let mut text = String::from("SELECT * FROM approval WHERE id > ?");
    let mut values: Vec<Value> = vec![after.first().map(String::as_str).unwrap_or_default().into()];
    if let Some(account) = &filter.billing_account {
        text.push_str(" AND billing_account_id = ?");
        values.push(account.as_str().into());
    }
    match filter.state {
        None => {}
        Some(ApprovalState::Waiting) => {
            text.push_str(" AND state = 'waiting' AND expires_at > ?");
            values.push(micros(now));
        }
        Some(ApprovalState::Expired) => {
            text.push_str(" AND state = 'waiting' AND expires_at <= ?");
            values.push(micros(now));
        }
        Some(state @ (ApprovalState::Executed | ApprovalState::Rejected | ApprovalState::Withdrawn)) => {
            text.push_str(" AND state = ?");
            values.push(state.name().into());
        }
    }
    text.push_str(" ORDER BY id LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    read::all(db, &text, values).await?.iter().map(approval).collect()
}

fn approval(row: &QueryResult) -> Result<Approval, StoreError> {
    let row = Row(row, TABLE);
    let amount = || -> Result<Money, StoreError> {
        Ok(Money { minor: row.int("amount")?, currency: row.parse("currency")? })
    };
    let act = match row.parse("kind")? {
        ActKind::Credit => Act::Credit(amount()?),
        ActKind::Debit => Act::Debit(amount()?),
        ActKind::Refund => Act::Refund {
            recharge: row.parse("recharge_id")?,
            amount: amount()?,
            external_ref: row.text("external_ref")?,
        },
        ActKind::Unlock => {
            Act::Unlock { workspace: row.maybe_parse("workspace_id")?, grace_days: row.small("grace_days")? }
        }
    };
    Ok(Approval {
        id: row.parse("id")?,
        billing_account: row.parse("billing_account_id")?,
        act,
        reason: row.text("reason")?,
        state: row.parse("state")?,
        requested_by: row.text("requested_by")?,
        requested_at: row.time("requested_at")?,
        expires_at: row.time("expires_at")?,
        decided_by: row.maybe_text("decided_by")?,
        decided_at: row.maybe_time("decided_at")?,
        note: row.text("note")?,
    })
}

/// A workspace in use although its account owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grace {
    /// The account.
    pub billing_account: BillingAccountId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// When a new countdown starts unless the debt is paid.
    pub ends_at: Timestamp,
}

/// Notes graces; a later one of the same workspace takes the place of an earlier one.
pub async fn save_graces(tx: &Tx, id: &ApprovalId, graces: &[Grace]) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("ends_at", Kind::Int),
    ]);
    for grace in graces {
        rows.push([
            grace.billing_account.as_str().into(),
            grace.workspace.as_str().into(),
            micros(grace.ends_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "INSERT INTO unlock_grace (billing_account_id, workspace_id, ends_at, approval_id) \
         SELECT billing_account_id, workspace_id, ends_at, ? FROM {} WHERE true \
         ON CONFLICT (billing_account_id, workspace_id) \
         DO UPDATE SET ends_at = excluded.ends_at, approval_id = excluded.approval_id",
        rel.sql
    );
    // The id's mark stands before the relation's, so it takes the first number after them.
    let text = text.replacen('?', &format!("?{}", rel.values.len() + 1), 1);
    tx.run(&text, rel.values.into_iter().chain([id.as_str().into()])).await?;
    Ok(())
}

/// Graces that are over, a bounded number of them, in the order of account and workspace.
pub async fn ended_graces(
    db: &impl ConnectionTrait,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Grace>, StoreError> {
    let text = "SELECT billing_account_id, workspace_id, ends_at FROM unlock_grace WHERE ends_at <= ? \
                ORDER BY billing_account_id, workspace_id LIMIT ?";
    let grace = |row: &QueryResult| {
        let row = Row(row, "unlock_grace");
        Ok(Grace {
            billing_account: row.parse("billing_account_id")?,
            workspace: row.parse("workspace_id")?,
            ends_at: row.time("ends_at")?,
        })
    };
    read::all(db, text, [micros(now), limit.into()]).await?.iter().map(grace).collect()
}

/// Takes graces away and returns those that were still there as they are known.
pub async fn take_graces(tx: &Tx, graces: &[Grace]) -> Result<Vec<Grace>, StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("ends_at", Kind::Int),
    ]);
    for grace in graces {
        rows.push([
            grace.billing_account.as_str().into(),
            grace.workspace.as_str().into(),
            micros(grace.ends_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let text = format!(
        "DELETE FROM unlock_grace WHERE (billing_account_id, workspace_id, ends_at) IN \
         (SELECT billing_account_id, workspace_id, ends_at FROM {}) RETURNING workspace_id",
        rel.sql
    );
    let mut taken = std::collections::HashSet::new();
    for row in read::all(tx, &text, rel.values).await? {
        taken.insert(Row(&row, "unlock_grace").text("workspace_id")?);
    }
    Ok(graces.iter().filter(|grace| taken.contains(grace.workspace.as_str())).cloned().collect())
}
