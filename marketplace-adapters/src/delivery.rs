//! What comes in from a vendor, and what goes back: raw deliveries, proved deliveries, outcomes, replies.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// A callback or landing as it arrived, untouched.
///
/// Its `Debug` form leaves out the query and the body, because vendors put their proof there.
#[derive(Clone)]
pub struct Delivery {
    /// The HTTP method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query as it arrived, still encoded, without the question mark; empty when there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; whoever reads it from the network limits its size.
    pub body: Bytes,
}

impl Delivery {
    /// A `GET` with this query and nothing else: what most callbacks in this crate are.
    pub fn get(path: &str, query: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query_bytes", &self.query.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A delivery whose sender an adapter has proved. Only this crate can make one.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated<'a>(&'a Delivery);

impl<'a> Authenticated<'a> {
    /// Marks a delivery as proved; called at the end of an adapter's `authenticate`, nowhere else.
    pub(crate) fn new(delivery: &'a Delivery) -> Self {
        Self(delivery)
    }

    /// The delivery.
    pub fn delivery(&self) -> &'a Delivery {
        self.0
    }
}

/// What became of a delivery, in words that every vendor's reply can be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Recorded and acted on.
    Applied,
    /// Was recorded before; nothing changed.
    Duplicate,
    /// Recorded durably; the act itself follows later.
    Pending,
    /// Recorded for an operator, because nobody here knows what it means.
    Parked,
    /// Not accepted as it is. The reason is ours, for the log; vendors are not told.
    Refused {
        /// A fixed text or a reason's name; never personal data.
        reason: String,
    },
    /// Could not be recorded now; the vendor should call again.
    Unavailable,
}

/// An answer to a vendor, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `content-type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json; charset=utf-8", body: Bytes::from(value.to_string()) }
    }
}
