//! Rolls changed days up: from hourly points to daily quantities (`domain.md` 4.5, D9, design section 5.2).

use std::collections::BTreeMap;

use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Database, StoreError};

use crate::store::retention_drop::{self, DroppedDay};
use crate::store::usage_total::{self, Scope, TotalKey};

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
    let quantities = count_by_new_policy(quantities, &retention_drop::of_marked(&tx, &marks).await?);
    usage_total::save(&tx, &quantities).await?;
    usage_total::unmark(&tx, &marks).await?;
    tx.commit().await?;
    Ok(Progress { changes: marks.len(), more: marks.more })
}

/// Counts what was dropped of a day by the policy that the day counts by: the greater of both running values, and
/// nothing by the old policy.
fn count_by_new_policy(
    quantities: Vec<(TotalKey, Quantity, bool)>,
    drops: &[DroppedDay],
) -> Vec<(TotalKey, Quantity, bool)> {
    if drops.is_empty() {
        return quantities;
    }
    let mut days: BTreeMap<TotalKey, (Quantity, bool)> = BTreeMap::new();
    for (key, quantity, charged) in quantities {
        let drop = drops.iter().find(|drop| {
            (&drop.workspace_id, drop.usage_day, drop.item, drop.old_days)
                == (&key.workspace_id, key.usage_day, key.item, key.retention_days)
        });
        let key = match drop {
            None => key,
            Some(drop) => {
                days.insert(key.clone(), (Quantity::ZERO, charged));
                TotalKey { retention_days: drop.new_days, ..key }
            }
        };
        let day = days.entry(key).or_insert((Quantity::ZERO, charged));
        day.0 = day.0.max(quantity);
    }
    days.into_iter().map(|(key, (quantity, charged))| (key, quantity, charged)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::item::Item;

    fn key(item: Item, retention_days: i16) -> TotalKey {
        TotalKey {
            workspace_id: "wks_1".to_owned(),
            usage_day: 20_260_301,
            item,
            retention_days,
            sub_key: String::new(),
        }
    }

    #[test]
    fn what_was_dropped_counts_once_by_the_new_policy() {
        let of = |hundredths| Quantity { hundredths };
        let drop = DroppedDay {
            workspace_id: "wks_1".to_owned(),
            usage_day: 20_260_301,
            item: Item::TimeSeries,
            old_days: 7,
            new_days: 30,
        };
        let logs = (key(Item::LogCount, 7), of(5), true);
        for (old, new, counted) in [(900, Some(400), 900), (300, Some(400), 400), (300, None, 300)] {
            let mut day = vec![(key(Item::TimeSeries, 7), of(old), true), logs.clone()];
            day.extend(new.map(|new| (key(Item::TimeSeries, 30), of(new), true)));
            let series = |days, hundredths| (key(Item::TimeSeries, days), of(hundredths), true);
            let expected = vec![series(7, 0), series(30, counted), logs.clone()];
            assert_eq!(count_by_new_policy(day, std::slice::from_ref(&drop)), expected);
        }
        assert_eq!(count_by_new_policy(vec![logs.clone()], &[]), std::slice::from_ref(&logs));
        assert_eq!(count_by_new_policy(vec![logs.clone()], &[drop]), [logs]);
    }
}
