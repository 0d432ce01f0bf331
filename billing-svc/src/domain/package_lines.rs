//! What packages put on a bill: lines for what they cover, and prices for what goes beyond them (`domain.md` 2.8, 4.9).

use std::collections::HashMap;

use tandem_proto::day::UsageDay;
use tandem_proto::ids::{PackageId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, LineAmount};

use super::bill::{Line, LineKind, Usage};
use super::package_cover::{Draw, Quotas, UsageKey};
use super::price::Price;

/// What packages make of one workspace's usage; empty without packages.
#[derive(Debug, Clone, Default)]
pub struct Packaged {
    draws: Vec<Draw>,
    beyond: HashMap<(UsageDay, BillingItem, i32), (PackageId, Price)>,
}

impl Packaged {
    /// Takes a workspace's part of what was drawn, and the prices of what it has used beyond.
    pub fn new(quotas: &Quotas, workspace: &WorkspaceId, draws: &[Draw], usage: &[Usage]) -> Packaged {
        let draws = draws.iter().filter(|draw| draw.key.workspace == *workspace).cloned().collect();
        let price = |used: &Usage| {
            let beyond = quotas.beyond(&UsageKey::of(workspace, used))?;
            Some(((used.day, used.item, used.retention_days), (beyond.package, beyond.price)))
        };
        Packaged { draws, beyond: usage.iter().filter_map(price).collect() }
    }

    /// The package and price of usage beyond its quota; `None` when the price list applies.
    pub fn price(&self, used: &Usage) -> Option<&(PackageId, Price)> {
        self.beyond.get(&(used.day, used.item, used.retention_days))
    }

    /// The lines of what is covered, on a bill of a day: its own day first.
    pub fn lines(&self, day: UsageDay, currency: Currency, price_list_version: &str) -> Vec<Line> {
        let mut draws: Vec<&Draw> = self.draws.iter().collect();
        draws.sort_by(|a, b| (a.key.day != day, &a.key).cmp(&(b.key.day != day, &b.key)));
        let line = |draw: &Draw| Line {
            kind: LineKind::AnnualPackage,
            item: Some(draw.key.item),
            retention_days: draw.key.retention_days,
            sub_key: draw.key.sub_key.clone(),
            quantity: draw.covered,
            price: Price { unit_size: draw.key.item.unit_size(), unit_price: LineAmount::zero(currency) },
            amount: LineAmount::zero(currency),
            adjusted_day: (draw.key.day != day).then_some(draw.key.day),
            price_list_version: price_list_version.to_owned(),
            package: Some(draw.package.clone()),
        };
        draws.into_iter().map(line).collect()
    }
}
