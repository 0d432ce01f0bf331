//! The services, thin: check the call, run the operation, answer.

pub mod account;
mod account_changes;
pub mod alert;
pub mod approval;
pub mod bill;
pub mod binding;
mod binding_changes;
mod convert_approval;
mod convert_bill;
mod convert_invoice;
mod convert_marketplace;
mod convert_package;
mod convert_payment;
mod convert_price;
mod convert_wallet;
pub mod document;
pub mod event;
mod export;
pub mod invoice;
pub mod job;
pub mod marketplace;
mod monthly;
pub mod package;
pub mod payment;
pub mod price;
mod spend;
pub mod standing;
pub mod usage;
pub mod wallet;

use std::fmt::Display;
use std::str::FromStr;

use tandem_proto::page::Page;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;

/// Reads a request's page fields; `parts` is how many parts the list's key has.
fn page(size: i32, token: &str, parts: usize) -> Result<Page, Fault> {
    Page::from_request(size, token, parts).map_err(|error| Fault::field("page_token", error.to_string()))
}

/// Reads an id that may be left out.
fn optional<T: FromStr<Err: Display>>(field: &str, value: &str) -> Result<Option<T>, Fault> {
    if value.is_empty() { Ok(None) } else { validate::parse(field, value).map(Some) }
}

/// An enum's value that has to be given.
fn named<T>(field: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::field(field, "is required, and must be a value of its enum"))
}

/// An event as the service would record it.
#[cfg(test)]
pub(crate) fn recorded_for_tests(
    event: tandem_proto::billing::v1::AnnouncedEvent,
) -> crate::store::marketplace_event::Recorded {
    convert_marketplace::recorded("event", event).unwrap()
}
