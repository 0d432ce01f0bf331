//! Takes over what the Console counted (`design.md` 5.2).

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::WorkspaceId;
use tandem_proto::item::PricingModel;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::store::usage::{self, Delivered};

/// Usage changes for this many days after its own (D13); later it is final.
pub const LATE_DAYS: i32 = 3;

/// A quantity that was refused: its place in the delivery, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// From 0.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// Takes quantities over; of each key the greatest revision stays. Good ones count even if others are refused.
pub async fn deliver_usage(tx: &Tx, usage: &[Delivered], now: Timestamp) -> Result<Vec<Refused>, Fault> {
    let workspaces: HashSet<&WorkspaceId> = usage.iter().map(|d| &d.workspace).collect();
    let workspaces: Vec<WorkspaceId> = workspaces.into_iter().cloned().collect();
    let places = usage::accounts_of(tx, &workspaces).await?;
    let mut first_open: HashMap<&str, UsageDay> = HashMap::new();
    let (mut refused, mut taken) = (Vec::new(), Vec::new());
    for (index, delivered) in usage.iter().enumerate() {
        let Some((account, zone_name)) = places.get(&delivered.workspace) else {
            refused.push(Refused { index, reason: Reason::WorkspaceNotBound });
            continue;
        };
        let first = match first_open.get(zone_name.as_str()) {
            Some(first) => *first,
            None => {
                let first = first_open_day(zone_name, now)?;
                first_open.insert(zone_name, first);
                first
            }
        };
        if delivered.day < first {
            refused.push(Refused { index, reason: Reason::DayTooOld });
        } else if delivered.item.pricing_model() != PricingModel::StatisticsOnly {
            taken.push((account.clone(), delivered));
        }
    }
    usage::take(tx, &taken).await?;
    Ok(refused)
}

/// The first day whose usage may still change: [`LATE_DAYS`] before today in the zone.
fn first_open_day(zone_name: &str, now: Timestamp) -> Result<UsageDay, Fault> {
    let zone =
        zone(zone_name).ok_or(Fault::field("time_zone", "must be an IANA zone such as Asia/Shanghai"))?;
    let mut day = UsageDay::of(now, &zone);
    for _ in 0..=LATE_DAYS {
        day = day.previous();
    }
    Ok(day)
}
