//! Monthly bills, spend, exports and proofs on both engines.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_proto::day::UsageDay;
use tandem_proto::ids::{BillId, BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem::{self, LogCount, Sms, TimeSeries, Trigger};
use tandem_proto::money::{Currency, MICROS_PER_MINOR, Money};
use tandem_proto::month::Month;
use tandem_proto::page::Page;
use tandem_proto::reason::Reason;

use crate::domain::bill::BillKind;
use crate::domain::deduction::Instrument;
use crate::domain::monthly::{MonthKey, MonthlyState, Progress};
use crate::domain::spend::Group;
use crate::ops::export_bills::{Export, What};
use crate::ops::get_spend::{Query, Spend, Subject, get_spend};
use crate::ops::read_month::{self, Shown};
use crate::ops::{prove_bill, prove_months, roll_months};
use crate::store::ledger::Range;
use crate::store::spend::Scope;
use crate::store::{bill, monthly_bill, monthly_roll};
use crate::testing::{Bench, at, both, day};

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

fn key(account: &BillingAccountId, of: &str) -> MonthKey {
    MonthKey { billing_account: account.clone(), month: month(of), currency: Currency::Cny }
}

async fn shown(bench: &Bench, account: &BillingAccountId, of: &str) -> Shown {
    read_month::get(&bench.db, &key(account, of)).await.unwrap()
}

async fn roll(bench: &Bench) -> usize {
    let mut steps = 0;
    loop {
        match roll_months::run(&bench.ctx, bench.ctx.clock.now()).await.unwrap() {
            0 => return steps,
            more => steps += more,
        }
    }
}

/// Delivers a day's usage and makes its bills.
async fn used(bench: &Bench, on: &str, usage: &[(&WorkspaceId, BillingItem, i32, i64)]) {
    for (workspace, item, retention, units) in usage {
        bench.deliver(workspace, on, 1, &[(*item, *retention, *units)]).await;
    }
    bill_day(bench, on).await;
}

/// Moves the clock behind a day, unless it is there, and makes its bills.
async fn bill_day(bench: &Bench, on: &str) {
    let after = day(on).end(&jiff::tz::TimeZone::UTC);
    if bench.ctx.clock.now() < after {
        bench.clock.advance_to(after);
    }
    bench.bill(on).await;
}

/// All pages' differences of the proof of months.
async fn differences(bench: &Bench) -> Vec<prove_months::Difference> {
    let page = Page::from_request(500, "", 3).unwrap();
    prove_months::prove_months(&bench.db, None, None, &page).await.unwrap().differences
}

async fn prove(bench: &Bench) {
    bench.prove().await;
    assert_eq!(differences(bench).await, []);
    for b in bill::list_all(&bench.db.read, None, None, &[], 10_000).await.unwrap() {
        assert_eq!(prove_bill::prove_bill(&bench.db, &b.id).await.unwrap().differences, [], "{}", b.id);
    }
}

#[tokio::test]
async fn a_month_is_billed_once_from_the_4th_over_all_workspaces() {
    for bench in both("month").await {
        let account = bench.account("alice").await;
        let (shop, lab) = (bench.workspace(&account, "shop").await, bench.workspace(&account, "lab").await);
        bench.recharge(&account, 1_000).await;
        // 3 yuan and 0.014 yuan: the second is rounded down to 0.01.
        used(&bench, "2026-03-30", &[(&shop, Trigger, 0, 30_000), (&lab, Trigger, 0, 140)]).await;
        // 10 yuan of messages: cash pays 6.99 of them.
        used(&bench, "2026-03-31", &[(&shop, Sms, 0, 100)]).await;
        // Running: as the daily bills are now.
        let open = shown(&bench, &account, "2026-03").await;
        assert_eq!((open.state, open.bill.totals.bill_count), (MonthlyState::Open, 3));
        assert_eq!((open.bill.totals.payable, open.bill.totals.arrears()), (1_301, 301));
        let items = [(Some(Trigger), 3_014_000), (Some(Sms), 10_000_000), (None, -4_000)];
        let sorted = |shown: &Shown| {
            let mut items = shown.items.clone();
            items.sort_by_key(|(item, _)| (item.is_none(), *item));
            items
        };
        assert_eq!(sorted(&open), items);
        // 15:59 of the 3rd in UTC is the 3rd in Shanghai.
        bench.clock.advance_to(at("2026-04-03T15:59:59Z"));
        assert_eq!(roll(&bench).await, 0);
        let early = roll_months::run_month(&bench.ctx, month("2026-03"), None, true).await.unwrap_err();
        assert_eq!(early.reason, Reason::MonthNotOver);
        assert_eq!(early.metadata, [("billable_from".to_owned(), "2026-04-04".to_owned())]);
        bench.pass(SignedDuration::from_secs(1));
        let mails = "SELECT COUNT(*) FROM outbox";
        let before = bench.number(mails).await;
        assert_eq!(roll(&bench).await, 1);
        assert_eq!(roll(&bench).await, 0, "a second run changes nothing");
        assert_eq!(bench.number(mails).await, before + 1, "one mail");
        let fixed = shown(&bench, &account, "2026-03").await;
        assert_eq!(
            (fixed.state, fixed.bill.generated_at),
            (MonthlyState::Generated, Some(bench.ctx.clock.now()))
        );
        assert_eq!((sorted(&fixed), fixed.bill.totals), (sorted(&open), open.bill.totals));
        assert_eq!(fixed.paid_by, [(Instrument::Cash, 1_000)]);
        let (parts, next) = read_month::list_workspaces(
            &bench.db,
            &key(&account, "2026-03"),
            &Page::from_request(1, "", 1).unwrap(),
        )
        .await
        .unwrap();
        assert_eq!((parts[0].totals.name.as_str(), parts[0].totals.totals.payable), ("shop", 1_300));
        let page = Page::from_request(1, &next, 1).unwrap();
        let (parts, next) =
            read_month::list_workspaces(&bench.db, &key(&account, "2026-03"), &page).await.unwrap();
        assert_eq!((parts[0].totals.name.as_str(), parts[0].totals.totals.payable), ("lab", 1));
        assert_eq!(parts[0].items, [(Some(Trigger), 14_000), (None, -4_000)]);
        assert_eq!(next, "");
        // A later inflow pays the debt: the monthly bill stays what it was, and what cash paid of it grows.
        bench.recharge(&account, 5_000).await;
        let later = shown(&bench, &account, "2026-03").await;
        assert_eq!((later.bill.totals.arrears(), later.from_cash), (301, Some(1_301)));
        let asked = [(month("2026-03"), Currency::Cny)];
        let cash = monthly_bill::paid_from_cash(&bench.db.read, &account, &asked).await.unwrap();
        let expected = Money { minor: 1_301, currency: Currency::Cny };
        assert_eq!(cash, [((month("2026-03"), Currency::Cny), expected)].into());
        prove(&bench).await;
    }
}

/// D13: what comes after a month is fixed belongs to no fixed month.
#[tokio::test]
async fn late_usage_of_a_fixed_month_stands_on_a_later_months_bill() {
    for bench in both("month_late").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        used(&bench, "2026-03-31", &[(&shop, Trigger, 0, 10_000)]).await;
        bench.clock.advance_to(at("2026-04-04T00:00:00Z"));
        assert_eq!(roll(&bench).await, 1);
        let before = shown(&bench, &account, "2026-03").await;
        // More of a billed day, and something of a day that had no bill.
        bench.deliver(&shop, "2026-03-31", 2, &[(Trigger, 0, 30_000)]).await;
        bench.deliver(&shop, "2026-03-15", 1, &[(Trigger, 0, 50_000)]).await;
        used(&bench, "2026-04-03", &[(&shop, Trigger, 0, 10_000)]).await;
        assert_eq!(bench.number("SELECT COUNT(*) FROM daily_bill WHERE usage_day < 20260401").await, 1);
        let fixed = shown(&bench, &account, "2026-03").await;
        assert_eq!((fixed.bill.totals, &fixed.items), (before.bill.totals, &before.items));
        assert_eq!(shown(&bench, &account, "2026-04").await.bill.totals.payable, 800);
        prove(&bench).await;
    }
}

