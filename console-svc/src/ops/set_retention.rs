//! Sets how long one item's data is kept (`domain.md` 3.19).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_proto::ids::{ConsoleAccountId, WorkspaceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::access;
use crate::domain::item::Item;
use crate::domain::member::Role;
use crate::domain::retention::Moment;
use crate::domain::site::Sites;
use crate::domain::usage_day::UsageDay;
use crate::domain::workspace::{StandingCopy, Workspace};
use crate::store::retention_drop::{self, DroppedDay};
use crate::store::{self, usage_point};

/// Changes the setting; points that state no retention use it from the next full hour or the next day on.
///
/// Fails with `NOT_OWNER`, `RETENTION_FIXED` and, when it can no longer be used, `WORKSPACE_LOCKED`.
pub async fn run(
    tx: &Tx,
    sites: &Sites,
    workspace: &WorkspaceId,
    acting: &ConsoleAccountId,
    (item, days): (Item, i32),
    now: Timestamp,
) -> Result<(Workspace, StandingCopy), Fault> {
    let (mut workspace, member) = access::as_member_locked(tx, workspace, acting).await?;
    if member.role != Role::Owner {
        return Err(Fault::new(Reason::NotOwner));
    }
    access::usable(tx, &workspace.id).await?;
    let site = sites.get(&workspace.site).ok_or(Fault::new(Reason::SiteNotFound))?;
    let today = UsageDay::of(now, &site.zone);
    let counted_until = usage_point::last_hour(tx, &workspace.id, today, item).await?;
    let moment = Moment { now, zone: &site.zone, counted_until };
    workspace.retention.set(workspace.plan, item, days, &moment)?;
    store::workspace::save(tx, &workspace).await?;
    if item.drops_old_data() {
        let days = [Some(today), today.plus(1).ok()];
        let drops: Vec<DroppedDay> =
            days.into_iter().flatten().flat_map(|day| drops(&workspace, item, day, &site.zone)).collect();
        retention_drop::save(tx, &workspace.id, item, today.number(), &drops).await?;
        // What was counted of the day under the old policy has to be counted under the new one.
        usage_point::remark_from(tx, workspace.id.as_str(), today.number()).await?;
    }
    let standing = store::workspace::standing(tx, &workspace.id).await?;
    Ok((workspace, standing))
}

fn drops(workspace: &Workspace, item: Item, day: UsageDay, zone: &TimeZone) -> Vec<DroppedDay> {
    let dropped = workspace.retention.dropped(day, zone).into_iter().filter(|(dropped, ..)| *dropped == item);
    let drop = |(item, old_days, new_days)| DroppedDay {
        workspace_id: workspace.id.to_string(),
        usage_day: day.number(),
        item,
        old_days,
        new_days,
    };
    dropped.map(drop).collect()
}
