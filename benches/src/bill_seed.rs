//! Customers with a day's usage, put into Billing's tables set by set: each account has five lots, one workspace settled
//! by the Billing Center, and twelve items used on one closed day of one site.

use anyhow::Context as _;
use jiff::Timestamp;
use sqlx::PgConnection;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::item::BillingItem;

use crate::postgres::run;

/// Lines on each bill, as the floor is stated for.
pub(crate) const LINES: u32 = 12;
/// The site, its zone and the day that is billed.
pub(crate) const SITE: &str = "cn1";
const ZONE: &str = "Asia/Shanghai";
const DAY: &str = "2026-03-01";
/// When the customers came, and when the day is billed.
const JOINED: &str = "2026-02-01T00:00:00Z";
/// The business time of the run.
pub(crate) const NOW: &str = "2026-03-01T18:00:00Z";
/// What an account can pay with: kind, prefix of the id, what it was funded from, and its balance in fen. A bill uses
/// each of them: only the last one holds more than a bill leaves for it.
const LOTS: [(&str, &str, &str, i64); 5] = [
    ("general_voucher", "vch_1", "promotion", 150),
    ("discount_voucher", "vch_2", "promotion", 150),
    ("prepaid_card", "crd_3", "funding", 150),
    ("cash", "rch_4", "funding", 50),
    ("cash", "rch_5", "funding", 10_000_000),
];
/// How many lots an account has.
pub(crate) const LOTS_EACH: u32 = 5;

/// The twelve items, each with the retention it was used at.
const ITEMS: [(BillingItem, i32); 12] = [
    (BillingItem::TimeSeries, 14),
    (BillingItem::LogCount, 14),
    (BillingItem::Pipeline, 0),
    (BillingItem::DataForwardExternal, 0),
    (BillingItem::DataForwardInternal, 0),
    (BillingItem::NetworkHost, 0),
    (BillingItem::ApmTrace, 14),
    (BillingItem::ApmProfile, 14),
    (BillingItem::RumPv, 14),
    (BillingItem::SessionReplay, 0),
    (BillingItem::SyntheticTest, 0),
    (BillingItem::Trigger, 0),
];

/// The day that is billed.
pub(crate) fn day() -> anyhow::Result<UsageDay> {
    Ok(DAY.parse()?)
}

/// Fills the tables for this many workspaces and closes the day.
pub(crate) async fn seed(connection: &mut PgConnection, workspaces: u32) -> anyhow::Result<()> {
    for text in statements(workspaces)? {
        run(connection, &text).await.with_context(|| text.clone())?;
    }
    run(connection, "VACUUM (ANALYZE)").await?;
    run(connection, "CHECKPOINT").await
}

/// What a bill run is held against: one statement that only aggregates the same usage and inserts the same lines, into
/// a table of the same definition.
pub(crate) async fn reference(connection: &mut PgConnection) -> anyhow::Result<u64> {
    let table =
        "CREATE SCHEMA reference; CREATE TABLE reference.bill_line (LIKE public.bill_line INCLUDING ALL)";
    run(connection, table).await?;
    let text = "INSERT INTO reference.bill_line (billing_account_id, bill_id, number, kind, item, retention_days, \
        sub_key, quantity, unit_size, unit_price, amount, price_list_version) \
        SELECT u.billing_account_id, 'bil_' || substr(u.workspace_id, 5), \
        row_number() OVER (PARTITION BY u.workspace_id ORDER BY u.item), 'pay_as_you_go', u.item, u.retention_days, \
        u.sub_key, SUM(u.quantity), p.unit_size, p.unit_price, \
        div(SUM(u.quantity) * p.unit_price, p.unit_size * 100), p.version \
        FROM usage_day u JOIN price p ON p.price_zone = 'CN' AND p.currency = 'CNY' AND p.item = u.item \
        AND p.retention_days = u.retention_days GROUP BY u.billing_account_id, u.workspace_id, u.item, \
        u.retention_days, u.sub_key, p.unit_size, p.unit_price, p.version";
    Ok(sqlx::query(text).execute(connection).await?.rows_affected())
}

