//! Requests for acts that take two people, as messages.

use jiff::Timestamp;
use tandem_proto::billing::v1 as pb;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use super::convert_wallet::amount;
use crate::domain::approval::{Act, Approval, ApprovalState, GRACE_DAYS_MAX};

/// Longest reference of a payment.
const REFERENCE_CHARS_MAX: usize = 128;

/// Reads what is asked for.
pub(super) fn act(act: Option<pb::request_approval_request::Act>) -> Result<Act, Fault> {
    use pb::request_approval_request::Act as Asked;
    match act {
        Some(Asked::Adjustment(asked)) => {
            let money = amount("adjustment.amount", asked.amount.as_ref())?;
            match pb::AdjustmentDirection::try_from(asked.direction) {
                Ok(pb::AdjustmentDirection::Credit) => Ok(Act::Credit(money)),
                Ok(pb::AdjustmentDirection::Debit) => Ok(Act::Debit(money)),
                Ok(pb::AdjustmentDirection::Unspecified) | Err(_) => {
                    Err(Fault::field("adjustment.direction", "must be a credit or a debit"))
                }
            }
        }
        Some(Asked::Refund(asked)) => {
            let reference = &asked.external_ref;
            let reference = validate::text("refund.external_ref", reference, REFERENCE_CHARS_MAX)?;
            Ok(Act::Refund {
                recharge: validate::parse("refund.recharge_id", &asked.recharge_id)?,
                amount: amount("refund.amount", asked.amount.as_ref())?,
                external_ref: reference.to_owned(),
            })
        }
        Some(Asked::ForcedUnlock(asked)) => {
            if !(1..=GRACE_DAYS_MAX).contains(&asked.grace_days) {
                return Err(Fault::field(
                    "forced_unlock.grace_days",
                    format!("must be 1 to {GRACE_DAYS_MAX}"),
                ));
            }
            let workspace = super::optional("forced_unlock.workspace_id", &asked.workspace_id)?;
            Ok(Act::Unlock { workspace, grace_days: asked.grace_days })
        }
        None => Err(Fault::field("act", "must be one of adjustment, refund, forced_unlock")),
    }
}

/// Reads a state to list by.
pub(super) fn state(number: i32) -> Result<Option<ApprovalState>, Fault> {
    match pb::ApprovalState::try_from(number) {
        Ok(pb::ApprovalState::Unspecified) => Ok(None),
        Ok(pb::ApprovalState::Waiting) => Ok(Some(ApprovalState::Waiting)),
        Ok(pb::ApprovalState::Executed) => Ok(Some(ApprovalState::Executed)),
        Ok(pb::ApprovalState::Rejected) => Ok(Some(ApprovalState::Rejected)),
        Ok(pb::ApprovalState::Withdrawn) => Ok(Some(ApprovalState::Withdrawn)),
        Ok(pb::ApprovalState::Expired) => Ok(Some(ApprovalState::Expired)),
        Err(_) => Err(Fault::field("state", "must be a value of ApprovalState")),
    }
}

/// A request as the caller sees it at an instant.
pub(super) fn approval_message(a: &Approval, now: Timestamp) -> pb::Approval {
    use pb::approval::Act as Asked;
    let act = match &a.act {
        Act::Credit(money) => Asked::Adjustment(pb::Adjustment {
            direction: pb::AdjustmentDirection::Credit.into(),
            amount: Some(money.to_message()),
        }),
        Act::Debit(money) => Asked::Adjustment(pb::Adjustment {
            direction: pb::AdjustmentDirection::Debit.into(),
            amount: Some(money.to_message()),
        }),
        Act::Refund { recharge, amount, external_ref } => Asked::Refund(pb::Refund {
            recharge_id: recharge.as_str().to_owned(),
            amount: Some(amount.to_message()),
            external_ref: external_ref.clone(),
        }),
        Act::Unlock { workspace, grace_days } => Asked::ForcedUnlock(pb::ForcedUnlock {
            workspace_id: workspace.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            grace_days: *grace_days,
        }),
    };
    let state = match a.state_at(now) {
        ApprovalState::Waiting => pb::ApprovalState::Waiting,
        ApprovalState::Executed => pb::ApprovalState::Executed,
        ApprovalState::Rejected => pb::ApprovalState::Rejected,
        ApprovalState::Withdrawn => pb::ApprovalState::Withdrawn,
        ApprovalState::Expired => pb::ApprovalState::Expired,
    };
    pb::Approval {
        id: a.id.as_str().to_owned(),
        billing_account_id: a.billing_account.as_str().to_owned(),
        act: Some(act),
        reason: a.reason.clone(),
        state: state.into(),
        requester: a.requested_by.clone(),
        request_time: Some(to_message(a.requested_at)),
        expire_time: Some(to_message(a.expires_at)),
        decider: a.decided_by.clone().unwrap_or_default(),
        decide_time: a.decided_at.map(to_message),
        note: a.note.clone(),
    }
}
