//! Wallets on both engines: what pays, what comes in, what is lost, and many callers at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_proto::common::v1::Role;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::item::BillingItem::{Sms, Trigger};
use tandem_proto::money::{Currency, Money};
use tandem_proto::reason::Reason;
use tandem_service_kit::identity::Caller;
use tandem_service_kit::request_log::RequestKey;

use crate::domain::job::Job;
use crate::domain::wallet::LotKind;
use crate::ops::issue_voucher_codes::{Terms, digest, issue_voucher_codes};
use crate::ops::wallet_acts::{Act, Done};
use crate::ops::{expire_lots, jobs, settle_bills, wallet_lane};
use crate::store::{bill, lot, metering};
use crate::testing::{Bench, at, both};

fn cny(minor: i64) -> Money {
    Money { minor, currency: Currency::Cny }
}

fn day(text: &str) -> UsageDay {
    text.parse().unwrap()
}

fn grant(minor: i64, last_day: &str) -> Act {
    Act::GrantVoucher {
        face: cny(minor),
        min_spend: 0,
        valid_from: at("2026-01-01T00:00:00Z"),
        last_day: day(last_day),
        note: "welcome".into(),
    }
}

/// Every balance by kind, and the debt.
async fn balances(bench: &Bench, account: &BillingAccountId) -> [i64; 5] {
    let wallet = bench.wallet(account).await;
    let [general, discount, card, cash] =
        [LotKind::GeneralVoucher, LotKind::DiscountVoucher, LotKind::PrepaidCard, LotKind::Cash]
            .map(|kind| wallet.total(kind));
    [general, discount, card, cash, wallet.overdraft()]
}

/// What paid the account's bills: instrument, amount, restricted part, in the order of lots.
async fn payments(bench: &Bench, account: &BillingAccountId) -> Vec<(&'static str, i64, i64)> {
    let bills = bill::list(&bench.db.read, account, None, &[], 100).await.unwrap();
    let mut found = bill::payments(&bench.db.read, &bills).await.unwrap();
    let mut all: Vec<_> = bills.iter().flat_map(|b| found.remove(&b.id).unwrap_or_default()).collect();
    all.sort_by_key(|p| p.instrument);
    all.iter().map(|p| (p.instrument.name(), p.amount, p.restricted)).collect()
}

#[tokio::test]
async fn a_bill_says_which_lots_paid_it_and_vouchers_never_pay_messages() {
    for bench in both("lots").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, 10_300).await;
        bench.act(&account, Act::BuyCard { face: cny(10_000) }).await.unwrap();
        bench.act(&account, grant(500, "2026-03-01")).await.unwrap();
        // 5 yuan of messages, 103 of triggers: 108 in all.
        bench.deliver(&workspace, "2026-03-01", 1, &[(Sms, 0, 50), (Trigger, 0, 1_030_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(
            payments(&bench, &account).await,
            [("general_voucher", 500, 0), ("prepaid_card", 10_000, 500), ("cash", 300, 0)]
        );
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 0, 0]);
        assert_eq!(bench.number("SELECT COUNT(*) FROM lot WHERE is_open").await, 0);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_large_card_brings_its_voucher_and_cash_that_does_not_suffice_buys_none() {
    for bench in both("cards").await {
        let account = bench.account("alice").await;
        bench.recharge(&account, 1_500_000).await;
        let Done::Card { card, discount } =
            bench.act(&account, Act::BuyCard { face: cny(1_000_000) }).await.unwrap()
        else {
            panic!("not a card")
        };
        assert_eq!(card.lot.last_day, Some(day("2027-02-28")));
        assert_eq!(discount.map(|voucher| voucher.face), Some(cny(100_000)));
        assert_eq!(balances(&bench, &account).await, [0, 100_000, 1_000_000, 500_000, 0]);
        let refused = bench.act(&account, Act::BuyCard { face: cny(500_100) }).await.unwrap_err();
        assert_eq!(refused.reason, Reason::BalanceInsufficient);
        assert_eq!(balances(&bench, &account).await, [0, 100_000, 1_000_000, 500_000, 0]);
        bench.prove().await;
    }
}

/// What begins to pay only after a debt was made is no inflow; the repayment run finds it, once.
#[tokio::test]
async fn the_repayment_run_pays_debts_from_what_lies_beside_them() {
    for bench in both("repayment_run").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, 2_000).await;
        let later = at("2026-03-03T00:00:00Z");
        bench.run("UPDATE lot SET valid_from = ?", [later.as_microsecond().into()]).await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 250_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 2_000, -2_500]);
        let repay = || jobs::run(&bench.ctx, Job::Repayment, bench.ctx.clock.now());
        assert_eq!(repay().await, Ok(0));
        bench.clock.advance_to(later);
        assert_eq!(repay().await, Ok(1));
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 0, -500]);
        assert_eq!(payments(&bench, &account).await, [("cash", 2_000, 0)]);
        assert_eq!(repay().await, Ok(0));
        bench.prove().await;
        bench.recharge(&account, 500).await;
        assert_eq!(bench.number("SELECT COUNT(*) FROM billing_account WHERE standing = 'good'").await, 1);
        bench.prove().await;
    }
}

