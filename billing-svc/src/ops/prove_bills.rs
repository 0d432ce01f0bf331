//! Recomputes bills from the delivered usage and their stored price lists, and says what differs (I-14).

use std::collections::HashMap;

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{LineAmount, Money, payable};
use tandem_proto::page::Page;
use tandem_service_kit::db::{Database, Kind, Rows, StoreError};
use tandem_service_kit::fault::Fault;

use super::prove_packages;
use crate::domain::bill::{Line, LineKind};
use crate::domain::log_mode::LogModes;
use crate::domain::price::{PriceKey, PriceList, in_force};
use crate::store::bill::{self, Bill, Payment};
use crate::store::read::{self, Row};
use crate::store::{log_mode, price};

/// A difference between a bill and its recomputation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The bill.
    pub bill: BillId,
    /// What differs.
    pub what: String,
    /// What the bill says.
    pub stored: String,
    /// What the recomputation says.
    pub recomputed: String,
}

/// What a page of bills proves.
#[derive(Debug)]
pub struct Proof {
    /// Bills recomputed.
    pub proved: usize,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The next page, or empty.
    pub next_page_token: String,
}

/// Proves a page of bills: of one account or of all, one bill or all.
pub async fn prove_bills(
    db: &Database,
    account: Option<&BillingAccountId>,
    id: Option<&BillId>,
    page: &Page,
) -> Result<Proof, Fault> {
    // A bill that is issued or paid meanwhile must not look like a difference.
    let db = db.snapshot().await?;
    let lists = price::all(&db).await?;
    let rows = bill::list_all(&db, account, id, &page.after, page.limit()).await?;
    if id.is_some() && rows.is_empty() {
        return Err(Fault::not_found("bill_id"));
    }
    let (bills, next_page_token) =
        page.cut(rows, |b| vec![b.billing_account.as_str().to_owned(), b.id.as_str().to_owned()]);
    let lines = bill::lines(&db, &bills).await?;
    let payments = bill::payments(&db, &bills).await?;
    let mut usage = usage_against_lines(&db, &bills).await?;
    usage.extend(lines_without_usage(&db, &bills).await?);
    let altered = price::altered(&db, &lists).await?;
    let modes = log_mode::of(&db, bills.iter().map(|b| &b.workspace)).await?;
    let aside = set_aside_against_modes(&db, &bills, &modes).await?;
    let by_count = LogModes::default();
    let mut differences = Vec::new();
    for b in &bills {
        let lines = lines.get(&b.id).map(Vec::as_slice).unwrap_or_default();
        let payments = payments.get(&b.id).map(Vec::as_slice).unwrap_or_default();
        prove(b, lines, payments, &lists, &mut differences);
        let modes = modes.get(&b.workspace).unwrap_or(&by_count);
        prove_choices(b, lines, &lists, &altered, modes, &mut differences);
    }
    differences.extend(usage);
    differences.extend(aside);
    for (bill, what, stored, recomputed) in prove_packages::of_bills(&db, &bills, &lines).await? {
        differences.push(Difference { bill, what, stored, recomputed });
    }
    Ok(Proof { proved: bills.len(), differences, next_page_token })
}

