//! Rolls changed days up: from hourly points to daily quantities (`domain.md` 4.5, D9, design section 5.2).

use tandem_service_kit::db::{Database, StoreError};

use crate::store::usage_total::{self, Scope};

/// Days rolled up in one transaction: it holds their workspaces, so it has to be short.
const BATCH: usize = 200;
/// Tries of a transaction that met a lock.
const TRIES: u32 = 3;

/// How far a roll-up got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Changes that were rolled up.
    pub changes: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// Rolls up some changed days.
///
/// A day that changes meanwhile is marked again and rolled up again: quantities converge.
pub async fn some(db: &Database, scope: Scope<'_>) -> Result<Progress, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(db, scope).await {
            Err(StoreError::Busy) if tries < TRIES => {}
            result => return result,
        }
    }
}

/// Rolls up everything in a scope that was marked when it began, and what is marked meanwhile as far as it gets.
pub async fn all(db: &Database, scope: Scope<'_>) -> Result<(), StoreError> {
    while some(db, scope).await?.more {}
    Ok(())
}

async fn once(db: &Database, scope: Scope<'_>) -> Result<Progress, StoreError> {
    // Most looks find nothing, and then SQLite's one writer is not asked for.
    let marks = usage_total::marks(&db.read, scope, BATCH).await?;
    if marks.is_empty() {
        return Ok(Progress { changes: 0, more: false });
    }
    let tx = db.begin().await?;
    // The marks were read first: a change after that has a mark of its own, which stays.
    usage_total::lock_workspaces(&tx, &marks).await?;
    let quantities = usage_total::quantities(&tx, &marks).await?;
    usage_total::save(&tx, &quantities).await?;
    usage_total::unmark(&tx, &marks).await?;
    tx.commit().await?;
    Ok(Progress { changes: marks.len(), more: marks.more })
}
