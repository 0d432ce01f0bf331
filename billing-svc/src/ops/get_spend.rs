//! What an account spent: on bills, and used but not billed yet (`domain.md` 3.20).
//!
//! Bounded: the range of days, the bills of one statement, the rows of one read. Everything is read from one moment, so
//! that usage that is billed meanwhile is counted once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::WorkspaceId;
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, MICROS_PER_MINOR};
use tandem_proto::page::Page;
use tandem_service_kit::db::{Database, StoreError};
use tandem_service_kit::fault::Fault;

use crate::domain::bill::RatingError;
use crate::domain::monthly::runs;
use crate::domain::price::PriceList;
use crate::domain::spend::{self as rule, Group};
use crate::store::price;
use crate::store::spend::{self, Days, ItemAmount, Place, Running, Scope};

/// Most days of a range: a year.
pub const DAYS_MAX: i32 = 366;
/// Days of one statement: at 10 000 workspaces 300 000 bills, which takes a fraction of the statement time limit.
const DAYS_A_STATEMENT: i32 = 31;
/// Bills whose lines are summed up in one statement.
const BILLS_A_STATEMENT: i64 = 20_000;
/// Most bills whose lines one call sums up: some 20 statements, a few seconds.
const BILLS_MAX: i64 = 400_000;
/// Quantities read at once.
const RUNNING_A_READ: i64 = 5_000;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// Whose spend.
    pub scope: Scope,
    /// In which days.
    pub days: Days,
    /// What rows are about.
    pub group: Group,
    /// Which rows, when they are workspaces.
    pub page: Page,
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A day.
    Day(UsageDay),
    /// An item; `None` is what rounding added.
    Item(Option<BillingItem>),
    /// A workspace and its name.
    Workspace(WorkspaceId, String),
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub subject: Subject,
    /// Millionths on bills.
    pub billed: i64,
    /// Millionths that are not billed yet.
    pub running: i64,
}

/// What was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// The rows.
    pub rows: Vec<Row>,
    /// Millionths of the whole range on bills, and not billed yet; only on the first page.
    pub totals: Option<(i64, i64)>,
    /// Items without a price; what is not billed yet lacks them.
    pub unpriced: BTreeSet<BillingItem>,
    /// The next page, or empty.
    pub next_page_token: String,
}

/// Sums up what was spent.
pub async fn get_spend(db: &Database, query: &Query) -> Result<Spend, Fault> {
    let db = db.snapshot().await?;
    let lists = price::all(&db).await?;
    let mut rater = Rater { currency: query.scope.currency, lists, unpriced: BTreeSet::new() };
    match query.group {
        Group::Day => by_day(&db, query, &mut rater).await,
        Group::Item => by_item(&db, query, &mut rater).await,
        Group::Workspace => by_workspace(&db, query, &mut rater).await,
    }
}

struct Rater {
    currency: Currency,
    lists: Vec<PriceList>,
    unpriced: BTreeSet<BillingItem>,
}

impl Rater {
    /// What a quantity costs; nothing when it has no price, which is then noted.
    fn rate(&mut self, open: &Running) -> Result<i64, Fault> {
        match rule::running(&open.usage, open.zone, self.currency, &self.lists) {
            Ok(amount) => Ok(amount.micros),
            Err(RatingError::PriceMissing(_) | RatingError::NoPriceList(_)) => {
                self.unpriced.insert(open.usage.item);
                Ok(0)
            }
            Err(RatingError::Money(_)) => Err(too_large()),
        }
    }