/// Recomputes one bill from its own lines' quantities and the stored prices.
fn prove(
    b: &Bill,
    lines: &[Line],
    payments: &[Payment],
    lists: &[PriceList],
    differences: &mut Vec<Difference>,
) {
    let mut differ = |what: String, stored: String, recomputed: String| {
        if stored != recomputed {
            differences.push(Difference { bill: b.id.clone(), what, stored, recomputed });
        }
    };
    let mut sum = Ok(LineAmount::zero(b.currency));
    let mut restricted = Ok(LineAmount::zero(b.currency));
    let mut rounding = LineAmount::zero(b.currency);
    for line in lines {
        let Some(item) = line.item else {
            rounding = line.amount;
            continue;
        };
        if item.is_restricted() {
            restricted = restricted.and_then(|sum: LineAmount| sum.checked_add(line.amount));
        }
        if line.package.is_some() {
            // Proved against the package and what is recorded of it.
            sum = sum.and_then(|sum: LineAmount| sum.checked_add(line.amount));
            continue;
        }
        let what = format!("line {item}/{}", line.retention_days);
        let key =
            PriceKey { zone: b.price_zone, currency: b.currency, item, retention_days: line.retention_days };
        let list = lists.iter().find(|list| list.version == line.price_list_version);
        let Some(price) = list.and_then(|list| list.find(&key).ok()) else {
            differ(
                what,
                line.price.unit_price.to_string(),
                format!("no price in {}", line.price_list_version),
            );
            continue;
        };
        differ(format!("{what} price"), line.price.unit_price.to_string(), price.unit_price.to_string());
        differ(format!("{what} unit size"), line.price.unit_size.to_string(), price.unit_size.to_string());
        match LineAmount::of(line.quantity, price.unit_size, price.unit_price) {
            Ok(amount) => {
                differ(what, line.amount.to_string(), amount.to_string());
                sum = sum.and_then(|sum: LineAmount| sum.checked_add(amount));
            }
            Err(error) => differ(what, line.amount.to_string(), error.to_string()),
        }
    }
    let stored = Money { minor: b.payable, currency: b.currency };
    match sum {
        Ok(sum) => {
            let (total, rounded) = payable(sum);
            differ("payable".into(), stored.to_string(), total.to_string());
            differ("rounding".into(), rounding.to_string(), rounded.to_string());
            if let Ok(restricted) = restricted {
                let minor = payable(restricted).0.minor.clamp(0, total.minor.max(0));
                let restricted = Money { minor, currency: b.currency };
                differ(
                    "restricted".into(),
                    Money { minor: b.restricted, currency: b.currency }.to_string(),
                    restricted.to_string(),
                );
            }
        }
        Err(error) => differ("payable".into(), stored.to_string(), error.to_string()),
    }
    let paid: i64 = payments.iter().map(|p| p.amount).sum();
    differ("paid".into(), b.paid.to_string(), paid.to_string());
    let roundings = lines.iter().filter(|l| l.kind == LineKind::Rounding).count();
    differ("rounding lines".into(), roundings.min(1).to_string(), roundings.to_string());
}

/// Proves what a bill was made by: each day's list was the one in force and is as it was published, and each day's log
/// mode charges what stands there.
fn prove_choices(
    b: &Bill,
    lines: &[Line],
    lists: &[PriceList],
    altered: &[String],
    modes: &LogModes,
    differences: &mut Vec<Difference>,
) {
    let mut differ = |what: String, stored: &str, recomputed: &str| {
        if stored != recomputed {
            let (stored, recomputed) = (stored.to_owned(), recomputed.to_owned());
            differences.push(Difference { bill: b.id.clone(), what, stored, recomputed });
        }
    };
    let version = |day| in_force(lists, day).map_or("none", |list| list.version.as_str());
    differ("price list".into(), &b.price_list_version, version(b.day));
    if altered.contains(&b.price_list_version) {
        differ(format!("price list {}", b.price_list_version), "altered", "as published");
    }
    for line in lines {
        let Some(item) = line.item else { continue };
        let day = line.adjusted_day.unwrap_or(b.day);
        let what = format!("line {item}/{}", line.retention_days);
        differ(format!("{what} price list"), &line.price_list_version, version(day));
        if line.price_list_version != b.price_list_version && altered.contains(&line.price_list_version) {
            differ(format!("price list {}", line.price_list_version), "altered", "as published");
        }
        let mode = modes.at(day);
        if !mode.charges(item) {
            differ(format!("{what} log mode"), item.name(), mode.item().name());
        }
    }
}

/// Usage that was set aside on the bills' days: only what the day's log mode leaves uncharged, and none of it billed.
async fn set_aside_against_modes(
    db: &impl ConnectionTrait,
    bills: &[Bill],
    modes: &HashMap<WorkspaceId, LogModes>,
) -> Result<Vec<Difference>, StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("bill_id", Kind::Text),
    ]);
    for b in bills {
        rows.push([
            b.billing_account.as_str().into(),
            b.workspace.as_str().into(),
            i64::from(b.day.number()).into(),
            b.id.as_str().into(),
        ]);
    }
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT r.bill_id, u.workspace_id, u.usage_day, u.item, u.retention_days, u.billed FROM {} \
         JOIN usage_day u ON u.billing_account_id = r.billing_account_id \
         AND u.workspace_id = r.workspace_id AND u.usage_day = r.usage_day WHERE u.set_aside",
        rel.sql
    );
    let by_count = LogModes::default();
    let mut differences = Vec::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "usage_day");
        let (item, day): (BillingItem, UsageDay) = (row.parse("item")?, row.day("usage_day")?);
        let mode = modes.get(&row.parse("workspace_id")?).unwrap_or(&by_count).at(day);
        if mode.charges(item) || row.int("billed")? != 0 {
            let what = format!("usage {item}/{} log mode", row.small("retention_days")?);
            let (stored, recomputed) = ("set aside".to_owned(), mode.item().name().to_owned());
            differences.push(Difference { bill: row.parse("bill_id")?, what, stored, recomputed });
        }
    }
    Ok(differences)
}

