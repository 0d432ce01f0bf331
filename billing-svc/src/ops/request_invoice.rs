//! Asks for an invoice (`domain.md` 3.15).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, DeliveryAddressId, InvoiceProfileId};
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::invoice_profiles::verified;
use crate::domain::account::BillingAccount;
use crate::domain::invoice::{self as rules, InvoiceState, Line, Month, RequestError, SOURCES_MAX, Source};
use crate::domain::wallet::LotKind;
use crate::store::invoice::{self, Invoice};
use crate::store::{account, invoice_profile, invoiceable, lot};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How the invoice is wanted.
    pub profile: InvoiceProfileId,
    /// Where it is sent.
    pub address: DeliveryAddressId,
    /// What it is for.
    pub sources: Vec<Source>,
}

/// Makes an invoice over all that is open of the chosen sources. What it takes is invoiced from now on.
///
/// Fails with `OBJECT_NOT_FOUND`, `INVALID_FIELD`, `COMPANY_NOT_VERIFIED`, `CASH_REQUIRED`, `MONTH_NOT_GENERATED` and
/// `NOTHING_TO_INVOICE`.
pub async fn run(
    tx: &Tx,
    account: &BillingAccountId,
    wish: &Wish,
    now: Timestamp,
) -> Result<(Invoice, Vec<Line>), Fault> {
    // The account's lock: every payment and every other request waits.
    let payer = account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let company = verified(tx, account).await?;
    let profile = invoice_profile::find_profile(tx, account, &wish.profile).await?;
    let profile = profile.ok_or(Fault::not_found("profile_id"))?;
    let address = invoice_profile::find_address(tx, account, &wish.address).await?;
    let address = address.ok_or(Fault::not_found("address_id"))?.address;
    if let Some(field) = address.missing_for(profile.details.kind) {
        let right = format!("must name an address with {field}, which this kind of invoice is sent to");
        return Err(Fault::field("address_id", right));
    }
    let first_open = first_open_month(&payer, now);
    let found = invoiceable::find(tx, &payer, first_open, &wish.sources).await?;
    let cash = lot::wallet_of(tx, account, &[LotKind::Cash]).await?.total(LotKind::Cash);
    let (lines, minor) = rules::request(&wish.sources, &found, cash, first_open).map_err(refused)?;
    let made = Invoice {
        id: fresh(),
        billing_account: account.clone(),
        state: InvoiceState::Requested,
        amount: Money { minor, currency: payer.currency },
        title: company.company_name,
        taxpayer_id: company.taxpayer_id,
        details: profile.details,
        address,
        number: None,
        tracking: String::new(),
        reason: String::new(),
        requested_at: now,
        issued_at: None,
        sent_at: None,
        rejected_at: None,
    };
    let numbers = invoiceable::next_numbers(tx, account, &wish.sources).await?;
    invoice::insert(tx, &made, &lines, &numbers).await?;
    Ok((made, lines))
}

/// The first month whose bill is not generated yet, in the account's zone.
pub fn first_open_month(payer: &BillingAccount, now: Timestamp) -> Month {
    let zone = tandem_proto::day::zone(payer.region.time_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    Month::first_open(now, &zone)
}

fn refused(error: RequestError) -> Fault {
    match error {
        RequestError::NoCash => Reason::CashRequired.into(),
        RequestError::Count => {
            Fault::field("months", format!("months and card_ids together must be 1 to {SOURCES_MAX}"))
        }
        RequestError::Twice(source) => Fault::field(field(&source), "each may be chosen once"),
        RequestError::NotGenerated(month) => {
            Fault::new(Reason::MonthNotGenerated).with("month", month.to_string())
        }
        RequestError::NothingOpen(source) => {
            Fault::new(Reason::NothingToInvoice).with(source.kind().name(), source.id())
        }
        RequestError::OutOfRange => StoreError::Corrupt { table: "bill_payment", column: "amount" }.into(),
    }
}

fn field(source: &Source) -> &'static str {
    match source {
        Source::Month(_) => "months",
        Source::Card(_) => "card_ids",
    }
}
