//! The vendor's answers, sorted: what an error means, what became of usage, where a purchase stands
//! (`vendors/alibaba.md` 7). Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tracing::error;

use super::metering;
use crate::http::{Answer, SendError};
use crate::usage::{PurchaseState, SubmitOutcome, SubmittedRecord, UsageRecord};

/// Wait before the next try when keys, clock or signature are at fault: somebody has to mend them first.
const MEND_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Error codes that say the caller's key, clock, signature, rights or address are at fault (`vendors/alibaba.md` 7.4).
pub(super) const DENIED: [&str; 10] = [
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidTimeStamp",
    "SignatureNonceUsed",
    "Forbidden",
    "InvalidSecurityToken",
    "MissingAccessKeyId",
    "InvalidAction",
    "InvalidVersion",
];

/// An error as the vendor words it.
pub(super) struct VendorError {
    pub(super) status: u16,
    pub(super) code: String,
}

impl VendorError {
    pub(super) fn is(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.code.starts_with(prefix))
    }
}

/// An answer, sorted.
pub(super) enum Sorted {
    Yes(Value),
    No(VendorError),
}

/// What became of one record, before it gets its id back.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) outcome: SubmitOutcome,
    pub(super) code: String,
    reference: Option<String>,
}

impl Said {
    pub(super) fn rule(outcome: SubmitOutcome, rule: &str) -> Self {
        Self { outcome, code: rule.to_owned(), reference: None }
    }

    pub(super) fn about(self, record: &UsageRecord) -> SubmittedRecord {
        SubmittedRecord {
            id: record.id.clone(),
            outcome: self.outcome,
            vendor_code: self.code,
            vendor_reference: self.reference,
        }
    }
}

/// Reads an answer; `None` when it is not one of the vendor's.
pub(super) fn sort(answer: &Answer) -> Option<Sorted> {
    let value: Value = serde_json::from_slice(&answer.body).ok()?;
    value.as_object()?;
    if answer.status.is_success() {
        return Some(Sorted::Yes(value));
    }
    let code = value.get("Code")?.as_str()?;
    // A code is shown to operators: only what looks like one.
    let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let code = if plain { code } else { "malformed_code" };
    Some(Sorted::No(VendorError { status: answer.status.as_u16(), code: code.to_owned() }))
}

/// Says what became of a push (`vendors/alibaba.md` 7.4, the table).
pub(super) fn judge(answer: &Result<Answer, SendError>, now: Timestamp) -> Said {
    let later = |wait| SubmitOutcome::RetryLater(now.saturating_add(wait).unwrap_or(now));
    let answer = match answer {
        Err(SendError::NotSent(word)) => return Said::rule(later(metering::SPACING), word),
        Err(SendError::AnswerLost(word)) => return Said::rule(SubmitOutcome::Unknown, word),
        Ok(answer) => answer,
    };
    let status = answer.status.as_u16();
    match sort(answer) {
        Some(Sorted::Yes(value)) if value.get("Success").is_some_and(is_true) => {
            let reference = value.get("RequestId").and_then(Value::as_str).map(str::to_owned);
            Said { reference, ..Said::rule(SubmitOutcome::Accepted, "") }
        }
        Some(Sorted::Yes(_)) => Said::rule(SubmitOutcome::Unknown, "Success=false"),
        Some(Sorted::No(said)) => Said::rule(sort_refusal(&said, later), &said.code),
        // Too long for a server on the way: it certainly did not reach the one that counts.
        None if matches!(status, 413 | 414) => Said::rule(SubmitOutcome::Refused, &status.to_string()),
        None => Said::rule(SubmitOutcome::Unknown, &format!("http_{status}")),
    }
}

fn sort_refusal(said: &VendorError, later: impl Fn(SignedDuration) -> SubmitOutcome) -> SubmitOutcome {
    if said.is(&["Service.Flow.Control", "Throttling"]) {
        later(metering::SPACING)
    } else if said.is(&DENIED) {
        error!(vendor.code = %said.code, "the vendor refuses our credentials for PushMeteringData");
        later(MEND_WAIT)
    } else if said.is(&["Invalid.Parameter", "Metering.Data.Exceeded", "Permission.Denied"])
        || said.status < 500
    {
        SubmitOutcome::Refused
    } else {
        SubmitOutcome::Unknown
    }
}

/// The vendor's samples show booleans as text, too.
fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true) || value.as_str() == Some("true")
}

/// An id, which comes as a number in one place and as text in another (`vendors/alibaba.md` 3).
pub(super) fn id_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Number(number) => number.as_i64().map(|n| n.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Where a purchase stands, by the instance's status and its order's (`vendors/alibaba.md` 7.1 and 7.2).
pub(super) fn state_of(instance: &Value, order: &Value) -> Option<PurchaseState> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match text(order, "OrderStatus")?.as_str() {
        "NORMAL" => {}
        "REFUND" | "DELETE" => return Some(PurchaseState::Ended),
        _ => return None,
    }
    let state = match text(instance, "Status")?.as_str() {
        "OPENING" | "READYING" | "PRODUCE" => PurchaseState::Pending,
        "OPENED" | "STARTED" | "CONFIRM" | "USING" | "UNUSED" => PurchaseState::Active,
        "EXPIRED" => PurchaseState::Suspended,
        "CLOSED" => PurchaseState::Ended,
        _ => return None,
    };
    let unpaid = text(order, "PayStatus").as_deref() == Some("UNPAID");
    Some(if unpaid && state == PurchaseState::Active { PurchaseState::Pending } else { state })
}
