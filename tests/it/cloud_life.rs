//! The life of a purchase: one cloud account, three workspaces on two sites, billed, metered, cancelled.

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use tandem_adapters::callback::CallbackAction;
use tandem_adapters::sandbox::faults::{DeliverySettings, LetGo};
use tandem_adapters::sandbox::state::{NoticeState, SandboxPurchase};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, SettlementMethod};
use tandem_proto::console::v1::commercial_activation::{Payer, Purchase};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::customer::{Customer, commercial, paid};
use tandem_tests::day::{day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::mail::Mail;
use tandem_tests::market::fields_of;
use tandem_tests::system::{Setup, System};

use crate::on_both_engines;

const ACCOUNT: &str = "1744000000000001";

on_both_engines! {
    three_workspaces_on_two_sites_are_billed_metered_and_fall_back_once;
    usage_that_was_not_taken_for_sure_is_never_sent_blindly;
    a_frozen_purchase_counts_down_and_comes_back;
    a_lost_release_is_found_by_reconciling;
}

/// A cloud account with three workspaces: two of one customer, one of another on a second site.
struct Shared {
    purchase: SandboxPurchase,
    account: String,
    workspaces: [String; 3],
    customers: [Customer; 2],
}

async fn shared(system: &System) -> anyhow::Result<Shared> {
    let purchase = system.buy(ACCOUNT).await?;
    let (first, one) = system.cloud_customer("cn1", "sharing", &purchase).await?;
    let cloud = system.cloud_account(&one.account).await?;
    let through = |proof| {
        commercial(
            Payer::ExistingAccount(proof),
            SettlementMethod::AlibabaCloud,
            Some(Purchase::CloudAccountId(cloud.id.clone())),
        )
    };
    let proof = system.prove(&first).await?;
    let two = paid(system.activate(&first, "sharing second", through(proof)).await?)?;
    let second = system.register("cn2", "colleague").await?;
    // R2: the second site's own cloud is another one.
    let proof = system.prove(&first).await?;
    let refused =
        system.activate(&second, "elsewhere", through(proof)).await.err().context("R2 is not kept")?;
    ensure!(reason_of(&refused) == Some(Reason::MethodNotAllowedHere), "{refused:?}");
    system.allow_any_settlement(&one.account).await?;
    let proof = system.prove(&first).await?;
    let three = paid(system.activate(&second, "elsewhere", through(proof)).await?)?;
    ensure!(two.account == one.account && three.account == one.account, "all bills go to one account");
    Ok(Shared {
        purchase,
        account: one.account,
        workspaces: [one.workspace, two.workspace, three.workspace],
        customers: [first, second],
    })
}

async fn three_workspaces_on_two_sites_are_billed_metered_and_fall_back_once(
    engine: Engine,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let shared = shared(&system).await?;
    let instance = shared.purchase.instance_id.clone();

    // A whole day, billed through the cloud.
    let first = day("2026-03-02")?;
    let hours_1 = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours_1[23]).await?;
    for (index, workspace) in (1_i64..).zip(&shared.workspaces) {
        system.record_all(vec![point(workspace, hours_1[3], BillingItem::Trigger, index * 10_000)]).await?;
    }
    system.finish_day("cn1", first).await?;
    system.finish_day("cn2", first).await?;
    let bills = system
        .eventually("all three bills are paid through the cloud", async || {
            let bills = system.bills(&shared.account).await?;
            let paid = bills.iter().filter(|bill| bill.state() == billing::BillState::Paid).count();
            Ok((paid == 3).then_some(bills))
        })
        .await?;
    ensure!(bills.iter().map(payable).sum::<i64>() == 600, "{bills:?}");
    for bill in &bills {
        ensure!(bill.settlement_method() == SettlementMethod::AlibabaCloud, "{bill:?}");
        let by: Vec<_> = bill.paid_by.iter().map(billing::Payment::instrument).collect();
        ensure!(by == [billing::PaymentInstrument::Cloud], "{bill:?}");
    }
    let taken: i64 = system.sandbox.usage().iter().map(|usage| usage.quantity).sum();
    ensure!(taken == 600 && system.sandbox.usage().iter().all(|usage| usage.billed), "{taken} were taken");
    ensure!(system.wallet(&shared.account).await? == (0, 0), "invariant 6: the cloud's bills change no cash");

    // The next afternoon it is cancelled; three copies of the release come, and before the last renewal.
    let second = day("2026-03-03")?;
    let hours_2 = hours(second, "Asia/Shanghai")?;
    system.advance_to(hours_2[15] + SignedDuration::from_mins(20)).await?;
    for workspace in &shared.workspaces {
        system.record_all(vec![point(workspace, hours_2[14], BillingItem::Trigger, 40_000)]).await?;
    }
    system
        .eventually("the usage before the end is delivered", async || {
            let sql = "SELECT COUNT(*) FROM usage_day WHERE usage_day = 20260303";
            Ok((system.billing_rows().await?.number(sql).await? == 3).then_some(()))
        })
        .await?;
    system.sandbox.set_delivery(DeliverySettings { hold: true, ..DeliverySettings::default() })?;
    system.sandbox.renew(&instance, None)?;
    system.sandbox.release(&instance, false)?;
    system.sandbox.repeat(&instance, CallbackAction::Release)?;
    system.sandbox.repeat(&instance, CallbackAction::Release)?;
    system.sandbox.let_go(LetGo::Backward)?;
    system
        .eventually("all three releases are acknowledged and the late renewal is refused", async || {
            let notices = system.sandbox.callbacks();
            let done = |notice: &&tandem_adapters::sandbox::state::Notice| {
                notice.action == CallbackAction::Release && notice.state == NoticeState::Done
            };
            let released = notices.iter().filter(done).count();
            let refused = notices.iter().any(|n| n.action == CallbackAction::Renew && n.tries > 0);
            Ok((released == 3 && refused).then_some(()))
        })
        .await?;
    fell_back_once(&system, &shared).await?;

    // Final usage was pushed inside the vendor's window, and the vendor bills it.
    system
        .eventually("the final bills are paid through the cloud", async || {
            let taken: i64 = system.sandbox.usage().iter().filter(|u| u.billed).map(|u| u.quantity).sum();
            Ok((taken == 600 + 3 * 400).then_some(()))
        })
        .await?;
    let finals = system.bills(&shared.account).await?;
    let finals: Vec<_> = finals.iter().filter(|bill| bill.kind() == billing::BillKind::Final).collect();
    ensure!(finals.len() == 3 && finals.iter().all(|bill| payable(bill) == 400), "{finals:?}");

    // I-22: what comes after the cut goes to the Billing Center; the sum over channels is the usage.
    for workspace in &shared.workspaces {
        system.record_all(vec![point(workspace, hours_2[16], BillingItem::Trigger, 10_000)]).await?;
    }
    system.finish_day("cn1", second).await?;
    system.finish_day("cn2", second).await?;
    let rest = system.bills(&shared.account).await?;
    let rest: Vec<_> = rest
        .iter()
        .filter(|bill| bill.usage_day == "2026-03-03" && bill.kind() == billing::BillKind::Daily)
        .collect();
    ensure!(rest.len() == 3 && rest.iter().all(|bill| payable(bill) == 100), "{rest:?}");
    ensure!(rest.iter().all(|bill| bill.settlement_method() == SettlementMethod::BillingCenter), "{rest:?}");
    ensure!(system.wallet(&shared.account).await? == (0, -300), "the Billing Center's bills are owed");

    // A fourth release, much later, changes nothing.
    let query = system.signed(CallbackAction::Release, &fields_of(&shared.purchase))?;
    ensure!(system.call_back(&query).await?.is_success(), "a release is acknowledged however often it comes");
    let renew = tandem_adapters::callback::CallbackFields {
        order: Some("204200000000099".to_owned()),
        expires_at: Some("2027-01-01T00:00:00Z".parse()?),
        ..fields_of(&shared.purchase)
    };
    let query = system.signed(CallbackAction::Renew, &renew)?;
    ensure!(!system.call_back(&query).await?.is_success(), "an ended purchase never comes back");
    system.check_converged().await?;
    let told = system.mails()?.into_values().filter(|mail| mail.text.contains(ACCOUNT)).count();
    ensure!(told == shared.customers.len(), "I-29: a repeated release sends no mail");
    Ok(())
}

