//! Draws recorded usage days' quotas again, and says what differs: from the rule, from bills, from usage (I-14).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId};
use tandem_proto::money::LineAmount;
use tandem_proto::page::Page;
use tandem_proto::quantity::Quantity;
use tandem_service_kit::db::{Database, Kind, Rows, StoreError};
use tandem_service_kit::fault::Fault;

use crate::domain::bill::{Line, LineKind};
use crate::domain::package::Package;
use crate::domain::package_cover::{Quotas, UsageKey};
use crate::store::bill::{self, Bill};
use crate::store::package;
use crate::store::package_use::{self, AccountDay, Use};
use crate::store::read::{self, Row};

/// A difference between what is recorded and the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub account: BillingAccountId,
    /// Of which usage day.
    pub day: UsageDay,
    /// What differs.
    pub what: String,
    /// What is recorded.
    pub stored: String,
    /// What is right.
    pub recomputed: String,
}

/// What a page of usage days proves.
#[derive(Debug)]
pub struct Proof {
    /// Usage days drawn again.
    pub proved: usize,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The next page, or empty.
    pub next_page_token: String,
}

/// Proves a page of accounts' usage days, of one account or all.
pub async fn prove_packages(
    db: &Database,
    account: Option<&BillingAccountId>,
    page: &Page,
) -> Result<Proof, Fault> {
    let db = db.snapshot().await?;
    let rows = package_use::days(&db, account, &page.after, page.limit()).await?;
    let (days, next_page_token) =
        page.cut(rows, |(account, day)| vec![account.as_str().to_owned(), day.number().to_string()]);
    let mut differences = Vec::new();
    if days.is_empty() {
        return Ok(Proof { proved: 0, differences, next_page_token });
    }
    let accounts: Vec<BillingAccountId> =
        days.iter().map(|(account, _)| account).collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let first = days.iter().map(|(_, day)| *day).min().unwrap_or(days[0].1);
    let packages = package::lasting(&db, &accounts, first).await?;
    let uses = package_use::of_days(&db, &days).await?;
    let billed = billed(&db, &days).await?;
    for place in &days {
        let held = packages.get(&place.0).cloned().unwrap_or_default();
        let uses = uses.get(place).map(Vec::as_slice).unwrap_or_default();
        draw_again(place, held, uses, &billed, &mut differences);
    }
    let all: Vec<&Use> = uses.values().flatten().collect();
    let bills: BTreeSet<(BillingAccountId, BillId)> =
        all.iter().filter_map(|u| Some((u.billing_account.clone(), u.bill.clone()?))).collect();
    let mut on_bills = HashMap::new();
    for (account, ids) in by_account(&bills) {
        let found = bill::find_all(&db, &account, &ids).await?;
        let lines = bill::lines(&db, &found).await?;
        on_bills.extend(sums_of_lines(&found, &lines));
    }
    compare(&all, &on_bills, true, &mut differences);
    Ok(Proof { proved: days.len(), differences, next_page_token })
}

/// What is drawn and charged, and by what bills: of a key and package.
type Place = (BillingAccountId, BillId, UsageKey, String, bool);

fn by_account(bills: &BTreeSet<(BillingAccountId, BillId)>) -> BTreeMap<BillingAccountId, Vec<BillId>> {
    let mut all: BTreeMap<BillingAccountId, Vec<BillId>> = BTreeMap::new();
    for (account, bill) in bills {
        all.entry(account.clone()).or_default().push(bill.clone());
    }
    all
}

