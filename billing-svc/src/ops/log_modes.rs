//! Leaves out of the bills what a day's log mode does not charge (`domain.md` 4.4).

use std::collections::HashMap;

use sea_orm::ConnectionTrait;
use tandem_proto::item::BillingItem;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{StoreError, Tx};

use crate::domain::bill::Usage;
use crate::domain::log_mode::LogModes;
use crate::store::log_mode;
use crate::store::usage::{self, Place};

/// Takes the usage out that is statistics only on its day, and returns it with its place. What stands on a bill in part
/// stays: it can still be adjusted.
pub(super) async fn split(
    db: &impl ConnectionTrait,
    unbilled: &mut HashMap<Place, Vec<Usage>>,
) -> Result<Vec<(Place, Usage)>, StoreError> {
    let logs = |used: &Usage| matches!(used.item, BillingItem::LogCount | BillingItem::LogIngest);
    let asked = unbilled.iter().filter(|(_, usage)| usage.iter().any(logs)).map(|((_, id), _)| id);
    let modes = log_mode::of(db, asked).await?;
    let by_count = LogModes::default();
    let mut aside = Vec::new();
    for (place, usage) in unbilled.iter_mut() {
        let modes = modes.get(&place.1).unwrap_or(&by_count);
        let statistics = |used: &mut Usage| {
            used.billed == Quantity::ZERO && logs(used) && !modes.at(used.day).charges(used.item)
        };
        aside.extend(usage.extract_if(.., statistics).map(|used| (place.clone(), used)));
    }
    Ok(aside)
}

/// Takes the usage out that is statistics only on its day, and sets it aside for good. The days must be over, so that
/// their modes cannot change any more.
pub(super) async fn set_aside(tx: &Tx, unbilled: &mut HashMap<Place, Vec<Usage>>) -> Result<(), StoreError> {
    let aside = split(tx, unbilled).await?;
    usage::set_aside(tx, &aside).await
}
