//! The usage both sides write: every hour each workspace reports some series, so that a batch of a thousand points
//! holds one hour of a few workspaces, sorted by key, and lands all over the table as it does in service.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tandem_proto::console::v1::{RecordUsageRequest, RecordUsageStreamRequest, UsagePoint};
use tandem_proto::day::UsageDay;
use tandem_service_kit::fresh::fresh_uuid;

/// Points in a batch, as the floors are stated for.
pub(crate) const BATCH: usize = 1_000;
/// Numbers of the items that workspaces report, each with a retention it may have; 0 where it has none.
const ITEMS: [(i32, i32); 6] = [(1, 14), (2, 14), (7, 14), (9, 14), (11, 0), (12, 0)];
/// Log indexes, services or rules of each item.
const SUB_KEYS: usize = 12;
/// Hours that fit between the oldest day that is open and the clock, see `console.rs`.
const HOURS: usize = 88;

/// Points, and the same as columns for a plain statement.
#[derive(Clone)]
pub(crate) struct Batch {
    points: Vec<UsagePoint>,
    /// The columns of the table, in its order.
    pub(crate) columns: Columns,
}

/// A batch column by column.
#[derive(Clone, Default)]
pub(crate) struct Columns {
    pub(crate) workspace_id: Vec<String>,
    pub(crate) usage_day: Vec<i32>,
    pub(crate) item: Vec<i32>,
    pub(crate) retention_days: Vec<i32>,
    pub(crate) sub_key: Vec<String>,
    pub(crate) measure: Vec<i32>,
    pub(crate) hour_start: Vec<i64>,
    pub(crate) quantity: Vec<i64>,
    pub(crate) place: Vec<i32>,
}

impl Batch {
    /// A call with a new request id.
    pub(crate) fn request(&self) -> RecordUsageRequest {
        RecordUsageRequest { request_id: fresh_uuid().to_string(), points: self.points.clone() }
    }

    /// A message of a stream with a new request id.
    pub(crate) fn message(&self) -> RecordUsageStreamRequest {
        RecordUsageStreamRequest { request_id: fresh_uuid().to_string(), points: self.points.clone() }
    }

    fn push(&mut self, point: UsagePoint, hour: Timestamp, zone: &TimeZone) {
        let columns = &mut self.columns;
        columns.workspace_id.push(point.workspace_id.clone());
        columns.usage_day.push(UsageDay::of(hour, zone).number());
        columns.item.push(point.item);
        columns.retention_days.push(point.retention_days);
        columns.sub_key.push(point.sub_key.clone());
        columns.measure.push(point.measure);
        columns.hour_start.push(hour.as_microsecond());
        columns.quantity.push(point.quantity);
        columns.place.push(i32::try_from(self.points.len()).unwrap_or(i32::MAX));
        self.points.push(point);
    }
}

/// Makes points that were never made before.
pub(crate) struct Source {
    workspaces: Vec<String>,
    first_hour: Timestamp,
    zone: TimeZone,
    next: usize,
}

impl Source {
    /// Starts at an hour, for workspaces sorted by id.
    pub(crate) fn new(workspaces: Vec<String>, first_hour: Timestamp, zone: TimeZone) -> Source {
        Source { workspaces, first_hour, zone, next: 0 }
    }

    /// The next batches.
    ///
    /// Fails when the hours are used up: the rounds are too many for the workspaces.
    pub(crate) fn batches(&mut self, count: usize) -> anyhow::Result<Vec<Batch>> {
        (0..count).map(|_| self.batch()).collect()
    }

    fn batch(&mut self) -> anyhow::Result<Batch> {
        let mut batch = Batch { points: Vec::with_capacity(BATCH), columns: Columns::default() };
        for _ in 0..BATCH {
            let (point, hour) = self.point(self.next)?;
            batch.push(point, hour, &self.zone);
            self.next += 1;
        }
        Ok(batch)
    }

    fn point(&self, number: usize) -> anyhow::Result<(UsagePoint, Timestamp)> {
        let (rest, sub_key) = (number / SUB_KEYS, number % SUB_KEYS);
        let (rest, item) = (rest / ITEMS.len(), rest % ITEMS.len());
        let (hour, workspace) = (rest / self.workspaces.len().max(1), rest % self.workspaces.len().max(1));
        anyhow::ensure!(hour < HOURS, "there are no more hours to report: fewer rounds or more workspaces");
        let hour = self.first_hour.checked_add(SignedDuration::from_hours(i64::try_from(hour)?))?;
        let (item, retention_days) = ITEMS.get(item).copied().unwrap_or_default();
        let point = UsagePoint {
            workspace_id: self.workspaces.get(workspace).cloned().unwrap_or_default(),
            hour_start_time: Some(prost_types::Timestamp { seconds: hour.as_second(), nanos: 0 }),
            item,
            measure: 0,
            retention_days,
            sub_key: format!("index-{sub_key:02}"),
            quantity: i64::try_from(number.wrapping_mul(7_919) % 1_000_003)?,
        };
        Ok((point, hour))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn batches_hold_new_points_in_the_order_of_their_key() {
        let workspaces = (10..30).map(|n| format!("wks_{n}")).collect();
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let mut source = Source::new(workspaces, "2026-03-09T16:00:00Z".parse().unwrap(), zone);
        let mut seen = HashSet::new();
        for batch in source.batches(20).unwrap() {
            assert_eq!(batch.points.len(), BATCH);
            let c = &batch.columns;
            for n in 0..BATCH {
                assert_eq!(c.usage_day[n], 20_260_310);
                seen.insert((c.workspace_id[n].clone(), c.item[n], c.sub_key[n].clone(), c.hour_start[n]));
            }
            let turns = c.workspace_id.windows(2).filter(|pair| pair[0] > pair[1]).count();
            assert!(turns <= 1, "only a new hour starts over");
        }
        assert_eq!(seen.len(), 20 * BATCH);
        assert!(source.batches(200).is_err());
    }
}