/// Lines for what the workspace never used.
async fn lines_without_usage(
    db: &impl ConnectionTrait,
    bills: &[Bill],
) -> Result<Vec<Difference>, StoreError> {
    let mut rows = Rows::new(&[("billing_account_id", Kind::Text), ("bill_id", Kind::Text)]);
    for b in bills {
        rows.push([b.billing_account.as_str().into(), b.id.as_str().into()]);
    }
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT r.bill_id, l.number, l.item, l.quantity FROM {} JOIN daily_bill b \
         ON b.billing_account_id = r.billing_account_id AND b.id = r.bill_id \
         JOIN bill_line l ON l.billing_account_id = r.billing_account_id AND l.bill_id = r.bill_id \
         WHERE l.kind <> 'rounding' AND NOT EXISTS (SELECT 1 FROM usage_day u \
          WHERE u.billing_account_id = b.billing_account_id AND u.workspace_id = b.workspace_id \
          AND u.usage_day = COALESCE(l.adjusted_day, b.usage_day) AND u.item = l.item \
          AND u.retention_days = l.retention_days AND u.sub_key = l.sub_key)",
        rel.sql
    );
    let mut differences = Vec::new();
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "bill_line");
        let what = format!("line {} {} without usage", row.small("number")?, row.text("item")?);
        let (stored, recomputed) = (row.int("quantity")?.to_string(), "0".to_owned());
        differences.push(Difference { bill: row.parse("bill_id")?, what, stored, recomputed });
    }
    Ok(differences)
}

/// What workspaces used against what all their bills say of it: the quantities of a key's lines over all bills must be
/// what the usage counts as billed.
async fn usage_against_lines(
    db: &impl ConnectionTrait,
    bills: &[Bill],
) -> Result<Vec<Difference>, StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("workspace_id", Kind::Text),
        ("usage_day", Kind::Int),
        ("bill_id", Kind::Text),
    ]);
    for b in bills {
        rows.push([
            b.billing_account.as_str().into(),
            b.workspace.as_str().into(),
            i64::from(b.day.number()).into(),
            b.id.as_str().into(),
        ]);
    }
    let rel = rows.relation(db.get_database_backend(), "r", 1)?;
    let text = format!(
        "SELECT r.bill_id, u.item, u.retention_days, u.sub_key, u.billed, \
         (SELECT CAST(COALESCE(SUM(l.quantity), 0) AS BIGINT) FROM daily_bill b JOIN bill_line l \
          ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
          WHERE b.billing_account_id = u.billing_account_id AND b.workspace_id = u.workspace_id \
          AND l.item = u.item AND l.retention_days = u.retention_days AND l.sub_key = u.sub_key \
          AND COALESCE(l.adjusted_day, b.usage_day) = u.usage_day) \
         + (SELECT CAST(COALESCE(SUM(p.covered), 0) AS BIGINT) FROM package_use p \
          WHERE p.billing_account_id = u.billing_account_id AND p.usage_day = u.usage_day \
          AND p.workspace_id = u.workspace_id AND p.item = u.item AND p.retention_days = u.retention_days \
          AND p.sub_key = u.sub_key AND p.bill_id IS NULL) AS on_bills \
         FROM {} JOIN usage_day u ON u.billing_account_id = r.billing_account_id \
         AND u.workspace_id = r.workspace_id AND u.usage_day = r.usage_day \
         WHERE u.item <> ? OR EXISTS (SELECT 1 FROM package_use p \
          WHERE p.billing_account_id = u.billing_account_id AND p.usage_day = u.usage_day \
          AND p.workspace_id = u.workspace_id AND p.item = u.item)",
        rel.sql
    );
    // What is only counted stands on a bill only where a package is for it.
    let values = rel.values.into_iter().chain([BillingItem::Collector.name().into()]);
    let mut differences = Vec::new();
    let mut seen = HashMap::new();
    for row in read::all(db, &text, values).await? {
        let row = Row(&row, "usage_day");
        let (billed, on_bills) = (row.int("billed")?, row.int("on_bills")?);
        let what =
            format!("usage {}/{} {}", row.text("item")?, row.small("retention_days")?, row.text("sub_key")?);
        let bill: BillId = row.parse("bill_id")?;
        if billed != on_bills && seen.insert((bill.clone(), what.clone()), ()).is_none() {
            let (stored, recomputed) = (on_bills.to_string(), billed.to_string());
            differences.push(Difference { bill, what: what.trim_end().to_owned(), stored, recomputed });
        }
    }
    Ok(differences)
}
