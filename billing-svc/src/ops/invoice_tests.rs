//! Invoices on both engines: who may ask, what for, once only, and what becomes of a request.

use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_proto::ids::{BillingAccountId, DeliveryAddressId, InvoiceProfileId, WorkspaceId};
use tandem_proto::item::BillingItem::{Sms, Trigger};
use tandem_proto::language::Language;
use tandem_proto::money::{Currency, Money};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::invoice_profiles::{self, Titled};
use super::move_invoice::{self, Act as Move};
use super::request_invoice::{self, Wish};
use super::wallet_acts::Act;
use super::{decide_verification, delivery_addresses, get_document, settle_bills, submit_verification};
use crate::domain::invoice::{Address, Details, InvoiceKind, InvoiceState, Line, Month, Source};
use crate::domain::verification::{Decision, Verification, VerificationState};
use crate::store::invoice::{self, Invoice};
use crate::store::{account, invoiceable, metering};
use crate::testing::{Bench, at, both, day};

const TAX: &str = "91310000MA1K4B0X2P";

/// Runs an operation in a transaction that is kept when it succeeds.
macro_rules! done {
    ($bench:expr, |$tx:ident, $now:ident| $work:expr) => {{
        let bench: &Bench = &$bench;
        let ($tx, $now) = (bench.db.begin().await.unwrap(), bench.ctx.clock.now());
        let outcome = $work.await;
        match &outcome {
            Ok(_) => $tx.commit().await.unwrap(),
            Err(_) => $tx.rollback().await,
        }
        outcome
    }};
}

fn details(kind: InvoiceKind) -> Details {
    let text = || "x".to_owned();
    Details { kind, bank: text(), bank_account: text(), registered_address: text(), landline: text() }
}

