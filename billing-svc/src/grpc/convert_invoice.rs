//! Verifications, profiles, addresses and invoices: from messages, checked, and to messages.

use tandem_proto::billing::v1 as pb;
use tandem_proto::money::{Currency, Money};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate::{self, to_message};

use super::named;
use crate::domain::invoice::{Address, Details, InvoiceKind, InvoiceState, Invoiceable, Line, Source};
use crate::domain::verification::{Verification, VerificationState};
use crate::ops::create_account::checked_email;
use crate::ops::invoice_profiles::Titled;
use crate::store::invoice::Invoice;
use crate::store::invoice_profile::StoredAddress;

/// Longest bank's name, name of a consignment, and the like.
const NAME_CHARS_MAX: usize = 100;
/// Longest address and longest reason.
pub(super) const TEXT_CHARS_MAX: usize = 200;
/// Longest recipient.
const RECIPIENT_CHARS_MAX: usize = 64;

/// A text that may be missing.
pub(super) fn optional_text(field: &str, text: &str, max_chars: usize) -> Result<String, Fault> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    Ok(validate::text(field, text, max_chars)?.to_owned())
}

/// A text of some length made of letters, digits and a few marks; empty stays empty.
fn marked(field: &str, text: &str, marks: &str, chars: (usize, usize), right: &str) -> Result<String, Fault> {
    let text = text.trim();
    let known = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    let fits = (chars.0..=chars.1).contains(&text.chars().count());
    if text.is_empty() || (fits && text.chars().all(known)) {
        Ok(text.to_owned())
    } else {
        Err(Fault::field(field, right))
    }
}

fn phone(field: &str, text: &str) -> Result<String, Fault> {
    let right = "must be 5 to 30 digits, blanks, hyphens, brackets and a plus sign";
    if text.chars().any(|c| c.is_ascii_alphabetic()) {
        return Err(Fault::field(field, right));
    }
    marked(field, text, "+-() ", (5, 30), right)
}

/// Details of an invoice.
pub(super) fn details(details: Option<pb::InvoiceDetails>) -> Result<Details, Fault> {
    let d = details.ok_or_else(|| Fault::field("details", "is required"))?;
    let kind = match pb::InvoiceKind::try_from(d.kind) {
        Ok(pb::InvoiceKind::VatOrdinary) => Some(InvoiceKind::VatOrdinary),
        Ok(pb::InvoiceKind::VatSpecial) => Some(InvoiceKind::VatSpecial),
        Ok(pb::InvoiceKind::ElectronicOrdinary) => Some(InvoiceKind::ElectronicOrdinary),
        Ok(pb::InvoiceKind::Unspecified) | Err(_) => None,
    };
    let right = "must be 6 to 40 digits, letters, blanks and hyphens";
    Ok(Details {
        kind: named("details.kind", kind)?,
        bank: optional_text("details.bank", &d.bank, NAME_CHARS_MAX)?,
        bank_account: marked("details.bank_account", &d.bank_account, "- ", (6, 40), right)?,
        registered_address: optional_text(
            "details.registered_address",
            &d.registered_address,
            TEXT_CHARS_MAX,
        )?,
        landline: phone("details.landline", &d.landline)?,
    })
}

/// A delivery address without its id.
pub(super) fn address(address: Option<pb::DeliveryAddress>) -> Result<(String, Address), Fault> {
    let a = address.ok_or_else(|| Fault::field("address", "is required"))?;
    let recipient = validate::text("address.recipient", &a.recipient, RECIPIENT_CHARS_MAX)?.to_owned();
    validate::required("address.phone", &a.phone)?;
    let email =
        if a.email.trim().is_empty() { String::new() } else { checked_email("address.email", &a.email)? };
    let phone = phone("address.phone", &a.phone)?;
    let postal = optional_text("address.address", &a.address, TEXT_CHARS_MAX)?;
    Ok((a.id, Address { recipient, phone, email, postal }))
}

/// What an invoice is asked for.
pub(super) fn sources(months: &[String], cards: &[String]) -> Result<Vec<Source>, Fault> {
    let months = months.iter().map(|month| validate::parse("months", month).map(Source::Month));
    let cards = cards.iter().map(|card| validate::parse("card_ids", card).map(Source::Card));
    months.chain(cards).collect()
}

/// A number the tax office gives.
pub(super) fn invoice_number(text: &str) -> Result<String, Fault> {
    validate::required("invoice_number", text)?;
    let right = "must be at most 40 letters, digits and hyphens";
    marked("invoice_number", text, "-", (1, 40), right)
}

/// How to find a consignment; may be empty.
pub(super) fn tracking(text: &str) -> Result<String, Fault> {
    optional_text("tracking", text, NAME_CHARS_MAX)
}

