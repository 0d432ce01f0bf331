//! The Console as a whole, over gRPC, on both engines, with a stand-in for Billing.

mod activation;
mod billing;
mod delivery;
mod harness;
mod members;
mod record_usage;
mod registration;
