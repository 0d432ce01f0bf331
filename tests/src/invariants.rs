//! The invariants of `reliability.md` section 1 that can be checked from outside, at any moment when nothing is running.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use tandem_proto::billing::v1::{ProveBillsRequest, ProveLedgerRequest};

use crate::rows::Rows;
use crate::system::System;

/// Queries on Billing's tables that must select nothing; each selects texts that name what is wrong.
const BILLING: &[(&str, &str)] = &[
    (
        "I-01: the entries of each transfer sum to 0",
        "SELECT transfer_id FROM ledger_entry GROUP BY billing_account_id, transfer_id, currency HAVING SUM(amount) <> 0",
    ),
    (
        "I-01: all entries sum to 0 per currency",
        "SELECT currency FROM ledger_entry GROUP BY currency HAVING SUM(amount) <> 0",
    ),
    (
        "I-02: each stored balance is the sum of its entries",
        "SELECT a.account FROM ledger_account a WHERE a.balance <> (SELECT COALESCE(SUM(e.amount), 0) FROM ledger_entry e \
         WHERE e.billing_account_id = a.billing_account_id AND e.account = a.account)",
    ),
    ("I-03: cash is never below 0", "SELECT account FROM ledger_account WHERE kind = 'cash' AND balance < 0"),
    (
        "I-07: each entry's balance is the running sum",
        "SELECT transfer_id FROM (SELECT transfer_id, balance_after, SUM(amount) OVER \
         (PARTITION BY billing_account_id, account ORDER BY number) AS running FROM ledger_entry) x \
         WHERE balance_after <> running",
    ),
    (
        "I-13: one bill for each account, workspace, day and kind",
        "SELECT workspace_id FROM daily_bill GROUP BY billing_account_id, workspace_id, usage_day, kind \
         HAVING COUNT(*) > 1",
    ),
    (
        "I-12, D10: each day of a workspace is one account's, also when it has moved",
        "SELECT workspace_id FROM usage_day GROUP BY workspace_id, usage_day HAVING COUNT(DISTINCT billing_account_id) > 1",
    ),
    (
        "I-14: each bill is the sum of its lines",
        "SELECT b.id FROM daily_bill b WHERE b.payable * 10000 <> (SELECT COALESCE(SUM(l.amount), 0) FROM bill_line l \
         WHERE l.billing_account_id = b.billing_account_id AND l.bill_id = b.id)",
    ),
    (
        "I-15: what is paid of a bill is the sum of its payments",
        "SELECT b.id FROM daily_bill b WHERE b.paid <> (SELECT COALESCE(SUM(p.amount), 0) FROM bill_payment p \
         WHERE p.billing_account_id = b.billing_account_id AND p.bill_id = b.id)",
    ),
    (
        "I-16: each bill is settled through one channel",
        "SELECT bill_id FROM bill_payment GROUP BY billing_account_id, bill_id HAVING COUNT(DISTINCT instrument) > 1",
    ),
    (
        "I-08, I-09: what counts as billed is what stands on bills",
        "SELECT u.workspace_id FROM usage_day u WHERE u.billed <> (SELECT COALESCE(SUM(l.quantity), 0) FROM bill_line l \
         JOIN daily_bill b ON b.billing_account_id = l.billing_account_id AND b.id = l.bill_id \
         WHERE b.workspace_id = u.workspace_id AND COALESCE(l.adjusted_day, b.usage_day) = u.usage_day \
         AND l.item = u.item AND l.retention_days = u.retention_days AND l.sub_key = u.sub_key)",
    ),
    (
        "I-17: one record for each subscription, dimension and window",
        "SELECT subscription_id FROM metering_record GROUP BY subscription_id, dimension, window_start HAVING COUNT(*) > 1",
    ),
    (
        "I-17: each record is the sum of its bills",
        "SELECT r.id FROM metering_record r WHERE r.amount <> (SELECT COALESCE(SUM(m.amount), 0) FROM metering_bill m \
         WHERE m.metering_record_id = r.id)",
    ),
    (
        "I-17: each bill is in one record",
        "SELECT bill_id FROM metering_bill GROUP BY billing_account_id, bill_id HAVING COUNT(*) > 1",
    ),
    (
        "I-18: settlement periods follow each other without gap or overlap",
        "SELECT workspace_id FROM (SELECT workspace_id, effective_to, LEAD(effective_from) OVER \
         (PARTITION BY workspace_id ORDER BY effective_from) AS following FROM workspace_binding) x \
         WHERE following IS NOT NULL AND (effective_to IS NULL OR effective_to <> following)",
    ),
    (
        "I-18: each bound workspace has one lasting period, and a dissolved one has none",
        "SELECT w.workspace_id FROM workspace w WHERE w.left_at IS NULL \
         AND CASE WHEN w.standing = 'dissolved' THEN 0 ELSE 1 END <> \
         (SELECT COUNT(*) FROM workspace_binding b WHERE b.workspace_id = w.workspace_id AND b.effective_to IS NULL)",
    ),
    (
        "I-19: a cloud account belongs to one billing account",
        "SELECT vendor_account_id FROM cloud_account GROUP BY vendor, vendor_account_id HAVING COUNT(*) > 1",
    ),
    (
        "I-20, I-23: no workspace settles through a subscription that has ended",
        "SELECT b.workspace_id FROM workspace_binding b JOIN subscription s ON s.id = b.subscription_id \
         WHERE b.effective_to IS NULL AND s.state IN ('cancelled', 'expired')",
    ),
    (
        "5.6: an account that owes nothing is in good standing, and the other way round",
        "SELECT a.id FROM billing_account a WHERE (a.standing = 'good') <> (0 = (SELECT COALESCE(SUM(l.balance), 0) \
         FROM ledger_account l WHERE l.billing_account_id = a.id AND l.kind = 'overdraft'))",
    ),
];

