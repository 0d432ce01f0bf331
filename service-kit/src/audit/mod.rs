//! The audit: one row for each attempt to change something, refused ones too (`reliability.md` I-32, 4.6, section 8).
//!
//! **Chains.** Each row holds the hash of the row before it in its chain. No chain is shared: a transaction that has
//! something to record borrows one from this process's pool, alone, until it has committed, so that nobody waits for
//! anybody and no row is updated by everybody. There are as many chains as transactions ever ran at once; a process that
//! starts anew starts new chains. When the outcome of a commit is unknown, its chain is never used again.
//!
//! **What is durable.** An accepted attempt's row is written in the transaction of its effect: `request_log` does it
//! where it stores the answer, so no operation can forget it. Refused, repeated and failed attempts have no effect and
//! no transaction; the server gathers them and writes them in batches about once a second, in their order. A queue that
//! is full counts what it drops, and the count becomes a row.
//!
//! **Bulk.** Recorded usage comes in thousands of batches a second, and each batch's id, digest and answer are stored in
//! the request log in the transaction of its effect. Those methods make their keys with `RequestKey::bulk`: their
//! attempts become one row for each caller, method and outcome about once a second, with their number and a digest over
//! every batch's id and digest in turn, so that the hot path pays a hash of a hundred bytes and no statement. When a
//! process dies, the second before it is in the request log alone.
//!
//! **Cut ends.** A chain cannot show that its own end is missing. Every five minutes and when it stops, a process writes
//! the heads of its chains into one of them and into its log; when it starts, it does the same for the chains of others.
//! `ProveAudit` compares them, and heads that an operator kept elsewhere. What nobody noted yet cannot be missed.
//!
//! **Keys.** With `database.audit_key` hashes are HMACs, so that who can write to the database but has not the key cannot
//! make a chain anew. Nothing is ever deleted here: triggers refuse it.

mod api;
mod attempt;
mod chain;
mod gather;
mod ids;
mod prove;
mod row;
mod store;

pub use api::AuditService;
pub use prove::{Break, BreakKind, Proof, prove};
pub use row::{Head, Outcome, Record, Row};
pub use store::{Filter, list};

pub(crate) use attempt::{Attempt, Watch, current};
pub(crate) use chain::{Audit, Borrowed};
pub(crate) use ids::objects;
pub(crate) use row::Seal;
pub(crate) use store::insert;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::db::Database;
use crate::worker::spawn_loop;

/// How often gathered attempts are written: rarely enough to share a commit, often enough to be seen soon.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Writes gathered attempts and anchors until `stop`, and then what is left.
pub fn spawn(db: Database, clock: SharedClock, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let writing = {
            let (db, clock) = (db.clone(), clock.clone());
            spawn_loop("audit", clock.clone(), WRITE_EVERY, None, stop, move || {
                let (db, clock) = (db.clone(), clock.clone());
                async move { db.audit().write(&db, clock.now()).await }
            })
        };
        if let Err(error) = writing.await {
            tracing::error!(error = %error, "the audit's loop did not stop by itself");
        }
        if let Err(error) = db.audit().finish(&db, clock.now()).await {
            tracing::warn!(error = %error, "the last gathered attempts were not written");
        }
    })
}

#[cfg(test)]
mod tests;
