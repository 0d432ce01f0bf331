//! Buys packages and upgrades them, as acts on a wallet (`domain.md` 3.18, 4.9).

use std::collections::HashMap;

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{PackageId, PackageOrderId, WorkspaceId};
use tandem_proto::money::Money;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::{SettlementMethod, WorkspaceStanding};
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::outbox;

use super::package_order::{Fresh, annual_offer, choose, overflow, restricted};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::ledger::{Account, Cause, CauseKind, Transfer};
use crate::domain::package::{self as rules, FULL_PERCENT, Package, PackageKind};
use crate::domain::package_offer::{Catalogue, Sized};
use crate::domain::wallet::{BILLING_CENTER, Due, Part, Purchase, Wallet};
use crate::domain::{card, deduction};
use crate::mail::{self, Letter, PackageFacts};
use crate::store::package::{self, Place};
use crate::store::package_catalogue::{CURRENCY, shipped};

/// Most packages of an account that last at once: all of them are looked at for each of its bills.
const PACKAGES_MAX: usize = 200;
/// How far ahead a package may begin: further than a renewal of one that was bought today.
const AHEAD_DAYS: i32 = 400;

/// A traffic package in an order.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// The offer's code.
    pub offer: String,
    /// How many times the base size; above zero.
    pub multiple: i64,
    /// What was agreed of the price, 1 to 100.
    pub percent: i32,
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub enum PackageAct {
    /// Buy packages.
    Order {
        /// The annual package's code.
        annual: Option<String>,
        /// Traffic packages.
        traffic: Vec<Traffic>,
        /// Whom for, different ones; the first uses the quota first.
        workspaces: Vec<WorkspaceId>,
        /// The first day; `None` for the first that is possible.
        start_day: Option<UsageDay>,
    },
    /// Replace an annual package by a larger one.
    Upgrade {
        /// The package.
        package: PackageId,
        /// The larger one's code.
        offer: String,
    },
}

/// What was bought.
#[derive(Debug, Clone)]
pub struct Ordered {
    /// The order.
    pub order: PackageOrderId,
    /// The packages.
    pub packages: Vec<Package>,
    /// What was charged for all of them.
    pub charged: Money,
    /// What paid.
    pub parts: Vec<Part>,
    /// When.
    pub at: Timestamp,
}

/// What package acts are decided by, and what they leave to be written.
#[derive(Default)]
pub(super) struct Shelf {
    places: HashMap<WorkspaceId, Place>,
    /// The account's packages that last; those of this transaction included.
    packages: Vec<Package>,
    new: Vec<Package>,
    replaced: Vec<Package>,
    letters: Vec<(Letter, String)>,
}

/// Reads what acts are decided by; nothing when there are none. The account must be locked.
pub(super) async fn open(
    tx: &Tx,
    payer: &BillingAccount,
    acts: &[&PackageAct],
    now: Timestamp,
) -> Result<Shelf, StoreError> {
    if acts.is_empty() {
        return Ok(Shelf::default());
    }
    // A day back, because a zone may be behind the account's.
    let from = card::today(payer.region, now).previous();
    let mut held = package::lasting(tx, std::slice::from_ref(&payer.id), from).await?;
    let packages = held.remove(&payer.id).unwrap_or_default();
    let mut wanted: Vec<WorkspaceId> = Vec::new();
    for act in acts {
        match act {
            PackageAct::Order { workspaces, .. } => wanted.extend(workspaces.iter().cloned()),
            PackageAct::Upgrade { package, .. } => {
                let found = packages.iter().filter(|held| held.id == *package);
                wanted.extend(found.flat_map(|held| held.workspaces.iter().cloned()));
            }
        }
    }
    wanted.sort();
    wanted.dedup();
    let places = package::places(tx, &payer.id, &wanted).await?;
    Ok(Shelf { places, packages, ..Shelf::default() })
}

