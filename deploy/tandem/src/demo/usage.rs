//! What the demo's workspaces use: the documented day (`domain.md` 4.7) as a file, and smaller days.

use std::fmt::Write as _;

use tandem_proto::console::v1::{RecordUsageRequest, UsagePoint};
use tandem_proto::item::BillingItem;

use super::stage::{Calendar, Stage};
use crate::failure::{Failure, Result};

/// One item's use of a day: how much, kept how long.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// The item.
    pub item: BillingItem,
    /// Days the data is kept; 0 for items that are not priced by it.
    pub retention_days: i32,
    /// Units of the whole day.
    pub units: i64,
}

/// The documented day: 3.60 + 2.40 + 4.00 + 1.40 + 2.00 = 13.40 CNY.
pub const DOCUMENTED_DAY: [Use; 5] = [
    Use { item: BillingItem::TimeSeries, retention_days: 3, units: 6_000 },
    Use { item: BillingItem::LogCount, retention_days: 7, units: 2_000_000 },
    Use { item: BillingItem::ApmTrace, retention_days: 3, units: 2_000_000 },
    Use { item: BillingItem::RumPv, retention_days: 3, units: 20_000 },
    Use { item: BillingItem::Trigger, retention_days: 0, units: 20_000 },
];
/// What the documented day costs, in fen.
pub const DOCUMENTED_PAYABLE: i64 = 1_340;

/// Hours of a day.
const HOURS: i64 = 24;
/// Shuffles 24 places: it has no factor in common with them.
const STRIDE: i64 = 7;

impl Use {
    /// The units that hour `hour` of `hours` reports.
    ///
    /// Most items add their hours up. Time series and collectors report the day's value so far, of which the greatest
    /// counts (`domain.md` 4.5).
    fn in_hour(self, hour: i64, hours: i64) -> i64 {
        if matches!(self.item, BillingItem::TimeSeries | BillingItem::Collector) {
            return self.units * (hour + 1) / hours;
        }
        self.units * (hour + 1) / hours - self.units * hour / hours
    }
}

/// The documented day of a workspace as a CSV file: hours shuffled, every third line twice. Returns the text and how
/// many lines are repeats.
pub fn documented_day_csv(workspace: &str, calendar: &Calendar, day: u32) -> (String, u64) {
    let mut text = "workspace_id,hour,item,measure,retention_days,sub_key,quantity\n".to_owned();
    let mut again = String::new();
    let mut repeats = 0;
    for place in 0..HOURS {
        let hour = place * STRIDE % HOURS;
        for (number, used) in (0_i64..).zip(DOCUMENTED_DAY) {
            let start = calendar.hour(day, u32::try_from(hour).unwrap_or(0));
            let (item, days, units) = (used.item, used.retention_days, used.in_hour(hour, HOURS));
            let line = format!("{workspace},{start},{item},,{days},,{units}\n");
            if (place + number) % 3 == 0 {
                again.push_str(&line);
                repeats += 1;
            }
            text.push_str(&line);
        }
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "{again}");
    (text, repeats)
}

/// Records a workspace's use of some hours of a day, spread evenly.
pub async fn record(
    stage: &Stage,
    workspace: &str,
    calendar: &Calendar,
    day: u32,
    hours: std::ops::Range<u32>,
    uses: &[Use],
) -> Result<()> {
    let count = i64::from(hours.end) - i64::from(hours.start);
    let mut points = Vec::new();
    for (place, hour) in (0_i64..).zip(hours) {
        let start = Some(tandem_service_kit::validate::to_message(calendar.hour(day, hour)));
        points.extend(uses.iter().map(|used| UsagePoint {
            workspace_id: workspace.to_owned(),
            hour_start_time: start,
            item: used.item.to_message().into(),
            measure: 0,
            retention_days: used.retention_days,
            sub_key: String::new(),
            quantity: used.in_hour(place, count),
        }));
    }
    let sent = points.len();
    let request_id = stage.request_id();
    let request = RecordUsageRequest { request_id: request_id.clone(), points };
    let answer = stage.source.usage().record_usage(request).await;
    let answer = answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner();
    match answer.refused.first() {
        None => stage.teller.tell(&format!("{sent} points recorded for {workspace}")),
        Some(refused) => {
            Err(Failure::failed(format!("a point was refused: {} ({})", refused.reason, refused.message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hours_of_every_item_make_its_day() {
        for used in DOCUMENTED_DAY {
            for hours in [1, 7, 10, HOURS] {
                let parts = (0..hours).map(|hour| used.in_hour(hour, hours));
                let day = if used.item == BillingItem::TimeSeries { parts.max() } else { Some(parts.sum()) };
                assert_eq!(day, Some(used.units), "{}", used.item);
            }
        }
    }
}
