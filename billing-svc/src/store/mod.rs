//! What is in the database, as domain types: one file for each aggregate, set-based where there may be many rows.
//!
//! Everything takes any connection; changes take a [`Tx`](tandem_service_kit::db::Tx), so that they are part of an
//! operation's transaction. Duplicates are settled by unique keys, never by looking first.

pub mod account;
pub mod alert;
pub mod approval;
pub mod bill;
pub mod bill_export;
pub mod binding;
pub mod currency;
pub mod debt;
pub mod failed_try;
pub mod feed;
pub mod invoice;
pub mod invoice_profile;
pub mod invoiceable;
pub mod job;
pub mod landing;
pub mod ledger;
pub mod log_mode;
pub mod lot;
pub mod lot_warning;
pub mod marketplace_event;
pub mod metering;
pub mod metering_queue;
pub mod month_sheet;
pub mod monthly_bill;
pub mod monthly_roll;
pub mod monthly_totals;
pub mod package;
pub mod package_catalogue;
pub mod package_use;
pub mod payment;
pub mod price;
pub mod read;
pub mod recharge;
pub mod recharge_call;
pub mod settled;
pub mod settlement_change;
pub mod site_day;
pub mod spend;
pub mod subscription;
pub mod usage;
pub mod verification;
pub mod voucher_code;
pub mod workspace;
pub mod workspace_move;
