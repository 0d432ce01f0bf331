//! Hands in a company for verification (`domain.md` 5.5).

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::domain::verification::{self, NotOpen, Verification, VerificationState};
use crate::store::account;
use crate::store::verification as store;

/// Hands in a company by its registered name and taxpayer ID; an operator decides.
///
/// Fails with `OBJECT_NOT_FOUND`, `INVALID_FIELD` and, while one waits or is verified, `VERIFICATION_NOT_OPEN`.
pub async fn run(
    tx: &Tx,
    account: &BillingAccountId,
    company_name: &str,
    taxpayer_id: &str,
    now: Timestamp,
) -> Result<Verification, Fault> {
    let payer = account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let taxpayer_id = verification::taxpayer_id(payer.region, taxpayer_id)
        .map_err(|right| Fault::field("taxpayer_id", right))?;
    let last = store::last(tx, account).await?;
    let new = Verification {
        billing_account: account.clone(),
        number: verification::next_number(last.as_ref()).map_err(not_open)?,
        state: VerificationState::Pending,
        company_name: company_name.to_owned(),
        taxpayer_id,
        submitted_at: now,
        decided_at: None,
        reason: String::new(),
    };
    store::insert(tx, &new).await?;
    Ok(new)
}

/// The fault of a verification in the wrong state.
pub(super) fn not_open(NotOpen(state): NotOpen) -> Fault {
    Fault::new(Reason::VerificationNotOpen).with("state", state.name())
}
