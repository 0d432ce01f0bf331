//! Whatever is altered behind the services' back, in the ledger, in bills, in what paid them, in what they were made of:
//! the proofs find it, on both engines.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sea_orm::{ConnectionTrait as _, DbBackend};
use tandem_proto::item::BillingItem::{LogCount, Sms, TimeSeries, Trigger};
use tandem_proto::money::{Currency, Money};
use tandem_proto::page::Page;

use super::prove_bills::prove_bills;
use super::prove_ledger::prove_ledger;
use super::wallet_acts::Act;
use crate::testing::{Bench, at, both, day};

/// Every place at least once.
const CORRUPTIONS: usize = 100;

/// Where something can be altered: a table, its key, which of its rows, and how.
struct Place {
    table: &'static str,
    key: &'static str,
    rows: &'static str,
    /// What is set, with `#` for a number from 1 on; empty deletes the row.
    set: &'static str,
}

const fn place(table: &'static str, key: &'static str, rows: &'static str, set: &'static str) -> Place {
    Place { table, key, rows, set }
}

const ENTRY: &str = "billing_account_id, account, number";
const ACCOUNT: &str = "billing_account_id, account";
const BILL: &str = "billing_account_id, id";
const LINE: &str = "billing_account_id, bill_id, number";
const PAYMENT: &str = "billing_account_id, bill_id, transfer_id, lot";
const USAGE: &str = "billing_account_id, workspace_id, usage_day, item, retention_days, sub_key";
const PRICE: &str = "version, price_zone, currency, item, retention_days";
const ALL: &str = "TRUE";
const CHARGED: &str = "kind <> 'rounding'";
const USED_PRICE: &str = "price_zone = 'CN' AND currency = 'CNY' AND item IN ('TRIGGER', 'SMS')";

const PLACES: [Place; 44] = [
    place("ledger_entry", ENTRY, "amount > 0", "amount = amount + #"),
    place("ledger_entry", ENTRY, ALL, "amount = amount * 2"),
    place("ledger_entry", ENTRY, ALL, "amount = -amount"),
    place("ledger_entry", ENTRY, ALL, "balance_after = balance_after + #"),
    place("ledger_entry", ENTRY, ALL, "number = number + 100"),
    place("ledger_entry", ENTRY, ALL, "account = 'cash:lot_x'"),
    place("ledger_entry", ENTRY, ALL, "transfer_id = 'bill:x'"),
    place("ledger_entry", ENTRY, ALL, "currency = 'USD'"),
    place("ledger_entry", ENTRY, ALL, "billing_account_id = 'bac_x'"),
    place("ledger_entry", ENTRY, ALL, ""),
    place("ledger_account", ACCOUNT, "kind <> 'overdraft'", "balance = balance + #"),
    place("ledger_account", ACCOUNT, "kind = 'overdraft'", "balance = balance - #"),
    place("ledger_account", ACCOUNT, ALL, "entry_count = entry_count + #"),
    place("ledger_account", ACCOUNT, ALL, ""),
    place("lot", BILL, ALL, "is_open = NOT is_open"),
    place("lot", BILL, ALL, ""),
    place("daily_bill", BILL, "state = 'paid'", "payable = payable + #, paid = paid + #"),
    place("daily_bill", BILL, "state = 'in_arrears'", "payable = payable + #"),
    place("daily_bill", BILL, "state = 'paid' AND paid > 1", "paid = paid - 1, state = 'in_arrears'"),
    place("daily_bill", BILL, "restricted < payable", "restricted = restricted + 1"),
    place("daily_bill", BILL, ALL, "price_list_version = 'other'"),
    place("daily_bill", BILL, ALL, "usage_day = usage_day + 10000"),
    place("daily_bill", BILL, ALL, "workspace_id = 'wks_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f'"),
    place("daily_bill", BILL, ALL, "currency = 'USD'"),
    place("daily_bill", BILL, ALL, ""),
    place("bill_line", LINE, CHARGED, "quantity = quantity + #"),
    place("bill_line", LINE, CHARGED, "unit_price = unit_price + #"),
    place("bill_line", LINE, CHARGED, "unit_size = unit_size + #"),
    place("bill_line", LINE, ALL, "amount = amount + #"),
    place("bill_line", LINE, CHARGED, "item = 'REPORT'"),
    place("bill_line", LINE, CHARGED, "retention_days = 999"),
    place("bill_line", LINE, CHARGED, "sub_key = 'x'"),
    place("bill_line", LINE, CHARGED, "adjusted_day = 20250101"),
    place("bill_line", LINE, CHARGED, "price_list_version = 'other'"),
    place("bill_line", LINE, ALL, ""),
    place("bill_payment", PAYMENT, ALL, "amount = amount + #"),
    place("bill_payment", PAYMENT, ALL, "lot = 'lot_x'"),
    place("bill_payment", PAYMENT, "instrument <> 'cash'", "instrument = 'cash'"),
    place("bill_payment", PAYMENT, ALL, ""),
    place("usage_day", USAGE, ALL, "billed = billed + #"),
    place("usage_day", USAGE, ALL, ""),
    place("price", PRICE, USED_PRICE, "unit_price = unit_price + #"),
    place("price", PRICE, USED_PRICE, "unit_size = unit_size + #"),
    place("price", PRICE, USED_PRICE, ""),
];

