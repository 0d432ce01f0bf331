//! Recharges that are paid online, on both engines: announced, paid, told of twice, wrongly or never, closed, decided.

use jiff::{SignedDuration, Timestamp};
use tandem_proto::billing::v1 as pb;
use tandem_proto::common::v1::Role;
use tandem_proto::ids::{BillingAccountId, RechargeId};
use tandem_proto::item::BillingItem::Trigger;
use tandem_proto::money::{Currency, Money};
use tandem_proto::payment::PaymentChannel;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::identity::Caller;
use tandem_service_kit::request_log::RequestKey;

use crate::domain::payment::{Announced, PaymentProblem, PaymentState};
use crate::domain::wallet::LotKind;
use crate::ops::check_recharges;
use crate::ops::create_online_recharge::{Wanted, create_online_recharge};
use crate::ops::record_payment::record_payment;
use crate::ops::resolve_payment::{Decision, Resolution, resolve_payment};
use crate::ops::wallet_acts::Act;
use crate::store::payment::Payment;
use crate::store::recharge::{self, Recharge, RechargeState};
use crate::testing::{Bench, at, both, both_with_gateway};

mod expiring;
mod provider;

use provider::Provider;

fn wanted(account: &BillingAccountId, minor: i64) -> Wanted {
    let amount = Money { minor, currency: Currency::Cny };
    Wanted { account: account.clone(), amount, channel: PaymentChannel::Alipay, buys_card: false }
}

/// Asks for an online recharge as a caller would; the answer holds its id and page.
async fn ask(bench: &Bench, request_id: &str, wanted: &Wanted) -> Result<(String, String), Fault> {
    let caller = Caller { name: "portal".to_owned(), role: Role::Portal };
    let request = pb::CreateRechargeRequest {
        request_id: request_id.to_owned(),
        billing_account_id: wanted.account.as_str().to_owned(),
        amount: Some(wanted.amount.to_message()),
        channel: pb::RechargeChannel::Alipay.into(),
        buys_card: wanted.buys_card,
    };
    let path = "/tandem.billing.v1.WalletService/CreateRecharge";
    let key = RequestKey::new(&caller, path, request_id, &request).unwrap();
    let answer = |r: &Recharge| pb::CreateRechargeResponse {
        recharge: Some(pb::Recharge {
            id: r.id.to_string(),
            payment_url: r.payment_url.clone().unwrap_or_default(),
            ..Default::default()
        }),
    };
    let recharge = create_online_recharge(&bench.ctx, key, wanted, answer).await?.recharge.unwrap();
    Ok((recharge.id, recharge.payment_url))
}

fn paid(order: &str, payment: &str, minor: i64) -> Announced {
    Announced {
        channel: PaymentChannel::Alipay,
        external_ref: payment.to_owned(),
        order_id: order.to_owned(),
        minor,
        currency: "CNY".to_owned(),
        paid_at: at("2026-03-01T00:00:30Z"),
    }
}

