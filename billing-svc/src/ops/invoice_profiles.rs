//! Keeps how a company wants its invoices (`domain.md` 2.10).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, InvoiceProfileId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use crate::domain::invoice::Details;
use crate::domain::verification::{Verification, VerificationState};
use crate::store::invoice_profile::{self, Profile};
use crate::store::{account, verification};

/// Most profiles of an account: there are three kinds, and a company has few banks.
const PROFILES_MAX: i64 = 50;

/// A profile with the company whose title it has.
#[derive(Debug, Clone)]
pub struct Titled {
    /// The profile.
    pub profile: Profile,
    /// The verified company.
    pub company: Verification,
}

/// Adds a profile.
///
/// Fails with `OBJECT_NOT_FOUND`, `COMPANY_NOT_VERIFIED`, `LIMIT_REACHED` and, for fields that its kind needs,
/// `INVALID_FIELD`.
pub async fn create(
    tx: &Tx,
    account: &BillingAccountId,
    details: Details,
    now: Timestamp,
) -> Result<Titled, Fault> {
    account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    complete(&details)?;
    let company = verified(tx, account).await?;
    if invoice_profile::count_profiles(tx, account).await? >= PROFILES_MAX {
        return Err(Reason::LimitReached.into());
    }
    let profile = Profile { id: fresh(), details, created_at: now };
    invoice_profile::save_profile(tx, account, &profile).await?;
    Ok(Titled { profile, company })
}

/// Replaces what a profile says. Fails like [`create`].
pub async fn update(
    tx: &Tx,
    account: &BillingAccountId,
    id: &InvoiceProfileId,
    details: Details,
) -> Result<Titled, Fault> {
    account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    complete(&details)?;
    let found =
        invoice_profile::find_profile(tx, account, id).await?.ok_or(Fault::not_found("profile_id"))?;
    let company = verified(tx, account).await?;
    let profile = Profile { details, ..found };
    invoice_profile::save_profile(tx, account, &profile).await?;
    Ok(Titled { profile, company })
}

/// Deletes a profile. Fails with `OBJECT_NOT_FOUND`.
pub async fn delete(tx: &Tx, account: &BillingAccountId, id: &InvoiceProfileId) -> Result<(), Fault> {
    account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let deleted = invoice_profile::delete_profile(tx, account, id).await?;
    if deleted { Ok(()) } else { Err(Fault::not_found("profile_id")) }
}

/// The company an account's invoices are for. Fails with `COMPANY_NOT_VERIFIED`.
pub(super) async fn verified(tx: &Tx, account: &BillingAccountId) -> Result<Verification, Fault> {
    let last = verification::last(tx, account).await?;
    let company = last.filter(|v| v.state == VerificationState::Verified);
    company.ok_or(Fault::new(Reason::CompanyNotVerified))
}

fn complete(details: &Details) -> Result<(), Fault> {
    let mut missing = details.missing().into_iter().map(|name| format!("details.{name}"));
    let Some(first) = missing.next() else { return Ok(()) };
    let right = "is required for a VAT special invoice";
    Err(missing.fold(Fault::field(first, right), |fault, name| fault.and_field(name, right)))
}