    /// Rates everything that is not billed yet, and hands each amount over.
    async fn all(
        &mut self,
        db: &impl ConnectionTrait,
        query: &Query,
        only: Option<&[WorkspaceId]>,
        mut take: impl FnMut(&Running, i64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let one = query.scope.workspace.as_ref().map(std::slice::from_ref);
        let mut place = Place::default();
        loop {
            let account = &query.scope.account;
            let rows = spend::running(db, account, only.or(one), query.days, &place, RUNNING_A_READ).await?;
            for open in &rows {
                take(open, self.rate(open)?)?;
            }
            match rows.last() {
                Some(last) if i64::try_from(rows.len()) == Ok(RUNNING_A_READ) => place = last.place(),
                _ => return Ok(()),
            }
        }
    }
}

fn add(sum: &mut i64, more: i64) -> Result<(), Fault> {
    *sum = sum.checked_add(more).ok_or_else(too_large)?;
    Ok(())
}

fn micros(minor: i64) -> Result<i64, Fault> {
    minor.checked_mul(MICROS_PER_MINOR).ok_or_else(too_large)
}

fn too_large() -> Fault {
    StoreError::Corrupt { table: "bill_line", column: "amount" }.into()
}

/// Cuts a range into parts of a bounded number of days.
fn windows(days: Days) -> Vec<Days> {
    let mut parts = Vec::new();
    let mut from = days.0;
    while from <= days.1 {
        let until = from.plus_days(DAYS_A_STATEMENT - 1).min(days.1);
        parts.push((from, until));
        from = until.next();
    }
    parts
}

async fn by_day(db: &impl ConnectionTrait, query: &Query, rater: &mut Rater) -> Result<Spend, Fault> {
    let mut days: BTreeMap<UsageDay, (i64, i64)> = BTreeMap::new();
    for window in windows(query.days) {
        for total in spend::by_day(db, &query.scope, window).await? {
            days.entry(total.day).or_default().0 = micros(total.payable)?;
        }
    }
    rater
        .all(db, query, None, |open, amount| add(&mut days.entry(open.usage.day).or_default().1, amount))
        .await?;
    complete(days.into_iter().map(|(day, sums)| (Subject::Day(day), sums)), rater)
}

/// What the items of bills cost, in the order of bills.
///
/// Fails when there are too many bills for one call.
pub(crate) async fn items(
    db: &impl ConnectionTrait,
    scope: &Scope,
    days: Days,
) -> Result<Vec<ItemAmount>, Fault> {
    let mut sums: HashMap<Option<BillingItem>, i64> = HashMap::new();
    let mut bills = 0_i64;
    for window in windows(days) {
        let totals = spend::by_day(db, scope, window).await?;
        bills = bills.saturating_add(totals.iter().map(|total| total.bill_count).sum());
        if bills > BILLS_MAX {
            return Err(Fault::field(
                "end_day",
                format!("holds more than {BILLS_MAX} bills; ask for fewer days"),
            ));
        }
        for part in runs(totals, BILLS_A_STATEMENT, |total| total.bill_count) {
            let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
            for (item, amount) in spend::by_item(db, scope, (first.day, last.day)).await? {
                add(sums.entry(item).or_default(), amount)?;
            }
        }
    }
    let mut items: Vec<ItemAmount> = sums.into_iter().collect();
    spend::sort_items(&mut items);
    Ok(items)
}

async fn by_item(db: &impl ConnectionTrait, query: &Query, rater: &mut Rater) -> Result<Spend, Fault> {
    // The rounding comes last.
    let mut sums: BTreeMap<(bool, Option<BillingItem>), (i64, i64)> = BTreeMap::new();
    for (item, amount) in items(db, &query.scope, query.days).await? {
        sums.entry((item.is_none(), item)).or_default().0 = amount;
    }
    let take =
        |open: &Running, amount| add(&mut sums.entry((false, Some(open.usage.item))).or_default().1, amount);
    rater.all(db, query, None, take).await?;
    complete(sums.into_iter().map(|((_, item), sums)| (Subject::Item(item), sums)), rater)
}

/// All rows at once, with their sums.
fn complete(sums: impl Iterator<Item = (Subject, (i64, i64))>, rater: &mut Rater) -> Result<Spend, Fault> {
    let rows: Vec<Row> = sums.map(|(subject, (billed, running))| Row { subject, billed, running }).collect();
    let mut totals = (0, 0);
    for row in &rows {
        add(&mut totals.0, row.billed)?;
        add(&mut totals.1, row.running)?;
    }
    let unpriced = std::mem::take(&mut rater.unpriced);
    Ok(Spend { rows, totals: Some(totals), unpriced, next_page_token: String::new() })
}

async fn by_workspace(db: &impl ConnectionTrait, query: &Query, rater: &mut Rater) -> Result<Spend, Fault> {
    let (scope, page) = (&query.scope, &query.page);
    let after = page.after.first().map_or("", String::as_str);
    let mut sums: BTreeMap<WorkspaceId, (String, i64, i64)> = BTreeMap::new();
    for (workspace, name) in spend::running_workspaces(db, scope, query.days, after, page.limit()).await? {
        sums.insert(workspace, (name, 0, 0));
    }
    // A year of 500 workspaces is some 200 000 bills, which one statement sums up.
    for found in spend::by_workspace(db, scope, query.days, after, page.limit()).await? {
        sums.insert(found.workspace, (found.name, micros(found.totals.payable)?, 0));
    }
    let (mut rows, next_page_token) = page
        .cut(sums.into_iter().take(usize::from(page.size) + 1).collect(), |(id, _)| {
            vec![id.as_str().to_owned()]
        });
    let mut running: HashMap<WorkspaceId, i64> = HashMap::new();
    let shown: Vec<WorkspaceId> = rows.iter().map(|(id, _)| id.clone()).collect();
    let take = |open: &Running, amount| add(running.entry(open.workspace.clone()).or_default(), amount);
    rater.all(db, query, Some(&shown), take).await?;
    for (id, row) in &mut rows {
        row.2 = running.get(id).copied().unwrap_or(0);
    }
    let totals = if page.after.is_empty() { Some(totals(db, query, rater).await?) } else { None };
    let row = |(id, (name, billed, running))| Row { subject: Subject::Workspace(id, name), billed, running };
    let rows = rows.into_iter().map(row).collect();
    Ok(Spend { rows, totals, unpriced: std::mem::take(&mut rater.unpriced), next_page_token })
}

async fn totals(db: &impl ConnectionTrait, query: &Query, rater: &mut Rater) -> Result<(i64, i64), Fault> {
    let mut sums = (0, 0);
    for window in windows(query.days) {
        for total in spend::by_day(db, &query.scope, window).await? {
            add(&mut sums.0, micros(total.payable)?)?;
        }
    }
    rater.all(db, query, None, |_, amount| add(&mut sums.1, amount)).await?;
    Ok(sums)
}
