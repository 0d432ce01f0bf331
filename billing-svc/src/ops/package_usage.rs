//! What bills have drawn of an account's quotas of a usage day, and what went beyond them.

use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{LineAmount, MoneyError};
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Database, StoreError};
use tandem_service_kit::fault::Fault;

use crate::domain::package::{Package, PackageKind};
use crate::domain::package_cover::Quotas;
use crate::store::package_catalogue::CURRENCY;
use crate::store::package_use::{self, Use};
use crate::store::{account, package};

/// An account's usage day.
#[derive(Debug)]
pub struct DayUsage {
    /// The packages of the day, in the order they are used.
    pub packages: Vec<PackageUsage>,
    /// One day's share in the prices of the annual packages.
    pub annual_day_price: LineAmount,
    /// One day's share in the prices of the traffic packages.
    pub traffic_day_price: LineAmount,
    /// What bills charge beyond all quotas.
    pub excess: LineAmount,
    /// The excess and the traffic packages' share.
    pub beyond_annual: LineAmount,
}

/// A package's usage day.
#[derive(Debug)]
pub struct PackageUsage {
    /// The package.
    pub package: Package,
    /// What was drawn of each item, by whom, in the package's order.
    pub items: Vec<ItemUsage>,
}

/// An item of a package's usage day.
#[derive(Debug)]
pub struct ItemUsage {
    /// The item.
    pub item: BillingItem,
    /// The day's quota.
    pub quota: Quantity,
    /// What was drawn of it.
    pub drawn: Quantity,
    /// By whom; those that drew nothing are left out.
    pub workspaces: Vec<(WorkspaceId, Quantity)>,
}

/// Reads a usage day. Fails with `OBJECT_NOT_FOUND` for an unknown account.
pub async fn package_usage(db: &Database, id: &BillingAccountId, day: UsageDay) -> Result<DayUsage, Fault> {
    // Quotas and what is drawn of them belong to one moment.
    let db = db.snapshot().await?;
    account::find(&db, id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let held = package::lasting(&db, std::slice::from_ref(id), day).await?.remove(id).unwrap_or_default();
    let uses = package_use::of_days(&db, &[(id.clone(), day)]).await?.remove(&(id.clone(), day));
    let quotas = Quotas::new(held.into_iter().filter(|package| package.runs_on(day)).collect());
    sum(&quotas, &uses.unwrap_or_default())
        .map_err(|_| StoreError::Corrupt { table: "package_use", column: "excess" }.into())
}

fn sum(quotas: &Quotas, uses: &[Use]) -> Result<DayUsage, MoneyError> {
    let (mut annual, mut traffic, mut excess) =
        (LineAmount::zero(CURRENCY), LineAmount::zero(CURRENCY), LineAmount::zero(CURRENCY));
    for package in quotas.packages() {
        let share = match package.kind {
            PackageKind::Annual => &mut annual,
            PackageKind::Traffic => &mut traffic,
        };
        *share = share.checked_add(package.day_price())?;
    }
    for used in uses.iter().filter(|used| used.excess != Quantity::ZERO) {
        let Some(beyond) = quotas.beyond(&used.key) else { continue };
        let price = beyond.price;
        excess = excess.checked_add(LineAmount::of(used.excess, price.unit_size, price.unit_price)?)?;
    }
    let packages = quotas.packages().iter().map(|package| of_package(package, uses)).collect();
    let beyond_annual = traffic.checked_add(excess)?;
    Ok(DayUsage { packages, annual_day_price: annual, traffic_day_price: traffic, excess, beyond_annual })
}

fn of_package(package: &Package, uses: &[Use]) -> PackageUsage {
    let items = package.items.iter().map(|content| {
        let drawn = |workspace: &WorkspaceId| {
            let mine = uses.iter().filter(|used| {
                used.package == package.id
                    && used.key.item == content.item
                    && used.key.workspace == *workspace
            });
            let hundredths = mine.map(|used| used.covered.hundredths.saturating_mul(used.factor)).sum();
            (workspace.clone(), Quantity { hundredths })
        };
        let workspaces: Vec<_> =
            package.workspaces.iter().map(drawn).filter(|(_, drawn)| *drawn != Quantity::ZERO).collect();
        let hundredths = workspaces.iter().map(|(_, drawn)| drawn.hundredths).sum();
        ItemUsage { item: content.item, quota: content.quota, drawn: Quantity { hundredths }, workspaces }
    });
    PackageUsage { items: items.collect(), package: package.clone() }
}