/// Writes what the acts left.
pub(super) async fn close(
    tx: &Tx,
    ctx: &Context,
    payer: &BillingAccount,
    shelf: Shelf,
    now: Timestamp,
) -> Result<(), Fault> {
    // An upgrade may replace a package of the same transaction, so new ones come first.
    package::insert(tx, &shelf.new).await?;
    for package in &shelf.replaced {
        package::replace(tx, package).await?;
    }
    let mails = shelf.letters.iter().map(|(letter, key)| {
        mail::outgoing(&ctx.letterhead, letter, &payer.email, payer.language, payer.id.as_str(), key)
    });
    let mails: Vec<_> = mails.collect();
    outbox::add(tx, &mails, now).await?;
    Ok(())
}

impl Shelf {
    /// Makes an act; a refused one changes neither wallet nor shelf.
    pub(super) fn act(
        &mut self,
        payer: &BillingAccount,
        wallet: &mut Wallet,
        act: &PackageAct,
        now: Timestamp,
    ) -> Result<(Ordered, Option<Transfer>), Fault> {
        if payer.currency != CURRENCY {
            return Err(Fault::new(Reason::CurrencyMismatch).with("currency", CURRENCY.code()));
        }
        let catalogue = shipped().map_err(|error| {
            tracing::error!(error = %error, "{error}");
            Fault::new(Reason::Internal)
        })?;
        let today = card::today(payer.region, now);
        let (packages, restricted, replaced) = match act {
            PackageAct::Order { annual, traffic, workspaces, start_day } => {
                let first_day = self.first_day(workspaces, *start_day, today)?;
                let chosen = choose(catalogue, annual.as_deref(), traffic)?;
                if self.packages.len() + chosen.len() > PACKAGES_MAX {
                    let most = format!("has too many entries: {PACKAGES_MAX} packages may last at once");
                    return Err(Fault::field("traffic", most));
                }
                if annual.is_none() {
                    self.on_top(workspaces, first_day)?;
                }
                let restricted = restricted(&chosen)?;
                let new = Fresh { payer, workspaces, first_day, now };
                let order = fresh();
                (chosen.into_iter().map(|line| new.package(&order, line)).collect(), restricted, None)
            }
            PackageAct::Upgrade { package, offer } => {
                let (old, new) = self.upgrade(catalogue, package, offer, today, now)?;
                (vec![new], 0, Some(old))
            }
        };
        let (ordered, transfer) = pay(wallet, packages, restricted, today, now)?;
        self.keep(&ordered, replaced);
        Ok((ordered, transfer))
    }

    /// The first day of packages for workspaces: from today on, and neither closed nor billed for any of them, so that
    /// the price of what is on bills never changes.
    fn first_day(
        &self,
        workspaces: &[WorkspaceId],
        wanted: Option<UsageDay>,
        today: UsageDay,
    ) -> Result<UsageDay, Fault> {
        let mut earliest = today;
        for (index, id) in workspaces.iter().enumerate() {
            let refused = |reason: Reason| Fault::new(reason).with("workspace_id", id.as_str());
            let place = self.places.get(id);
            let place =
                place.ok_or_else(|| refused(Reason::WorkspaceNotBound).with("index", index.to_string()))?;
            match place.standing {
                WorkspaceStanding::Active | WorkspaceStanding::LockCountdown => {}
                WorkspaceStanding::Locked => return Err(refused(Reason::WorkspaceLocked)),
                WorkspaceStanding::Dissolved => return Err(refused(Reason::WorkspaceDissolved)),
            }
            if place.method != SettlementMethod::BillingCenter {
                return Err(refused(Reason::PackageNeedsBillingCenter));
            }
            earliest = earliest.max(place.settled_day.map_or(today, UsageDay::next));
        }
        let latest = today.plus_days(AHEAD_DAYS);
        match wanted {
            Some(day) if day < earliest || day > latest => {
                Err(Fault::field("start_day", format!("must be from {earliest} to {latest}")))
            }
            Some(day) => Ok(day),
            None => Ok(earliest),
        }
    }

    /// Traffic packages come on top of annual ones.
    fn on_top(&self, workspaces: &[WorkspaceId], first_day: UsageDay) -> Result<(), Fault> {
        let has = |id: &WorkspaceId| {
            self.packages.iter().any(|held| {
                held.kind == PackageKind::Annual && held.runs_on(first_day) && held.workspaces.contains(id)
            })
        };
        match workspaces.iter().find(|id| !has(id)) {
            None => Ok(()),
            Some(id) => Err(Fault::new(Reason::AnnualPackageMissing)
                .with("workspace_id", id.as_str())
                .with("usage_day", first_day.to_string())),
        }
    }

