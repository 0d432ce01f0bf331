//! The rules, as functions from facts to decisions.
//!
//! Nothing here is async, knows a database or gRPC, or reads the clock: time comes in as an argument.

pub mod account;
pub mod alert;
pub mod approval;
pub mod bill;
pub mod binding;
pub mod card;
pub mod currency;
pub mod contact;
pub mod deduction;
pub mod event;
pub mod invoice;
pub mod expiry;
pub mod job;
pub mod ledger;
pub mod log_mode;
pub mod metering;
pub mod package;
pub mod package_cover;
pub mod package_lines;
pub mod package_offer;
pub mod moving;
pub mod price;
pub mod price_check;
pub mod price_file;
pub mod payment;
pub mod recharge;
pub mod standing;
pub mod subscription;
pub mod verification;
pub mod wallet;
