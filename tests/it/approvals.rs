//! Acts that take two people, through what is served (`reliability.md` sections 7 and 8).

use anyhow::{Context as _, ensure};
use tandem_proto::billing::v1 as billing;
use tandem_proto::billing::v1::request_approval_request::Act;
use tandem_proto::common::v1::{BillingItem, Money, WorkspaceStanding};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::day::{day, hours, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

on_both_engines! {
    a_forced_unlock_takes_two_people_reaches_the_console_and_runs_out;
    two_approvers_at_once_credit_once;
}

async fn ask(system: &System, account: &str, act: Act) -> anyhow::Result<String> {
    let request = billing::RequestApprovalRequest {
        request_id: request_id("ask"),
        billing_account_id: account.to_owned(),
        reason: "payment is on its way".to_owned(),
        act: Some(act),
    };
    let made = system.operator()?.approvals().request_approval(request).await?.into_inner();
    Ok(made.approval.context("approval")?.id)
}

fn approve(approval_id: &str) -> billing::ApproveRequest {
    let note = "seen the ticket".to_owned();
    billing::ApproveRequest { request_id: request_id("approve"), approval_id: approval_id.to_owned(), note }
}

async fn standing(system: &System, workspace: &str, expected: WorkspaceStanding) -> anyhow::Result<()> {
    system
        .eventually("the standing is told to the Console", async || {
            Ok((system.workspace(workspace).await?.standing() == expected).then_some(()))
        })
        .await
}

async fn a_forced_unlock_takes_two_people_reaches_the_console_and_runs_out(
    engine: Engine,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "late").await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    system.record_all(vec![point(&paid.workspace, hours[2], BillingItem::Trigger, 30_000)]).await?;
    system.finish_day("cn1", first).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::LockCountdown).await?;
    let lock = system.workspace(&paid.workspace).await?.lock_time.unwrap_or_default().seconds;
    system.advance_to(jiff::Timestamp::from_second(lock)?).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::Locked).await?;

    let unlock = Act::ForcedUnlock(billing::ForcedUnlock { workspace_id: String::new(), grace_days: 3 });
    let id = ask(&system, &paid.account, unlock).await?;
    let own = system.operator()?.approvals().approve(approve(&id)).await.err().context("one is not two")?;
    ensure!(reason_of(&own) == Some(Reason::ApproverIsRequester), "{own:?}");
    let portal = system.portal()?.approvals().approve(approve(&id)).await.err().context("not an operator")?;
    ensure!(reason_of(&portal) == Some(Reason::RoleNotAllowed), "{portal:?}");
    let done = system.approver()?.approvals().approve(approve(&id)).await?.into_inner();
    let done = done.approval.context("approval")?;
    ensure!(done.state() == billing::ApprovalState::Executed && done.decider == "approver", "{done:?}");
    standing(&system, &paid.workspace, WorkspaceStanding::Active).await?;
    ensure!(system.wallet(&paid.account).await?.1 < 0, "nothing was forgiven");
    system
        .eventually("the customer is told", async || {
            let mails = system.mails_to(&customer.email)?;
            let told = |mail: &tandem_tests::mail::Mail| {
                mail.subject.contains("已临时解锁") || mail.subject.contains("in use again for now")
            };
            Ok(mails.iter().any(told).then_some(()))
        })
        .await?;

    let approved = jiff::Timestamp::from_second(done.decide_time.unwrap_or_default().seconds)?;
    system.advance_to(approved + jiff::SignedDuration::from_hours(3 * 24 + 1)).await?;
    standing(&system, &paid.workspace, WorkspaceStanding::LockCountdown).await?;
    let again = system.workspace(&paid.workspace).await?.lock_time.unwrap_or_default().seconds;
    let wanted = approved + jiff::SignedDuration::from_hours((3 + 14) * 24);
    ensure!((again - wanted.as_second()).abs() <= 1, "{again} is not {wanted}");
    system.check_invariants().await
}

async fn two_approvers_at_once_credit_once(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "credited").await?;
    let amount = Some(Money { currency_code: "CNY".to_owned(), minor_units: 1_500 });
    let direction = billing::AdjustmentDirection::Credit.into();
    let act = Act::Adjustment(billing::Adjustment { direction, amount });
    let id = ask(&system, &paid.account, act).await?;
    let clients = system.approver()?;
    let racers = (0..6).map(|_| {
        let (mut client, request) = (clients.approvals(), approve(&id));
        tokio::spawn(async move { client.approve(request).await })
    });
    let mut done = 0;
    for racer in racers.collect::<Vec<_>>() {
        match racer.await? {
            Ok(_) => done += 1,
            Err(status) => {
                let reason = reason_of(&status);
                ensure!(matches!(reason, Some(Reason::ApprovalNotOpen | Reason::Conflict)), "{status:?}");
            }
        }
    }
    ensure!(done == 1, "{done} approvals of one request");
    ensure!(system.wallet(&paid.account).await? == (1_500, 0));
    system.check_invariants().await
}