/// Three accounts over three days: every instrument pays, something comes late, one account cannot pay.
async fn world(bench: &Bench) {
    let cny = |minor| Money { minor, currency: Currency::Cny };
    let mut shops = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let account = bench.account(name).await;
        if name != "carol" {
            bench.recharge(&account, 20_000).await;
            bench.act(&account, Act::BuyCard { face: cny(10_000) }).await.unwrap();
            let voucher = Act::GrantVoucher {
                face: cny(700),
                min_spend: 0,
                valid_from: at("2026-01-01T00:00:00Z"),
                last_day: day("2026-12-31"),
                note: "welcome".into(),
            };
            bench.act(&account, voucher).await.unwrap();
        }
        for shop in ["front", "back"] {
            shops.push(bench.workspace(&account, &format!("{name} {shop}")).await);
        }
    }
    for (on, until) in [
        ("2026-03-01", "2026-03-01T16:10:00Z"),
        ("2026-03-02", "2026-03-02T16:10:00Z"),
        ("2026-03-03", "2026-03-03T16:10:00Z"),
    ] {
        for (units, shop) in (3..).zip(&shops) {
            let used = [(Trigger, 0, units * 11_407), (Sms, 0, units * 31), (LogCount, 14, units * 400_000)];
            bench.deliver(shop, on, 1, &used).await;
            bench.deliver(shop, on, 1, &[(TimeSeries, 7, 2_000)]).await;
        }
        if on == "2026-03-02" {
            bench.deliver(&shops[0], "2026-03-01", 2, &[(Trigger, 0, 99_999)]).await;
        }
        bench.clock.advance_to(at(until));
        assert_eq!(bench.bill(on).await, shops.len());
    }
}

/// How many differences both proofs find.
async fn differences(bench: &Bench) -> usize {
    let ledger = prove_ledger(&bench.db, None).await.unwrap();
    let page = Page::from_request(500, "", 2).unwrap();
    let bills = prove_bills(&bench.db, None, None, &page).await.unwrap();
    ledger.differences.len()
        + ledger.sums.iter().filter(|sum| sum.minor != 0).count()
        + bills.differences.len()
}

/// What somebody does who may change tables: switches the triggers off that keep rows as they are.
async fn disarm(bench: &Bench) {
    for table in ["ledger_entry", "bill_line", "price"] {
        let text = match bench.db.backend() {
            DbBackend::Postgres => format!("ALTER TABLE {table} DISABLE TRIGGER USER"),
            _ => {
                format!("DROP TRIGGER IF EXISTS {table}_no_update; DROP TRIGGER IF EXISTS {table}_no_delete")
            }
        };
        bench.db.write.execute_unprepared(&text).await.unwrap();
    }
}

#[tokio::test]
async fn a_hundred_corruptions_are_found() {
    for bench in both("corruptions").await {
        world(&bench).await;
        bench.prove().await;
        disarm(&bench).await;
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[23; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut missed = String::new();
        for turn in 0..CORRUPTIONS {
            // Every place first, then some again.
            let Place { table, key, rows, set } = match PLACES.get(turn) {
                Some(place) => place,
                None => {
                    &PLACES[any::<prop::sample::Index>()
                        .new_tree(&mut runner)
                        .unwrap()
                        .current()
                        .index(PLACES.len())]
                }
            };
            let (nth, number) = (0_i64..1_000, 1_i64..9).new_tree(&mut runner).unwrap().current();
            let count = bench.number(&format!("SELECT COUNT(*) FROM {table} WHERE {rows}")).await;
            assert!(count > 0, "{table} has no row where {rows}");
            let row = format!(
                "({key}) = (SELECT {key} FROM {table} WHERE {rows} ORDER BY {key} LIMIT 1 OFFSET {})",
                nth % count
            );
            let change = match *set {
                "" => format!("DELETE FROM {table} WHERE {row}"),
                set => format!("UPDATE {table} SET {} WHERE {row}", set.replace('#', &number.to_string())),
            };
            bench.run(&format!("CREATE TABLE kept AS SELECT * FROM {table}"), []).await;
            bench.run(&change, []).await;
            if differences(&bench).await == 0 {
                writeln!(missed, "{change}").unwrap();
            }
            bench.run(&format!("DELETE FROM {table}"), []).await;
            bench.run(&format!("INSERT INTO {table} SELECT * FROM kept"), []).await;
            bench.run("DROP TABLE kept", []).await;
        }
        assert_eq!(missed, "", "corruptions were not found");
        bench.prove().await;
    }
}
