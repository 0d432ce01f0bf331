//! Recharges that are paid online: from the page over the provider's notice to the wallet, and everything that may go
//! wrong on the way (`domain.md` 3.13, I-05, I-26, I-30).

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use tandem_adapters::payment::hosted::signature::{Purpose, sign};
use tandem_adapters::payment::sandbox::{Forgery, Pay};
use tandem_adapters::sandbox::state::NoticeState;
use tandem_proto::billing::v1::{self as billing, PaymentProblem, PaymentState, RechargeState};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::engine::Engine;
use tandem_tests::payments::online;
use tandem_tests::system::{Service, Setup, System, request_id};

use crate::on_both_engines;

on_both_engines! {
    a_page_is_paid_and_the_money_arrives_once;
    forged_notices_leave_no_trace;
    what_does_not_fit_waits_for_an_operator;
    a_lost_notice_is_found_and_an_unpaid_recharge_is_closed;
    a_provider_comes_again_while_billing_is_away;
    a_provider_that_does_not_answer_costs_nothing;
}

/// Every table that a notice could touch.
const TABLES: [&str; 7] =
    ["payment", "recharge", "ledger_entry", "lot", "outbox", "feed_event", "request_log"];

async fn paid(system: &System, account: &str, id: &str) -> anyhow::Result<billing::Recharge> {
    system
        .eventually_now("the recharge is paid", async || {
            let found = system.one_recharge(account, id).await?;
            Ok((found.state() == RechargeState::Paid).then_some(found))
        })
        .await
}

/// Waits until every notice that is owed was delivered.
async fn delivered(system: &System) -> anyhow::Result<()> {
    let wait = system.eventually_now("every notice is delivered", async || {
        let waiting = system.provider.notices().iter().any(|n| n.state == NoticeState::Waiting);
        Ok((!waiting).then_some(()))
    });
    wait.await
}

async fn a_page_is_paid_and_the_money_arrives_once(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, customer) = system.direct_customer("cn1", "payer").await?;
    let request = online(&customer.account, "CNY", 12_345);
    let recharge = system.recharge_online(&request).await?;
    ensure!(recharge.state() == RechargeState::Created, "{recharge:?}");
    ensure!(system.recharge_online(&request).await? == recharge, "the same request, the same answer");
    ensure!(system.provider.orders().len() == 1, "one order");

    // The page works in a browser: it shows the amount, and its button pays.
    let browser = reqwest::Client::builder().no_proxy().build()?;
    let page = browser.get(&recharge.payment_url).send().await?.text().await?;
    ensure!(page.contains("123.45 CNY"), "{page}");
    let after = browser.post(&recharge.payment_url).send().await?;
    ensure!(after.status().is_success() && after.text().await?.contains("PAID"));
    let booked = paid(&system, &customer.account, &recharge.id).await?;
    ensure!(!booked.external_ref.is_empty() && booked.pay_time.is_some(), "{booked:?}");
    ensure!(system.wallet(&customer.account).await? == (12_345, 0));

    // The same notice again, many times at once.
    system.provider.repeat(&recharge.id)?;
    delivered(&system).await?;
    let second = system.recharge_online(&online(&customer.account, "CNY", 1_000)).await?;
    system.provider.pay(&second.id, &Pay { copies: 8, ..Pay::default() })?;
    paid(&system, &customer.account, &second.id).await?;
    delivered(&system).await?;
    ensure!(system.wallet(&customer.account).await? == (13_345, 0), "booked once each");
    let payments = system.payments_in(PaymentState::Unspecified).await?;
    ensure!(
        payments.len() == 2 && payments.iter().all(|p| p.state() == PaymentState::Booked),
        "{payments:?}"
    );
    ensure!(payments[0].recharge_id == second.id, "newest first");

    // A state filter and pages.
    let listed = system.recharges(&customer.account).await?;
    ensure!(listed.len() == 2 && listed[0].id == recharge.id, "oldest first: {listed:?}");
    let waiting = billing::ListRechargesRequest {
        billing_account_id: customer.account.clone(),
        state: RechargeState::Created.into(),
        ..Default::default()
    };
    let waiting = system.portal()?.wallet().list_recharges(waiting).await?.into_inner().recharges;
    ensure!(waiting.is_empty(), "{waiting:?}");
    system.check_invariants().await
}