    /// The package as it ends, and the larger one that takes its place.
    fn upgrade(
        &self,
        catalogue: &Catalogue,
        id: &PackageId,
        code: &str,
        today: UsageDay,
        now: Timestamp,
    ) -> Result<(Package, Package), Fault> {
        let old = self.packages.iter().find(|held| held.id == *id).ok_or(Fault::not_found("package_id"))?;
        if old.replaced_by.is_some() {
            return Err(Reason::PackageEnded.into());
        }
        if old.kind != PackageKind::Annual {
            return Err(Reason::PackageNotLarger.into());
        }
        let Sized { items, price } =
            annual_offer(catalogue, "offer", code)?.times(1, FULL_PERCENT).map_err(|_| overflow())?;
        if !rules::is_larger(&items, &old.items) {
            return Err(Reason::PackageNotLarger.into());
        }
        let settled = old.workspaces.iter().filter_map(|w| self.places.get(w)?.settled_day);
        let first_day = settled.map(UsageDay::next).fold(today.max(old.first_day), UsageDay::max);
        let charged =
            rules::upgrade_price(old.price, price, first_day, old.last_day).map_err(|_| overflow())?;
        let charged = charged.ok_or(Reason::PackageEnded)?;
        let new = Package {
            id: fresh(),
            order: fresh(),
            offer: code.to_owned(),
            percent: FULL_PERCENT,
            price,
            charged,
            first_day,
            bought_at: now,
            items,
            ..old.clone()
        };
        let ended =
            Package { last_day: first_day.previous(), replaced_by: Some(new.id.clone()), ..old.clone() };
        Ok((ended, new))
    }

    fn keep(&mut self, ordered: &Ordered, replaced: Option<Package>) {
        let facts = |package: &Package| PackageFacts {
            offer: package.offer.clone(),
            multiple: package.multiple,
            first_day: package.first_day.to_string(),
            last_day: package.last_day.to_string(),
            price: package.charged.to_string(),
        };
        let packages = ordered.packages.iter().map(facts).collect();
        let charged = ordered.charged.to_string();
        self.letters
            .push((Letter::PackagesOrdered { packages, charged }, format!("order:{}", ordered.order)));
        if let Some(ended) = replaced {
            if let Some(held) = self.packages.iter_mut().find(|held| held.id == ended.id) {
                held.clone_from(&ended);
            }
            self.replaced.push(ended);
        }
        self.packages.extend(ordered.packages.iter().cloned());
        self.new.extend(ordered.packages.iter().cloned());
    }
}

/// Pays an order in full or not at all; nothing can fail afterwards.
fn pay(
    wallet: &mut Wallet,
    packages: Vec<Package>,
    restricted: i64,
    today: UsageDay,
    now: Timestamp,
) -> Result<(Ordered, Option<Transfer>), Fault> {
    let Some(first) = packages.first() else {
        return Err(Fault::field("annual_offer", "or traffic is required"));
    };
    let (order, mut charged) = (first.order.clone(), Money::zero(first.charged.currency));
    for package in &packages {
        charged = charged.checked_add(package.charged).map_err(|_| overflow())?;
    }
    let due = Due { restricted, ordinary: charged.minor - restricted };
    let what = Purchase { due, total: charged.minor, day: today, now };
    let parts = wallet.pay_in_full(BILLING_CENTER, what);
    let missing = || Fault::new(Reason::BalanceInsufficient).with("price", charged.to_string());
    let parts = parts.ok_or_else(missing)?;
    let cause = Cause::new(CauseKind::Package, order.as_str());
    let transfer = deduction::outflow(cause, &parts, Account::Revenue).map_err(|_| overflow())?;
    let transfer = (!transfer.is_empty()).then_some(transfer);
    Ok((Ordered { order, packages, charged, parts, at: now }, transfer))
}