async fn record(bench: &Bench, announced: &Announced) -> Payment {
    let tx = bench.db.begin().await.unwrap();
    let recorded = record_payment(&tx, &bench.ctx, announced, bench.ctx.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    recorded.tell(&bench.ctx);
    recorded.payment
}

async fn decide(bench: &Bench, payment: &Payment, resolution: Resolution) -> Result<Payment, Fault> {
    let tx = bench.db.begin().await.unwrap();
    let decision = Decision { resolver: "ada", note: "looked at it" };
    let now = bench.ctx.clock.now();
    let decided = resolve_payment(&tx, &bench.ctx, &payment.id, &resolution, decision, now).await?;
    tx.commit().await.unwrap();
    Ok(decided)
}

async fn cash(bench: &Bench, account: &BillingAccountId) -> i64 {
    bench.wallet(account).await.total(LotKind::Cash)
}

async fn states(bench: &Bench, account: &BillingAccountId) -> Vec<RechargeState> {
    let all = recharge::list(&bench.db.read, account, None, &[], 100).await.unwrap();
    all.iter().map(|r| r.state).collect()
}

async fn check(bench: &Bench) -> usize {
    check_recharges::run(&bench.ctx, bench.ctx.clock.now()).await.unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn an_online_recharge_answers_with_its_page_and_is_booked_once() {
    let provider = Provider::start().await;
    for bench in both_with_gateway("pay_once", &provider.uri).await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-02-28", 1, &[(Trigger, 0, 30_000)]).await;
        bench.bill("2026-02-28").await;
        assert_eq!(bench.wallet(&account).await.overdraft(), -300);
        let (id, page) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        assert_eq!(page, format!("https://pay.acme.test/{id}"));
        assert_eq!(ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap(), (id.clone(), page));
        assert_eq!(bench.number("SELECT COUNT(*) FROM recharge_call").await, 0, "nothing is left over");

        let first = record(&bench, &paid(&id, "p1", 10_000)).await;
        assert_eq!((first.state, first.problem), (PaymentState::Booked, None));
        assert_eq!(first.recharge.as_ref().map(RechargeId::as_str), Some(id.as_str()));
        for _ in 0..3 {
            assert_eq!(record(&bench, &paid(&id, "p1", 10_000)).await, first);
        }
        // A provider that contradicts itself changes nothing.
        assert_eq!(record(&bench, &paid(&id, "p1", 99_999)).await, first);
        assert_eq!(cash(&bench, &account).await, 9_700, "the debt is repaid first");
        assert_eq!(states(&bench, &account).await, [RechargeState::Paid]);
        assert_eq!(bench.number("SELECT COUNT(*) FROM payment").await, 1);
        bench.prove().await;
    }
}

#[tokio::test]
async fn an_online_recharge_can_buy_a_card() {
    let provider = Provider::start().await;
    for bench in both_with_gateway("pay_card", &provider.uri).await {
        let account = bench.account("alice").await;
        let card = |minor| Wanted { buys_card: true, ..wanted(&account, minor) };
        let refused = ask(&bench, "r0", &card(150)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidField);
        let (id, _) = ask(&bench, "r1", &card(1_000_000)).await.unwrap();
        record(&bench, &paid(&id, "p1", 1_000_000)).await;
        let wallet = bench.wallet(&account).await;
        assert_eq!(wallet.total(LotKind::PrepaidCard), 1_000_000);
        assert_eq!(wallet.total(LotKind::DiscountVoucher), 100_000);
        bench.prove().await;
    }
}

/// I-05, I-26: the recharge is saved before the provider is asked, so a lost answer or a dead process costs nothing.
#[tokio::test]
async fn a_repetition_after_a_lost_answer_goes_on_with_the_same_recharge() {
    for bench in both("pay_lost").await {
        let provider = Provider::start().await;
        let bench = bench.calling(&provider.uri);
        let account = bench.account("alice").await;
        provider.lose(true);
        let unclear = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap_err();
        assert_eq!(unclear.reason, Reason::PaymentProviderUnavailable);
        assert_eq!(provider.orders().len(), 1);
        // Paid before the caller has ever seen the page: found all the same.
        let order = provider.orders()[0].recharge_id.clone();
        bench.pass(SignedDuration::from_secs(90));
        provider.lose(false);
        let reused = ask(&bench, "r1", &wanted(&account, 20_000)).await.unwrap_err();
        assert_eq!(reused.reason, Reason::RequestIdReused);
        let (id, page) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        assert_eq!(id, order);
        assert!(page.ends_with(&order));
        assert_eq!(states(&bench, &account).await, [RechargeState::Created], "one recharge, not two");
        assert_eq!(provider.orders().len(), 1);
    }
}

#[tokio::test]
async fn what_the_provider_refuses_leaves_nothing_behind() {
    for bench in both("pay_refused").await {
        let provider = Provider::start().await;
        let bench = bench.calling(&provider.uri);
        let account = bench.account("alice").await;
        for reason in [Reason::PaymentRefused, Reason::PaymentChannelNotConfigured] {
            provider.fail(Some(Fault::new(reason)));
            for _ in 0..2 {
                let refused = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap_err();
                assert_eq!(refused.reason, reason);
            }
            assert_eq!(states(&bench, &account).await, []);
            assert_eq!(bench.number("SELECT COUNT(*) FROM recharge_call").await, 0);
        }
        provider.fail(Some(Fault::new(Reason::Overloaded)));
        let unclear = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap_err();
        assert_eq!(unclear.reason, Reason::PaymentProviderUnavailable);
        assert_eq!(states(&bench, &account).await, [RechargeState::Created], "it may exist there");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_kept_and_books_nothing() {
    let provider = Provider::start().await;
    for bench in both_with_gateway("pay_parked", &provider.uri).await {
        let account = bench.account("alice").await;
        let (id, _) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        let unknown: RechargeId = tandem_service_kit::fresh::fresh();
        let in_dollars = Announced { currency: "USD".to_owned(), ..paid(&id, "p3", 10_000) };
        let in_euro = Announced { currency: "EUR".to_owned(), ..paid(&id, "p4", 10_000) };
        for (announced, problem) in [
            (paid(&id, "p1", 9_999), PaymentProblem::AmountDiffers),
            (paid(&id, "p2", 1_000_000), PaymentProblem::AmountDiffers),
            (in_dollars, PaymentProblem::CurrencyDiffers),
            (in_euro, PaymentProblem::CurrencyDiffers),
            (paid(unknown.as_str(), "p5", 10_000), PaymentProblem::RechargeUnknown),
            (paid("someone-elses-order", "p6", 10_000), PaymentProblem::RechargeUnknown),
        ] {
            let kept = record(&bench, &announced).await;
            assert_eq!((kept.state, kept.problem), (PaymentState::Parked, Some(problem)), "{announced:?}");
            assert_eq!(kept.announced, announced, "nothing of it is lost");
            assert_eq!(record(&bench, &announced).await, kept, "and it is kept once");
        }
        assert_eq!(cash(&bench, &account).await, 0);
        assert_eq!(states(&bench, &account).await, [RechargeState::Created], "it can still be paid");
        record(&bench, &paid(&id, "p7", 10_000)).await;
        let twice = record(&bench, &paid(&id, "p8", 10_000)).await;
        assert_eq!(twice.problem, Some(PaymentProblem::RechargePaid));
        assert_eq!(cash(&bench, &account).await, 10_000);
        bench.prove().await;
    }
}

#[tokio::test]
async fn what_staff_booked_by_hand_is_not_booked_again() {
    let provider = Provider::start().await;
    for bench in both_with_gateway("pay_hand", &provider.uri).await {
        let account = bench.account("alice").await;
        let (id, _) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        let act = Act::ConfirmRecharge { id: id.parse().unwrap(), external_ref: "p1".to_owned() };
        bench.act(&account, act).await.unwrap();
        let known = record(&bench, &paid(&id, "p1", 10_000)).await;
        assert_eq!(known.state, PaymentState::Booked);
        // The number of a payment that staff gave as the reference of another recharge.
        let (other, _) = ask(&bench, "r2", &wanted(&account, 500)).await.unwrap();
        let act = Act::ConfirmRecharge { id: other.parse().unwrap(), external_ref: "p3".to_owned() };
        bench.act(&account, act).await.unwrap();
        let (third, _) = ask(&bench, "r3", &wanted(&account, 700)).await.unwrap();
        let used = record(&bench, &paid(&third, "p3", 700)).await;
        assert_eq!(used.problem, Some(PaymentProblem::ReferenceUsed));
        let refused = decide(&bench, &used, Resolution::Book(None)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::ExternalRefUsed);
        assert_eq!(cash(&bench, &account).await, 10_500);
        bench.prove().await;
    }
}

#[tokio::test]
async fn an_operator_books_or_dismisses_what_was_parked_once() {
    let provider = Provider::start().await;
    for bench in both_with_gateway("pay_decide", &provider.uri).await {
        let account = bench.account("alice").await;
        let (id, _) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        let short = record(&bench, &paid(&id, "p1", 8_000)).await;
        let booked = decide(&bench, &short, Resolution::Book(None)).await.unwrap();
        assert_eq!((booked.state, booked.resolver.as_str()), (PaymentState::Booked, "ada"));
        assert_eq!(cash(&bench, &account).await, 8_000, "what came is booked, not what was asked for");
        assert_eq!(states(&bench, &account).await, [RechargeState::Closed, RechargeState::Paid]);
        let again = decide(&bench, &short, Resolution::Dismiss).await.unwrap_err();
        assert_eq!(again.reason, Reason::PaymentNotResolvable);

        let late = record(&bench, &paid(&id, "p2", 10_000)).await;
        assert_eq!(late.problem, Some(PaymentProblem::RechargeClosed));
        let dismissed = decide(&bench, &late, Resolution::Dismiss).await.unwrap();
        assert_eq!((dismissed.state, dismissed.recharge), (PaymentState::Dismissed, None));

        // One that names no recharge needs an account; one in another currency is not converted.
        let lost = record(&bench, &paid("elsewhere", "p3", 300)).await;
        let missing = decide(&bench, &lost, Resolution::Book(None)).await.unwrap_err();
        assert_eq!(missing.fields[0].0, "billing_account_id");
        decide(&bench, &lost, Resolution::Book(Some(account.clone()))).await.unwrap();
        let foreign = Announced { currency: "EUR".to_owned(), ..paid("elsewhere", "p4", 300) };
        let foreign = record(&bench, &foreign).await;
        let refused = decide(&bench, &foreign, Resolution::Book(Some(account.clone()))).await.unwrap_err();
        assert_eq!(refused.reason, Reason::CurrencyMismatch);
        assert_eq!(cash(&bench, &account).await, 8_300);
        bench.prove().await;
    }
}

/// `reliability.md` 3.5: a notice may never arrive.
#[tokio::test]
async fn a_payment_nobody_told_of_is_found() {
    for bench in both("pay_found").await {
        let provider = Provider::start().await;
        let bench = bench.calling(&provider.uri);
        let account = bench.account("alice").await;
        let (id, _) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        assert_eq!(check(&bench).await, 0, "a notice is given its time");
        bench.pass(SignedDuration::from_mins(10));
        assert_eq!(check(&bench).await, 1);
        assert_eq!(check(&bench).await, 0, "hourly is often enough");
        provider.pay(&id, "p1", 10_000, bench.ctx.clock.now());
        bench.pass(hours(1));
        assert_eq!(check(&bench).await, 1);
        assert_eq!(cash(&bench, &account).await, 10_000);
        bench.pass(hours(1));
        assert_eq!(check(&bench).await, 0, "what is paid is not asked for any more");
        // The notice comes after all.
        record(&bench, &paid(&id, "p1", 10_000)).await;
        assert_eq!(cash(&bench, &account).await, 10_000);
        assert_eq!(provider.look_ups(), 2);
        bench.prove().await;
    }
}

#[tokio::test]
async fn what_is_never_paid_is_closed_and_a_payment_after_that_is_kept() {
    for bench in both("pay_closed").await {
        let provider = Provider::start().await;
        let bench = bench.calling(&provider.uri);
        let account = bench.account("alice").await;
        let (id, _) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        let transfer = crate::ops::create_recharge::create_recharge;
        let amount = Money { minor: 500, currency: Currency::Cny };
        let channel = crate::store::recharge::RechargeChannel::BankTransfer;
        let tx = bench.db.begin().await.unwrap();
        transfer(&tx, &account, amount, channel, false, bench.ctx.clock.now()).await.unwrap();
        tx.commit().await.unwrap();

        let waiting = [RechargeState::Created, RechargeState::Created];
        bench.pass(hours(72));
        check(&bench).await;
        assert_eq!(states(&bench, &account).await, waiting, "a payment of the last minute is waited for");
        provider.fail(Some(Fault::new(Reason::PaymentProviderUnavailable)));
        bench.pass(hours(1));
        assert_eq!(check(&bench).await, 1);
        assert_eq!(states(&bench, &account).await, waiting, "nothing is closed while nobody knows");
        provider.fail(None);
        bench.pass(hours(1));
        assert_eq!(check(&bench).await, 1);
        assert_eq!(states(&bench, &account).await, [RechargeState::Closed, RechargeState::Created]);
        let late = record(&bench, &paid(&id, "p1", 10_000)).await;
        assert_eq!(late.problem, Some(PaymentProblem::RechargeClosed));
        assert_eq!(cash(&bench, &account).await, 0);
        // A repetition of the call still gets its answer.
        assert_eq!(ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap().0, id);

        bench.clock.advance_to(at("2026-03-30T23:00:00Z"));
        assert_eq!(check(&bench).await, 0);
        bench.clock.advance_to(at("2026-03-31T00:00:00Z"));
        assert_eq!(check(&bench).await, 1, "30 days for a transfer");
        assert_eq!(states(&bench, &account).await, [RechargeState::Closed, RechargeState::Closed]);
        assert_eq!(check(&bench).await, 0);
    }
}

/// What the release before this one announced has no times.
#[tokio::test]
async fn recharges_of_an_older_release_are_closed_as_well() {
    for bench in both("pay_older").await {
        let account = bench.account("alice").await;
        let created = |text: &str| -> Timestamp { at(text) };
        for (id, at) in [("a", "2026-01-01T00:00:00Z"), ("b", "2026-02-20T00:00:00Z")] {
            let text = "INSERT INTO recharge (billing_account_id, id, currency, amount, channel, state, buys_card, created_at) \
                        VALUES (?, ?, 'CNY', 100, 'bank_transfer', 'created', false, ?)";
            let id = format!("rch_{}", id.repeat(32));
            let at = created(at).as_microsecond();
            bench.run(text, [account.as_str().into(), id.into(), at.into()]).await;
        }
        assert_eq!(check(&bench).await, 2);
        assert_eq!(check(&bench).await, 0);
        assert_eq!(states(&bench, &account).await, [RechargeState::Closed, RechargeState::Created]);
        bench.clock.advance_to(at("2026-03-22T01:00:00Z"));
        assert_eq!(check(&bench).await, 1);
        assert_eq!(states(&bench, &account).await, [RechargeState::Closed, RechargeState::Closed]);
    }
}

/// Many at once: the same notice, the provider's own answer, and an operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_tell_of_a_payment_one_books_it() {
    let provider = Provider::start().await;
    for bench in both_with_gateway("pay_race", &provider.uri).await {
        let account = bench.account("alice").await;
        let (id, _) = ask(&bench, "r1", &wanted(&account, 10_000)).await.unwrap();
        provider.pay(&id, "p1", 10_000, at("2026-03-01T00:00:30Z"));
        bench.pass(SignedDuration::from_mins(10));
        let told = (0..12).map(|_| async {
            // A conflict is repeated, as the gateway's provider does.
            for _ in 0..20 {
                let tx = bench.db.begin().await.unwrap();
                let now = bench.ctx.clock.now();
                if record_payment(&tx, &bench.ctx, &paid(&id, "p1", 10_000), now).await.is_ok()
                    && tx.commit().await.is_ok()
                {
                    return;
                }
            }
            panic!("never recorded");
        });
        tokio::join!(futures_util::future::join_all(told), check(&bench));
        assert_eq!(cash(&bench, &account).await, 10_000);
        assert_eq!(bench.number("SELECT COUNT(*) FROM payment").await, 1);
        bench.prove().await;
    }
}
