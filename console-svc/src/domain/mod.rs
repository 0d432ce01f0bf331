//! The Console's rules: plain types and functions. Nothing here reads a clock, a database or a message.

pub mod account;
pub mod aggregation;
pub mod item;
pub mod member;
pub mod point;
pub mod quota;
pub mod retention;
pub mod site;
pub mod usage_day;
pub mod workspace;
