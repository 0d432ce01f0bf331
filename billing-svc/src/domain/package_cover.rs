//! How packages cover usage: quotas of a usage day, drawn in order (`domain.md` 3.18, 4.9).
//!
//! A usage day's quota is drawn in the order in which bills take the day's usage, because an issued bill never changes
//! (I-11): what is drawn stays drawn, and whoever comes later (a site whose day ends later, late usage) draws on what is
//! left. Usage that is rated together is covered in this order:
//!
//! 1. Corrections downwards first. They take back what was charged beyond the quota, then give quota back, to the
//!    package used last first, so that what follows can use it.
//! 2. Package by package in the order of [`Package::order`], in each workspace by workspace as the package lists them,
//!    in each workspace by day, item, retention and sub key.
//!
//! A unit takes as much quota as its retention's factor says; quota too small for a hundredth of a unit stays. What no
//! quota is left for costs the price of the first package in order, at its default retention, times the factor.

use std::collections::HashMap;

use tandem_proto::day::UsageDay;
use tandem_proto::ids::{PackageId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::quantity::Quantity;

use super::bill::Usage;
use super::package::{Package, PackageItem};
use super::price::Price;

#[cfg(test)]
mod tests;

/// A quantity of usage, by what names it inside an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The day.
    pub day: UsageDay,
    /// The item.
    pub item: BillingItem,
    /// 0 for items that are not priced by retention.
    pub retention_days: i32,
    /// May be empty.
    pub sub_key: String,
}

impl UsageKey {
    /// The key of a workspace's usage.
    pub fn of(workspace: &WorkspaceId, used: &Usage) -> UsageKey {
        UsageKey {
            workspace: workspace.clone(),
            day: used.day,
            item: used.item,
            retention_days: used.retention_days,
            sub_key: used.sub_key.clone(),
        }
    }
}

/// A part of a usage that a package covers now, or no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// Of which usage.
    pub key: UsageKey,
    /// The package.
    pub package: PackageId,
    /// How much of the usage; negative when quota is given back.
    pub covered: Quantity,
    /// How much quota a unit takes.
    pub factor: i64,
}

/// What a unit beyond all quotas costs, and by which package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// The package whose price it is.
    pub package: PackageId,
    /// How much quota a unit would have taken.
    pub factor: i64,
    /// The price at the usage's own retention.
    pub price: Price,
}

/// A workspace's usage that is to be covered; the covered part counts as billed afterwards.
#[derive(Debug)]
pub struct Covering<'a> {
    /// The workspace.
    pub workspace: &'a WorkspaceId,
    /// Its usage.
    pub usage: &'a mut [Usage],
}

/// An account's packages and what is drawn of them.
#[derive(Debug, Clone, Default)]
pub struct Quotas {
    packages: Vec<Package>,
    /// Hundredths of quota, by package, day and item.
    drawn: HashMap<(PackageId, UsageDay, BillingItem), i64>,
    /// Hundredths of each usage, by package.
    covered: HashMap<UsageKey, Vec<(PackageId, i64)>>,
}

impl Quotas {
    /// Starts with packages of one account and nothing drawn.
    pub fn new(mut packages: Vec<Package>) -> Quotas {
        packages.sort_by(|a, b| a.order().cmp(&b.order()));
        Quotas { packages, ..Quotas::default() }
    }

    /// The packages, in the order they are used.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// What is drawn of a package's quota, in hundredths of quota.
    pub fn drawn(&self, package: &PackageId, day: UsageDay, item: BillingItem) -> i64 {
        self.drawn.get(&(package.clone(), day, item)).copied().unwrap_or_default()
    }

    /// What packages cover of a usage.
    pub fn covered(&self, key: &UsageKey) -> Quantity {
        let parts = self.covered.get(key).map(Vec::as_slice).unwrap_or_default();
        Quantity { hundredths: parts.iter().map(|(_, hundredths)| hundredths).sum() }
    }

    /// What one package covers of a usage.
    pub fn covered_by(&self, key: &UsageKey, package: &PackageId) -> Quantity {
        let parts = self.covered.get(key).map(Vec::as_slice).unwrap_or_default();
        let part = parts.iter().find(|(id, _)| id == package);
        Quantity { hundredths: part.map_or(0, |(_, hundredths)| *hundredths) }
    }

    /// Notes something that was drawn before.
    pub fn note(&mut self, draw: &Draw) {
        let hundredths = draw.covered.hundredths;
        let place = (draw.package.clone(), draw.key.day, draw.key.item);
        let drawn = self.drawn.entry(place).or_default();
        *drawn = drawn.saturating_add(hundredths.saturating_mul(draw.factor));
        let parts = self.covered.entry(draw.key.clone()).or_default();
        match parts.iter_mut().find(|(package, _)| *package == draw.package) {
            Some((_, covered)) => *covered = covered.saturating_add(hundredths),
            None => parts.push((draw.package.clone(), hundredths)),
        }
    }

