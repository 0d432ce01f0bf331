//! Packages: what accounts have bought, for whom, and what it contains.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillingAccountId, PackageId, WorkspaceId};
use tandem_proto::money::{Currency, LineAmount, Money};
use tandem_proto::quantity::Quantity;
use tandem_proto::settlement::{SettlementMethod, WorkspaceStanding};
use tandem_service_kit::db::{Kind, Rows, StoreError, Tx};

use super::read::{self, Row, micros};
use crate::domain::package::{Package, PackageItem};
use crate::domain::price::Price;

const TABLE: &str = "package";

/// Adds packages with whom they are for and what they contain.
pub async fn insert(tx: &Tx, packages: &[Package]) -> Result<(), StoreError> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("id", Kind::Text),
        ("order_id", Kind::Text),
        ("kind", Kind::Text),
        ("offer", Kind::Text),
        ("multiple", Kind::Int),
        ("percent", Kind::Int),
        ("currency", Kind::Text),
        ("price", Kind::Int),
        ("charged", Kind::Int),
        ("first_day", Kind::Int),
        ("last_day", Kind::Int),
        ("term_end", Kind::Int),
        ("bought_at", Kind::Int),
    ]);
    for p in packages {
        rows.push([
            p.billing_account.as_str().into(),
            p.id.as_str().into(),
            p.order.as_str().into(),
            p.kind.name().into(),
            p.offer.as_str().into(),
            p.multiple.into(),
            p.percent.into(),
            p.price.currency.code().into(),
            p.price.minor.into(),
            p.charged.minor.into(),
            p.first_day.number().into(),
            p.last_day.number().into(),
            p.term_end.number().into(),
            micros(p.bought_at),
        ]);
    }
    let rel = rows.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, id, order_id, kind, offer, multiple, percent, currency, price, charged, \
                   first_day, last_day, term_end, bought_at";
    let text = format!("INSERT INTO package ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    insert_contents(tx, packages).await
}

async fn insert_contents(tx: &Tx, packages: &[Package]) -> Result<(), StoreError> {
    let mut places = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("package_id", Kind::Text),
        ("place", Kind::Int),
        ("workspace_id", Kind::Text),
    ]);
    let mut items = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("package_id", Kind::Text),
        ("item", Kind::Text),
        ("quota", Kind::Int),
        ("unit_size", Kind::Int),
        ("unit_price", Kind::Int),
        ("factors", Kind::Text),
    ]);
    for p in packages {
        let key = || -> [Value; 2] { [p.billing_account.as_str().into(), p.id.as_str().into()] };
        for (place, workspace) in (1_i64..).zip(&p.workspaces) {
            let [account, id] = key();
            places.push([account, id, place.into(), workspace.as_str().into()]);
        }
        for content in &p.items {
            let [account, id] = key();
            items.push([
                account,
                id,
                content.item.name().into(),
                content.quota.hundredths.into(),
                content.price.unit_size.into(),
                content.price.unit_price.micros.into(),
                content.factors.to_string().into(),
            ]);
        }
    }
    let rel = places.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, package_id, place, workspace_id";
    let text =
        format!("INSERT INTO package_workspace ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    let rel = items.relation(tx.get_database_backend(), "r", 1)?;
    let columns = "billing_account_id, package_id, item, quota, unit_size, unit_price, factors";
    let text = format!("INSERT INTO package_item ({columns}) SELECT {columns} FROM {} WHERE true", rel.sql);
    tx.run(&text, rel.values).await?;
    Ok(())
}

/// Notes that a larger package takes a package's place; fails with a conflict when another one did before.
pub async fn replace(tx: &Tx, package: &Package) -> Result<(), StoreError> {
    let text = "UPDATE package SET last_day = ?, replaced_by = ? \
                WHERE billing_account_id = ? AND id = ? AND replaced_by IS NULL";
    let values: [Value; 4] = [
        package.last_day.number().into(),
        package.replaced_by.as_ref().map(|id| id.as_str()).into(),
        package.billing_account.as_str().into(),
        package.id.as_str().into(),
    ];
    if tx.run(text, values).await? == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// The packages of accounts that run on a day or later, by account.
pub async fn lasting(
    db: &impl ConnectionTrait,
    accounts: &[BillingAccountId],
    from: UsageDay,
) -> Result<HashMap<BillingAccountId, Vec<Package>>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text)]);
    accounts.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT p.* FROM {} JOIN package p ON p.billing_account_id = r.billing_account_id WHERE p.last_day >= ? \
         ORDER BY p.billing_account_id, p.id",
        rel.sql
    );
    let found = read::all(db, &text, rel.values.into_iter().chain([from.number().into()])).await?;
    let mut by_account: HashMap<BillingAccountId, Vec<Package>> = HashMap::new();
    for package in fill(db, &found).await? {
        by_account.entry(package.billing_account.clone()).or_default().push(package);
    }
    Ok(by_account)
}

