//! Everything in one process: Console, Billing, the gateway and the sandbox cloud, on loopback addresses.

mod configs;
pub mod market;
mod payments;
mod summary;
mod system;

pub use configs::Configs;
pub use summary::summary;
pub use system::System;

use std::path::PathBuf;

use tandem_service_kit::clock::SharedClock;

use crate::data_dir::DataDir;

/// The Console's usual gRPC port.
pub const CONSOLE_PORT: u16 = 50051;
/// Billing's usual gRPC port.
pub const BILLING_PORT: u16 = 50052;
/// The gateway's usual gRPC port.
pub const GATEWAY_PORT: u16 = 50053;
/// The usual port of callbacks and landing pages.
pub const CALLBACKS_PORT: u16 = 8080;
/// The sandbox cloud's usual port.
pub const SANDBOX_PORT: u16 = 8090;
/// The usual port of `/metrics` and `/healthz`.
pub const METRICS_PORT: u16 = 9090;

/// The ports; 0 takes any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The Console's gRPC.
    pub console: u16,
    /// Billing's gRPC.
    pub billing: u16,
    /// The gateway's gRPC.
    pub gateway: u16,
    /// Callbacks and landing pages.
    pub callbacks: u16,
    /// The sandbox cloud.
    pub sandbox: u16,
    /// `/metrics` and `/healthz`.
    pub metrics: u16,
}

impl Ports {
    /// Any free ports.
    pub const FREE: Ports =
        Ports { console: 0, billing: 0, gateway: 0, callbacks: 0, sandbox: 0, metrics: 0 };
}

/// What a system is made of.
#[derive(Clone)]
pub struct Options {
    /// Where its state is.
    pub data: DataDir,
    /// Where it listens.
    pub ports: Ports,
    /// The one business clock of all of it.
    pub clock: SharedClock,
    /// The Console's database; SQLite in the folder when `None`.
    pub console_database: Option<String>,
    /// Billing's database; SQLite in the folder when `None`.
    pub billing_database: Option<String>,
    /// The Console's configuration file.
    pub console_config: Option<PathBuf>,
    /// Billing's configuration file.
    pub billing_config: Option<PathBuf>,
    /// The gateway's configuration file.
    pub gateway_config: Option<PathBuf>,
    /// Which log lines are written, instead of what the Console's configuration says.
    pub log_filter: Option<String>,
}

impl Options {
    /// A system on free ports with its state in a folder, nothing else configured.
    pub fn new(data: DataDir, clock: SharedClock) -> Options {
        Options {
            data,
            ports: Ports::FREE,
            clock,
            console_database: None,
            billing_database: None,
            console_config: None,
            billing_config: None,
            gateway_config: None,
            log_filter: None,
        }
    }
}
