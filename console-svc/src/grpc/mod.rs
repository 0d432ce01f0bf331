//! The Console's gRPC services: thin; what they do is in [`crate::ops`].

mod account;
mod convert;
mod registration;
mod status;
mod usage;
mod workspace;

pub use account::Accounts;
pub use registration::Registration;
pub use usage::Usage;
pub use workspace::Workspaces;
