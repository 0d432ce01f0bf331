//! The rules, as functions from facts to decisions.
//!
//! Nothing here is async, knows a database or gRPC, or reads the clock: time comes in as an argument.

pub mod account;
pub mod alert;
pub mod approval;
pub mod bill;
pub mod binding;
pub mod card;
pub mod contact;
pub mod csv;
pub mod currency;
pub mod deduction;
pub mod event;
pub mod expiry;
pub mod invoice;
pub mod job;
pub mod ledger;
pub mod log_mode;
pub mod metering;
pub mod monthly;
pub mod moving;
pub mod package;
pub mod package_cover;
pub mod package_lines;
pub mod package_offer;
pub mod payment;
pub mod price;
pub mod price_check;
pub mod price_file;
pub mod recharge;
pub mod spend;
pub mod standing;
pub mod subscription;
pub mod verification;
pub mod wallet;