/// I-30.
async fn forged_notices_leave_no_trace(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, customer) = system.direct_customer("cn1", "target").await?;
    let recharge = system.recharge_online(&online(&customer.account, "CNY", 10_000)).await?;
    let before = system.billing_rows().await?.counts(&TABLES).await?;
    for how in Forgery::ALL {
        let status = system.provider.forge(&recharge.id, how).await?;
        ensure!(status == 401, "{how:?} was answered {status}");
    }
    let body = format!(
        r#"{{"merchant":"acme","order_id":"{}","status":"PAID","payment_id":"1","amount_minor":10000,"currency":"CNY","paid_at":"2026-03-01T04:00:00Z"}}"#,
        recharge.id
    );
    let signed = sign(Purpose::Notice, body.as_bytes(), "a key that anybody could have made", system.now());
    for headers in [Vec::new(), signed.to_vec()] {
        let answer = system.send_notice(&headers, &body).await?;
        ensure!(answer.status == 401 && !answer.body.contains("key"), "{answer:?}");
    }
    let large = system.send_notice(&signed, &"x".repeat(70_000)).await?;
    ensure!(large.status == 413, "{large:?}");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let elsewhere = format!("http://{}/payments/barter", system.addresses.callbacks);
    ensure!(client.post(elsewhere).send().await?.status() == 404);
    let after = system.billing_rows().await?.counts(&TABLES).await?;
    ensure!(before == after, "{before:?} became {after:?}");

    // The untouched one still works: not everything is refused.
    system.provider.pay(&recharge.id, &Pay::default())?;
    paid(&system, &customer.account, &recharge.id).await?;
    ensure!(system.wallet(&customer.account).await? == (10_000, 0));
    system.check_invariants().await
}

async fn what_does_not_fit_waits_for_an_operator(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, customer) = system.direct_customer("cn1", "careless").await?;
    let short = system.recharge_online(&online(&customer.account, "CNY", 10_000)).await?;
    system.provider.pay(&short.id, &Pay { amount_minor: Some(9_000), ..Pay::default() })?;
    let foreign = system.recharge_online(&online(&customer.account, "CNY", 500)).await?;
    system.provider.pay(&foreign.id, &Pay { currency: Some("EUR".to_owned()), ..Pay::default() })?;
    let twice = system.recharge_online(&online(&customer.account, "CNY", 700)).await?;
    system.provider.pay(&twice.id, &Pay::default())?;
    system.provider.pay(&twice.id, &Pay { again: true, ..Pay::default() })?;
    delivered(&system).await?;
    ensure!(
        system.provider.notices().iter().all(|n| n.state == NoticeState::Done),
        "what is kept is acknowledged: {:?}",
        system.provider.notices()
    );
    let parked = system.payments_in(PaymentState::Parked).await?;
    let problems: Vec<PaymentProblem> = parked.iter().rev().map(billing::OnlinePayment::problem).collect();
    ensure!(
        problems
            == [PaymentProblem::AmountDiffers, PaymentProblem::CurrencyDiffers, PaymentProblem::RechargePaid],
        "{parked:?}"
    );
    ensure!(system.wallet(&customer.account).await? == (700, 0), "nothing else is booked");

    let decide = async |payment: &billing::OnlinePayment, resolution: billing::PaymentResolution| {
        let request = billing::ResolvePaymentRequest {
            request_id: request_id("resolve"),
            payment_id: payment.id.clone(),
            resolution: resolution.into(),
            billing_account_id: String::new(),
            note: "asked the customer".to_owned(),
        };
        let answer = system.operator()?.payments().resolve_payment(request).await;
        anyhow::Ok(answer.map(|answer| answer.into_inner().payment.unwrap_or_default()))
    };
    let booked = decide(&parked[2], billing::PaymentResolution::Book).await??;
    ensure!(booked.state() == PaymentState::Booked && booked.resolver == "operator", "{booked:?}");
    ensure!(system.wallet(&customer.account).await? == (9_700, 0));
    let refused = decide(&parked[1], billing::PaymentResolution::Book).await?.err().context("converted")?;
    ensure!(reason_of(&refused) == Some(Reason::CurrencyMismatch), "{refused:?}");
    decide(&parked[1], billing::PaymentResolution::Dismiss).await??;
    let refused = decide(&parked[1], billing::PaymentResolution::Dismiss).await?.err().context("twice")?;
    ensure!(reason_of(&refused) == Some(Reason::PaymentNotResolvable), "{refused:?}");
    decide(&parked[0], billing::PaymentResolution::Dismiss).await??;
    ensure!(system.payments_in(PaymentState::Parked).await?.is_empty());
    ensure!(system.wallet(&customer.account).await? == (9_700, 0));
    system.check_invariants().await
}