impl System {
    /// Checks every invariant that holds in each committed state.
    pub async fn check_invariants(&self) -> anyhow::Result<()> {
        let billing = self.billing_rows().await?;
        for (claim, sql) in BILLING {
            let wrong = billing.texts(sql).await.with_context(|| (*claim).to_owned())?;
            ensure!(wrong.is_empty(), "{claim}, but not for {wrong:?}");
        }
        self.check_proofs().await?;
        self.check_metering(billing).await
    }

    /// Checks as well that both services hold the same usage (I-08): for a moment when everything is delivered.
    pub async fn check_converged(&self) -> anyhow::Result<()> {
        self.eventually("everything is delivered", async || {
            let sql = "SELECT COUNT(*) FROM usage_total WHERE delivered_revision < revision";
            let dirty = "SELECT COUNT(*) FROM usage_dirty";
            let console = self.console_rows().await?;
            // In this order: what is dirty becomes a total that is not delivered yet.
            Ok((console.number(dirty).await? == 0 && console.number(sql).await? == 0).then_some(()))
        })
        .await?;
        let told = "SELECT workspace_id || '/' || CAST(usage_day AS TEXT) || '/' || CAST(retention_days AS TEXT) || '/' \
                    || sub_key || '/' || CAST(SUM(quantity_hundredths) AS TEXT) || '/' || CAST(COUNT(*) AS TEXT) \
                    FROM usage_total WHERE revision > 0 GROUP BY workspace_id, usage_day, retention_days, sub_key";
        let held = "SELECT workspace_id || '/' || CAST(usage_day AS TEXT) || '/' || CAST(retention_days AS TEXT) || '/' \
                    || sub_key || '/' || CAST(SUM(quantity) AS TEXT) || '/' || CAST(COUNT(*) AS TEXT) \
                    FROM usage_day GROUP BY workspace_id, usage_day, retention_days, sub_key";
        let told: BTreeSet<String> = self.console_rows().await?.texts(told).await?.into_iter().collect();
        let held: BTreeSet<String> = self.billing_rows().await?.texts(held).await?.into_iter().collect();
        ensure!(told == held, "I-08: the Console has told {told:?}, Billing holds {held:?}");
        self.check_invariants().await
    }

    /// I-14, I-01, I-02: the services' own proofs find nothing, though the services go on meanwhile.
    async fn check_proofs(&self) -> anyhow::Result<()> {
        const COUNT: &str = "SELECT COUNT(*) FROM daily_bill";
        let operator = self.operator()?;
        let ledger = operator.wallet().prove_ledger(ProveLedgerRequest::default()).await?.into_inner();
        ensure!(ledger.differences.is_empty(), "the ledger is unsound: {:?}", ledger.differences);
        ensure!(ledger.sums.iter().all(|sum| sum.minor_units == 0), "I-01: the sums are {:?}", ledger.sums);
        let before = self.billing_rows().await?.number(COUNT).await?;
        let (mut page_token, mut proved) = (String::new(), 0_i64);
        loop {
            let request = ProveBillsRequest { page_size: 200, page_token, ..Default::default() };
            let page = operator.bills().prove_bills(request).await?.into_inner();
            ensure!(page.differences.is_empty(), "I-14: bills cannot be proved: {:?}", page.differences);
            proved += i64::from(page.proved_count);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let after = self.billing_rows().await?.number(COUNT).await?;
        ensure!((before..=after).contains(&proved), "{proved} of {before} to {after} bills were proved");
        Ok(())
    }

    /// I-17: what the vendor remembers is what we hold as taken, and nothing was taken twice.
    async fn check_metering(&self, billing: &Rows) -> anyhow::Result<()> {
        let mut remembered: BTreeMap<String, i64> = BTreeMap::new();
        let mut windows = BTreeSet::new();
        for usage in self.sandbox.usage() {
            let window = (usage.instance_id.clone(), usage.dimension.clone(), usage.start);
            ensure!(windows.insert(window), "I-17: the vendor took a window twice: {usage:?}");
            *remembered.entry(usage.instance_id).or_default() += usage.quantity;
        }
        let sql = "SELECT vendor_instance_id, state, CAST(SUM(quantity) AS BIGINT) FROM metering_record \
                   GROUP BY vendor_instance_id, state";
        let (mut surely, mut perhaps) = (BTreeMap::new(), BTreeMap::new());
        for row in billing.all(sql).await? {
            let (instance, state, sum): (String, String, i64) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            match state.as_str() {
                "accepted" | "duplicate_same" => *surely.entry(instance).or_insert(0_i64) += sum,
                // Until somebody has looked, the vendor may or may not have these.
                "sending" | "unknown" => *perhaps.entry(instance).or_insert(0_i64) += sum,
                _ => {}
            }
        }
        let instances: BTreeSet<&String> = remembered.keys().chain(surely.keys()).collect();
        for instance in instances {
            let value = |map: &BTreeMap<String, i64>| map.get(instance).copied().unwrap_or(0);
            let (theirs, ours) = (value(&remembered), value(&surely));
            let most = ours + value(&perhaps);
            ensure!(
                (ours..=most).contains(&theirs),
                "I-17: {instance} has {theirs} there, {ours} to {most} here"
            );
        }
        Ok(())
    }
}