fn statements(workspaces: u32) -> anyhow::Result<Vec<String>> {
    let joined = JOINED.parse::<Timestamp>()?.as_microsecond();
    let now = NOW.parse::<Timestamp>()?.as_microsecond();
    let day = day()?;
    let ends_at = day.end(&zone(ZONE).context("the zone is unknown")?).as_microsecond();
    let day = day.number();
    // Ids sort as they were made, which is what UUIDv7 does.
    let id = |prefix: &str| format!("'{prefix}195000000007000' || lpad(to_hex(n), 16, '0')");
    let (account, workspace) = (id("bac_0"), id("wks_0"));
    let each = format!("FROM generate_series(1, {workspaces}) AS n");
    let ledger = "ledger_entry (billing_account_id, account, number, transfer_id, currency, amount, balance_after, \
                  entered_at, cause, cause_id)";
    let mut all = vec![
        format!(
            "INSERT INTO billing_account (id, region, username, username_key, email, email_key, password_hash, \
             company_name, company_industry, company_region, company_description, currency, language, \
             any_settlement_allowed, standing, created_at) SELECT {account}, 'domestic', 'user' || n, 'user' || n, \
             'user' || n || '@mail.test', 'user' || n || '@mail.test', '-', 'Company ' || n, '', '', '', 'CNY', \
             CASE n % 2 WHEN 0 THEN 'en' ELSE 'zh' END, false, 'good', {joined} {each}"
        ),
        format!(
            "INSERT INTO workspace_directory (workspace_id, billing_account_id) SELECT {workspace}, {account} {each}"
        ),
        format!(
            "INSERT INTO workspace (billing_account_id, workspace_id, name, site, time_zone, price_zone, \
             billing_region, default_methods, language, owner_email, profile_revision, bound_at, standing, revision) \
             SELECT {account}, {workspace}, 'Workspace ' || n, '{SITE}', '{ZONE}', 'CN', 'domestic', 'alibaba', 'en', \
             'owner' || n || '@mail.test', 1, {joined}, 'active', 1 {each}"
        ),
        format!(
            "INSERT INTO workspace_binding (billing_account_id, workspace_id, effective_from, settlement_method, cause) \
             SELECT {account}, {workspace}, {joined}, 'billing_center', 'bound' {each}"
        ),
        format!(
            "INSERT INTO site_day (site, usage_day, time_zone, ends_at, closed_at, run_cursor) \
             VALUES ('{SITE}', {day}, '{ZONE}', {ends_at}, {now}, '')"
        ),
    ];
    for (kind, prefix, source, amount) in LOTS {
        let lot = id(prefix);
        // Each lot is a transfer of its own, and so the source's next entry.
        let same = |lots: &[(&str, &str, &str, i64)]| -> (usize, i64) {
            let own = lots.iter().filter(|(_, _, from, _)| *from == source);
            (own.clone().count(), own.map(|(_, _, _, amount)| amount).sum())
        };
        let place = LOTS.iter().position(|(_, p, _, _)| *p == prefix).unwrap_or_default();
        let (number, given) = same(LOTS.get(..=place).unwrap_or_default());
        all.push(format!(
            "INSERT INTO lot (billing_account_id, id, account, kind, currency, face, min_spend, opened_at, valid_from, \
             last_day, origin, is_open) SELECT {account}, {lot}, '{kind}:' || {lot}, '{kind}', 'CNY', {amount}, 0, \
             {joined}, {joined}, CASE '{kind}' WHEN 'cash' THEN NULL ELSE 20270201 END, '', true {each}"
        ));
        all.push(format!(
            "INSERT INTO ledger_account (billing_account_id, account, kind, currency, balance, entry_count) \
             SELECT {account}, '{kind}:' || {lot}, '{kind}', 'CNY', {amount}, 1 {each}"
        ));
        all.push(format!(
            "INSERT INTO {ledger} SELECT {account}, '{kind}:' || {lot}, 1, 'seed:' || {lot}, 'CNY', {amount}, {amount}, \
             {joined}, 'recharge', {lot} {each}"
        ));
        all.push(format!(
            "INSERT INTO {ledger} SELECT {account}, '{source}', {number}, 'seed:' || {lot}, 'CNY', -{amount}, -{given}, \
             {joined}, 'recharge', {lot} {each}"
        ));
        if number == 1 {
            let (count, total) = same(&LOTS);
            all.push(format!(
                "INSERT INTO ledger_account (billing_account_id, account, kind, currency, balance, entry_count) \
                 SELECT {account}, '{source}', '{source}', 'CNY', -{total}, {count} {each}"
            ));
        }
    }
    let items: Vec<_> = ITEMS
        .iter()
        .map(|(item, retention)| format!("('{}', {retention}, {}::bigint)", item.name(), item.unit_size()))
        .collect();
    // Half a unit to two units and a half of each, in hundredths.
    all.push(format!(
        "INSERT INTO usage_day (billing_account_id, workspace_id, usage_day, item, retention_days, sub_key, quantity, \
         revision) SELECT {account}, {workspace}, {day}, i.item, i.retention_days, '', \
         i.unit_size * (50 + (n * 37) % 200) + n % 100, 1 {each} CROSS JOIN (VALUES {}) AS i(item, retention_days, unit_size)",
        items.join(", ")
    ));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_over_when_it_is_billed_and_every_item_is_charged() {
        let ends_at = day().unwrap().end(&zone(ZONE).unwrap());
        assert!(NOW.parse::<Timestamp>().unwrap() > ends_at);
        assert_eq!(ITEMS.len(), usize::try_from(LINES).unwrap());
        let charged =
            |item: &BillingItem| item.pricing_model() != tandem_proto::item::PricingModel::StatisticsOnly;
        assert!(ITEMS.iter().all(|(item, _)| charged(item)));
        assert_eq!(LOTS.len(), usize::try_from(LOTS_EACH).unwrap());
    }
}
