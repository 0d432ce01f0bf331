//! Lets packages cover what is about to be billed, and keeps what was drawn (`domain.md` 3.18, 4.9).
//!
//! What a package covers counts as billed whether or not a bill is made, so that nobody else can draw the same quota;
//! where there is nothing to pay it stands on no bill. What goes beyond the quotas waits for a bill like any usage (D34).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId, WorkspaceId};
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::issue_bills::Work;
use crate::domain::account::BillingAccount;
use crate::domain::bill::{Line, LineKind, Usage};
use crate::domain::package_cover::{Covering, Draw, Quotas, UsageKey};
use crate::domain::package_lines::Packaged;
use crate::domain::package_offer::is_only_in_packages;
use crate::store::package_catalogue::CURRENCY;
use crate::store::package_use::{self, AccountDay, Use};
use crate::store::usage::Place;
use crate::store::{package, usage};

/// A line of a package that no package explains.
const BROKEN: StoreError = StoreError::Corrupt { table: "bill_line", column: "package_id" };

/// What packages cover of some works.
#[derive(Default)]
pub(super) struct Covered {
    accounts: HashMap<BillingAccountId, Account>,
    packaged: HashMap<Place, Packaged>,
    none: Packaged,
}

struct Account {
    quotas: Quotas,
    draws: Vec<Draw>,
    /// The last number of each usage day.
    last: BTreeMap<UsageDay, i64>,
}

/// A bill that is about to be made.
pub(super) struct Made<'a> {
    /// Whose.
    pub(super) account: &'a BillingAccountId,
    /// For which workspace.
    pub(super) workspace: &'a WorkspaceId,
    /// Its day.
    pub(super) day: UsageDay,
    /// Its id.
    pub(super) bill: &'a BillId,
    /// Its lines.
    pub(super) lines: &'a [Line],
}

impl Covered {
    /// What packages make of a workspace's usage.
    pub(super) fn of(&self, work: &Work) -> &Packaged {
        match work.route {
            None => {
                let place = (work.workspace.billing_account.clone(), work.workspace.id.clone());
                self.packaged.get(&place).unwrap_or(&self.none)
            }
            Some(_) => &self.none,
        }
    }
}

/// The workspaces of a step of a site's run: those that were found, less those that were billed already together with a
/// companion, and the companions of the last one.
///
/// Workspaces that share packages are billed in one transaction, in the order of the packages. Only the last account
/// can have more workspaces than the step has found; the next step finds those that this one adds again.
pub(super) async fn together(
    tx: &Tx,
    site: &str,
    day: UsageDay,
    found: Vec<Place>,
) -> Result<Vec<Place>, StoreError> {
    let held: BTreeSet<&BillingAccountId> = found.iter().map(|(account, _)| account).collect();
    let held: Vec<BillingAccountId> = held.into_iter().cloned().collect();
    let packages = package::lasting(tx, &held, day).await?;
    if packages.is_empty() {
        return Ok(found);
    }
    let places: Vec<Place> =
        found.iter().filter(|(account, _)| packages.contains_key(account)).cloned().collect();
    let billed = crate::store::bill::billed_days(tx, &places, day).await?;
    let has = |(account, id): &Place| {
        packages.contains_key(account)
            && billed.contains(&(id.clone(), day, crate::domain::bill::BillKind::Daily))
    };
    let last = found.last().map(|(account, _)| account.clone());
    let mut all: Vec<Place> = found.into_iter().filter(|place| !has(place)).collect();
    if let Some(last) = last.filter(|account| packages.contains_key(account)) {
        for id in package::companions(tx, &last, site, day).await? {
            let place = (last.clone(), id);
            if !all.contains(&place) {
                all.push(place);
            }
        }
    }
    Ok(all)
}

/// Covers usage by packages; afterwards works hold only what is still to be rated. The accounts must be locked.
pub(super) async fn cover(tx: &Tx, works: &mut [Work], payers: &[BillingAccount]) -> Result<Covered, Fault> {
    let mut covered = Covered::default();
    let Some(oldest) = works.iter().flat_map(|w| &w.usage).map(|used| used.day).min() else {
        return Ok(covered);
    };
    // What packages cost beyond their quotas is in one currency (D25).
    let ids: Vec<BillingAccountId> =
        payers.iter().filter(|p| p.currency == CURRENCY).map(|p| p.id.clone()).collect();
    let packages = package::lasting(tx, &ids, oldest).await?;
    let mut marks = Vec::new();
    if !packages.is_empty() {
        let days = days_of(works, &packages.keys().collect());
        let uses = package_use::of_days(tx, &days).await?;
        for (id, held) in packages {
            let account = cover_account(&id, Quotas::new(held), works, &uses, &mut marks);
            for work in works.iter().filter(|w| w.workspace.billing_account == id && w.route.is_none()) {
                let packaged =
                    Packaged::new(&account.quotas, &work.workspace.id, &account.draws, &work.usage);
                covered.packaged.insert((id.clone(), work.workspace.id.clone()), packaged);
            }
            covered.accounts.insert(id, account);
        }
    }
    for work in works.iter_mut() {
        let packaged = covered.of(work);
        let place = (work.workspace.billing_account.clone(), work.workspace.id.clone());
        // What is only counted is settled by that; what is covered in full is settled, too.
        let (rated, settled): (Vec<Usage>, Vec<Usage>) = std::mem::take(&mut work.usage)
            .into_iter()
            .partition(|used| !is_only_in_packages(used.item) || packaged.price(used).is_some());
        let open = settled.into_iter().filter(|used| used.quantity != used.billed);
        marks.extend(open.map(|used| (place.clone(), used)));
        work.usage = rated.into_iter().filter(|used| used.quantity != used.billed).collect();
    }
    if !marks.is_empty() {
        let marks: Vec<_> = marks.iter().map(|(place, used)| (place.clone(), used)).collect();
        usage::mark_billed(tx, &marks).await?;
    }
    Ok(covered)
}

