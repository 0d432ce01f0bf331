//! The harness of the integration tests: a whole Tandem on free ports, driven through what it serves.
//!
//! A [`system::System`] is the Console, Billing, the gateway and the sandbox cloud, on real databases of its own, either
//! in this process on a clock that stands still, or as child processes that can be killed. Tests speak to it as its
//! callers do, over gRPC and HTTP; only [`invariants`] looks into the databases.

pub mod clients;
pub mod collector;
pub mod configs;
pub mod customer;
pub mod day;
pub mod dice;
pub mod ending;
pub mod engine;
pub mod invariants;
pub mod mail;
pub mod market;
pub mod messages;
pub mod payments;
pub mod raw;
pub mod rows;
pub mod running;
pub mod system;
pub mod wait;