/// The Billing Center must not fix a month that a site has not billed to its end; an operator can, and then what that
/// site bills of it late is adjusted in the following month.
#[tokio::test]
async fn a_month_waits_for_its_sites_unless_an_operator_does_not() {
    for bench in both("month_waits").await {
        let (alice, bob) = (bench.account("alice").await, bench.account("bob").await);
        let (shop, lab) = (bench.workspace(&alice, "shop").await, bench.workspace(&bob, "lab").await);
        bench.run("UPDATE workspace SET site = 'cn2' WHERE name = 'lab'", []).await;
        bench.deliver(&lab, "2026-03-30", 1, &[(Trigger, 0, 20_000)]).await;
        used(&bench, "2026-03-31", &[(&shop, Trigger, 0, 10_000)]).await;
        // cn2 has billed the 30th and not the 31st.
        let site_day = async |on: &str| {
            let tx = bench.db.begin().await.unwrap();
            let zone = "Asia/Shanghai";
            crate::ops::close_day::close_day(&tx, "cn2", day(on), zone, bench.ctx.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            crate::ops::run_billing::run(&bench.ctx, "cn2", day(on)).await.unwrap()
        };
        assert_eq!(site_day("2026-03-30").await, 1);
        bench.clock.advance_to(at("2026-04-05T00:00:00Z"));
        assert_eq!(roll(&bench).await, 1, "who is not on cn2 does not wait for it");
        assert_eq!(shown(&bench, &alice, "2026-03").await.state, MonthlyState::Generated);
        assert_eq!(shown(&bench, &bob, "2026-03").await.state, MonthlyState::Open);
        let ran = roll_months::run_month(&bench.ctx, month("2026-03"), None, true).await.unwrap();
        assert_eq!((ran.generated, ran.waiting, ran.open_sites), (0, 1, vec!["cn2".to_owned()]));
        let ran = roll_months::run_month(&bench.ctx, month("2026-03"), Some(&bob), false).await.unwrap();
        assert_eq!((ran.generated, ran.waiting), (1, 0));
        let again = roll_months::run_month(&bench.ctx, month("2026-03"), Some(&bob), false).await.unwrap();
        assert_eq!((again.generated, again.waiting), (0, 0));
        // Now the site comes back with the 31st: no bill of March is made any more.
        bench.deliver(&lab, "2026-03-31", 1, &[(Trigger, 0, 70_000)]).await;
        assert_eq!(site_day("2026-03-31").await, 0);
        assert_eq!(site_day("2026-04-01").await, 1);
        let adjusted = "SELECT COUNT(*) FROM bill_line WHERE adjusted_day = 20260331 AND kind = 'adjustment'";
        assert_eq!(bench.number(adjusted).await, 1);
        assert_eq!(shown(&bench, &bob, "2026-03").await.bill.totals.payable, 200);
        assert_eq!(shown(&bench, &bob, "2026-04").await.bill.totals.payable, 700);
        prove(&bench).await;
    }
}

/// I-38: after a jump over months every month is made, in order, each once.
#[tokio::test]
async fn a_clock_that_jumps_over_months_misses_none() {
    for bench in both("month_jump").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        let days = ["2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"];
        for on in &days[..3] {
            bench.deliver(&shop, on, 1, &[(Trigger, 0, 10_000)]).await;
        }
        bench.clock.advance_to(at("2026-07-02T00:00:00Z"));
        assert_eq!(roll(&bench).await, 0, "nothing is billed yet");
        for on in days {
            bench.bill(on).await;
        }
        roll(&bench).await;
        let made = "SELECT COUNT(*) FROM monthly_bill WHERE progress = 'generated' AND payable = 100";
        assert_eq!(bench.number(made).await, 3);
        assert_eq!(
            bench.number("SELECT COUNT(*) FROM monthly_bill").await,
            3,
            "a month without bills has none"
        );
        assert_eq!(bench.number("SELECT COUNT(*) FROM monthly_bill_workspace").await, 3);
        prove(&bench).await;
    }
}

