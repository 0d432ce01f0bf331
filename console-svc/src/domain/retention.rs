//! How long each item's data is kept: a workspace's settings, and how they change (`domain.md` 3.19, 4.9).
//!
//! A setting holds from an instant on, and an hour's usage keeps the setting that held when the hour began, however late
//! or often it is reported: so a re-delivered hour always replaces itself.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::item::Item;
use super::usage_day::{UsageDay, hour_after, hour_of};
use super::workspace::Plan;

/// Days that a Free workspace keeps anything (`domain.md` 4.8).
pub const FREE_DAYS: i16 = 7;
/// How long before an hour a change is made at the latest to hold for it: longer than a point is on its way from being
/// judged to being written, so that none is judged by the old setting for an hour of the new one.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// How long a change is remembered after it came to hold; far longer than days stay open for late points (D13).
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * 40);

/// Why a retention is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// On Free it is fixed.
    #[error("the retention of a Free workspace is fixed")]
    Fixed,
    /// The item's price does not depend on it.
    #[error("the item is not priced by retention")]
    NotByRetention,
    /// The item has no such choice.
    #[error("the item has no such retention")]
    NoSuchChoice,
}

/// A change of an item's setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    item: Item,
    /// First instant it holds at: the start of an hour or of a day.
    from: Timestamp,
    days: i16,
    made_at: Timestamp,
}

/// What a change has to know of its moment.
#[derive(Debug, Clone)]
pub struct Moment<'a> {
    /// Now.
    pub now: Timestamp,
    /// The site's zone, whose midnight begins a day.
    pub zone: &'a TimeZone,
    /// The latest hour of the item that has been counted already, in today or later.
    pub counted_until: Option<Timestamp>,
}

/// The retention of each item that is priced by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    base: BTreeMap<Item, i16>,
    /// By item and time.
    changes: Vec<Change>,
}

impl Retention {
    /// What a new workspace starts with: fixed days on Free, each item's default on Commercial.
    pub fn of_new(plan: Plan) -> Retention {
        let priced = Item::ALL.iter().filter_map(|item| {
            let default = *item.retention_choices().first()?;
            Some((*item, if plan == Plan::Free { FREE_DAYS } else { default }))
        });
        Retention { base: priced.collect(), changes: Vec::new() }
    }

    /// The days of an item at an instant; 0 when it is not priced by retention.
    pub fn of(&self, item: Item, at: Timestamp) -> i16 {
        let base = self.base.get(&item).copied().unwrap_or(0);
        self.of_item(item).filter(|change| change.from <= at).last().map_or(base, |change| change.days)
    }

    /// The days that a point counts by: those of its hour or, for an item whose old data is dropped by a change, those
    /// that hold when its day ends.
    pub fn of_point(&self, item: Item, hour: Timestamp, day: UsageDay, zone: &TimeZone) -> i16 {
        if self.changes.is_empty() || !item.drops_old_data() {
            return self.of(item, hour);
        }
        self.of(item, last_instant(day, zone))
    }

    /// The settings that a day began with and that were replaced on it, for items whose old data is dropped by a change:
    /// item, old days, and the days that the whole day counts by.
    pub fn dropped(&self, day: UsageDay, zone: &TimeZone) -> Vec<(Item, i16, i16)> {
        let Ok(start) = day.start(zone) else { return Vec::new() };
        let items = Item::ALL.iter().filter(|item| item.drops_old_data());
        let replaced =
            items.map(|item| (*item, self.of(*item, start), self.of(*item, last_instant(day, zone))));
        replaced.filter(|(_, old, new)| old != new).collect()
    }

    /// The change of an item that waits for its time: its days, and when it begins to hold.
    pub fn next(&self, item: Item, now: Timestamp) -> Option<(i16, Timestamp)> {
        self.of_item(item).find(|change| change.from > now).map(|change| (change.days, change.from))
    }

