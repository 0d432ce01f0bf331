//! Services that are away: what is acknowledged stays, what waits is done afterwards, and vendors are told to come again.

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use tandem_adapters::callback::CallbackAction;
use tandem_adapters::sandbox::state::NoticeState;
use tandem_proto::common::v1::{BillingItem, SettlementMethod};
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::commercial_activation::Payer;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::customer::{activation, commercial, paid};
use tandem_tests::day::{day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Service, Setup};

use crate::on_both_engines;

on_both_engines! {
    the_console_goes_on_while_billing_is_away;
    an_activation_whose_outcome_is_open_is_finished_once;
    a_vendor_comes_again_while_billing_is_away;
    good_points_of_a_batch_count_and_bad_ones_are_named;
}

async fn the_console_goes_on_while_billing_is_away(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "patient").await?;
    system.recharge(&paid.account, "CNY", 5_000).await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[5]).await?;
    system.record_all(vec![point(&paid.workspace, hours[4], BillingItem::Trigger, 10_000)]).await?;
    system.stop_service(Service::Billing).await?;
    for hour in &hours[5..] {
        system.advance_to(*hour).await?;
        system.record_all(vec![point(&paid.workspace, *hour, BillingItem::Trigger, 10_000)]).await?;
    }
    // A correction, too: the last one counts.
    system.record_all(vec![point(&paid.workspace, hours[6], BillingItem::Trigger, 20_000)]).await?;
    let request =
        console::GetUsageSummaryRequest { workspace_id: paid.workspace.clone(), ..Default::default() };
    let summary = system.portal()?.usage().get_usage_summary(request).await?.into_inner();
    ensure!(summary.items.iter().any(|item| item.item() == BillingItem::Trigger), "{summary:?}");
    let request =
        console::ListWorkspacesRequest { console_account_id: customer.id.clone(), ..Default::default() };
    let listed = system.portal()?.workspaces().list_workspaces(request).await?.into_inner().workspaces;
    ensure!(listed.len() == 1, "{listed:?}");
    // The day ends without Billing; closing waits for it.
    system.advance(SignedDuration::from_hours(2)).await?;
    let refused = system
        .operator()?
        .usage()
        .close_usage_day(console::CloseUsageDayRequest {
            request_id: tandem_tests::system::request_id("close"),
            site: "cn1".to_owned(),
            usage_day: "2026-03-02".to_owned(),
        })
        .await
        .err()
        .context("a day was closed without Billing")?;
    ensure!(reason_of(&refused) == Some(Reason::PeerUnavailable), "{refused:?}");

    system.start_service(Service::Billing).await?;
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    // 20 hours of 10 000 triggers, and one of them corrected to twice as many.
    ensure!(payable(&bill) == 2_100, "{bill:?}");
    system.check_converged().await
}

async fn an_activation_whose_outcome_is_open_is_finished_once(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let customer = system.register("cn1", "stubborn").await?;
    system.stop_service(Service::Billing).await?;
    let asked = commercial(Payer::CreateBillingAccount(true), SettlementMethod::BillingCenter, None);
    let request = activation(&customer, "only one", Activation::Commercial(asked));
    let answer = system.portal()?.registration().activate_workspace(request.clone()).await;
    let open = answer.err().context("activated without Billing")?;
    ensure!(reason_of(&open) == Some(Reason::PeerUnavailable), "{open:?}");
    system.start_service(Service::Billing).await?;
    // The caller repeats; a worker of the Console may have been faster.
    let answer = system
        .eventually("the activation is finished", async || {
            let answer = system.portal()?.registration().activate_workspace(request.clone()).await?;
            Ok(Some(answer.into_inner()))
        })
        .await?;
    let again = system.portal()?.registration().activate_workspace(request).await?.into_inner();
    ensure!(answer == again, "I-05: {answer:?}, {again:?}");
    let made = paid(answer)?;
    let rows = system.console_rows().await?;
    ensure!(rows.number("SELECT COUNT(*) FROM workspace").await? == 1, "more than one workspace was made");
    ensure!(rows.number("SELECT COUNT(*) FROM pending_activation").await? == 0, "the record is left");
    ensure!(system.billing_rows().await?.number("SELECT COUNT(*) FROM workspace").await? == 1);
    ensure!(system.binding(&made.workspace).await?.billing_account_id == made.account);
    system.check_invariants().await
}