/// `domain.md` 3.14: fresh money for a card covers the debt first; what is left is the card's balance.
#[tokio::test]
async fn a_card_bought_with_fresh_money_repays_the_debt_first() {
    for bench in both("card_repays").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 250_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 0, -2_500]);
        // A voucher is no inflow: it waits for the next bill.
        bench.act(&account, grant(9_000, "2026-12-31")).await.unwrap();
        assert_eq!(balances(&bench, &account).await, [9_000, 0, 0, 0, -2_500]);
        bench.card_by_payment(&account, 10_000).await;
        assert_eq!(balances(&bench, &account).await, [9_000, 0, 7_500, 0, 0]);
        assert_eq!(payments(&bench, &account).await, [("prepaid_card", 2_500, 0)]);
        assert_eq!(bench.number("SELECT COUNT(*) FROM billing_account WHERE standing = 'good'").await, 1);
        bench.prove().await;
    }
}

/// D32: a lot pays the bill of its last day, which is made on the following one; then what it has left is lost.
#[tokio::test]
async fn credit_is_lost_only_after_the_bill_of_its_last_day() {
    for bench in both("expiry").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.act(&account, grant(1_000, "2026-03-01")).await.unwrap();
        bench.recharge(&account, 700).await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 40_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        let now = || bench.ctx.clock.now();
        assert_eq!(expire_lots::run(&bench.ctx, now()).await, Ok(0), "the day is not billed yet");
        bench.bill("2026-03-01").await;
        assert_eq!(balances(&bench, &account).await, [600, 0, 0, 700, 0]);
        assert_eq!(expire_lots::run(&bench.ctx, now()).await, Ok(1));
        assert_eq!(expire_lots::run(&bench.ctx, now()).await, Ok(0));
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 700, 0]);
        let lost = "SELECT balance FROM ledger_account WHERE kind = 'breakage'";
        assert_eq!(bench.number(lost).await, 600);
        assert_eq!(bench.number("SELECT COUNT(*) FROM lot WHERE expired_at IS NOT NULL").await, 1);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_code_becomes_one_voucher_for_whoever_comes_first() {
    for bench in both("codes").await {
        let (alice, bob) = (bench.account("alice").await, bench.account("bob").await);
        let terms =
            Terms { face: cny(5_000), min_spend: 100, last_day: day("2026-03-02"), note: "fair".into() };
        let tx = bench.db.begin().await.unwrap();
        let codes = issue_voucher_codes(&tx, &terms, 2, bench.ctx.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let activate = |code: &str| Act::ActivateVoucher { code_digest: digest(code) };
        bench.act(&alice, activate(&codes[0].to_lowercase())).await.unwrap();
        let reason = |outcome: Result<Done, _>| {
            let fault: tandem_service_kit::fault::Fault = outcome.unwrap_err();
            fault.reason
        };
        assert_eq!(reason(bench.act(&bob, activate(&codes[0])).await), Reason::VoucherCodeUsed);
        assert_eq!(reason(bench.act(&bob, activate("ABCD")).await), Reason::VoucherCodeUnknown);
        bench.pass(SignedDuration::from_hours(72));
        assert_eq!(reason(bench.act(&bob, activate(&codes[1])).await), Reason::VoucherCodeExpired);
        assert_eq!(balances(&bench, &alice).await, [5_000, 0, 0, 0, 0]);
        assert_eq!(balances(&bench, &bob).await, [0; 5]);
        bench.prove().await;
    }
}

/// Vouchers and cards come before the cloud, cash never; what no cloud takes is paid like any other bill.
#[tokio::test]
async fn a_cloud_gets_what_credit_leaves_and_its_refusal_is_paid_from_the_wallet() {
    for bench in both("cloud_rest").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.settle_by_cloud(&account, &[&workspace]).await;
        bench.card_by_payment(&account, 10_000).await;
        bench.recharge(&account, 1_000).await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 1_050_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 1_000, 0]);
        assert_eq!(bench.number("SELECT quantity FROM metering_record").await, 500);
        let id = "SELECT id FROM metering_record";
        let row = crate::store::read::one(&bench.db.read, id, []).await.unwrap().unwrap();
        let id = crate::store::read::Row(&row, "metering_record").parse("id").unwrap();
        let tx = bench.db.begin().await.unwrap();
        let records = metering::lock(&tx, &[id]).await.unwrap();
        settle_bills::move_to_billing_center(&tx, &bench.ctx, &records[0], bench.ctx.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(payments(&bench, &account).await, [("prepaid_card", 10_000, 0), ("cash", 500, 0)]);
        assert_eq!(balances(&bench, &account).await, [0, 0, 0, 500, 0]);
        bench.prove().await;
    }
}

