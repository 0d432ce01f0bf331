//! Operations: each loads, decides by a rule of `domain`, and saves, in one transaction. One operation a file.

pub(crate) mod alarm;
pub mod apply_event;
pub mod ask_provider;
pub mod attach_purchase;
pub mod bind_workspace;
pub mod cancel_change;
pub mod change_contact;
pub mod change_password;
pub mod change_settlement;
pub mod check_recharges;
pub mod close_day;
pub mod complete_change;
pub mod cover_usage;
pub mod create_account;
pub mod create_online_recharge;
pub mod create_recharge;
pub mod decide_approval;
pub mod decide_verification;
pub mod deliver_usage;
pub mod delivery_addresses;
pub mod dissolve_workspace;
pub mod end_grace;
pub mod end_subscription;
pub mod expire_changes;
pub mod expire_lots;
pub mod expire_pending;
pub mod export_bills;
pub mod get_document;
pub mod get_spend;
pub mod invoice_profiles;
pub mod issue_bills;
pub mod issue_voucher_codes;
pub mod jobs;
mod log_modes;
pub mod move_invoice;
pub mod move_workspace;
mod notice;
pub mod open_landing;
pub mod package_acts;
pub mod package_hold;
mod package_order;
pub mod package_usage;
pub mod prove_bill;
pub mod prove_bills;
pub mod prove_ledger;
pub mod prove_months;
pub mod prove_packages;
pub mod publish_price_list;
pub mod quote_price;
pub mod read_month;
pub mod reconcile;
pub mod record_events;
pub mod record_payment;
pub mod repay;
pub mod repay_due;
pub mod replay_event;
pub mod request_approval;
pub mod request_change;
pub mod request_invoice;
pub mod resolve_metering;
pub mod resolve_payment;
pub mod roll_months;
pub mod run_billing;
pub mod send_alerts;
pub mod send_code;
pub mod send_contact_code;
pub mod send_move_codes;
pub mod set_alert;
pub mod set_any_settlement;
pub mod set_currency;
pub mod set_log_mode;
pub mod settle_bills;
pub mod sign_in;
pub mod stand;
pub mod submit_usage;
pub mod submit_verification;
pub mod suspend_subscription;
pub mod unlock_workspace;
pub mod update_profile;
pub mod verify_purchase;
pub mod view_debt;
pub mod wallet_acts;
pub mod wallet_lane;
pub mod warn_expiring;
pub mod warn_packages;

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod approval_tests;
#[cfg(test)]
mod calendar_tests;
#[cfg(test)]
mod corruption_tests;
#[cfg(test)]
mod debt_tests;
#[cfg(test)]
mod invoice_tests;
#[cfg(test)]
mod market_tests;
#[cfg(test)]
mod package_tests;
#[cfg(test)]
mod payment_tests;
#[cfg(test)]
mod price_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wallet_tests;