/// Draws a usage day's quotas again in the recorded order.
fn draw_again(
    place: &AccountDay,
    held: Vec<Package>,
    uses: &[Use],
    billed: &HashMap<(BillingAccountId, UsageKey), i64>,
    differences: &mut Vec<Difference>,
) {
    let mut differ = |what: String, stored: String, recomputed: String| {
        if stored != recomputed {
            let (account, day) = place.clone();
            differences.push(Difference { account, day, what, stored, recomputed });
        }
    };
    let mut quotas = Quotas::new(held);
    let mut sums: BTreeMap<&UsageKey, i64> = BTreeMap::new();
    for (number, used) in (1_i64..).zip(uses) {
        let what = |what: &str| format!("use {} of {}: {what}", used.number, name(&used.key));
        differ(what("number"), used.number.to_string(), number.to_string());
        *sums.entry(&used.key).or_default() += used.covered.hundredths + used.excess.hundredths;
        let of = quotas.packages().iter().find(|package| package.id == used.package);
        let factor = of
            .filter(|p| p.runs_on(used.key.day) && p.workspaces.contains(&used.key.workspace))
            .and_then(|p| p.item(used.key.item)?.factors.of(used.key.retention_days));
        let Some(factor) = factor else {
            differ(what("package"), used.package.as_str().to_owned(), "not for this usage".to_owned());
            continue;
        };
        differ(what("factor"), used.factor.to_string(), factor.to_string());
        if let Some(draw) = used.draw() {
            let before = quotas.covered_by(&used.key, &used.package);
            let first = quotas.first_left(&used.key).cloned();
            quotas.note(&draw);
            let quota = of_quota(&quotas, used);
            let drawn = quotas.drawn(&used.package, used.key.day, used.key.item);
            if draw.covered < Quantity::ZERO {
                let enough = before.hundredths + draw.covered.hundredths >= 0;
                differ(what("gives back more than is covered"), (!enough).to_string(), false.to_string());
            } else {
                let first = first.map_or_else(|| "none".to_owned(), String::from);
                differ(what("package"), used.package.as_str().to_owned(), first);
            }
            let within = (0..=quota).contains(&drawn);
            differ(what("drawn beyond the quota"), (!within).to_string(), false.to_string());
        } else {
            let beyond = quotas.beyond(&used.key).map(|beyond| beyond.package.as_str().to_owned());
            differ(what("priced by"), used.package.as_str().to_owned(), beyond.unwrap_or_default());
            let charged = used.excess > Quantity::ZERO && quotas.has_left(&used.key);
            differ(what("charged while quota is left"), charged.to_string(), false.to_string());
        }
    }
    for (key, sum) in sums {
        let stored = billed.get(&(place.0.clone(), key.clone())).copied().unwrap_or_default();
        differ(format!("usage {}", name(key)), stored.to_string(), sum.to_string());
    }
}

fn of_quota(quotas: &Quotas, used: &Use) -> i64 {
    let package = quotas.packages().iter().find(|package| package.id == used.package);
    package.and_then(|package| package.item(used.key.item)).map_or(0, |item| item.quota.hundredths)
}

fn name(key: &UsageKey) -> String {
    format!("{} {}/{} {}", key.workspace, key.item, key.retention_days, key.sub_key).trim_end().to_owned()
}

/// Compares bills' lines of packages with what is recorded of them, and their prices with the packages'.
pub(super) async fn of_bills(
    db: &impl ConnectionTrait,
    bills: &[Bill],
    lines: &HashMap<BillId, Vec<Line>>,
) -> Result<Vec<(BillId, String, String, String)>, StoreError> {
    let with: Vec<&Bill> = bills
        .iter()
        .filter(|b| lines.get(&b.id).is_some_and(|lines| lines.iter().any(|l| l.package.is_some())))
        .collect();
    let ids: Vec<_> = bills.iter().map(|b| (b.billing_account.clone(), b.id.clone())).collect();
    let uses = package_use::of_bills(db, &ids).await?;
    let mut found = Vec::new();
    if with.is_empty() && uses.is_empty() {
        return Ok(found);
    }
    let mut differences = Vec::new();
    compare(&uses.iter().collect::<Vec<_>>(), &sums_of_lines(bills, lines), false, &mut differences);
    for (bill, d) in differences.into_iter().filter_map(|d| Some((bill_of(&d.what)?, d))) {
        found.push((bill, d.what, d.stored, d.recomputed));
    }
    let accounts: Vec<BillingAccountId> =
        with.iter().map(|b| &b.billing_account).collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let first = with.iter().flat_map(|b| lines.get(&b.id).into_iter().flatten().map(|l| day_of(b, l))).min();
    let packages = match first {
        Some(first) => package::lasting(db, &accounts, first).await?,
        None => HashMap::new(),
    };
    for b in with {
        let held = packages.get(&b.billing_account).map(Vec::as_slice).unwrap_or_default();
        for line in lines.get(&b.id).into_iter().flatten() {
            found.extend(price_differs(b, line, held).map(|(what, s, r)| (b.id.clone(), what, s, r)));
        }
    }
    Ok(found)
}

