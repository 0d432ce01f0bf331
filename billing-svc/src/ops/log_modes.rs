//! Leaves out of the bills what a day's log mode does not charge (`domain.md` 4.4).

use std::collections::HashMap;

use sea_orm::ConnectionTrait;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::item::BillingItem;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{StoreError, Tx};

use crate::domain::bill::Usage;
use crate::domain::log_mode::LogModes;
use crate::store::log_mode;
use crate::store::usage::{self, Place};

/// Takes the usage out that is statistics only on its day, and returns it by workspace. What stands on a bill in part
/// stays: it can still be adjusted.
pub(super) async fn split(
    db: &impl ConnectionTrait,
    unbilled: &mut HashMap<WorkspaceId, Vec<Usage>>,
) -> Result<Vec<(WorkspaceId, Usage)>, StoreError> {
    let logs = |used: &Usage| matches!(used.item, BillingItem::LogCount | BillingItem::LogIngest);
    let asked = unbilled.iter().filter(|(_, usage)| usage.iter().any(logs)).map(|(id, _)| id);
    let modes = log_mode::of(db, asked).await?;
    let by_count = LogModes::default();
    let mut aside = Vec::new();
    for (id, usage) in unbilled.iter_mut() {
        let modes = modes.get(id).unwrap_or(&by_count);
        let statistics = |used: &mut Usage| {
            used.billed == Quantity::ZERO && logs(used) && !modes.at(used.day).charges(used.item)
        };
        aside.extend(usage.extract_if(.., statistics).map(|used| (id.clone(), used)));
    }
    Ok(aside)
}

/// Takes the usage out that is statistics only on its day, and sets it aside for good. The days must be over, so that
/// their modes cannot change any more.
pub(super) async fn set_aside(
    tx: &Tx,
    places: &[Place],
    unbilled: &mut HashMap<WorkspaceId, Vec<Usage>>,
) -> Result<(), StoreError> {
    let accounts: HashMap<&WorkspaceId, &Place> = places.iter().map(|place| (&place.1, place)).collect();
    let aside = split(tx, unbilled).await?.into_iter();
    let aside: Vec<(Place, Usage)> =
        aside.filter_map(|(id, used)| Some(((*accounts.get(&id)?).clone(), used))).collect();
    usage::set_aside(tx, &aside).await
}