fn address() -> Address {
    Address {
        recipient: "Lin".into(),
        phone: "13800000000".into(),
        email: "lin@acme.test".into(),
        postal: String::new(),
    }
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

async fn submit(bench: &Bench, account: &BillingAccountId) -> Result<Verification, Fault> {
    done!(bench, |tx, now| submit_verification::run(&tx, account, "ACME 有限公司", TAX, now))
}

async fn decide(
    bench: &Bench,
    account: &BillingAccountId,
    decision: Decision,
) -> Result<Verification, Fault> {
    done!(bench, |tx, now| decide_verification::run(&tx, &bench.ctx, account, decision, "because", now))
}

async fn profile(bench: &Bench, account: &BillingAccountId) -> Result<Titled, Fault> {
    let details = details(InvoiceKind::ElectronicOrdinary);
    done!(bench, |tx, now| invoice_profiles::create(&tx, account, details, now))
}

/// An account that may ask for invoices.
async fn customer(bench: &Bench, name: &str) -> (BillingAccountId, InvoiceProfileId, DeliveryAddressId) {
    let account = bench.account(name).await;
    submit(bench, &account).await.unwrap();
    decide(bench, &account, Decision::Verify).await.unwrap();
    let profile = profile(bench, &account).await.unwrap().profile.id;
    let address =
        done!(bench, |tx, now| delivery_addresses::create(&tx, &account, address(), now)).unwrap().id;
    (account, profile, address)
}

async fn request(
    bench: &Bench,
    who: &(BillingAccountId, InvoiceProfileId, DeliveryAddressId),
    sources: &[Source],
) -> Result<(Invoice, Vec<Line>), Fault> {
    let wish = Wish { profile: who.1.clone(), address: who.2.clone(), sources: sources.to_vec() };
    done!(bench, |tx, now| request_invoice::run(&tx, &who.0, &wish, now))
}

async fn step(bench: &Bench, of: &Invoice, act: Move) -> Result<Invoice, Fault> {
    let moved =
        done!(bench, |tx, now| move_invoice::run(&tx, &bench.ctx, &of.billing_account, &of.id, act, now));
    moved.map(|(invoice, _)| invoice)
}

/// What is open, by source.
async fn open(bench: &Bench, account: &BillingAccountId) -> Vec<(String, i64)> {
    let payer = account::find(&bench.db.read, account).await.unwrap().unwrap();
    let first_open = request_invoice::first_open_month(&payer, bench.ctx.clock.now());
    let rows = invoiceable::list(&bench.db.read, &payer, first_open, false, &[], 500).await.unwrap();
    let total = invoiceable::open_total(&bench.db.read, &payer, first_open).await.unwrap();
    let listed: Vec<_> = rows.iter().map(|i| (i.source.id(), i.open())).collect();
    assert_eq!(listed.iter().map(|(_, open)| open).sum::<i64>(), total);
    listed
}

/// Uses triggers for so many fen on a day and makes the bill.
async fn spend(bench: &Bench, workspace: &WorkspaceId, on: &str, fen: i64) {
    bench.deliver(workspace, on, 1, &[(Trigger, 0, fen * 100)]).await;
    let zone = tandem_proto::day::zone("Asia/Shanghai").unwrap();
    bench.clock.advance_to(day(on).end(&zone) + SignedDuration::from_mins(10));
    assert_eq!(bench.bill(on).await, 1);
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> Reason {
    outcome.unwrap_err().reason
}

#[tokio::test]
async fn a_company_is_verified_step_by_step_and_told() {
    for bench in both("verification").await {
        let account = bench.account("alice").await;
        assert_eq!(reason(profile(&bench, &account).await), Reason::CompanyNotVerified);
        assert_eq!(reason(decide(&bench, &account, Decision::Verify).await), Reason::VerificationNotOpen);
        assert_eq!(submit(&bench, &account).await.unwrap().state, VerificationState::Pending);
        assert_eq!(reason(submit(&bench, &account).await), Reason::VerificationNotOpen);
        assert_eq!(reason(profile(&bench, &account).await), Reason::CompanyNotVerified);
        decide(&bench, &account, Decision::Reject).await.unwrap();
        assert_eq!(submit(&bench, &account).await.unwrap().number, 2);
        decide(&bench, &account, Decision::Verify).await.unwrap();
        assert_eq!(reason(submit(&bench, &account).await), Reason::VerificationNotOpen);
        assert_eq!(profile(&bench, &account).await.unwrap().company.company_name, "ACME 有限公司");
        // Taken back: no more invoices until it is verified anew.
        decide(&bench, &account, Decision::Reject).await.unwrap();
        assert_eq!(reason(profile(&bench, &account).await), Reason::CompanyNotVerified);
        assert_eq!(bench.number("SELECT COUNT(*) FROM outbox").await, 3, "a mail for each decision");
        let no_reason = done!(bench, |tx, now| decide_verification::run(
            &tx,
            &bench.ctx,
            &account,
            Decision::Reject,
            "",
            now
        ));
        assert_eq!(reason(no_reason), Reason::InvalidField);
    }
}

#[tokio::test]
async fn only_what_cash_paid_of_generated_months_and_cards_is_invoiced_and_once() {
    for bench in both("invoiceable").await {
        let who = customer(&bench, "alice").await;
        let account = &who.0;
        let workspace = bench.workspace(account, "prod").await;
        let grant = Act::GrantVoucher {
            face: Money { minor: 300, currency: Currency::Cny },
            min_spend: 0,
            valid_from: at("2026-01-01T00:00:00Z"),
            last_day: day("2026-12-31"),
            note: "welcome".into(),
        };
        bench.act(account, grant).await.unwrap();
        bench.recharge(account, 15_000).await;
        let face = Money { minor: 10_000, currency: Currency::Cny };
        bench.act(account, Act::BuyCard { face }).await.unwrap();
        // 300 by voucher, 10 000 by card, 700 by cash.
        spend(&bench, &workspace, "2026-03-01", 11_000).await;
        let march = Source::Month(month("2026-03"));
        assert_eq!(open(&bench, account).await.len(), 1, "only the card: March runs");
        let early = request(&bench, &who, std::slice::from_ref(&march)).await;
        assert_eq!(reason(early), Reason::MonthNotGenerated);
        bench.clock.advance_to(at("2026-04-03T15:59:59Z"));
        assert_eq!(
            reason(request(&bench, &who, std::slice::from_ref(&march)).await),
            Reason::MonthNotGenerated
        );
        bench.clock.advance_to(at("2026-04-03T16:00:00Z"));
        let listed = open(&bench, account).await;
        assert_eq!(listed[0], ("2026-03".to_owned(), 700));
        assert_eq!((listed[1].1, listed.len()), (10_000, 2));
        let card = Source::from_columns(crate::domain::invoice::SourceKind::Card, &listed[1].0).unwrap();
        let (made, lines) = request(&bench, &who, &[card.clone(), march.clone()]).await.unwrap();
        assert_eq!((made.amount.minor, lines.len(), made.title.as_str()), (10_700, 2, "ACME 有限公司"));
        assert_eq!(open(&bench, account).await, []);
        assert_eq!(reason(request(&bench, &who, &[march]).await), Reason::NothingToInvoice);
        assert_eq!(reason(request(&bench, &who, &[card]).await), Reason::NothingToInvoice);
        bench.prove().await;
    }
}

#[tokio::test]
async fn what_cash_repays_later_can_be_invoiced_later_but_not_without_cash() {
    for bench in both("repaid").await {
        let who = customer(&bench, "alice").await;
        let account = &who.0;
        let workspace = bench.workspace(account, "prod").await;
        bench.recharge(account, 1_000).await;
        spend(&bench, &workspace, "2026-03-01", 1_500).await;
        bench.clock.advance_to(at("2026-04-05T00:00:00Z"));
        assert_eq!(open(&bench, account).await, [("2026-03".to_owned(), 1_000)]);
        let march = [Source::Month(month("2026-03"))];
        assert_eq!(reason(request(&bench, &who, &march).await), Reason::CashRequired);
        // Half of the debt by cash exactly: still no cash left.
        bench.recharge(account, 200).await;
        assert_eq!(reason(request(&bench, &who, &march).await), Reason::CashRequired);
        // The rest is repaid by a card bought with fresh money: invoiced as a card, not as March.
        bench.card_by_payment(account, 10_000).await;
        bench.recharge(account, 1).await;
        let (made, _) = request(&bench, &who, &march).await.unwrap();
        assert_eq!(made.amount.minor, 1_200);
        let left = open(&bench, account).await;
        assert_eq!((left.len(), left[0].1), (1, 10_000), "{left:?}");
        bench.prove().await;
    }
}

#[tokio::test]
async fn what_a_cloud_collects_is_never_invoiced_and_what_it_refuses_is() {
    for bench in both("invoice_cloud").await {
        let who = customer(&bench, "alice").await;
        let account = &who.0;
        let workspace = bench.workspace(account, "prod").await;
        bench.settle_by_cloud(account, &[&workspace]).await;
        bench.recharge(account, 5_000).await;
        spend(&bench, &workspace, "2026-03-01", 900).await;
        bench.clock.advance_to(at("2026-04-05T00:00:00Z"));
        assert_eq!(open(&bench, account).await, []);
        let row = crate::store::read::one(&bench.db.read, "SELECT id FROM metering_record", []).await;
        let row = row.unwrap().unwrap();
        let id = crate::store::read::Row(&row, "metering_record").parse("id").unwrap();
        let tx = bench.db.begin().await.unwrap();
        let records = metering::lock(&tx, &[id]).await.unwrap();
        let now = bench.ctx.clock.now();
        settle_bills::move_to_billing_center(&tx, &bench.ctx, &records[0], now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(open(&bench, account).await, [("2026-03".to_owned(), 900)]);
    }
}

#[tokio::test]
async fn an_invoice_goes_its_way_and_a_rejected_one_frees_its_amounts() {
    for bench in both("invoice_way").await {
        let who = customer(&bench, "alice").await;
        let workspace = bench.workspace(&who.0, "prod").await;
        bench.recharge(&who.0, 5_000).await;
        spend(&bench, &workspace, "2026-03-01", 900).await;
        bench.clock.advance_to(at("2026-04-05T00:00:00Z"));
        let march = [Source::Month(month("2026-03"))];
        let (first, _) = request(&bench, &who, &march).await.unwrap();
        let number = |n: &str| Move::Issue(n.to_owned());
        assert_eq!(reason(step(&bench, &first, Move::Send(String::new())).await), Reason::InvoiceNotOpen);
        assert_eq!(step(&bench, &first, number("A-1")).await.unwrap().state, InvoiceState::Issued);
        let rejected = step(&bench, &first, Move::Reject("wrong kind".into())).await.unwrap();
        assert_eq!((rejected.state, rejected.reason.as_str()), (InvoiceState::Rejected, "wrong kind"));
        assert_eq!(reason(step(&bench, &first, number("A-2")).await), Reason::InvoiceNotOpen);
        assert_eq!(open(&bench, &who.0).await, [("2026-03".to_owned(), 900)]);

        let (second, _) = request(&bench, &who, &march).await.unwrap();
        assert_eq!(reason(step(&bench, &second, number("A-1")).await), Reason::InvoiceNumberUsed);
        step(&bench, &second, number("A-2")).await.unwrap();
        let sent = step(&bench, &second, Move::Send("SF 1029".into())).await.unwrap();
        assert_eq!((sent.state, sent.tracking.as_str()), (InvoiceState::Sent, "SF 1029"));
        assert_eq!(reason(step(&bench, &second, Move::Reject("late".into())).await), Reason::InvoiceNotOpen);
        assert_eq!(open(&bench, &who.0).await, []);
        let listed = invoice::list(&bench.db.read, None, None, &[], 10).await.unwrap();
        assert_eq!(listed.iter().map(|i| &i.id).collect::<Vec<_>>(), [&second.id, &first.id]);
        let sent =
            invoice::list(&bench.db.read, Some(&who.0), Some(InvoiceState::Sent), &[], 10).await.unwrap();
        assert_eq!(sent, [invoice::find(&bench.db.read, &who.0, &second.id).await.unwrap().unwrap()]);
        // Another tenant's invoice does not exist.
        let other = bench.account("bob").await;
        assert_eq!(invoice::find(&bench.db.read, &other, &second.id).await.unwrap(), None);
        let foreign = Invoice { billing_account: other, ..second };
        assert_eq!(reason(step(&bench, &foreign, Move::Reject("x".into())).await), Reason::ObjectNotFound);
    }
}

#[tokio::test]
async fn profiles_and_addresses_are_kept_changed_and_deleted() {
    for bench in both("invoice_keeping").await {
        let who = customer(&bench, "alice").await;
        let bare = Details { bank: String::new(), ..details(InvoiceKind::VatSpecial) };
        let refused = done!(bench, |tx, now| invoice_profiles::create(&tx, &who.0, bare, now)).unwrap_err();
        assert_eq!(refused.fields[0].0, "details.bank");
        let special = details(InvoiceKind::VatSpecial);
        let changed =
            done!(bench, |tx, _now| invoice_profiles::update(&tx, &who.0, &who.1, special)).unwrap();
        assert_eq!(changed.profile.details.kind, InvoiceKind::VatSpecial);
        // On paper it needs a postal address, which this one lacks.
        let refused = request(&bench, &who, &[Source::Month(month("2026-01"))]).await.unwrap_err();
        assert_eq!((refused.reason, refused.fields[0].0.as_str()), (Reason::InvalidField, "address_id"));
        let nowhere = Address { email: String::new(), ..address() };
        let refused = done!(bench, |tx, _now| delivery_addresses::update(&tx, &who.0, &who.2, nowhere));
        assert_eq!(reason(refused), Reason::InvalidField);
        let other = bench.account("bob").await;
        let foreign = done!(bench, |tx, _now| invoice_profiles::delete(&tx, &other, &who.1));
        assert_eq!(reason(foreign), Reason::ObjectNotFound);
        done!(bench, |tx, _now| invoice_profiles::delete(&tx, &who.0, &who.1)).unwrap();
        done!(bench, |tx, _now| delivery_addresses::delete(&tx, &who.0, &who.2)).unwrap();
        let gone = request(&bench, &who, &[Source::Month(month("2026-01"))]).await;
        assert_eq!(reason(gone), Reason::ObjectNotFound);
    }
}

/// Many requests over the same months at once: each amount is taken by exactly one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_requests_at_once_one_gets_each_month() {
    for bench in both("invoice_race").await {
        let who = customer(&bench, "alice").await;
        let workspace = bench.workspace(&who.0, "prod").await;
        bench.recharge(&who.0, 50_000).await;
        spend(&bench, &workspace, "2026-03-01", 900).await;
        spend(&bench, &workspace, "2026-04-01", 700).await;
        bench.clock.advance_to(at("2026-05-05T00:00:00Z"));
        let bench = Arc::new(bench);
        let calls: Vec<_> = (0..24)
            .map(|n| {
                let (bench, who) = (Arc::clone(&bench), who.clone());
                let source = Source::Month(month(if n % 2 == 0 { "2026-03" } else { "2026-04" }));
                tokio::spawn(async move { request(&bench, &who, &[source]).await })
            })
            .collect();
        let mut amounts = Vec::new();
        for call in calls {
            match call.await.unwrap() {
                Ok((made, _)) => amounts.push(made.amount.minor),
                Err(fault) => assert!(
                    matches!(
                        fault.reason,
                        Reason::NothingToInvoice | Reason::Conflict | Reason::StorageUnavailable
                    ),
                    "{fault}"
                ),
            }
        }
        amounts.sort_unstable();
        assert_eq!(amounts, [700, 900]);
        assert_eq!(open(&bench, &who.0).await, []);
    }
}

/// The rows of a lost lock: two requests that saw the same amount open cannot both be written.
#[tokio::test]
async fn the_tables_themselves_refuse_an_amount_twice() {
    for bench in both("invoice_twice").await {
        let who = customer(&bench, "alice").await;
        let workspace = bench.workspace(&who.0, "prod").await;
        bench.recharge(&who.0, 5_000).await;
        spend(&bench, &workspace, "2026-03-01", 900).await;
        bench.clock.advance_to(at("2026-04-05T00:00:00Z"));
        let (made, lines) = request(&bench, &who, &[Source::Month(month("2026-03"))]).await.unwrap();
        let twin = Invoice { id: tandem_service_kit::fresh::fresh(), ..made };
        let tx: Tx = bench.db.begin().await.unwrap();
        let stale = Default::default();
        assert!(invoice::insert(&tx, &twin, &lines, &stale).await.is_err());
    }
}

#[derive(Debug, Clone)]
enum Live {
    Recharge(i64),
    Card,
    Spend(i64, i64),
    Request(bool),
    Reject,
    NextMonth,
}

fn live() -> impl Strategy<Value = Live> {
    prop_oneof![
        (1i64..6_000).prop_map(Live::Recharge),
        Just(Live::Card),
        (0i64..20, 1i64..4_000).prop_map(|(messages, fen)| Live::Spend(messages, fen)),
        (1i64..3_000).prop_map(|fen| Live::Spend(0, fen)),
        any::<bool>().prop_map(Live::Request),
        Just(Live::Reject),
        Just(Live::NextMonth),
    ]
}

/// Over random lives: what stands on invoices is never more than what was paid in cash, and both add up in the books.
#[tokio::test]
async fn over_random_lives_no_fen_of_cash_is_invoiced_twice() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let acts = prop::collection::vec(live(), 60).new_tree(&mut runner).unwrap().current();
    for bench in both("invoice_life").await {
        let who = customer(&bench, "alice").await;
        let workspace = bench.workspace(&who.0, "prod").await;
        let (mut today, mut requested) = (day("2026-03-01"), Vec::new());
        let mut made_any = 0;
        for act in &acts {
            bench.pass(SignedDuration::from_secs(1));
            match act {
                Live::Recharge(fen) => bench.recharge(&who.0, *fen).await,
                Live::Card => bench.card_by_payment(&who.0, 10_000).await,
                Live::Spend(messages, fen) => {
                    let usage = [(Sms, 0, *messages), (Trigger, 0, fen * 100)];
                    bench.deliver(&workspace, &today.to_string(), 1, &usage).await;
                    let zone = tandem_proto::day::zone("Asia/Shanghai").unwrap();
                    let after = today.end(&zone) + SignedDuration::from_mins(10);
                    bench.clock.advance_to(after.max(bench.ctx.clock.now()));
                    bench.bill(&today.to_string()).await;
                    today = today.next();
                }
                Live::Request(all) => {
                    let listed = open(&bench, &who.0).await;
                    let read = |id: &String| {
                        id.parse().map(Source::Month).or_else(|_| id.parse().map(Source::Card)).unwrap()
                    };
                    let sources: Vec<Source> = listed.iter().map(|(id, _)| read(id)).collect();
                    let sources = if *all { sources } else { sources.into_iter().take(1).collect() };
                    if let Ok((made, _)) = request(&bench, &who, &sources).await {
                        requested.push(made);
                        made_any += 1;
                    }
                }
                Live::Reject => {
                    if let Some(made) = requested.pop() {
                        step(&bench, &made, Move::Reject("again".into())).await.unwrap();
                    }
                }
                Live::NextMonth => {
                    today = Month::of(today).end_day();
                    let zone = tandem_proto::day::zone("Asia/Shanghai").unwrap();
                    let start = today.start(&zone);
                    bench.clock.advance_to(start.max(bench.ctx.clock.now()));
                }
            }
            let standing =
                "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM invoice WHERE state <> 'rejected'";
            let lines =
                "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM invoice_line WHERE NOT released";
            let cash =
                "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM bill_payment WHERE instrument = 'cash'";
            let cards = "SELECT CAST(COALESCE(SUM(face), 0) AS BIGINT) FROM lot WHERE kind = 'prepaid_card'";
            let invoiced = bench.number(standing).await;
            assert_eq!(invoiced, bench.number(lines).await, "{act:?}");
            assert!(invoiced <= bench.number(cash).await + bench.number(cards).await, "{act:?}");
        }
        assert!(made_any > 3, "only {made_any} requests: this proves nothing");
        bench.prove().await;
    }
}

#[tokio::test]
async fn documents_are_made_of_what_is_stored() {
    for bench in both("documents").await {
        let who = customer(&bench, "alice").await;
        let account = &who.0;
        let workspace = bench.workspace(account, "生产环境").await;
        bench.recharge(account, 1_000).await;
        spend(&bench, &workspace, "2026-03-01", 1_500).await;
        let bills = crate::store::bill::list(&bench.db.read, account, None, &[], 10).await.unwrap();
        let language = Some(Language::Zh);
        let one = get_document::of_bill(&bench.ctx, account, &bills[0].id, language).await.unwrap();
        let again = get_document::of_bill(&bench.ctx, account, &bills[0].id, language).await.unwrap();
        assert_eq!(one, again);
        assert!(one.pdf.starts_with(b"%PDF") && one.file_name.ends_with(".pdf"));
        let march = month("2026-03");
        let now = || bench.ctx.clock.now();
        let early = get_document::of_month(&bench.ctx, account, march, language, now()).await;
        assert_eq!(reason(early), Reason::MonthNotGenerated);
        bench.clock.advance_to(at("2026-04-05T00:00:00Z"));
        let sheet =
            get_document::month_sheet(&bench.ctx, &account_of(&bench, account).await, march).await.unwrap();
        assert_eq!((sheet.payable, sheet.invoiceable, sheet.with_clouds), (1_500, 1_000, 0));
        assert_eq!(sheet.items.iter().map(|i| i.micros).sum::<i64>(), 15_000_000);
        assert_eq!((sheet.workspaces.len(), sheet.workspaces[0].payable, sheet.further), (1, 1_500, None));
        get_document::of_month(&bench.ctx, account, march, language, now()).await.unwrap();
        let none = get_document::of_month(&bench.ctx, account, month("2026-01"), None, now()).await;
        assert_eq!(reason(none), Reason::ObjectNotFound);
        bench.recharge(account, 1_000).await;
        let (made, _) = request(&bench, &who, &[Source::Month(march)]).await.unwrap();
        get_document::of_invoice(&bench.ctx, account, &made.id, None).await.unwrap();
        let other = bench.account("bob").await;
        let foreign = get_document::of_invoice(&bench.ctx, &other, &made.id, None).await;
        assert_eq!(reason(foreign), Reason::ObjectNotFound);
        let foreign = get_document::of_bill(&bench.ctx, &other, &bills[0].id, None).await;
        assert_eq!(reason(foreign), Reason::ObjectNotFound);
    }
}

async fn account_of(bench: &Bench, id: &BillingAccountId) -> crate::domain::account::BillingAccount {
    account::find(&bench.db.read, id).await.unwrap().unwrap()
}