/// An account's packages after an id, in the order of ids, which is the order they were bought in.
pub async fn list(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    after: &[String],
    limit: u64,
) -> Result<Vec<Package>, StoreError> {
    let text = "SELECT * FROM package WHERE billing_account_id = ? AND id > ? ORDER BY id LIMIT ?";
    let after = after.first().map(String::as_str).unwrap_or_default();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = read::all(db, text, [account.as_str().into(), after.into(), limit.into()]).await?;
    fill(db, &found).await
}

/// Whether a package is for a workspace on a day or later.
pub async fn is_held(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspace: &WorkspaceId,
    from: UsageDay,
) -> Result<bool, StoreError> {
    let text = "SELECT p.id FROM package_workspace w JOIN package p \
                ON p.billing_account_id = w.billing_account_id AND p.id = w.package_id \
                WHERE w.billing_account_id = ? AND w.workspace_id = ? AND p.last_day >= ? LIMIT 1";
    let values = [account.as_str().into(), workspace.as_str().into(), from.number().into()];
    Ok(read::one(db, text, values).await?.is_some())
}

/// What an order has to know of a workspace.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Whether it may be used.
    pub standing: WorkspaceStanding,
    /// How it is settled now.
    pub method: SettlementMethod,
    /// The newest day that is closed on its site or billed to it.
    pub settled_day: Option<UsageDay>,
}