/// I-20: all on the Billing Center, one mail for each recipient, history kept without a gap.
async fn fell_back_once(system: &System, shared: &Shared) -> anyhow::Result<()> {
    let subscription = system.subscription(&shared.purchase.instance_id).await?;
    ensure!(subscription.state() == billing::SubscriptionState::Cancelled, "{subscription:?}");
    for workspace in &shared.workspaces {
        let binding = system.binding(workspace).await?;
        ensure!(binding.settlement_method() == SettlementMethod::BillingCenter, "{binding:?}");
        ensure!(binding.cloud_account_id.is_empty() && binding.subscription_id.is_empty(), "{binding:?}");
        ensure!(binding.billing_account_id == shared.account, "D2: the binding to the account stays");
        let history = system.history(workspace).await?;
        let causes: Vec<_> = history.iter().map(billing::SettlementPeriod::cause).collect();
        ensure!(causes == [billing::PeriodCause::Bound, billing::PeriodCause::FallBack], "{history:?}");
        ensure!(history[0].end_time == history[1].start_time && history[1].end_time.is_none(), "{history:?}");
        // I-36: the Console has heard of it within seconds.
        system
            .eventually_now("the Console's copy says so, too", async || {
                let copy = system.workspace(workspace).await?.settlement_method();
                Ok((copy == SettlementMethod::BillingCenter).then_some(()))
            })
            .await?;
    }
    let told = |mails: &[Mail]| mails.iter().filter(|mail| mail.text.contains(ACCOUNT)).count();
    system
        .eventually("everybody is told", async || {
            let mails: Vec<Mail> = system.mails()?.into_values().collect();
            Ok((told(&mails) >= shared.customers.len()).then_some(()))
        })
        .await?;
    for customer in &shared.customers {
        let mails = system.mails_to(&customer.email)?;
        ensure!(told(&mails) == 1, "I-29: one mail for each recipient: {mails:#?}");
    }
    Ok(())
}

