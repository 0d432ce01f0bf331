//! The Console as a whole, over gRPC, on both engines, with a stand-in for Billing.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; helpers are no test functions to clippy"
)]

mod activation;
mod billing;
mod delivery;
mod harness;
mod members;
mod record_usage;
mod registration;
mod retention;