/// What an order has to know of an account's workspaces; others are left out.
pub async fn places(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    workspaces: &[WorkspaceId],
) -> Result<HashMap<WorkspaceId, Place>, StoreError> {
    let mut rows = Rows::new(&[("workspace_id", Kind::Text)]);
    workspaces.iter().for_each(|id| rows.push([id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT w.workspace_id, w.standing, b.settlement_method, \
         (SELECT MAX(s.usage_day) FROM site_day s WHERE s.site = w.site) AS closed_day, \
         (SELECT MAX(d.usage_day) FROM daily_bill d WHERE d.billing_account_id = w.billing_account_id \
          AND d.workspace_id = w.workspace_id) AS billed_day FROM {} \
         JOIN workspace_directory x ON x.workspace_id = r.workspace_id \
         JOIN workspace w ON w.billing_account_id = x.billing_account_id AND w.workspace_id = x.workspace_id \
         JOIN workspace_binding b ON b.billing_account_id = w.billing_account_id \
         AND b.workspace_id = w.workspace_id AND b.effective_to IS NULL WHERE w.billing_account_id = ?",
        rel.sql
    );
    let mut places = HashMap::new();
    for row in read::all(db, &text, rel.values.into_iter().chain([account.as_str().into()])).await? {
        let row = Row(&row, "workspace");
        let day = |column| -> Result<Option<UsageDay>, StoreError> {
            let number = row.maybe_small(column)?;
            number.map(|n| UsageDay::from_number(n).map_err(|_| row.corrupt(column))).transpose()
        };
        let place = Place {
            standing: row.parse("standing")?,
            method: row.parse("settlement_method")?,
            settled_day: day("closed_day")?.max(day("billed_day")?),
        };
        places.insert(row.parse("workspace_id")?, place);
    }
    Ok(places)
}

/// The workspaces of a site that share packages with others of their account and have something of a day or earlier
/// that is not on a bill, but no bill of the day.
pub async fn companions(
    db: &impl ConnectionTrait,
    account: &BillingAccountId,
    site: &str,
    day: UsageDay,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let text = "SELECT DISTINCT x.workspace_id FROM package p JOIN package_workspace x \
                ON x.billing_account_id = p.billing_account_id AND x.package_id = p.id \
                JOIN workspace w ON w.billing_account_id = x.billing_account_id AND w.workspace_id = x.workspace_id \
                WHERE p.billing_account_id = ? AND w.site = ? AND EXISTS (SELECT 1 FROM usage_day u \
                    WHERE u.billing_account_id = x.billing_account_id AND u.workspace_id = x.workspace_id \
                    AND u.usage_day <= ? AND u.quantity <> u.billed AND u.usage_day BETWEEN p.first_day AND p.last_day) \
                AND NOT EXISTS (SELECT 1 FROM daily_bill b WHERE b.billing_account_id = x.billing_account_id \
                    AND b.workspace_id = x.workspace_id AND b.usage_day = ? AND b.kind = 'daily') \
                ORDER BY x.workspace_id";
    let values = [account.as_str().into(), site.into(), day.number().into(), day.number().into()];
    read::all(db, text, values).await?.iter().map(|row| Row(row, "workspace").parse("workspace_id")).collect()
}

/// A package whose end is near.
#[derive(Debug, Clone)]
pub struct Ending {
    /// The package.
    pub package: Package,
    /// At how many days the customer was told last.
    pub warned_days: Option<i32>,
}

/// Packages whose last day is in a range and that were not replaced nor told of at `days` or fewer, a bounded number.
pub async fn ending(
    db: &impl ConnectionTrait,
    range: (UsageDay, UsageDay),
    days: i32,
    limit: i64,
) -> Result<Vec<Ending>, StoreError> {
    let text = "SELECT * FROM package WHERE last_day BETWEEN ? AND ? AND replaced_by IS NULL \
                AND (warned_days IS NULL OR warned_days > ?) ORDER BY last_day, billing_account_id, id LIMIT ?";
    let values = [range.0.number().into(), range.1.number().into(), days.into(), limit.into()];
    let rows = read::all(db, text, values).await?;
    let packages = fill(db, &rows).await?;
    let ending = rows.iter().zip(packages).map(|(row, package)| {
        Ok(Ending { package, warned_days: Row(row, TABLE).maybe_small("warned_days")? })
    });
    ending.collect()
}

/// Notes that a customer was told of a package's end; `false` when somebody else did so meanwhile.
pub async fn set_warned(tx: &Tx, package: &Package, days: i32) -> Result<bool, StoreError> {
    let text = "UPDATE package SET warned_days = ? WHERE billing_account_id = ? AND id = ? AND replaced_by IS NULL \
                AND (warned_days IS NULL OR warned_days > ?)";
    let values: [Value; 4] =
        [days.into(), package.billing_account.as_str().into(), package.id.as_str().into(), days.into()];
    Ok(tx.run(text, values).await? == 1)
}

/// Reads packages with whom they are for and what they contain, in the order of the rows.
async fn fill(db: &impl ConnectionTrait, found: &[QueryResult]) -> Result<Vec<Package>, StoreError> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mut packages: Vec<Package> = found.iter().map(package).collect::<Result<_, _>>()?;
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("package_id", Kind::Text)]);
    packages.iter().for_each(|p| rows.push([p.billing_account.as_str().into(), p.id.as_str().into()]));
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT x.package_id, x.workspace_id FROM {} JOIN package_workspace x \
         ON x.billing_account_id = r.billing_account_id AND x.package_id = r.package_id ORDER BY x.package_id, x.place",
        rel.sql
    );
    let mut workspaces: HashMap<PackageId, Vec<WorkspaceId>> = HashMap::new();
    for row in read::all(db, &text, rel.values.clone()).await? {
        let row = Row(&row, "package_workspace");
        workspaces.entry(row.parse("package_id")?).or_default().push(row.parse("workspace_id")?);
    }
    let text = format!(
        "SELECT x.* FROM {} JOIN package_item x ON x.billing_account_id = r.billing_account_id \
         AND x.package_id = r.package_id ORDER BY x.package_id, x.item",
        rel.sql
    );
    let mut items: HashMap<PackageId, Vec<PackageItem>> = HashMap::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "package_item");
        let id: PackageId = row.parse("package_id")?;
        let currency = packages.iter().find(|p| p.id == id).map(|p| p.price.currency);
        let currency = currency.ok_or(row.corrupt("package_id"))?;
        items.entry(id).or_default().push(PackageItem {
            item: row.parse("item")?,
            quota: Quantity { hundredths: row.int("quota")? },
            price: Price {
                unit_size: row.int("unit_size")?,
                unit_price: LineAmount { micros: row.int("unit_price")?, currency },
            },
            factors: row.parse("factors")?,
        });
    }
    for package in &mut packages {
        package.workspaces = workspaces.remove(&package.id).unwrap_or_default();
        package.items = items.remove(&package.id).unwrap_or_default();
        package.items.sort_by_key(|content| content.item);
    }
    Ok(packages)
}

fn package(row: &QueryResult) -> Result<Package, StoreError> {
    let row = Row(row, TABLE);
    let currency: Currency = row.parse("currency")?;
    let bought_at: Timestamp = row.time("bought_at")?;
    Ok(Package {
        billing_account: row.parse("billing_account_id")?,
        id: row.parse("id")?,
        order: row.parse("order_id")?,
        kind: row.parse("kind")?,
        offer: row.text("offer")?,
        multiple: row.int("multiple")?,
        percent: row.small("percent")?,
        price: Money { minor: row.int("price")?, currency },
        charged: Money { minor: row.int("charged")?, currency },
        first_day: row.day("first_day")?,
        last_day: row.day("last_day")?,
        term_end: row.day("term_end")?,
        bought_at,
        replaced_by: row.maybe_parse("replaced_by")?,
        workspaces: Vec::new(),
        items: Vec::new(),
    })
}