/// The usage days of accounts with packages.
fn days_of(works: &[Work], accounts: &BTreeSet<&BillingAccountId>) -> Vec<AccountDay> {
    let works = works.iter().filter(|w| w.route.is_none() && accounts.contains(&w.workspace.billing_account));
    let days = works.flat_map(|w| w.usage.iter().map(|used| (w.workspace.billing_account.clone(), used.day)));
    days.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Covers an account's works; notes in `marks` how much more of each usage counts as billed.
fn cover_account(
    id: &BillingAccountId,
    mut quotas: Quotas,
    works: &mut [Work],
    uses: &HashMap<AccountDay, Vec<Use>>,
    marks: &mut Vec<(Place, Usage)>,
) -> Account {
    let mut last = BTreeMap::new();
    for ((_, day), uses) in uses.iter().filter(|((account, _), _)| account == id) {
        uses.iter().filter_map(Use::draw).for_each(|draw| quotas.note(&draw));
        last.insert(*day, uses.last().map_or(0, |used| used.number));
    }
    let mine = |w: &&mut Work| w.workspace.billing_account == *id && w.route.is_none();
    let mut coverings: Vec<Covering<'_>> = works
        .iter_mut()
        .filter(mine)
        .map(|w| Covering { workspace: &w.workspace.id, usage: &mut w.usage })
        .collect();
    let draws = quotas.cover(&mut coverings);
    let mut sums: BTreeMap<UsageKey, i64> = BTreeMap::new();
    for draw in &draws {
        *sums.entry(draw.key.clone()).or_default() += draw.covered.hundredths;
    }
    for covering in coverings {
        for used in covering.usage.iter() {
            let sum = sums.get(&UsageKey::of(covering.workspace, used)).copied().unwrap_or_default();
            if sum != 0 {
                let before = Quantity { hundredths: used.billed.hundredths - sum };
                let mark = Usage { quantity: used.billed, billed: before, ..used.clone() };
                marks.push(((id.clone(), covering.workspace.clone()), mark));
            }
        }
    }
    Account { quotas, draws, last }
}

/// Keeps what was drawn and what bills charge beyond it, in order.
pub(super) async fn record(
    tx: &Tx,
    covered: Covered,
    made: &[Made<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut uses = Vec::new();
    for (id, Account { quotas, draws, mut last }) in covered.accounts {
        let mut number = |day: UsageDay| {
            let number = last.entry(day).or_default();
            *number += 1;
            *number
        };
        let mine: Vec<&Made<'_>> = made.iter().filter(|made| *made.account == id).collect();
        for draw in draws {
            let bill = mine.iter().find(|made| *made.workspace == draw.key.workspace);
            uses.push(Use {
                billing_account: id.clone(),
                number: number(draw.key.day),
                bill: bill.map(|made| made.bill.clone()),
                key: draw.key,
                package: draw.package,
                covered: draw.covered,
                excess: Quantity::ZERO,
                factor: draw.factor,
            });
        }
        for made in mine {
            for line in made.lines.iter().filter(|line| line.kind != LineKind::AnnualPackage) {
                let (Some(package), Some(item)) = (&line.package, line.item) else { continue };
                let key = UsageKey {
                    workspace: made.workspace.clone(),
                    day: line.adjusted_day.unwrap_or(made.day),
                    item,
                    retention_days: line.retention_days,
                    sub_key: line.sub_key.clone(),
                };
                let factor = quotas.beyond(&key).ok_or(BROKEN)?.factor;
                uses.push(Use {
                    billing_account: id.clone(),
                    number: number(key.day),
                    key,
                    package: package.clone(),
                    covered: Quantity::ZERO,
                    excess: line.quantity,
                    factor,
                    bill: Some(made.bill.clone()),
                });
            }
        }
    }
    package_use::insert(tx, &uses, now).await
}