    /// Changes an item's days: the first change of a day holds from the next full hour on, further ones from the next
    /// day on, where the last one counts.
    pub fn set(
        &mut self,
        plan: Plan,
        item: Item,
        days: i32,
        moment: &Moment<'_>,
    ) -> Result<(), RetentionError> {
        if plan == Plan::Free {
            return Err(RetentionError::Fixed);
        }
        if !item.by_retention() {
            return Err(RetentionError::NotByRetention);
        }
        let choice = item.retention_choices().iter().find(|choice| i32::from(**choice) == days);
        let days = *choice.ok_or(RetentionError::NoSuchChoice)?;
        let Moment { now, zone, counted_until } = moment;
        let (now, today) = (*now, UsageDay::of(*now, zone));
        self.forget(now);
        let tomorrow = today.end(zone).unwrap_or(Timestamp::MAX);
        let made_today = |change: &Change| UsageDay::of(change.made_at, zone) == today;
        let is_first = !self.of_item(item).any(made_today);
        let uncounted = counted_until.map_or(now, |counted| hour_after(counted, zone));
        let soonest = hour_from(uncounted.max(now.saturating_add(MARGIN).unwrap_or(now)), zone);
        let from = if is_first { soonest } else { soonest.max(tomorrow) };
        // What was to hold from then on, and has not begun, makes room for this.
        let replaced = |change: &Change| change.item == item && change.from >= from.min(tomorrow);
        self.changes.retain(|change| !replaced(change));
        if days != self.of(item, from) {
            self.changes.push(Change { item, from, days, made_at: now });
            self.changes.sort();
        }
        Ok(())
    }

    /// Each item and its days at an instant, by item.
    pub fn iter(&self, at: Timestamp) -> impl Iterator<Item = (Item, i16)> + '_ {
        self.base.keys().map(move |item| (*item, self.of(*item, at)))
    }

    /// Writes the settings that hold since long as a column's text: `1:7,2:14`.
    pub fn base_column(&self) -> String {
        let pairs: Vec<_> =
            self.base.iter().map(|(item, days)| format!("{}:{days}", item.number())).collect();
        pairs.join(",")
    }

    /// Writes the later changes as a column's text: item, microseconds, days and when it was made, `1:…:14:…`.
    pub fn changes_column(&self) -> String {
        let change = |c: &Change| {
            let (from, made_at) = (c.from.as_microsecond(), c.made_at.as_microsecond());
            format!("{}:{from}:{}:{made_at}", c.item.number(), c.days)
        };
        self.changes.iter().map(change).collect::<Vec<_>>().join(",")
    }

    /// Reads both columns' texts; `None` when they were never written so.
    pub fn from_columns(base: &str, changes: &str) -> Option<Retention> {
        let pair = |pair: &str| {
            let (item, days) = pair.split_once(':')?;
            Some((Item::from_number(item.parse().ok()?)?, days.parse().ok()?))
        };
        let base = base.split(',').map(pair).collect::<Option<_>>()?;
        let change = |text: &str| {
            let parts: Vec<&str> = text.split(':').collect();
            let [item, from, days, made_at] = parts.as_slice() else { return None };
            Some(Change {
                item: Item::from_number(item.parse().ok()?)?,
                from: Timestamp::from_microsecond(from.parse().ok()?).ok()?,
                days: days.parse().ok()?,
                made_at: Timestamp::from_microsecond(made_at.parse().ok()?).ok()?,
            })
        };
        let changes = changes.split(',').filter(|text| !text.is_empty());
        Some(Retention { base, changes: changes.map(change).collect::<Option<_>>()? })
    }

    fn of_item(&self, item: Item) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.item == item)
    }

    /// Takes changes that hold since long into the base.
    fn forget(&mut self, now: Timestamp) {
        let old = |change: &Change| change.from.saturating_add(REMEMBERED).is_ok_and(|end| end < now);
        for change in self.changes.iter().filter(|change| old(change)) {
            self.base.insert(change.item, change.days);
        }
        self.changes.retain(|change| !old(change));
    }
}

/// The last microsecond of a day.
fn last_instant(day: UsageDay, zone: &TimeZone) -> Timestamp {
    let end = day.end(zone).unwrap_or(Timestamp::MAX);
    end.checked_sub(SignedDuration::from_micros(1)).unwrap_or(end)
}

/// The first start of an hour at or after an instant.
fn hour_from(at: Timestamp, zone: &TimeZone) -> Timestamp {
    if hour_of(at, zone) == at { at } else { hour_after(at, zone) }
}

#[cfg(test)]
mod tests;