/// Two replicas at once, and an account so large that its month takes several steps.
#[tokio::test]
async fn replicas_make_each_month_once_and_a_large_one_in_steps() {
    for bench in both("month_large").await {
        let mut accounts = Vec::new();
        for name in ["a", "b", "c", "d"] {
            let account = bench.account(name).await;
            let shop = bench.workspace(&account, name).await;
            bench.deliver(&shop, "2026-03-30", 1, &[(Trigger, 0, 10_000)]).await;
            bench.deliver(&shop, "2026-03-31", 1, &[(Trigger, 0, 20_140), (LogCount, 7, 1_000_000)]).await;
            accounts.push(account);
        }
        bill_day(&bench, "2026-03-30").await;
        bill_day(&bench, "2026-03-31").await;
        // Counts as large, and is half summed up: as after a crash between two steps.
        let large = key(&accounts[0], "2026-03");
        let tx = bench.db.begin().await.unwrap();
        let whole = monthly_roll::Span::whole(&large);
        let (second, id) = monthly_roll::place_after(&tx, &whole, 1).await.unwrap().unwrap();
        let first = monthly_roll::Span { until: (second, id.clone()), ..whole };
        monthly_roll::add(&tx, &[first]).await.unwrap();
        monthly_bill::save_place(&tx, &large, second, &id).await.unwrap();
        tx.commit().await.unwrap();
        let half = monthly_bill::find(&bench.db.read, &large).await.unwrap().unwrap();
        assert_eq!((half.progress, half.rolled.0), (Progress::Closing, 20_260_331));
        assert_eq!(shown(&bench, &accounts[0], "2026-03").await.state, MonthlyState::Open);
        bench.clock.advance_to(at("2026-04-04T00:00:00Z"));
        // A closing month is fixed as well.
        let shop = bench.workspace(&accounts[0], "late").await;
        bench.deliver(&shop, "2026-03-31", 1, &[(Trigger, 0, 90_000)]).await;
        bench
            .run("UPDATE site_day SET billed_at = NULL, run_cursor = '' WHERE usage_day = 20260331", [])
            .await;
        assert_eq!(bench.bill("2026-03-31").await, 0);
        let now = bench.ctx.clock.now();
        let (one, two) = tokio::join!(roll_months::run(&bench.ctx, now), roll_months::run(&bench.ctx, now));
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        roll(&bench).await;
        let sums = "SELECT COUNT(*) FROM monthly_bill WHERE progress = 'generated' AND payable = 421 AND bill_count = 2";
        assert_eq!(bench.number(sums).await, 4);
        let mails = "SELECT COUNT(*) FROM outbox WHERE dedupe_key IS NOT NULL";
        let mailed = bench.number(mails).await;
        roll(&bench).await;
        assert_eq!(bench.number(mails).await, mailed);
        prove(&bench).await;
    }
}

