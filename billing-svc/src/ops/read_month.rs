//! Shows monthly bills: as they were generated, or as far as the month has come.

use sea_orm::ConnectionTrait;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::page::Page;
use tandem_service_kit::db::{Database, StoreError};
use tandem_service_kit::fault::Fault;

use super::get_spend;
use crate::domain::deduction::Instrument;
use crate::domain::monthly::{self, MonthKey, MonthlyState, Progress};
use crate::store::monthly_bill::{self, MonthlyBill};
use crate::store::monthly_totals;
use crate::store::spend::{self, Days, ItemAmount, Scope, WorkspaceTotals};

/// A monthly bill as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The bill; what an open one comes to is as of now.
    pub bill: MonthlyBill,
    /// Where it stands.
    pub state: MonthlyState,
    /// What paid it, in minor units.
    pub paid_by: Vec<(Instrument, i64)>,
    /// What cash has paid until now, in minor units; `None` where it was not looked for.
    pub from_cash: Option<i64>,
    /// What its items cost; empty where it was not looked for.
    pub items: Vec<ItemAmount>,
}

/// A page of an account's monthly bills, newest month first, without items.
pub async fn list(
    db: &Database,
    account: &BillingAccountId,
    page: &Page,
) -> Result<(Vec<Shown>, String), Fault> {
    let db = db.snapshot().await?;
    let rows = monthly_bill::list(&db, account, &page.after, page.limit()).await?;
    let (rows, next) =
        page.cut(rows, |m| vec![m.key.month.number().to_string(), m.key.currency.code().to_owned()]);
    Ok((show(&db, rows, false).await?, next))
}

/// One monthly bill with its items. Fails with `OBJECT_NOT_FOUND` when the month has none.
pub async fn get(db: &Database, key: &MonthKey) -> Result<Shown, Fault> {
    let db = db.snapshot().await?;
    let found = monthly_bill::find(&db, key).await?.ok_or(Fault::not_found("month"))?;
    let mut shown = show(&db, vec![found], true).await?;
    let mut shown = shown.pop().ok_or(Fault::not_found("month"))?;
    shown.items = match shown.bill.progress {
        Progress::Generated => {
            monthly_totals::items(&db, std::slice::from_ref(key)).await?.remove(key).unwrap_or_default()
        }
        Progress::Open | Progress::Closing => get_spend::items(&db, &scope(key), days(key)).await?,
    };
    Ok(shown)
}

async fn show(
    db: &impl ConnectionTrait,
    mut bills: Vec<MonthlyBill>,
    with_cash: bool,
) -> Result<Vec<Shown>, StoreError> {
    let keys = |generated: bool| -> Vec<MonthKey> {
        let wanted = bills.iter().filter(|m| (m.progress == Progress::Generated) == generated);
        wanted.map(|m| m.key.clone()).collect()
    };
    let (open, generated) = (keys(false), keys(true));
    // How far a bill is invoiced depends on what cash has paid since; it is looked for only where there are invoices.
    let invoiced: Vec<MonthKey> =
        bills.iter().filter(|m| with_cash || m.invoiced > 0).map(|m| m.key.clone()).collect();
    let live = monthly_totals::live(db, &open).await?;
    let mut paid = monthly_totals::paid_live(db, &open).await?;
    paid.extend(monthly_totals::paid_stored(db, &generated).await?);
    let cash = monthly_totals::paid_live(db, &invoiced).await?;
    for m in &mut bills {
        if let Some(totals) = live.get(&m.key) {
            m.totals = *totals;
        }
    }
    let shown = bills.into_iter().map(|m| {
        let of_it = |(key, instrument, minor): &(MonthKey, Instrument, i64)| {
            (*key == m.key).then_some((*instrument, *minor))
        };
        let paid_by: Vec<_> = paid.iter().filter_map(of_it).collect();
        let now = cash.iter().filter_map(of_it).find(|(by, _)| *by == Instrument::Cash);
        let looked = invoiced.contains(&m.key);
        let from_cash = looked.then(|| now.map_or(0, |(_, minor)| minor));
        let state = monthly::state(m.progress, from_cash.unwrap_or(0), m.invoiced);
        Shown { state, paid_by, from_cash, items: Vec::new(), bill: m }
    });
    Ok(shown.collect())
}

/// A workspace's part of a monthly bill.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it comes to.
    pub totals: WorkspaceTotals,
    /// What its items cost.
    pub items: Vec<ItemAmount>,
}

/// A page of a monthly bill's workspaces, in the order of ids. Fails with `OBJECT_NOT_FOUND` when the month has no bill.
pub async fn list_workspaces(
    db: &Database,
    key: &MonthKey,
    page: &Page,
) -> Result<(Vec<Part>, String), Fault> {
    let db = db.snapshot().await?;
    let found = monthly_bill::find(&db, key).await?.ok_or(Fault::not_found("month"))?;
    let after = page.after.first().map_or("", String::as_str);
    let rows = workspaces(&db, &found, after, page.limit()).await?;
    let (rows, next) = page.cut(rows, |w| vec![w.workspace.as_str().to_owned()]);
    Ok((with_items(&db, &found, rows).await?, next))
}

/// The workspaces of a monthly bill after one, with their items, without a page's form.
pub(super) async fn parts(
    db: &impl ConnectionTrait,
    bill: &MonthlyBill,
    after: &str,
    limit: u64,
) -> Result<Vec<Part>, StoreError> {
    let rows = workspaces(db, bill, after, limit).await?;
    with_items(db, bill, rows).await
}

async fn workspaces(
    db: &impl ConnectionTrait,
    bill: &MonthlyBill,
    after: &str,
    limit: u64,
) -> Result<Vec<WorkspaceTotals>, StoreError> {
    match bill.progress {
        Progress::Generated => monthly_totals::workspaces(db, &bill.key, after, limit).await,
        Progress::Open | Progress::Closing => {
            spend::by_workspace(db, &scope(&bill.key), days(&bill.key), after, limit).await
        }
    }
}

async fn with_items(
    db: &impl ConnectionTrait,
    bill: &MonthlyBill,
    rows: Vec<WorkspaceTotals>,
) -> Result<Vec<Part>, StoreError> {
    let ids: Vec<_> = rows.iter().map(|w| w.workspace.clone()).collect();
    let mut items = match bill.progress {
        Progress::Generated => monthly_totals::workspace_items(db, &bill.key, &ids).await?,
        Progress::Open | Progress::Closing => {
            spend::items_of(db, &scope(&bill.key), days(&bill.key), &ids).await?
        }
    };
    let part = |totals: WorkspaceTotals| {
        let items = items.remove(&totals.workspace).unwrap_or_default();
        Part { totals, items }
    };
    Ok(rows.into_iter().map(part).collect())
}

fn scope(key: &MonthKey) -> Scope {
    Scope { account: key.billing_account.clone(), currency: key.currency, workspace: None }
}

fn days(key: &MonthKey) -> Days {
    (key.month.first_day(), key.month.last_day())
}