async fn a_lost_notice_is_found_and_an_unpaid_recharge_is_closed(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, customer) = system.direct_customer("cn1", "patient").await?;
    let lost = system.recharge_online(&online(&customer.account, "CNY", 10_000)).await?;
    let never = system.recharge_online(&online(&customer.account, "CNY", 20_000)).await?;
    let held = system.recharge_online(&online(&customer.account, "CNY", 3_000)).await?;
    system.provider.pay(&lost.id, &Pay { lose: true, ..Pay::default() })?;
    system.advance(SignedDuration::from_hours(2)).await?;
    paid(&system, &customer.account, &lost.id).await?;

    system.provider.pay(&held.id, &Pay { hold: true, ..Pay::default() })?;
    system.advance(SignedDuration::from_hours(2)).await?;
    paid(&system, &customer.account, &held.id).await?;
    system.provider.let_go()?;
    delivered(&system).await?;
    ensure!(system.wallet(&customer.account).await? == (13_000, 0), "what was found is not booked again");

    system.advance(SignedDuration::from_hours(24 * 4)).await?;
    let closed = system
        .eventually("the unpaid recharge is closed", async || {
            let found = system.one_recharge(&customer.account, &never.id).await?;
            Ok((found.state() == RechargeState::Closed).then_some(found))
        })
        .await?;
    ensure!(closed.close_time.is_some(), "{closed:?}");
    let refused = system.provider.pay(&never.id, &Pay::default());
    ensure!(refused.is_err(), "its page is over");
    system.provider.pay(&never.id, &Pay { late: true, ..Pay::default() })?;
    delivered(&system).await?;
    let parked = system.payments_in(PaymentState::Parked).await?;
    ensure!(parked.len() == 1 && parked[0].problem() == PaymentProblem::RechargeClosed, "{parked:?}");
    ensure!(parked[0].billing_account_id == customer.account && parked[0].order_id == never.id);
    ensure!(system.wallet(&customer.account).await? == (13_000, 0), "not booked silently");
    system.check_invariants().await
}

async fn a_provider_comes_again_while_billing_is_away(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, customer) = system.direct_customer("cn1", "unlucky").await?;
    let recharge = system.recharge_online(&online(&customer.account, "CNY", 10_000)).await?;
    system.stop_service(Service::Billing).await?;
    system.provider.pay(&recharge.id, &Pay::default())?;
    system
        .eventually_now("the notice is turned away", async || {
            let notice = system.provider.notices().pop().context("no notice")?;
            ensure!(notice.state == NoticeState::Waiting, "acknowledged without Billing: {notice:?}");
            Ok((notice.tries > 0 && notice.last_status == 503).then_some(()))
        })
        .await?;
    system.start_service(Service::Billing).await?;
    paid(&system, &customer.account, &recharge.id).await?;
    delivered(&system).await?;
    ensure!(system.wallet(&customer.account).await? == (10_000, 0));
    system.check_invariants().await
}

async fn a_provider_that_does_not_answer_costs_nothing(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, customer) = system.direct_customer("cn1", "stubborn").await?;
    let request = online(&customer.account, "CNY", 10_000);
    for status in [503, 500, 401] {
        system.provider.fail_calls(Some(status));
        let unclear = system.recharge_online(&request).await.err().context("made without its provider")?;
        ensure!(reason_of(&unclear) == Some(Reason::PaymentProviderUnavailable), "{unclear:?}");
    }
    let waiting = system.recharges(&customer.account).await?;
    ensure!(waiting.len() == 1 && waiting[0].payment_url.is_empty(), "{waiting:?}");
    // The gateway away is no other case.
    system.stop_service(Service::Gateway).await?;
    let unclear = system.recharge_online(&request).await.err().context("made without the gateway")?;
    ensure!(reason_of(&unclear) == Some(Reason::PaymentProviderUnavailable), "{unclear:?}");
    system.start_service(Service::Gateway).await?;
    system.provider.fail_calls(None);
    let recharge = system
        .eventually("the provider answers", async || Ok(system.recharge_online(&request).await.ok()))
        .await?;
    ensure!(recharge.id == waiting[0].id && !recharge.payment_url.is_empty(), "{recharge:?}");

    // What the provider does not open leaves nothing behind, and the reason is told each time.
    system.provider.fail_calls(Some(422));
    let request = online(&customer.account, "CNY", 500);
    for _ in 0..2 {
        let refused = system.recharge_online(&request).await.err().context("opened")?;
        ensure!(reason_of(&refused) == Some(Reason::PaymentRefused), "{refused:?}");
    }
    ensure!(system.recharges(&customer.account).await?.len() == 1);
    let dollars = online(&customer.account, "USD", 500);
    let refused = system.recharge_online(&dollars).await.err().context("took another currency")?;
    ensure!(reason_of(&refused) == Some(Reason::CurrencyMismatch), "{refused:?}");
    system.check_invariants().await
}
