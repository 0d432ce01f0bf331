//! No money: arrears, countdown, lock, and back (`domain.md` 3.12, 5.2, 5.6).

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, WorkspaceStanding};
use tandem_proto::console::v1::Workspace;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::day::{day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

on_both_engines! {
    unpaid_bills_lock_after_14_days_and_an_operator_unlocks_what_is_paid;
    a_recharge_in_time_ends_the_countdown;
    the_end_of_the_countdown_is_announced_7_3_and_1_days_before;
}

async fn standing(
    system: &System,
    workspace: &str,
    expected: WorkspaceStanding,
) -> anyhow::Result<Workspace> {
    system
        .eventually("the standing is told to the Console", async || {
            let copy = system.workspace(workspace).await?;
            Ok((copy.standing() == expected).then_some(copy))
        })
        .await
}

async fn account(system: &System, id: &str) -> anyhow::Result<billing::BillingAccount> {
    let request = billing::GetAccountRequest { billing_account_id: id.to_owned() };
    let response = system.operator()?.billing_accounts().get_account(request).await?.into_inner();
    Ok(response.account.unwrap_or_default())
}

async fn unpaid_bills_lock_after_14_days_and_an_operator_unlocks_what_is_paid(
    engine: Engine,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "broke").await?;
    system.recharge(&paid.account, "CNY", 100).await?;
    let first = day("2026-03-02")?;
    let hours_1 = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours_1[23]).await?;
    system.record_all(vec![point(&paid.workspace, hours_1[2], BillingItem::Trigger, 30_000)]).await?;
    system.finish_day("cn1", first).await?;

    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(bill.state() == billing::BillState::InArrears && payable(&bill) == 300, "{bill:?}");
    ensure!(bill.arrears.as_ref().is_some_and(|money| money.minor_units == 200), "{bill:?}");
    ensure!(system.wallet(&paid.account).await? == (0, -200), "cash first, the rest is overdraft");
    let owing = account(&system, &paid.account).await?;
    ensure!(owing.standing() == billing::AccountStanding::Arrears, "{owing:?}");
    let start = owing.arrears_start_time.unwrap_or_default().seconds;
    let counting = standing(&system, &paid.workspace, WorkspaceStanding::LockCountdown).await?;
    let lock = counting.lock_time.unwrap_or_default().seconds;
    ensure!(lock == start + 14 * 86_400, "D5: {start} and {lock}");

    // Data is taken during the countdown, and a further debt does not move the deadline.
    let second = day("2026-03-03")?;
    let hours_2 = hours(second, "Asia/Shanghai")?;
    system.record_all(vec![point(&paid.workspace, hours_2[0], BillingItem::Trigger, 10_000)]).await?;
    system.finish_day("cn1", second).await?;
    ensure!(system.wallet(&paid.account).await? == (0, -300), "the second bill is owed, too");
    let counting = standing(&system, &paid.workspace, WorkspaceStanding::LockCountdown).await?;
    ensure!(counting.lock_time.unwrap_or_default().seconds == lock, "the deadline moved");

    // A second before the deadline nothing is locked, with it everything is.
    let deadline = jiff::Timestamp::from_second(lock)?;
    system.advance_to(deadline - SignedDuration::from_secs(60)).await?;
    system.check_invariants().await?;
    ensure!(system.workspace(&paid.workspace).await?.standing() == WorkspaceStanding::LockCountdown);
    system.advance_to(deadline).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::Locked).await?;
    let hour = jiff::Timestamp::from_second(lock - lock % 3_600)?;
    let answer = system.record(vec![point(&paid.workspace, hour, BillingItem::Trigger, 1)]).await?;
    ensure!(answer.refused.len() == 1 && answer.refused[0].reason == "WORKSPACE_LOCKED", "{answer:?}");
    ensure!(account(&system, &paid.account).await?.standing() == billing::AccountStanding::Overdue);
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(bill.state() == billing::BillState::Overdue, "{bill:?}");
    let warned = system.mails_to(&customer.email)?;
    system.check_invariants().await?;

    // A recharge that does not cover everything is not enough.
    system.recharge(&paid.account, "CNY", 250).await?;
    ensure!(system.wallet(&paid.account).await? == (0, -50), "the overdraft is repaid first");
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(bill.state() == billing::BillState::Paid, "oldest first: {bill:?}");
    system.check_invariants().await?;
    let unlock = || billing::UnlockWorkspaceRequest {
        request_id: request_id("unlock"),
        workspace_id: paid.workspace.clone(),
    };
    let early = system.operator()?.standing().unlock_workspace(unlock()).await;
    let early = early.err().context("unlocked in debt")?;
    ensure!(reason_of(&early) == Some(Reason::DebtOpen), "{early:?}");
    system.recharge(&paid.account, "CNY", 150).await?;
    ensure!(system.wallet(&paid.account).await? == (100, 0), "the rest is cash");
    ensure!(account(&system, &paid.account).await?.standing() == billing::AccountStanding::Good);
    // Paying ends a countdown by itself, but not a lock: an operator opens what is empty now (5.2, 5.6, D7).
    ensure!(system.binding(&paid.workspace).await?.standing() == WorkspaceStanding::Locked);
    let portal = system.portal()?.standing().unlock_workspace(unlock()).await;
    ensure!(reason_of(&portal.err().context("anybody may unlock")?) == Some(Reason::RoleNotAllowed));
    system.operator()?.standing().unlock_workspace(unlock()).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::Active).await?;
    system.record_all(vec![point(&paid.workspace, hour, BillingItem::Trigger, 1)]).await?;

    // The code, the welcome, two bills, the arrears, the lock: each once, none missing.
    ensure!(warned.len() >= 6, "only {} mails: {warned:#?}", warned.len());
    let texts: std::collections::BTreeSet<_> =
        warned.iter().map(|mail| (&mail.subject, &mail.text)).collect();
    ensure!(texts.len() == warned.len(), "a mail was sent twice: {warned:#?}");
    system.check_converged().await
}