/// 1 000 purchases at once on an account that can pay 137, each sent twice: exactly 137 succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_purchases_exactly_those_succeed_that_can_be_paid() {
    for bench in both("thousand").await {
        let account = bench.account("alice").await;
        bench.recharge(&account, 137 * 10_000 + 9_999).await;
        let caller = Caller { name: "portal".into(), role: Role::Portal };
        let body = cny(10_000).to_message();
        let calls = (0..2_000).map(|n| {
            let id = format!("buy-{}", n % 1_000);
            let key = RequestKey::new(&caller, "/tandem.billing.v1.WalletService/BuyPrepaidCard", &id, &body)
                .unwrap();
            let (ctx, account) = (Arc::clone(&bench.ctx), account.clone());
            let encode = |done: &Done| match done {
                Done::Card { card, .. } => card.lot.id.clone().into_bytes(),
                Done::Recharged { .. } | Done::Voucher(_) | Done::Packages(_) => Vec::new(),
            };
            tokio::spawn(async move {
                let act = Act::BuyCard { face: cny(10_000) };
                (id, wallet_lane::act(&ctx, account, key, act, Box::new(encode)).await)
            })
        });
        let mut bought: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                (id, Ok(card)) => {
                    let first = bought.entry(id).or_insert_with(|| card.clone());
                    assert_eq!(*first, card, "a repetition gets the same card");
                }
                (_, Err(fault)) => assert_eq!(fault.reason, Reason::BalanceInsufficient),
            }
        }
        assert_eq!(bought.len(), 137);
        assert_eq!(balances(&bench, &account).await, [0, 0, 1_370_000, 9_999, 0]);
        bench.prove().await;
    }
}

/// The simplest wallet there can be: it pays fen by fen, each from the lot that comes first.
#[derive(Default)]
struct Model {
    /// Kind, last day, place, fen left.
    lots: Vec<(LotKind, Option<UsageDay>, usize, i64)>,
    /// What is owed of bills, oldest first.
    owed: Vec<i64>,
}

impl Model {
    fn take_in(&mut self, kind: LotKind, last: Option<UsageDay>, fen: i64) {
        let mut left = fen;
        while left > 0 && kind >= LotKind::PrepaidCard && !self.owed.is_empty() {
            left -= 1;
            self.owed[0] -= 1;
            self.owed.retain(|rest| *rest > 0);
        }
        self.lots.push((kind, last, self.lots.len(), left));
    }

    fn bill(&mut self, on: UsageDay, restricted: i64, ordinary: i64) {
        let mut unpaid = 0;
        let fens = (0..restricted).map(|_| true).chain((0..ordinary).map(|_| false));
        for is_restricted in fens {
            let payer = self.lots.iter_mut().filter(|(kind, last, _, left)| {
                *left > 0 && last.is_none_or(|last| on <= last) && !(is_restricted && kind.is_voucher())
            });
            match payer.min_by_key(|(kind, last, place, _)| (*kind, last.is_none(), *last, *place)) {
                Some(lot) => lot.3 -= 1,
                None => unpaid += 1,
            }
        }
        self.owed.extend((unpaid > 0).then_some(unpaid));
    }