/// What is wrong with the price or amount of a package's line.
fn price_differs(b: &Bill, line: &Line, held: &[Package]) -> Option<(String, String, String)> {
    let (id, item) = (line.package.as_ref()?, line.item?);
    let what = |what: &str| format!("line {item}/{} of {id}: {what}", line.retention_days);
    let unit_price = if line.kind == LineKind::AnnualPackage {
        LineAmount::zero(b.currency)
    } else {
        let content = held.iter().find(|package| package.id == *id).and_then(|package| package.item(item));
        let Some(price) = content.and_then(|content| content.price_at(line.retention_days)) else {
            return Some((what("price"), line.price.unit_price.to_string(), "not in the package".to_owned()));
        };
        price.unit_price
    };
    if line.price.unit_price != unit_price || line.price.unit_size != item.unit_size() {
        let (stored, right) = (&line.price, unit_price);
        let show = |price: &LineAmount, size| format!("{price} for {size}");
        let stored = show(&stored.unit_price, stored.unit_size);
        return Some((what("price"), stored, show(&right, item.unit_size())));
    }
    let amount = LineAmount::of(line.quantity, line.price.unit_size, unit_price).ok()?;
    (amount != line.amount).then(|| (what("amount"), line.amount.to_string(), amount.to_string()))
}

fn day_of(b: &Bill, line: &Line) -> UsageDay {
    line.adjusted_day.unwrap_or(b.day)
}

fn sums_of_lines(bills: &[Bill], lines: &HashMap<BillId, Vec<Line>>) -> HashMap<Place, i64> {
    let mut sums = HashMap::new();
    for b in bills {
        for line in lines.get(&b.id).into_iter().flatten() {
            let (Some(package), Some(item)) = (&line.package, line.item) else { continue };
            let key = UsageKey {
                workspace: b.workspace.clone(),
                day: day_of(b, line),
                item,
                retention_days: line.retention_days,
                sub_key: line.sub_key.clone(),
            };
            let covered = line.kind == LineKind::AnnualPackage;
            let place = (b.billing_account.clone(), b.id.clone(), key, package.as_str().to_owned(), covered);
            *sums.entry(place).or_insert(0) += line.quantity.hundredths;
        }
    }
    sums
}

/// Compares uses with lines of the same bills. `only_uses` leaves lines alone that no use is known of here.
fn compare(
    uses: &[&Use],
    on_bills: &HashMap<Place, i64>,
    only_uses: bool,
    differences: &mut Vec<Difference>,
) {
    let mut sums: HashMap<Place, i64> = HashMap::new();
    for used in uses {
        let Some(bill) = &used.bill else { continue };
        let (account, package) = (used.billing_account.clone(), used.package.as_str().to_owned());
        let covered = used.covered != Quantity::ZERO;
        let quantity = used.covered.hundredths + used.excess.hundredths;
        *sums.entry((account, bill.clone(), used.key.clone(), package, covered)).or_insert(0) += quantity;
    }
    let mut places: BTreeSet<&Place> = sums.keys().collect();
    if !only_uses {
        places.extend(on_bills.keys());
    }
    for place in places {
        let (account, bill, key, package, covered) = place;
        let (used, line) = (sums.get(place).copied(), on_bills.get(place).copied());
        if used != line {
            let kind = if *covered { "covered" } else { "excess" };
            let show = |quantity: Option<i64>| quantity.map_or("none".to_owned(), |q| q.to_string());
            differences.push(Difference {
                account: account.clone(),
                day: key.day,
                what: format!("{bill} {kind} {} by {package}", name(key)),
                stored: show(line),
                recomputed: show(used),
            });
        }
    }
}

/// The bill that [`compare`] has named.
fn bill_of(what: &str) -> Option<BillId> {
    what.split_once(' ').and_then(|(id, _)| id.parse().ok())
}

/// What counts as billed of the usage of days.
async fn billed(
    db: &impl ConnectionTrait,
    days: &[AccountDay],
) -> Result<HashMap<(BillingAccountId, UsageKey), i64>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("usage_day", Kind::Int)]);
    days.iter().for_each(|(account, day)| rows.push([account.as_str().into(), day.number().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT u.* FROM {} JOIN usage_day u ON u.billing_account_id = r.billing_account_id \
         AND u.usage_day = r.usage_day WHERE EXISTS (SELECT 1 FROM package_use p \
            WHERE p.billing_account_id = u.billing_account_id AND p.usage_day = u.usage_day \
            AND p.workspace_id = u.workspace_id)",
        rel.sql
    );
    let mut found = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "usage_day");
        let key = UsageKey {
            workspace: row.parse("workspace_id")?,
            day: row.day("usage_day")?,
            item: row.parse("item")?,
            retention_days: row.small("retention_days")?,
            sub_key: row.text("sub_key")?,
        };
        found.insert((row.parse("billing_account_id")?, key), row.int("billed")?);
    }
    Ok(found)
}
