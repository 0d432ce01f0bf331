//! Recomputes generated monthly bills from their daily bills, and says what differs.
//!
//! The comparison is made in the database, so that a month of very many workspaces is never held here; it goes over a
//! bounded number of daily bills at a time.

use sea_orm::{ConnectionTrait, Value};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{LineAmount, Money};
use tandem_proto::month::Month;
use tandem_proto::page::Page;
use tandem_service_kit::db::{Database, Kind, Rows, StoreError};
use tandem_service_kit::fault::Fault;

use crate::domain::monthly::{MonthKey, runs};
use crate::store::monthly_bill::{self, MonthlyBill};
use crate::store::monthly_totals;
use crate::store::read::{self, Row};

/// Daily bills compared in one statement.
const BILLS_MAX: i64 = 20_000;
/// Workspaces of a large month compared in one statement: at 31 bills each about as many bills.
const WORKSPACES: i64 = 600;
/// Most differences that are told.
const DIFFERENCES_MAX: usize = 1_000;
/// Sorts after every workspace's id: their digits end with `f`.
const AFTER_ALL: &str = "wks_g";

/// A difference between a monthly bill and its recomputation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub account: BillingAccountId,
    /// Of which month.
    pub month: Month,
    /// What differs.
    pub what: String,
    /// What the monthly bill says.
    pub stored: String,
    /// What the recomputation says.
    pub recomputed: String,
}

/// What a page of monthly bills proves.
#[derive(Debug)]
pub struct Proof {
    /// Monthly bills recomputed.
    pub proved: usize,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The next page, or empty.
    pub next_page_token: String,
}

/// Proves a page of monthly bills: of one account or of all, of one month or of all.
pub async fn prove_months(
    db: &Database,
    account: Option<&BillingAccountId>,
    month: Option<Month>,
    page: &Page,
) -> Result<Proof, Fault> {
    let db = db.snapshot().await?;
    let rows = monthly_bill::list_generated(&db, account, month, &page.after, page.limit()).await?;
    let (bills, next_page_token) = page.cut(rows, |m| {
        let MonthKey { billing_account, month, currency } = &m.key;
        vec![billing_account.as_str().to_owned(), month.number().to_string(), currency.code().to_owned()]
    });
    let proved = bills.len();
    let mut differences = Vec::new();
    for run in runs(bills, BILLS_MAX, |m| m.totals.bill_count.max(1)) {
        totals(&db, &run, &mut differences).await?;
        parts(&db, &run, &mut differences).await?;
        if differences.len() >= DIFFERENCES_MAX {
            differences.truncate(DIFFERENCES_MAX);
            break;
        }
    }
    Ok(Proof { proved, differences, next_page_token })
}

/// What the bills say of themselves against the sums of their daily bills and of their workspaces.
async fn totals(
    db: &impl ConnectionTrait,
    bills: &[MonthlyBill],
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    let keys: Vec<MonthKey> = bills.iter().map(|m| m.key.clone()).collect();
    let live = monthly_totals::live(db, &keys).await?;
    let (then, now) =
        (monthly_totals::paid_stored(db, &keys).await?, monthly_totals::paid_live(db, &keys).await?);
    for m in bills {
        let mut differ = |what: String, stored: String, recomputed: String| {
            if stored != recomputed {
                differences.push(difference(&m.key, what, stored, recomputed));
            }
        };
        let money = |minor| Money { minor, currency: m.key.currency }.to_string();
        let sums = live.get(&m.key).copied().unwrap_or_default();
        differ("payable".into(), money(m.totals.payable), money(sums.payable));
        differ("bills".into(), m.totals.bill_count.to_string(), sums.bill_count.to_string());
        let paid: i64 = then.iter().filter(|(key, _, _)| *key == m.key).map(|(_, _, minor)| minor).sum();
        differ("paid".into(), money(m.totals.paid), money(paid));
        // What was paid then is paid now: payments only ever come.
        for (key, by, minor) in then.iter().filter(|(key, _, _)| *key == m.key) {
            let since = now.iter().find(|(k, b, _)| k == key && b == by).map_or(0, |(_, _, minor)| *minor);
            if since < *minor {
                differ(format!("paid by {}", by.name()), money(*minor), money(since));
            }
        }
    }
    Ok(())
}

fn difference(key: &MonthKey, what: String, stored: String, recomputed: String) -> Difference {
    Difference { account: key.billing_account.clone(), month: key.month, what, stored, recomputed }
}

/// Some workspaces of a month: from one id to before another.
struct Stretch {
    key: MonthKey,
    from: String,
    until: String,
}