async fn a_recharge_in_time_ends_the_countdown(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "slow").await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    system.record_all(vec![point(&paid.workspace, hours[2], BillingItem::Trigger, 30_000)]).await?;
    system.finish_day("cn1", first).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::LockCountdown).await?;
    system.advance(SignedDuration::from_hours(13 * 24)).await?;
    system.recharge(&paid.account, "CNY", 300).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::Active).await?;
    system.advance(SignedDuration::from_hours(3 * 24)).await?;
    system.check_invariants().await?;
    ensure!(system.workspace(&paid.workspace).await?.standing() == WorkspaceStanding::Active);
    ensure!(system.wallet(&paid.account).await? == (0, 0));
    Ok(())
}

/// D6.
async fn the_end_of_the_countdown_is_announced_7_3_and_1_days_before(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "warned").await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    system.record_all(vec![point(&paid.workspace, hours[2], BillingItem::Trigger, 30_000)]).await?;
    system.finish_day("cn1", first).await?;
    let counting = standing(&system, &paid.workspace, WorkspaceStanding::LockCountdown).await?;
    let deadline = jiff::Timestamp::from_second(counting.lock_time.unwrap_or_default().seconds)?;
    system
        .eventually("the bill and the arrears are told", async || {
            Ok((system.mails_to(&customer.email)?.len() >= 4).then_some(()))
        })
        .await?;
    let mut before = system.mails_to(&customer.email)?.len();
    for days in [7, 3, 1] {
        system
            .advance_to(deadline - SignedDuration::from_hours(days * 24) - SignedDuration::from_mins(5))
            .await?;
        system.check_invariants().await?;
        ensure!(
            system.mails_to(&customer.email)?.len() == before,
            "a warning {days} days before came too early"
        );
        system.advance(SignedDuration::from_mins(6)).await?;
        system
            .eventually(&format!("the warning {days} days before is sent"), async || {
                Ok((system.mails_to(&customer.email)?.len() > before).then_some(()))
            })
            .await?;
        before += 1;
        ensure!(system.mails_to(&customer.email)?.len() == before, "a warning came twice");
    }
    Ok(())
}
