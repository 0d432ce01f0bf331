//! Rows of the control plane's tables.

pub mod console_account;
pub mod member;
pub mod workspace;
