//! The contract between Tandem's processes, and the value types they share.
//!
//! The value types ([`ids`], [`money`], [`quantity`], [`item`], [`day`], [`month`], [`settlement`], [`vendor`],
//! [`reason`], [`page`]) are always here and know
//! neither gRPC nor a database, so that rules and vendor adapters can use them. The generated messages, clients and
//! servers are behind the feature `grpc`.

pub mod day;
pub mod ids;
pub mod item;
pub mod language;
pub mod money;
pub mod month;
pub mod names;
pub mod page;
pub mod payment;
pub mod quantity;
pub mod reason;
pub mod settlement;
pub mod vendor;

#[cfg(feature = "grpc")]
pub mod access;
#[cfg(feature = "grpc")]
pub mod convert;

/// Generated messages, clients and servers of `tandem.common.v1`.
#[cfg(feature = "grpc")]
#[allow(
    missing_docs,
    clippy::allow_attributes,
    clippy::all,
    reason = "generated; the comments are in the schema"
)]
pub mod common {
    pub mod v1 {
        tonic::include_proto!("tandem.common.v1");
    }
}

/// Generated messages, clients and servers of `tandem.console.v1`.
#[cfg(feature = "grpc")]
#[allow(
    missing_docs,
    clippy::allow_attributes,
    clippy::all,
    reason = "generated; the comments are in the schema"
)]
pub mod console {
    pub mod v1 {
        tonic::include_proto!("tandem.console.v1");
    }
}

/// Generated messages, clients and servers of `tandem.billing.v1`.
#[cfg(feature = "grpc")]
#[allow(
    missing_docs,
    clippy::allow_attributes,
    clippy::all,
    reason = "generated; the comments are in the schema"
)]
pub mod billing {
    pub mod v1 {
        tonic::include_proto!("tandem.billing.v1");
    }
}

/// Generated messages, clients and servers of `tandem.marketplace.v1`.
#[cfg(feature = "grpc")]
#[allow(
    missing_docs,
    clippy::allow_attributes,
    clippy::all,
    reason = "generated; the comments are in the schema"
)]
pub mod marketplace {
    pub mod v1 {
        tonic::include_proto!("tandem.marketplace.v1");
    }
}

/// Encoded descriptor sets: one per process for reflection, so that each shows only what it serves, and all of them
/// for the contract snapshot.
#[cfg(feature = "grpc")]
pub mod descriptor {
    /// The whole schema.
    pub const ALL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/all.bin"));
    /// What `console-svc` serves.
    pub const CONSOLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/console.bin"));
    /// What `billing-svc` serves.
    pub const BILLING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/billing.bin"));
    /// What `marketplace-gateway` serves.
    pub const MARKETPLACE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/marketplace.bin"));
    /// What every process serves beside its own: outbox and, on a movable clock, time.
    pub const COMMON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/common.bin"));
}
