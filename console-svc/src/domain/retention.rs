//! How long each item's data is kept: a workspace's settings (`domain.md` 4.9).

use std::collections::BTreeMap;

use super::item::Item;
use super::workspace::Plan;

/// Days that a Free workspace keeps anything (`domain.md` 4.8).
pub const FREE_DAYS: i16 = 7;

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

/// The retention of each item that is priced by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention(BTreeMap<Item, i16>);

impl Retention {
    /// What a new workspace starts with: fixed days on Free, each item's default on Commercial.
    pub fn of_new(plan: Plan) -> Retention {
        let priced = Item::ALL.iter().filter_map(|item| {
            let default = *item.retention_choices().first()?;
            Some((*item, if plan == Plan::Free { FREE_DAYS } else { default }))
        });
        Retention(priced.collect())
    }

    /// The days of an item; 0 when it is not priced by retention.
    pub fn of(&self, item: Item) -> i16 {
        self.0.get(&item).copied().unwrap_or(0)
    }

    /// Changes an item's days.
    pub fn set(&mut self, plan: Plan, item: Item, days: i32) -> Result<(), RetentionError> {
        if plan == Plan::Free {
            return Err(RetentionError::Fixed);
        }
        if !item.by_retention() {
            return Err(RetentionError::NotByRetention);
        }
        let choice = item.retention_choices().iter().find(|choice| i32::from(**choice) == days);
        self.0.insert(item, *choice.ok_or(RetentionError::NoSuchChoice)?);
        Ok(())
    }

    /// Each item and its days, by item.
    pub fn iter(&self) -> impl Iterator<Item = (Item, i16)> + '_ {
        self.0.iter().map(|(item, days)| (*item, *days))
    }

    /// Writes it as a column's text: `1:7,2:14`.
    pub fn to_column(&self) -> String {
        let pairs: Vec<_> = self.iter().map(|(item, days)| format!("{}:{days}", item.number())).collect();
        pairs.join(",")
    }

    /// Reads a column's text; `None` when it was never written so.
    pub fn from_column(text: &str) -> Option<Retention> {
        let pair = |pair: &str| {
            let (item, days) = pair.split_once(':')?;
            Some((Item::from_number(item.parse().ok()?)?, days.parse().ok()?))
        };
        text.split(',').map(pair).collect::<Option<_>>().map(Retention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_their_column() {
        for plan in [Plan::Free, Plan::Commercial] {
            let retention = Retention::of_new(plan);
            assert_eq!(Retention::from_column(&retention.to_column()), Some(retention));
        }
        assert_eq!(Retention::from_column("99:7"), None);
    }

    #[test]
    fn only_the_items_own_choices_are_taken_and_none_on_free() {
        let mut retention = Retention::of_new(Plan::Commercial);
        assert_eq!(retention.of(Item::TimeSeries), 7);
        assert_eq!(retention.set(Plan::Commercial, Item::TimeSeries, 360), Ok(()));
        assert_eq!(retention.of(Item::TimeSeries), 360);
        assert_eq!(retention.set(Plan::Commercial, Item::ApmProfile, 30), Err(RetentionError::NoSuchChoice));
        assert_eq!(retention.set(Plan::Commercial, Item::Sms, 7), Err(RetentionError::NotByRetention));
        assert_eq!(retention.set(Plan::Free, Item::TimeSeries, 7), Err(RetentionError::Fixed));
    }
}
