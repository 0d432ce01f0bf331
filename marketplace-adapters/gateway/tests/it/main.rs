//! The gateway in one process, between a Billing that is played and a market that is played.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop the test")]

mod billing;
mod callbacks;
mod harness;
mod landing;
mod limits;
mod market;
mod outbound;
mod payments;
mod secrecy;
mod start;
mod unlock;
