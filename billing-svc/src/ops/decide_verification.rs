//! Verifies or rejects a company (`domain.md` 5.5).

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use super::submit_verification::not_open;
use crate::context::Context;
use crate::domain::verification::{self, Decision, Verification};
use crate::mail::{self, Letter};
use crate::store::account;
use crate::store::verification as store;

/// Decides on what an account handed in last, and tells the account by mail.
///
/// Fails with `OBJECT_NOT_FOUND`, `VERIFICATION_NOT_OPEN` and, without a reason to reject, `INVALID_FIELD`.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    account: &BillingAccountId,
    decision: Decision,
    reason: &str,
    now: Timestamp,
) -> Result<Verification, Fault> {
    if decision == Decision::Reject && reason.is_empty() {
        return Err(Fault::field("reason", "is required to reject; the account reads it"));
    }
    let payer = account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let last = store::last(tx, account).await?;
    let last = last.ok_or_else(|| Fault::new(Reason::VerificationNotOpen).with("state", "none"))?;
    let before = last.state;
    let decided = Verification {
        state: verification::decide(before, decision).map_err(not_open)?,
        decided_at: Some(now),
        reason: reason.to_owned(),
        ..last
    };
    store::save(tx, &decided, before).await?;
    let company = decided.company_name.clone();
    let letter = match decision {
        Decision::Verify => Letter::CompanyVerified { company },
        Decision::Reject => Letter::CompanyRejected { company, reason: decided.reason.clone() },
    };
    let key = format!("verification:{account}:{}:{}", decided.number, decided.state.name());
    let mail = mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, account.as_str(), &key);
    outbox::add(tx, &[mail], now).await?;
    Ok(decided)
}