/// I-27: accounts whose month cannot be made hold up nobody, are told of as a failure, and are not tried without a pause.
#[tokio::test]
async fn accounts_that_fail_hold_up_no_other() {
    for bench in both("month_poison").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        used(&bench, "2026-03-31", &[(&shop, Trigger, 0, 10_000)]).await;
        // Months without a single bill cannot come about, and cannot be finished.
        for name in ["broken", "worse"] {
            let id = bench.account(name).await;
            let text = "INSERT INTO monthly_bill (billing_account_id, month, currency, region, progress, bill_count) \
                        VALUES (?, 202603, 'CNY', 'domestic', 'open', 1)";
            bench.run(text, [id.as_str().into()]).await;
        }
        bench.clock.advance_to(at("2026-04-04T00:00:00Z"));
        let run = || roll_months::run(&bench.ctx, bench.ctx.clock.now());
        assert_eq!(run().await, Ok(1));
        assert_eq!(shown(&bench, &account, "2026-03").await.state, MonthlyState::Generated);
        assert_eq!(run().await.unwrap_err().reason, Reason::Conflict);
        assert!(roll_months::run_month(&bench.ctx, month("2026-03"), None, true).await.is_err());
        assert_eq!(bench.number("SELECT COUNT(*) FROM monthly_bill WHERE progress <> 'generated'").await, 2);
        prove(&bench).await;
    }
}

