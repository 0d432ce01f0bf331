//! Tells a Free workspace's quotas and what is used of them today (`domain.md` 4.8).

use jiff::Timestamp;
use tandem_service_kit::fault::Fault;

use super::{Context, summarise_usage};
use crate::domain::item::Item;
use crate::domain::workspace::{Plan, Workspace};

/// One item's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemQuota {
    /// The item.
    pub item: Item,
    /// Units a day; 0 means not available on Free.
    pub limit: i64,
    /// Units used today; a part of a unit counts as one.
    pub used: i64,
}

/// Every quota of a Free workspace, by item; none on Commercial.
pub async fn run(context: &Context, workspace: &Workspace, now: Timestamp) -> Result<Vec<ItemQuota>, Fault> {
    if workspace.plan == Plan::Commercial {
        return Ok(Vec::new());
    }
    let (_, sums) = summarise_usage::run(context, workspace, now).await?;
    let quota = |item: &Item| {
        let used = sums.get(item).map_or(0, |sums| sums.today.hundredths);
        let used = used / 100 + i64::from(used % 100 > 0);
        Some(ItemQuota { item: *item, limit: item.free_quota()?, used })
    };
    Ok(Item::ALL.iter().filter_map(quota).collect())
}
