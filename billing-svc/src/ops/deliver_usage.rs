//! Takes over what the Console counted (`design.md` 5.2).
//!
//! Whether usage came too late is judged where it is recorded (D13): what the Console has acknowledged is taken however
//! long its delivery took. What a workspace used on a day belongs to the account that it belonged to at the day's end
//! (D8): what comes late for a day before a move becomes an adjustment at the account it was moved from (D10).

use std::collections::{BTreeSet, HashSet};

use tandem_proto::day::UsageDay;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::store::alert;
use crate::store::usage::{self, Delivered};
use crate::store::workspace_move;

/// A quantity that was refused: its place in the delivery, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// From 0.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// Takes quantities over; of each key the greatest revision stays. Good ones count even if others are refused.
pub async fn deliver_usage(tx: &Tx, usage: &[Delivered]) -> Result<Vec<Refused>, Fault> {
    let days: BTreeSet<(&WorkspaceId, UsageDay)> = usage.iter().map(|d| (&d.workspace, d.day)).collect();
    let payers = workspace_move::payers_of(tx, &days).await?;
    let (mut refused, mut taken) = (Vec::new(), Vec::new());
    for (index, delivered) in usage.iter().enumerate() {
        let Some(account) = payers.get(&(delivered.workspace.clone(), delivered.day)) else {
            refused.push(Refused { index, reason: Reason::WorkspaceNotBound });
            continue;
        };
        // What is only counted is taken, too: a package may charge for it.
        taken.push((account.clone(), delivered));
    }
    usage::take(tx, &taken).await?;
    let changed: HashSet<_> = taken.iter().map(|(account, used)| (account, &used.workspace)).collect();
    let changed: Vec<_> = changed.into_iter().map(|(account, w)| (account.clone(), w.clone())).collect();
    alert::mark_due(tx, &changed).await?;
    Ok(refused)
}