    /// The packages that are for a usage, in order, with what they contain of its item and the factor of its retention.
    fn of(&self, key: &UsageKey) -> impl Iterator<Item = (&Package, &PackageItem, i64)> {
        let runs = self.packages.iter().filter(|package| package.runs_on(key.day));
        let mine = runs.filter(|package| package.workspaces.contains(&key.workspace));
        mine.filter_map(|package| {
            let item = package.item(key.item)?;
            Some((package, item, item.factors.of(key.retention_days)?))
        })
    }

    /// What a usage costs beyond all quotas; `None` when no package is for it.
    pub fn beyond(&self, key: &UsageKey) -> Option<Beyond> {
        let (package, item, factor) = self.of(key).next()?;
        Some(Beyond { package: package.id.clone(), factor, price: item.price_at(key.retention_days)? })
    }

    /// The package that covers a usage next: the first with quota left, enough for a hundredth of a unit.
    pub fn first_left(&self, key: &UsageKey) -> Option<&PackageId> {
        let left = |(package, item, factor): &(&Package, &PackageItem, i64)| {
            item.quota.hundredths.saturating_sub(self.drawn(&package.id, key.day, key.item)) >= *factor
        };
        self.of(key).find(left).map(|(package, ..)| &package.id)
    }

    /// Whether any quota is left for a usage.
    pub fn has_left(&self, key: &UsageKey) -> bool {
        self.first_left(key).is_some()
    }

    /// Covers usage that is rated together; returns what was drawn, in order.
    ///
    /// Invariant: no package's day is drawn beyond its quota or below zero, and each usage's `billed` grows by exactly
    /// what is returned of it, never past its quantity.
    pub fn cover(&mut self, workspaces: &mut [Covering<'_>]) -> Vec<Draw> {
        let mut draws = Vec::new();
        for w in workspaces.iter_mut() {
            w.usage.sort_by(|a, b| {
                (a.day, a.item, a.retention_days, &a.sub_key).cmp(&(
                    b.day,
                    b.item,
                    b.retention_days,
                    &b.sub_key,
                ))
            });
            for used in w.usage.iter_mut().filter(|used| used.quantity < used.billed) {
                self.give_back(w.workspace, used, &mut draws);
            }
        }
        for index in 0..self.packages.len() {
            let order: Vec<WorkspaceId> = self.packages[index].workspaces.clone();
            for workspace in &order {
                for w in workspaces.iter_mut().filter(|w| w.workspace == workspace) {
                    for used in w.usage.iter_mut().filter(|used| used.quantity > used.billed) {
                        self.draw(index, workspace, used, &mut draws);
                    }
                }
            }
        }
        draws
    }

    fn give_back(&mut self, workspace: &WorkspaceId, used: &mut Usage, draws: &mut Vec<Draw>) {
        let key = UsageKey::of(workspace, used);
        let covered = self.covered(&key).hundredths;
        // What is charged beyond the quota goes first, on the next bill that is positive.
        let charged = used.billed.hundredths.saturating_sub(covered).max(0);
        let mut back =
            used.billed.hundredths.saturating_sub(used.quantity.hundredths).saturating_sub(charged);
        let mut given: Vec<Draw> = Vec::new();
        for package in self.packages.iter().rev() {
            let parts = self.covered.get(&key).map(Vec::as_slice).unwrap_or_default();
            let part = parts.iter().find(|(id, _)| *id == package.id).map_or(0, |(_, covered)| *covered);
            let now = part.min(back);
            let factor = package.item(key.item).and_then(|item| item.factors.of(key.retention_days));
            let Some(factor) = factor.filter(|_| now > 0) else { continue };
            back -= now;
            let (package, covered) = (package.id.clone(), Quantity { hundredths: -now });
            given.push(Draw { key: key.clone(), package, covered, factor });
        }
        self.take(used, given, draws);
    }

    fn draw(&mut self, index: usize, workspace: &WorkspaceId, used: &mut Usage, draws: &mut Vec<Draw>) {
        let package = &self.packages[index];
        if !package.runs_on(used.day) {
            return;
        }
        let Some(item) = package.item(used.item) else { return };
        let Some(factor) = item.factors.of(used.retention_days) else { return };
        let left = item.quota.hundredths.saturating_sub(self.drawn(&package.id, used.day, used.item)).max(0);
        let open = used.quantity.hundredths.saturating_sub(used.billed.hundredths);
        let covered = open.min(left / factor);
        if covered <= 0 {
            return;
        }
        let key = UsageKey::of(workspace, used);
        let package = package.id.clone();
        let draw = Draw { key, package, covered: Quantity { hundredths: covered }, factor };
        self.take(used, vec![draw], draws);
    }

    fn take(&mut self, used: &mut Usage, new: Vec<Draw>, draws: &mut Vec<Draw>) {
        for draw in new {
            used.billed.hundredths = used.billed.hundredths.saturating_add(draw.covered.hundredths);
            self.note(&draw);
            draws.push(draw);
        }
    }
}