#[tokio::test]
async fn a_corrupted_month_or_bill_is_found() {
    for bench in both("month_corrupt").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        used(&bench, "2026-03-31", &[(&shop, Trigger, 0, 10_000), (&shop, Sms, 0, 10)]).await;
        bench.clock.advance_to(at("2026-04-04T00:00:00Z"));
        assert_eq!(roll(&bench).await, 1);
        prove(&bench).await;
        for (change, back, what) in [
            ("monthly_bill SET payable = payable + 1", "monthly_bill SET payable = payable - 1", "payable"),
            ("monthly_bill SET bill_count = 2", "monthly_bill SET bill_count = 1", "bills"),
            (
                "monthly_bill_item SET amount = amount + 1 WHERE item = 'SMS'",
                "monthly_bill_item SET amount = amount - 1 WHERE item = 'SMS'",
                "SMS",
            ),
            (
                "monthly_bill_workspace SET payable = payable + 1",
                "monthly_bill_workspace SET payable = payable - 1",
                "payable",
            ),
            (
                "monthly_bill_item SET item = 'REPORT' WHERE item = 'SMS'",
                "monthly_bill_item SET item = 'SMS' WHERE item = 'REPORT'",
                "REPORT",
            ),
        ] {
            bench.run(&format!("UPDATE {change}"), []).await;
            let found = differences(&bench).await;
            assert!(found.iter().any(|d| d.what.contains(what)), "{change}: {found:?}");
            bench.run(&format!("UPDATE {back}"), []).await;
            assert_eq!(differences(&bench).await, []);
        }
        let id: BillId = bill::list(&bench.db.read, &account, None, &[], 1).await.unwrap().remove(0).id;
        for (change, back, what) in [
            ("restricted = restricted + 1", "restricted = restricted - 1", "restricted"),
            ("payable = payable + 1, restricted = restricted", "payable = payable - 1", "payable"),
            ("price_list_version = 'other'", "price_list_version = 'default-2026-01'", "price list"),
        ] {
            bench.run(&format!("UPDATE daily_bill SET {change}"), []).await;
            let found = prove_bill::prove_bill(&bench.db, &id).await.unwrap().differences;
            assert!(found.iter().any(|d| d.what.contains(what)), "{change}: {found:?}");
            bench.run(&format!("UPDATE daily_bill SET {back}"), []).await;
        }
        prove(&bench).await;
        let unknown =
            prove_bill::prove_bill(&bench.db, &tandem_service_kit::fresh::fresh()).await.unwrap_err();
        assert_eq!(unknown.reason, Reason::ObjectNotFound);
    }
}

async fn spend(bench: &Bench, account: &BillingAccountId, group: Group, size: i32, token: &str) -> Spend {
    let scope = Scope { account: account.clone(), currency: Currency::Cny, workspace: None };
    let days = (day("2026-03-01"), day("2026-04-30"));
    let page = Page::from_request(size, token, 1).unwrap();
    get_spend(&bench.db, &Query { scope, days, group, page }).await.unwrap()
}

