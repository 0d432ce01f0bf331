//! Everything in one process, and the operator's command line.
//!
//! - [`up`] builds and runs all services together, as `tandem up` does; tests can start it on free ports.
//! - [`client`] calls the services, with tokens; [`usage_file`] reads usage from files and sends it.
//! - [`demo`] lives through the life of two customers by the public interfaces only.
//! - [`cli`] and [`commands`] are the command line: one file for each command; [`output`] and [`failure`] are how it
//!   answers.

pub mod cli;
pub mod client;
pub mod commands;
pub mod data_dir;
pub mod demo;
pub mod failure;
pub mod output;
pub mod up;
pub mod usage_file;