/// A company's registered name.
pub(super) fn company_name(text: &str) -> Result<String, Fault> {
    Ok(validate::text("company_name", text, NAME_CHARS_MAX)?.to_owned())
}

pub(super) fn verification_state(state: Option<VerificationState>) -> pb::VerificationState {
    match state {
        None => pb::VerificationState::None,
        Some(VerificationState::Pending) => pb::VerificationState::Pending,
        Some(VerificationState::Verified) => pb::VerificationState::Verified,
        Some(VerificationState::Rejected) => pb::VerificationState::Rejected,
    }
}

pub(super) fn verification_message(v: &Verification) -> pb::CompanyVerification {
    pb::CompanyVerification {
        billing_account_id: v.billing_account.as_str().to_owned(),
        state: verification_state(Some(v.state)).into(),
        company_name: v.company_name.clone(),
        taxpayer_id: v.taxpayer_id.clone(),
        submit_time: Some(to_message(v.submitted_at)),
        decide_time: v.decided_at.map(to_message),
        reason: v.reason.clone(),
    }
}

pub(super) fn profile_message(titled: &Titled) -> pb::InvoiceProfile {
    pb::InvoiceProfile {
        id: titled.profile.id.as_str().to_owned(),
        title: titled.company.company_name.clone(),
        taxpayer_id: titled.company.taxpayer_id.clone(),
        details: Some(details_message(&titled.profile.details)),
        create_time: Some(to_message(titled.profile.created_at)),
    }
}

pub(super) fn details_message(d: &Details) -> pb::InvoiceDetails {
    pb::InvoiceDetails {
        kind: match d.kind {
            InvoiceKind::VatOrdinary => pb::InvoiceKind::VatOrdinary,
            InvoiceKind::VatSpecial => pb::InvoiceKind::VatSpecial,
            InvoiceKind::ElectronicOrdinary => pb::InvoiceKind::ElectronicOrdinary,
        }
        .into(),
        bank: d.bank.clone(),
        bank_account: d.bank_account.clone(),
        registered_address: d.registered_address.clone(),
        landline: d.landline.clone(),
    }
}

pub(super) fn address_message(stored: &StoredAddress) -> pb::DeliveryAddress {
    pb::DeliveryAddress { id: stored.id.as_str().to_owned(), ..plain_address(&stored.address) }
}

fn plain_address(a: &Address) -> pb::DeliveryAddress {
    pb::DeliveryAddress {
        id: String::new(),
        recipient: a.recipient.clone(),
        phone: a.phone.clone(),
        email: a.email.clone(),
        address: a.postal.clone(),
    }
}

pub(super) fn invoiceable_message(i: &Invoiceable, currency: Currency) -> pb::Invoiceable {
    let money = |minor| Some(Money { minor, currency }.to_message());
    pb::Invoiceable {
        source: Some(match &i.source {
            Source::Month(month) => pb::invoiceable::Source::Month(month.to_string()),
            Source::Card(card) => pb::invoiceable::Source::CardId(card.as_str().to_owned()),
        }),
        paid: money(i.paid),
        invoiced: money(i.invoiced),
        open: money(i.open()),
    }
}

pub(super) fn invoice_message(i: &Invoice, lines: &[Line]) -> pb::Invoice {
    let line = |l: &Line| pb::InvoiceLine {
        source: Some(match &l.source {
            Source::Month(month) => pb::invoice_line::Source::Month(month.to_string()),
            Source::Card(card) => pb::invoice_line::Source::CardId(card.as_str().to_owned()),
        }),
        amount: Some(Money { minor: l.amount, ..i.amount }.to_message()),
    };
    pb::Invoice {
        id: i.id.as_str().to_owned(),
        billing_account_id: i.billing_account.as_str().to_owned(),
        state: match i.state {
            InvoiceState::Requested => pb::InvoiceState::Requested,
            InvoiceState::Issued => pb::InvoiceState::Issued,
            InvoiceState::Sent => pb::InvoiceState::Sent,
            InvoiceState::Rejected => pb::InvoiceState::Rejected,
        }
        .into(),
        amount: Some(i.amount.to_message()),
        title: i.title.clone(),
        taxpayer_id: i.taxpayer_id.clone(),
        details: Some(details_message(&i.details)),
        address: Some(plain_address(&i.address)),
        invoice_number: i.number.clone().unwrap_or_default(),
        tracking: i.tracking.clone(),
        reason: i.reason.clone(),
        request_time: Some(to_message(i.requested_at)),
        issue_time: i.issued_at.map(to_message),
        send_time: i.sent_at.map(to_message),
        reject_time: i.rejected_at.map(to_message),
        lines: lines.iter().map(line).collect(),
    }
}