#[tokio::test]
async fn spend_by_day_item_and_workspace_adds_up_and_shows_what_runs() {
    for bench in both("spend").await {
        let account = bench.account("alice").await;
        let mut shops = Vec::new();
        for name in ["one", "two", "three"] {
            shops.push(bench.workspace(&account, name).await);
        }
        used(&bench, "2026-03-01", &[(&shops[0], Trigger, 0, 10_140), (&shops[1], TimeSeries, 3, 1_000)])
            .await;
        used(&bench, "2026-03-02", &[(&shops[0], Trigger, 0, 10_000)]).await;
        // Late for a billed day, of today, and of an item that has no price at this retention.
        bench.deliver(&shops[0], "2026-03-01", 2, &[(Trigger, 0, 10_000)]).await;
        bench.deliver(&shops[2], "2026-03-03", 1, &[(Trigger, 0, 5)]).await;
        bench.deliver(&shops[2], "2026-03-03", 1, &[(LogCount, 11, 5)]).await;
        let totals = (1_010_000 + 600_000 + 1_000_000, -14_000 + 500);
        let by_day = spend(&bench, &account, Group::Day, 0, "").await;
        assert_eq!(by_day.totals, Some(totals));
        let row = |spend: &Spend, at: usize| (spend.rows[at].billed, spend.rows[at].running);
        assert_eq!([0, 1, 2].map(|at| row(&by_day, at)), [(1_610_000, -14_000), (1_000_000, 0), (0, 500)]);
        assert_eq!(by_day.unpriced, [LogCount].into());
        let by_item = spend(&bench, &account, Group::Item, 0, "").await;
        assert_eq!(by_item.totals, Some(totals));
        let items: Vec<_> =
            by_item.rows.iter().map(|row| (row.subject.clone(), row.billed, row.running)).collect();
        assert_eq!(
            items,
            [
                (Subject::Item(Some(TimeSeries)), 600_000, 0),
                (Subject::Item(Some(LogCount)), 0, 0),
                (Subject::Item(Some(Trigger)), 2_014_000, -13_500),
                (Subject::Item(None), -4_000, 0),
            ]
        );
        // Page by page.
        let (mut rows, mut token) = (Vec::new(), String::new());
        loop {
            let page = spend(&bench, &account, Group::Workspace, 1, &token).await;
            assert_eq!(page.totals.is_some(), token.is_empty());
            assert!(page.rows.len() == 1 && page.totals.is_none_or(|sums| sums == totals));
            rows.extend(page.rows);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let named: Vec<_> = rows.iter().map(|row| (row.billed, row.running)).collect();
        assert_eq!(named, [(2_010_000, -14_000), (600_000, 0), (0, 500)]);
        assert_eq!(rows[2].subject, Subject::Workspace(shops[2].clone(), "three".into()));
        let one =
            Scope { account: account.clone(), currency: Currency::Cny, workspace: Some(shops[2].clone()) };
        let days = (day("2026-03-03"), day("2026-03-03"));
        let page = Page::from_request(1, "", 1).unwrap();
        let only = get_spend(&bench.db, &Query { scope: one, days, group: Group::Item, page }).await.unwrap();
        assert_eq!(only.totals, Some((0, 500)));
    }
}

async fn exported(bench: &Bench, account: &BillingAccountId, what: What) -> String {
    let mut export = Export::new(account.clone(), what);
    let mut text = String::new();
    while let Some(part) = export.next(&bench.db.read).await.unwrap() {
        assert!(part.ends_with("\r\n"));
        text.push_str(&part);
    }
    text
}

#[tokio::test]
async fn exports_hold_every_line_once_and_disarm_names() {
    for bench in both("export").await {
        let account = bench.account("alice").await;
        let evil = bench.workspace(&account, "=cmd|'/C calc'!A0").await;
        let plain = bench.workspace(&account, "茶馆, \"south\"").await;
        bench.recharge(&account, 100_000).await;
        used(&bench, "2026-03-30", &[(&evil, Trigger, 0, 10_140), (&plain, TimeSeries, 3, 1_000)]).await;
        used(&bench, "2026-03-31", &[(&plain, Trigger, 0, 10_000)]).await;
        used(&bench, "2026-04-03", &[(&plain, Trigger, 0, 10_000)]).await;
        bench.clock.advance_to(at("2026-04-04T00:00:00Z"));
        assert_eq!(roll(&bench).await, 1);
        let days = (day("2026-03-01"), day("2026-04-30"));
        let lines = exported(&bench, &account, What::DailyLines { days, workspace: None }).await;
        assert!(lines.starts_with("\u{feff}usage_day,workspace_id,"), "{lines}");
        assert_eq!(lines.lines().count(), 1 + 5, "{lines}");
        assert!(lines.contains(",'=cmd|'/C calc'!A0,"), "{lines}");
        assert!(lines.contains(",\"茶馆, \"\"south\"\"\","), "{lines}");
        assert!(lines.contains(",rounding,,,,,,,-0.004000,CNY,,default-2026-01"), "{lines}");
        let only = exported(&bench, &account, What::DailyLines { days, workspace: Some(evil.clone()) }).await;
        assert_eq!(only.lines().count(), 1 + 2);
        // March as it was fixed, April as it runs.
        let months = (month("2026-03"), month("2026-04"));
        let totals = exported(&bench, &account, What::MonthlyTotals { months }).await;
        let sum: BTreeMap<&str, usize> = totals.lines().skip(1).fold(BTreeMap::new(), |mut sum, line| {
            *sum.entry(&line[..11]).or_default() += 1;
            sum
        });
        assert_eq!(sum, [("2026-03,CNY", 4), ("2026-04,CNY", 1)].into(), "{totals}");
        assert!(totals.contains("2026-04,CNY,open,") && totals.contains(",TRIGGER,1.000000"), "{totals}");
        let range =
            Range { from: jiff::Timestamp::UNIX_EPOCH, until: jiff::Timestamp::MAX, customers_only: true };
        let ledger = exported(&bench, &account, What::Ledger { range }).await;
        assert_eq!(ledger.lines().count(), 1 + 5, "{ledger}");
        assert!(ledger.contains(",1000.00,1000.00,CNY,recharge,") && ledger.contains(",-1.01,"), "{ledger}");
        let none = bench.account("nobody").await;
        let empty = exported(&bench, &none, What::DailyLines { days, workspace: None }).await;
        assert_eq!(empty.lines().count(), 1, "the names of the columns are always there");
    }
}

/// Pages of an export that are cut in the middle of a bill lose nothing.
#[tokio::test]
async fn a_long_export_goes_on_where_it_stopped() {
    for bench in both("export_long").await {
        let account = bench.account("alice").await;
        let shop = bench.workspace(&account, "shop").await;
        let usage: Vec<_> = (0..4_500)
            .map(|n| crate::store::usage::Delivered {
                workspace: shop.clone(),
                day: day("2026-03-01"),
                item: Trigger,
                retention_days: 0,
                sub_key: format!("rule {n:05}"),
                quantity: tandem_proto::quantity::Quantity::whole(10_000).unwrap(),
                revision: 1,
            })
            .collect();
        let tx = bench.db.begin().await.unwrap();
        assert_eq!(crate::ops::deliver_usage::deliver_usage(&tx, &usage).await.unwrap(), []);
        tx.commit().await.unwrap();
        bill_day(&bench, "2026-03-01").await;
        let days = (day("2026-03-01"), day("2026-03-01"));
        let text = exported(&bench, &account, What::DailyLines { days, workspace: None }).await;
        let mut keys: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(',').nth(11)).collect();
        assert_eq!(keys.len(), 4_500);
        keys.dedup();
        assert_eq!(keys.len(), 4_500, "no line comes twice");
        let running = spend(&bench, &account, Group::Day, 0, "").await;
        assert_eq!(running.totals, Some((4_500 * 1_000_000, 0)));
    }
}