async fn a_vendor_comes_again_while_billing_is_away(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy("1744000000000001").await?;
    let (_, paid) = system.cloud_customer("cn1", "leaving", &purchase).await?;
    let release = system.signed(CallbackAction::Release, &tandem_tests::market::fields_of(&purchase))?;
    system.stop_service(Service::Billing).await?;
    let answer = system.call_back(&release).await?;
    ensure!(!answer.is_success(), "acknowledged what was not recorded: {answer:?}");
    system.sandbox.release(&purchase.instance_id, false)?;
    let tries = async |least: u32| {
        system
            .eventually("the vendor comes again", async || {
                let notices = system.sandbox.callbacks();
                let release = notices.into_iter().find(|n| n.action == CallbackAction::Release);
                Ok(release.filter(|notice| notice.tries >= least))
            })
            .await
    };
    let waiting = tries(2).await?;
    ensure!(waiting.state == NoticeState::Waiting, "{waiting:?}");

    // The gateway away as well: nobody answers at all.
    system.stop_service(Service::Gateway).await?;
    tries(waiting.tries + 2).await?;
    system.start_service(Service::Billing).await?;
    system.start_service(Service::Gateway).await?;
    system
        .eventually("the release is acknowledged", async || {
            let done = |n: &tandem_adapters::sandbox::state::Notice| {
                n.action == CallbackAction::Release && n.state == NoticeState::Done
            };
            Ok(system.sandbox.callbacks().iter().any(done).then_some(()))
        })
        .await?;
    let binding = system.binding(&paid.workspace).await?;
    ensure!(binding.settlement_method() == SettlementMethod::BillingCenter, "{binding:?}");
    let told = system
        .eventually("the mail is sent", async || {
            let told = system.mails()?.into_values().filter(|m| m.text.contains("1744000000000001")).count();
            Ok((told > 0).then_some(told))
        })
        .await?;
    ensure!(told == 1, "told {told} times");
    system.check_invariants().await
}

async fn good_points_of_a_batch_count_and_bad_ones_are_named(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "mixed").await?;
    let free = system.free_workspace(&customer, "free").await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[12]).await?;
    let good = |hour: usize, quantity| point(&paid.workspace, hours[hour], BillingItem::Trigger, quantity);
    let bad = |change: &dyn Fn(&mut console::UsagePoint)| {
        let mut point = good(3, 1);
        change(&mut point);
        point
    };
    let stranger = format!("wks_{}", "0".repeat(32));
    let points = vec![
        good(1, 10_000),
        bad(&|p| p.workspace_id.clone_from(&stranger)),
        bad(&|p| p.workspace_id = "garbage".to_owned()),
        bad(&|p| p.quantity = -1),
        good(2, 10_000),
        bad(&|p| p.item = 99),
        bad(&|p| p.retention_days = 7),
        bad(&|p| p.hour_start_time = None),
        bad(&|p| {
            if let Some(time) = &mut p.hour_start_time {
                time.seconds += 1;
            }
        }),
        bad(&|p| p.hour_start_time = Some(prost_types::Timestamp { seconds: 0, nanos: 0 })),
        bad(&|p| p.hour_start_time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 })),
        bad(&|p| p.sub_key = "x".repeat(65)),
        point(&free, hours[1], BillingItem::Sms, 1),
        good(1, 10_000),
        good(2, 20_000),
    ];
    let answer = system.record(points).await?;
    let reasons: Vec<(i64, &str)> = answer.refused.iter().map(|r| (r.index, r.reason.as_str())).collect();
    let expected = [
        (1, "OBJECT_NOT_FOUND"),
        (2, "OBJECT_NOT_FOUND"),
        (3, "INVALID_FIELD"),
        (5, "INVALID_FIELD"),
        (6, "INVALID_FIELD"),
        (7, "INVALID_FIELD"),
        (8, "INVALID_FIELD"),
        (9, "HOUR_OUT_OF_RANGE"),
        (10, "INVALID_FIELD"),
        (11, "INVALID_FIELD"),
        (12, "QUOTA_EXHAUSTED"),
    ];
    ensure!(reasons == expected, "{:#?}", answer.refused);
    ensure!(answer.refused.iter().all(|refused| !refused.message.is_empty()), "{:?}", answer.refused);
    ensure!(
        (answer.accepted_count, answer.duplicate_count, answer.replaced_count) == (2, 1, 1),
        "{answer:?}"
    );
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(payable(&bill) == 300, "{bill:?}");
    system.check_converged().await
}