/// Workspaces and their items, compared stretch by stretch.
async fn parts(
    db: &impl ConnectionTrait,
    bills: &[MonthlyBill],
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    if let [large] = bills
        && large.totals.bill_count > BILLS_MAX
    {
        let mut from = String::new();
        while from != AFTER_ALL {
            let until = workspace_after(db, &large.key, &from).await?.unwrap_or_else(|| AFTER_ALL.to_owned());
            let stretch = Stretch { key: large.key.clone(), from, until: until.clone() };
            compare(db, &[stretch], differences).await?;
            from = until;
        }
        return Ok(());
    }
    let whole =
        |m: &MonthlyBill| Stretch { key: m.key.clone(), from: String::new(), until: AFTER_ALL.into() };
    compare(db, &bills.iter().map(whole).collect::<Vec<_>>(), differences).await
}

async fn workspace_after(
    db: &impl ConnectionTrait,
    key: &MonthKey,
    from: &str,
) -> Result<Option<String>, StoreError> {
    let text = "SELECT workspace_id FROM monthly_bill_workspace WHERE billing_account_id = ? AND month = ? \
                AND currency = ? AND workspace_id >= ? ORDER BY workspace_id LIMIT 1 OFFSET ?";
    let values: [Value; 5] = [
        key.billing_account.as_str().into(),
        key.month.number().into(),
        key.currency.code().into(),
        from.into(),
        WORKSPACES.into(),
    ];
    read::one(db, text, values)
        .await?
        .map(|row| Row(&row, "monthly_bill_workspace").text("workspace_id"))
        .transpose()
}

/// What is stored counts up, what the daily bills say counts down: what is left over differs.
async fn compare(
    db: &impl ConnectionTrait,
    stretches: &[Stretch],
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    let mut rows = Rows::new(&[
        ("billing_account_id", Kind::Text),
        ("month", Kind::Int),
        ("currency", Kind::Text),
        ("first_day", Kind::Int),
        ("last_day", Kind::Int),
        ("from_id", Kind::Text),
        ("until_id", Kind::Text),
    ]);
    for Stretch { key, from, until } in stretches {
        rows.push([
            key.billing_account.as_str().into(),
            i64::from(key.month.number()).into(),
            key.currency.code().into(),
            i64::from(key.month.first_day().number()).into(),
            i64::from(key.month.last_day().number()).into(),
            from.as_str().into(),
            until.as_str().into(),
        ]);
    }
    let rel = rows.relation(db.get_database_backend(), "x", 1)?;
    const STORED: &str = "ON s.billing_account_id = r.billing_account_id AND s.month = r.month \
        AND s.currency = r.currency AND s.workspace_id >= r.from_id AND s.workspace_id < r.until_id";
    const MADE: &str = "JOIN daily_bill b ON b.billing_account_id = r.billing_account_id \
        AND b.workspace_id >= r.from_id AND b.workspace_id < r.until_id AND b.usage_day BETWEEN r.first_day AND r.last_day \
        AND b.currency = r.currency";
    // Payables are compared in millionths like the items; their rows have `-` for an item.
    let text = format!(
        "WITH r AS (SELECT * FROM {}) \
         SELECT billing_account_id, month, currency, workspace_id, item, CAST(SUM(stored) AS BIGINT) AS stored, \
         CAST(SUM(made) AS BIGINT) AS made FROM (\
            SELECT r.billing_account_id, r.month, r.currency, s.workspace_id, s.item, s.amount AS stored, 0 AS made \
            FROM r JOIN monthly_bill_item s {STORED} \
            UNION ALL SELECT r.billing_account_id, r.month, r.currency, b.workspace_id, l.item, 0, l.amount \
            FROM r {MADE} JOIN bill_line l ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
            UNION ALL SELECT r.billing_account_id, r.month, r.currency, s.workspace_id, '-', s.payable * 10000, 0 \
            FROM r JOIN monthly_bill_workspace s {STORED} \
            UNION ALL SELECT r.billing_account_id, r.month, r.currency, b.workspace_id, '-', 0, b.payable * 10000 \
            FROM r {MADE}) AS u \
         GROUP BY billing_account_id, month, currency, workspace_id, item HAVING SUM(stored) <> SUM(made) \
         ORDER BY billing_account_id, month, currency, workspace_id, item LIMIT {DIFFERENCES_MAX}",
        rel.sql
    );
    for row in read::all(db, &text, rel.values).await? {
        let row = Row(&row, "monthly_bill_item");
        let key = monthly_totals::handed_over(row)?;
        let (workspace, item) = (row.text("workspace_id")?, row.text("item")?);
        let what = match item.as_str() {
            "-" => format!("workspace {workspace} payable"),
            "" => format!("workspace {workspace} rounding"),
            item => format!("workspace {workspace} {item}"),
        };
        let amount = |micros| LineAmount { micros, currency: key.currency }.to_string();
        let (stored, made) = (amount(row.int("stored")?), amount(row.int("made")?));
        differences.push(difference(&key, what, stored, made));
    }
    Ok(())
}
