//! What every process of Tandem needs to start, to be seen and to be trusted. It knows nothing of billing.
//!
//! - Starting: [`config`], [`telemetry`], [`shutdown`], [`server`], [`metrics_http`].
//! - Being trusted: [`identity`], [`password`], [`verification`], [`fault`], [`validate`].
//! - Keeping what was acknowledged: [`db`], [`request_log`], [`audit`], [`outbox`], [`worker`], [`lease`], [`singleton`].
//! - Time and chance are handed in: [`clock`], [`fresh`].

pub mod audit;
pub mod clock;
pub mod config;
pub mod db;
pub mod fault;
pub mod fresh;
pub mod health;
pub mod identity;
pub mod lease;
pub mod mail;
pub mod metrics_http;
pub mod outbox;
pub mod password;
pub mod peer;
pub mod request_log;
pub mod server;
pub mod shutdown;
pub mod signed_link;
pub mod singleton;
pub mod sms;
pub mod telemetry;
pub mod validate;
pub mod verification;
pub mod worker;

/// The allocator of every process: quicker than the C library's for calls that make many small things, and it gives
/// freed memory back (password hashing takes 19 MiB for a moment on whichever thread is free).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
