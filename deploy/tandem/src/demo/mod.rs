//! Stories that are lived through the public interfaces only, on a system of their own or a running one.
//!
//! Every wait is for a condition, with a deadline. Where something must be so and is not, a story ends with
//! [`crate::failure::Failure::Proof`].

pub mod customer;
pub mod lives;
pub mod mailbox;
pub mod money;
pub mod proofs;
pub mod stage;
pub mod teller;
#[cfg(test)]
pub mod testing;
pub mod usage;