/// Whatever was used, and however it was split over workspaces, days and inflows: a monthly bill is the sum of the
/// daily bills of its month, by workspace, by item and by what paid.
#[tokio::test]
async fn monthly_totals_are_the_sums_of_daily_bills() {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let one = (0usize..3, 0usize..4, 0usize..3, 0i64..300_000, 0i64..2_000);
    let story = prop::collection::vec(one, 1..40);
    for bench in both("month_sums").await {
        for case in 0..6 {
            let steps = story.new_tree(&mut runner).unwrap().current();
            let account = bench.account(&format!("case{case}")).await;
            let mut shops = Vec::new();
            for name in ["a", "b", "c"] {
                shops.push(bench.workspace(&account, name).await);
            }
            // Each case has months of its own, because a site's days are billed once.
            let first = month("2026-03").first_day().plus_days(62 * case);
            let days: Vec<UsageDay> = [0, 1, 30, 31].map(|n| first.plus_days(n)).to_vec();
            for (on, of) in days.iter().zip(0..) {
                let mut revision = 0;
                for (shop, at, item, units, inflow) in &steps {
                    let (item, retention) = [(Trigger, 0), (Sms, 0), (LogCount, 7)][*item];
                    if *at == of {
                        revision += 1;
                        let at = on.to_string();
                        bench.deliver(&shops[*shop], &at, revision, &[(item, retention, *units)]).await;
                        if *inflow > 1_000 {
                            bench.recharge(&account, *inflow).await;
                        }
                    }
                }
                bill_day(&bench, &on.to_string()).await;
            }
            let last = Month::of(days[3]);
            // The last days of both months, so that they are over on the site.
            for of in [last.previous(), last] {
                bill_day(&bench, &of.last_day().to_string()).await;
            }
            let from = crate::domain::monthly::billable_from(last).start(&jiff::tz::TimeZone::UTC);
            bench.clock.advance_to(from);
            roll(&bench).await;
            let bills = bill::list(&bench.db.read, &account, None, &[], 1_000).await.unwrap();
            let lines = bill::lines(&bench.db.read, &bills).await.unwrap();
            let page = Page::from_request(500, "", 2).unwrap();
            let (months, _) = read_month::list(&bench.db, &account, &page).await.unwrap();
            let listed: i64 = months.iter().map(|m| m.bill.totals.bill_count).sum();
            assert_eq!(usize::try_from(listed), Ok(bills.len()), "every bill is in one month");
            for m in months {
                assert_eq!(m.state, MonthlyState::Generated);
                let of_it: Vec<_> = bills.iter().filter(|b| Month::of(b.day) == m.bill.key.month).collect();
                assert_eq!(m.bill.totals.payable, of_it.iter().map(|b| b.payable).sum::<i64>());
                let full = read_month::get(&bench.db, &m.bill.key).await.unwrap();
                let mut items: BTreeMap<_, i64> = BTreeMap::new();
                for line in of_it.iter().flat_map(|b| &lines[&b.id]) {
                    *items.entry((line.item.is_none(), line.item)).or_default() += line.amount.micros;
                }
                let items: Vec<_> = items.into_iter().map(|((_, item), sum)| (item, sum)).collect();
                assert_eq!(full.items, items);
                let sum: i64 = full.items.iter().map(|(_, micros)| micros).sum();
                assert_eq!(sum, m.bill.totals.payable * MICROS_PER_MINOR);
                let paid: i64 = m.paid_by.iter().map(|(_, minor)| minor).sum();
                assert_eq!(paid + m.bill.totals.arrears(), m.bill.totals.payable);
                let page = Page::from_request(500, "", 1).unwrap();
                let (parts, _) = read_month::list_workspaces(&bench.db, &m.bill.key, &page).await.unwrap();
                for part in parts {
                    let own = of_it
                        .iter()
                        .filter(|b| b.workspace == part.totals.workspace && b.kind == BillKind::Daily);
                    assert_eq!(part.totals.totals.payable, own.map(|b| b.payable).sum::<i64>());
                    let sum: i64 = part.items.iter().map(|(_, micros)| micros).sum();
                    assert_eq!(sum, part.totals.totals.payable * MICROS_PER_MINOR);
                }
            }
        }
        prove(&bench).await;
    }
}
