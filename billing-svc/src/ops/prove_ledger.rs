//! Recomputes the ledger from its entries, and says what is unsound (I-01, I-02, I-07),
//! and that lots and bills say the same as its entries.

use sea_orm::ConnectionTrait;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Money;
use tandem_service_kit::db::{Database, StoreError};
use tandem_service_kit::fault::Fault;

use crate::store::read::{self, Row};

/// Most differences that are listed.
const DIFFERENCES_MAX: i64 = 1_000;

/// Something unsound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A ledger account or a transfer.
    pub subject: String,
    /// What is stored.
    pub stored: String,
    /// What the entries say.
    pub recomputed: String,
}

/// What the proof found.
#[derive(Debug)]
pub struct Proof {
    /// Entries summed.
    pub entries: i64,
    /// The sum over all entries in each currency; zero in a sound ledger.
    pub sums: Vec<Money>,
    /// What is unsound.
    pub differences: Vec<Difference>,
}

/// Proves the ledger of one customer or of all.
pub async fn prove_ledger(db: &Database, account: Option<&BillingAccountId>) -> Result<Proof, Fault> {
    let scope = if account.is_some() { "e.billing_account_id = ?" } else { "true" };
    let values = || account.map(|id| id.as_str().into());
    // What is posted meanwhile must not look like a difference.
    let db = &db.snapshot().await?;
    let text = format!(
        "SELECT e.currency, COUNT(*) AS entries, CAST(SUM(e.amount) AS BIGINT) AS total FROM ledger_entry e \
         WHERE {scope} GROUP BY e.currency ORDER BY e.currency"
    );
    let (mut entries, mut sums) = (0, Vec::new());
    for row in read::all(db, &text, values()).await? {
        let row = Row(&row, "ledger_entry");
        entries += row.int("entries")?;
        sums.push(Money { minor: row.int("total")?, currency: row.parse("currency")? });
    }
    let mut differences = Vec::new();
    // Every transfer adds up to zero.
    let text = format!(
        "SELECT e.billing_account_id, e.transfer_id AS name, CAST(SUM(e.amount) AS BIGINT) AS recomputed, \
         CAST(0 AS BIGINT) AS stored FROM ledger_entry e WHERE {scope} GROUP BY e.billing_account_id, e.transfer_id \
         HAVING SUM(e.amount) <> 0 LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "transfer", &mut differences).await?;
    // Every balance is the sum of its entries.
    let text = format!(
        "SELECT e.billing_account_id, e.account AS name, e.balance AS stored, \
         CAST(COALESCE(s.total, 0) AS BIGINT) AS recomputed FROM ledger_account e LEFT JOIN (\
            SELECT billing_account_id, account, SUM(amount) AS total, COUNT(*) AS entries FROM ledger_entry \
            GROUP BY billing_account_id, account) s \
         ON s.billing_account_id = e.billing_account_id AND s.account = e.account \
         WHERE {scope} AND (e.balance <> COALESCE(s.total, 0) OR e.entry_count <> COALESCE(s.entries, 0)) \
         LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "balance of", &mut differences).await?;
    // Every entry's balance is the one before it plus its amount, and places have no gap.
    let text = format!(
        "SELECT * FROM (SELECT e.billing_account_id, e.account AS name, e.balance_after AS stored, \
         CAST(COALESCE(LAG(e.balance_after) OVER w, 0) + e.amount AS BIGINT) AS recomputed, e.number, \
         ROW_NUMBER() OVER w AS place FROM ledger_entry e WHERE {scope} \
         WINDOW w AS (PARTITION BY e.billing_account_id, e.account ORDER BY e.number)) AS x \
         WHERE stored <> recomputed OR number <> place LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "running balance of", &mut differences).await?;
    // What is owed is the unpaid rest of the bills that are not with a cloud (`domain.md` 4.2).
    let text = format!(
        "SELECT e.billing_account_id, e.account AS name, e.balance AS stored, CAST(-COALESCE((\
            SELECT SUM(b.payable - b.paid) FROM daily_bill b WHERE b.billing_account_id = e.billing_account_id \
            AND b.currency = e.currency AND b.state IN ('in_arrears', 'overdue')), 0) AS BIGINT) AS recomputed FROM ledger_account e \
         WHERE {scope} AND e.kind = 'overdraft' AND e.balance <> -COALESCE((\
            SELECT SUM(b.payable - b.paid) FROM daily_bill b WHERE b.billing_account_id = e.billing_account_id \
            AND b.currency = e.currency AND b.state IN ('in_arrears', 'overdue')), 0) LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "open bills against", &mut differences).await?;
    // What packages' orders charged is what the ledger earned by them, and the other way round.
    let text = format!(
        "SELECT e.billing_account_id, e.order_id AS name, CAST(SUM(e.charged) AS BIGINT) AS stored, \
         CAST(SUM(e.earned) AS BIGINT) AS recomputed FROM (\
            SELECT billing_account_id, order_id, charged, 0 AS earned FROM package UNION ALL \
            SELECT billing_account_id, cause_id, 0, amount FROM ledger_entry \
            WHERE cause = 'package' AND account = 'revenue') AS e \
         WHERE {scope} GROUP BY e.billing_account_id, e.order_id HAVING SUM(e.charged) <> SUM(e.earned) \
         LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "order of packages", &mut differences).await?;
    unsound_lots(db, scope, account, &mut differences).await?;
    bills_against_entries(db, scope, account, &mut differences).await?;
    Ok(Proof { entries, sums, differences })
}

/// Every account that has entries has a row, every lot's account has a lot, and a lot is open while something is left.
async fn unsound_lots(
    db: &impl ConnectionTrait,
    scope: &str,
    account: Option<&BillingAccountId>,
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    let values = || account.map(|id| id.as_str().into());
    let text = format!(
        "SELECT e.billing_account_id, e.account AS name, CAST(0 AS BIGINT) AS stored, COUNT(*) AS recomputed \
         FROM ledger_entry e WHERE {scope} AND NOT EXISTS (SELECT 1 FROM ledger_account a \
            WHERE a.billing_account_id = e.billing_account_id AND a.account = e.account) \
         GROUP BY e.billing_account_id, e.account LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "entries without the account", differences).await?;
    let text = format!(
        "SELECT e.billing_account_id, e.account AS name, CAST(CASE WHEN l.id IS NULL THEN -1 WHEN l.is_open THEN 1 ELSE 0 END AS BIGINT) \
         AS stored, CAST(CASE WHEN e.balance > 0 THEN 1 ELSE 0 END AS BIGINT) AS recomputed \
         FROM ledger_account e LEFT JOIN lot l ON l.billing_account_id = e.billing_account_id AND l.account = e.account \
         WHERE {scope} AND e.kind IN ('general_voucher', 'discount_voucher', 'prepaid_card', 'cash') \
         AND (l.id IS NULL OR l.is_open <> (e.balance > 0)) LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "open lot of", differences).await
}

/// What was earned by each bill is what it asks for, as far as a cloud has not still to take it; and what each lot or
/// cloud gave in each transfer is what bills say it paid.
async fn bills_against_entries(
    db: &impl ConnectionTrait,
    scope: &str,
    account: Option<&BillingAccountId>,
    differences: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    let values = || account.map(|id| id.as_str().into());
    let text = format!(
        "SELECT e.billing_account_id, e.name, CAST(SUM(e.due) AS BIGINT) AS stored, CAST(SUM(e.earned) AS BIGINT) \
         AS recomputed FROM (SELECT billing_account_id, id AS name, currency, \
            CASE WHEN state IN ('submitted', 'rejected') THEN paid ELSE payable END AS due, 0 AS earned FROM daily_bill \
            UNION ALL SELECT billing_account_id, cause_id, currency, 0, amount FROM ledger_entry \
            WHERE cause IN ('bill', 'bill_moved', 'cloud_bill') AND (account = 'revenue' OR account LIKE 'revenue:%')\
         ) AS e WHERE {scope} GROUP BY e.billing_account_id, e.name, e.currency HAVING SUM(e.due) <> SUM(e.earned) \
         LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "earned by", differences).await?;
    let text = format!(
        "SELECT e.billing_account_id, e.transfer_id || ' from ' || e.payer AS name, CAST(SUM(e.paid) AS BIGINT) AS stored, \
         CAST(SUM(e.given) AS BIGINT) AS recomputed FROM (SELECT billing_account_id, transfer_id, \
            CASE WHEN instrument = 'cloud' THEN instrument ELSE instrument || ':' || lot END AS payer, \
            amount AS paid, 0 AS given FROM bill_payment \
            UNION ALL SELECT billing_account_id, transfer_id, \
            CASE WHEN account LIKE 'cloud_clearing:%' THEN 'cloud' ELSE account END, 0, -amount FROM ledger_entry \
            WHERE cause IN ('bill', 'bill_moved', 'cloud_bill', 'repayment') AND account LIKE '%:%' \
            AND account NOT LIKE 'revenue:%' AND account NOT LIKE 'overdraft:%') AS e \
         WHERE {scope} GROUP BY e.billing_account_id, e.transfer_id, e.payer HAVING SUM(e.paid) <> SUM(e.given) \
         LIMIT {DIFFERENCES_MAX}"
    );
    collect(db, &text, values(), "paid by", differences).await
}

async fn collect(
    db: &impl ConnectionTrait,
    text: &str,
    values: Option<sea_orm::Value>,
    what: &str,
    into: &mut Vec<Difference>,
) -> Result<(), StoreError> {
    for row in read::all(db, text, values).await? {
        let row = Row(&row, "ledger_entry");
        into.push(Difference {
            subject: format!("{what} {} {}", row.text("billing_account_id")?, row.text("name")?),
            stored: row.int("stored")?.to_string(),
            recomputed: row.int("recomputed")?.to_string(),
        });
    }
    Ok(())
}