/// The vendor has no way to recognise a record that comes twice: one whose answer was lost is never sent again (5.4).
async fn usage_that_was_not_taken_for_sure_is_never_sent_blindly(engine: Engine) -> anyhow::Result<()> {
    use tandem_adapters::sandbox::faults::{Fault, FaultKind};
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    let (_, paid) = system.cloud_customer("cn1", "doubtful", &purchase).await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    system.record_all(vec![point(&paid.workspace, hours[3], BillingItem::Trigger, 10_000)]).await?;
    system.sandbox.add_fault(Fault {
        action: "PushMeteringData".to_owned(),
        times: 1,
        kind: FaultKind::Doubt,
    })?;
    system.finish_day("cn1", first).await?;
    let record = system
        .eventually("the record's outcome is unknown", async || {
            let records = system.metering_records().await?;
            Ok(records.into_iter().find(|record| record.state() == billing::MeteringState::Unknown))
        })
        .await?;
    system.advance(SignedDuration::from_mins(20)).await?;
    system.check_invariants().await?;
    ensure!(system.sandbox.usage().len() == 1, "it was sent again: {:?}", system.sandbox.usage());
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(bill.state() == billing::BillState::Submitted, "{bill:?}");

    // The operator has looked at the vendor's bill.
    let resolve = billing::ResolveMeteringRecordRequest {
        request_id: tandem_tests::system::request_id("resolve"),
        metering_record_id: record.id,
        resolution: billing::MeteringResolution::Accepted.into(),
        note: "It stands on the vendor's bill.".to_owned(),
    };
    system.operator()?.marketplace().resolve_metering_record(resolve.clone()).await?;
    system.operator()?.marketplace().resolve_metering_record(resolve).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(bill.state() == billing::BillState::Paid && bill.paid_by.len() == 1, "{bill:?}");
    system.check_converged().await
}

/// 5.4: a freeze starts a countdown, a renewal ends it; nothing is detached.
async fn a_frozen_purchase_counts_down_and_comes_back(engine: Engine) -> anyhow::Result<()> {
    use tandem_proto::common::v1::WorkspaceStanding;
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    let (_, paid) = system.cloud_customer("cn1", "frozen", &purchase).await?;
    let standing = async |expected: WorkspaceStanding| {
        system
            .eventually("the standing is told to the Console", async || {
                let workspace = system.workspace(&paid.workspace).await?;
                Ok((workspace.standing() == expected).then_some(workspace))
            })
            .await
    };
    system.sandbox.expire(&purchase.instance_id)?;
    let counting = standing(WorkspaceStanding::LockCountdown).await?;
    ensure!(counting.lock_time.is_some() && counting.settlement_method() == SettlementMethod::AlibabaCloud);
    system.sandbox.renew(&purchase.instance_id, None)?;
    standing(WorkspaceStanding::Active).await?;
    let subscription = system.subscription(&purchase.instance_id).await?;
    ensure!(subscription.state() == billing::SubscriptionState::Active, "{subscription:?}");
    let history = system.history(&paid.workspace).await?;
    ensure!(history.len() == 1, "{history:?}");
    system.check_invariants().await
}

/// A callback may never come (`reliability.md` 3.5): the vendor's own record is asked, and counts.
async fn a_lost_release_is_found_by_reconciling(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    let (_, paid) = system.cloud_customer("cn1", "unheard", &purchase).await?;
    system.sandbox.set_delivery(DeliverySettings { lose_next: 1, ..DeliverySettings::default() })?;
    system.sandbox.release(&purchase.instance_id, false)?;
    let request = billing::ReconcileRequest {
        request_id: tandem_tests::system::request_id("reconcile"),
        ..Default::default()
    };
    let found = system.operator()?.marketplace().reconcile(request).await?.into_inner();
    ensure!(found.compared_count == 1 && found.differences.len() == 1, "{found:?}");
    let binding = system.binding(&paid.workspace).await?;
    ensure!(binding.settlement_method() == SettlementMethod::BillingCenter, "{binding:?}");
    // The late callback changes nothing any more.
    let query = system.signed(CallbackAction::Release, &fields_of(&purchase))?;
    ensure!(system.call_back(&query).await?.is_success());
    let history = system.history(&paid.workspace).await?;
    ensure!(history.len() == 2, "{history:?}");
    system.check_invariants().await
}
