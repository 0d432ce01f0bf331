//! Usage from files: CSV with a header line, or JSON objects line by line.
//!
//! A line is read by itself, so that a bad one costs nothing but itself: it is named, with what would be right, and the
//! others still go. Nothing here talks to a service.

mod fields;
mod import;
mod lines;
mod parse;
mod report;

pub use import::{BATCH_POINTS, Import, digest};
pub use lines::LINE_BYTES_MAX;
pub use parse::{BadLine, Format, Parsed, Parser};
pub use report::{RefusedLine, Report};