    fn expire(&mut self, billed: UsageDay) {
        for lot in self.lots.iter_mut().filter(|lot| lot.1.is_some_and(|last| last <= billed)) {
            lot.3 = 0;
        }
    }

    fn balances(&self) -> [i64; 5] {
        let sum = |kind| self.lots.iter().filter(|lot| lot.0 == kind).map(|lot| lot.3).sum();
        let owed: i64 = self.owed.iter().sum();
        [
            sum(LotKind::GeneralVoucher),
            sum(LotKind::DiscountVoucher),
            sum(LotKind::PrepaidCard),
            sum(LotKind::Cash),
            -owed,
        ]
    }
}

#[derive(Debug, Clone)]
enum Step {
    Recharge(i64),
    CardByPayment(i64),
    BuyCard(i64),
    Grant(i64, i32),
    Day(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1i64..4_000).prop_map(Step::Recharge),
        (1i64..2).prop_map(|n| Step::CardByPayment(n * 10_000)),
        (1i64..3).prop_map(|n| Step::BuyCard(n * 10_000)),
        (1i64..3_000, 0i32..9).prop_map(|(fen, days)| Step::Grant(fen, days)),
        (0i64..60, 1i64..3_000).prop_map(|(messages, fen)| Step::Day(messages, fen)),
        (0i64..20, 1i64..6_000).prop_map(|(messages, fen)| Step::Day(messages, fen)),
    ]
}

/// A small model walks beside the real service through random lives of 100 operations; the ledger is sound after each.
#[tokio::test]
async fn a_small_model_and_the_service_agree_over_random_lives() {
    for (seed, name) in [(7_u8, "life_a"), (42, "life_b")] {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let steps = prop::collection::vec(step(), 100).new_tree(&mut runner).unwrap().current();
        for bench in both(name).await {
            live(&bench, &steps).await;
        }
    }
}

async fn live(bench: &Bench, steps: &[Step]) {
    let account = bench.account("alice").await;
    let workspace = bench.workspace(&account, "prod").await;
    let mut model = Model::default();
    let mut today = day("2026-03-01");
    let zone = tandem_proto::day::zone("Asia/Shanghai").unwrap();
    for (n, step) in steps.iter().enumerate() {
        bench.pass(SignedDuration::from_secs(1));
        match step.clone() {
            Step::Recharge(fen) => {
                bench.recharge(&account, fen).await;
                model.take_in(LotKind::Cash, None, fen);
            }
            Step::CardByPayment(fen) => {
                bench.card_by_payment(&account, fen).await;
                model.take_in(LotKind::PrepaidCard, Some(today.plus_days(364)), fen);
            }
            Step::BuyCard(fen) => {
                let bought = bench.act(&account, Act::BuyCard { face: cny(fen) }).await;
                assert_eq!(bought.is_ok(), model.balances()[3] >= fen, "step {n}: {step:?}");
                if bought.is_ok() {
                    let mut left = fen;
                    for lot in model.lots.iter_mut().filter(|lot| lot.0 == LotKind::Cash) {
                        let part = lot.3.min(left);
                        lot.3 -= part;
                        left -= part;
                    }
                    model.take_in(LotKind::PrepaidCard, Some(today.plus_days(364)), fen);
                }
            }
            Step::Grant(fen, days) => {
                let last = today.plus_days(days);
                bench.act(&account, grant(fen, &last.to_string())).await.unwrap();
                model.take_in(LotKind::GeneralVoucher, Some(last), fen);
            }
            Step::Day(messages, fen) => {
                let usage = [(Sms, 0, messages), (Trigger, 0, fen * 100)];
                bench.deliver(&workspace, &today.to_string(), 1, &usage).await;
                bench.clock.advance_to(today.end(&zone) + SignedDuration::from_secs(600));
                bench.bill(&today.to_string()).await;
                model.bill(today, messages * 10, fen);
                while expire_lots::run(&bench.ctx, bench.ctx.clock.now()).await.unwrap() > 0 {}
                model.expire(today);
                today = today.next();
            }
        }
        assert_eq!(balances(bench, &account).await, model.balances(), "step {n}: {step:?}");
    }
    bench.prove().await;
    let lots = lot::list(&bench.db.read, &account, lot::Filter { kind: None, with_closed: true }, &[], 500);
    assert_eq!(lots.await.unwrap().len(), model.lots.len());
}
