//! Sums up a workspace's usage: today, yesterday, and the month up to yesterday (`domain.md` 3.20).

use std::collections::BTreeMap;

use jiff::Timestamp;
use tandem_proto::quantity::Quantity;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;

use super::{Context, roll_up};
use crate::domain::item::Item;
use crate::domain::usage_day::{NotADay, UsageDay};
use crate::domain::workspace::Workspace;
use crate::store::usage_total::{self, Scope};

/// One item's usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemSums {
    /// Today so far.
    pub today: Quantity,
    /// Yesterday.
    pub yesterday: Quantity,
    /// The days of this month up to yesterday.
    pub month: Quantity,
}

/// The current day in the site's zone, and what was used of each item.
pub async fn run(
    context: &Context,
    workspace: &Workspace,
    now: Timestamp,
) -> Result<(UsageDay, BTreeMap<Item, ItemSums>), Fault> {
    let site = context.site(&workspace.site)?;
    let today = UsageDay::of(now, &site.zone);
    let yesterday = today.plus(-1).map_err(|NotADay| Fault::new(Reason::Internal))?;
    // What was recorded a moment ago has to be seen (I-36).
    roll_up::all(&context.db, Scope::Workspace(workspace.id.as_str())).await?;
    let days = (yesterday.min(today.month_start()), today);
    let mut items: BTreeMap<Item, ItemSums> = BTreeMap::new();
    for ((day, item), quantity) in usage_total::sums(&context.db.read, workspace.id.as_str(), days).await? {
        let sums = items.entry(item).or_default();
        if day == today.number() {
            sums.today = quantity;
        } else if day >= today.month_start().number() {
            let hundredths = sums.month.hundredths.saturating_add(quantity.hundredths);
            sums.month = Quantity { hundredths };
        }
        if day == yesterday.number() {
            sums.yesterday = quantity;
        }
    }
    Ok((today, items))
}
