//! What a countdown allows and a lock forbids, links that show the way out, and the end of a workspace
//! (`domain.md` 3.12, 5.2, 5.3).

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, Role, SettlementMethod, WorkspaceStanding};
use tandem_proto::console::v1 as console;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::customer::{Customer, Paid};
use tandem_tests::day::{day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Service, Setup, System, request_id};

use crate::kills::NODE;
use crate::on_both_engines;

on_both_engines! {
    a_countdown_lets_everything_go_on_and_a_lock_nothing;
    an_unlock_link_shows_the_way_out_for_an_hour;
    a_dissolved_workspace_has_ended_everywhere_and_its_last_day_is_billed;
    a_free_workspace_is_dissolved_without_billing;
    a_workspace_is_dissolved_while_billing_is_away;
    the_console_dies_at_each_commit_of_a_dissolution;
    billing_dies_at_each_commit_of_a_dissolution;
}

/// The reason of a call that must fail.
macro_rules! refused {
    ($call:expr) => {
        reason_of(&$call.await.err().context(stringify!($call))?)
    };
}

/// A customer who has used 1 CNY on the first day and has not paid it.
async fn debtor(system: &System, name: &str) -> anyhow::Result<(Customer, Paid, Timestamp)> {
    let (customer, paid) = system.direct_customer("cn1", name).await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    system.record_all(vec![point(&paid.workspace, hours[2], BillingItem::Trigger, 10_000)]).await?;
    system.finish_day("cn1", first).await?;
    let counting = system.standing(&paid.workspace, WorkspaceStanding::LockCountdown).await?;
    let deadline = Timestamp::from_second(counting.lock_time.unwrap_or_default().seconds)?;
    Ok((customer, paid, deadline))
}

fn summary(workspace: &str) -> console::GetUsageSummaryRequest {
    console::GetUsageSummaryRequest { workspace_id: workspace.to_owned(), ..Default::default() }
}

async fn points_of(system: &System, workspace: &str) -> anyhow::Result<i64> {
    let sql = format!("SELECT COUNT(*) FROM usage_point WHERE workspace_id = '{workspace}'");
    system.console_rows().await?.number(&sql).await
}

async fn a_countdown_lets_everything_go_on_and_a_lock_nothing(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid, deadline) = debtor(&system, "slow").await?;
    let portal = system.portal()?;
    let mate = system.register("cn1", "mate").await?;
    let add = console::AddMemberRequest {
        request_id: request_id("add"),
        workspace_id: paid.workspace.clone(),
        acting_account_id: customer.id.clone(),
        console_account_id: mate.id.clone(),
        role: console::MemberRole::Standard.into(),
    };
    let retention = || console::SetRetentionRequest {
        request_id: request_id("retention"),
        workspace_id: paid.workspace.clone(),
        acting_account_id: customer.id.clone(),
        item: BillingItem::LogCount.into(),
        retention_days: 30,
    };
    // The countdown: history is read, settings are changed, data is taken up to the last moment.
    let usage = portal.usage().get_usage_summary(summary(&paid.workspace)).await?.into_inner();
    ensure!(!usage.items.is_empty(), "{usage:?}");
    portal.workspaces().set_retention(retention()).await?;
    portal.workspaces().add_member(add.clone()).await?;
    system.advance_to(deadline - SignedDuration::from_mins(30)).await?;
    let last = Timestamp::from_second(deadline.as_second() - deadline.as_second() % 3_600 - 3_600)?;
    system.record_all(vec![point(&paid.workspace, last, BillingItem::Trigger, 20_000)]).await?;
    // The lock, in the moment in which nothing of that was delivered yet.
    system.advance_to(deadline).await?;
    system.standing(&paid.workspace, WorkspaceStanding::Locked).await?;
    let answer = system.record(vec![point(&paid.workspace, last, BillingItem::Trigger, 1)]).await?;
    ensure!(answer.refused.len() == 1 && answer.refused[0].reason == "WORKSPACE_LOCKED", "{answer:?}");
    let locked = Some(Reason::WorkspaceLocked);
    ensure!(refused!(portal.usage().get_usage_summary(summary(&paid.workspace))) == locked);
    let list = console::ListUsageRequest {
        workspace_id: paid.workspace.clone(),
        start_day: "2026-03-01".to_owned(),
        end_day: "2026-03-31".to_owned(),
        ..Default::default()
    };
    ensure!(refused!(portal.usage().list_usage(list.clone())) == locked);
    ensure!(refused!(portal.workspaces().set_retention(retention())) == locked);
    let again = console::AddMemberRequest { request_id: request_id("add"), ..add };
    ensure!(refused!(portal.workspaces().add_member(again)) == locked);
    // The lock page itself can be shown: the workspace, its members, who may unlock or dissolve.
    let listed =
        console::ListWorkspacesRequest { console_account_id: customer.id.clone(), ..Default::default() };
    let listed = portal.workspaces().list_workspaces(listed).await?.into_inner().workspaces;
    ensure!(listed.len() == 1 && listed[0].standing() == WorkspaceStanding::Locked, "{listed:?}");
    let members = console::ListMembersRequest {
        workspace_id: paid.workspace.clone(),
        acting_account_id: customer.id.clone(),
        ..Default::default()
    };
    ensure!(portal.workspaces().list_members(members).await?.into_inner().members.len() == 2);

    // What was used before is billed, and only then do the points go.
    let last_day = day("2026-03-16")?;
    system.finish_day("cn1", last_day).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-16").await?;
    ensure!(payable(&bill) == 200, "{bill:?}");
    system.advance(SignedDuration::from_hours(6 * 24)).await?;
    system
        .eventually("the points are deleted", async || {
            Ok((points_of(&system, &paid.workspace).await? == 0).then_some(()))
        })
        .await?;
    system.recharge(&paid.account, "CNY", 1_000).await?;
    let unlock = billing::UnlockWorkspaceRequest {
        request_id: request_id("unlock"),
        workspace_id: paid.workspace.clone(),
    };
    system.operator()?.standing().unlock_workspace(unlock).await?;
    system.standing(&paid.workspace, WorkspaceStanding::Active).await?;
    // Days that were counted stay as they were counted, and new ones start from nothing.
    let usage = portal.usage().list_usage(list).await?.into_inner().usage;
    ensure!(usage.iter().map(|used| used.quantity_hundredths).sum::<i64>() == 3_000_000, "{usage:?}");
    let now = system.now();
    let hour = Timestamp::from_second(now.as_second() - now.as_second() % 3_600)?;
    system.record_all(vec![point(&paid.workspace, hour, BillingItem::Trigger, 5)]).await?;
    ensure!(points_of(&system, &paid.workspace).await? == 1);
    system.check_converged().await
}

async fn an_unlock_link_shows_the_way_out_for_an_hour(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid, _) = debtor(&system, "linked").await?;
    let stranger = system.register("cn1", "stranger").await?;
    let ask = |acting: &str| console::IssueUnlockLinkRequest {
        workspace_id: paid.workspace.clone(),
        acting_account_id: acting.to_owned(),
    };
    let mut workspaces = system.portal()?.workspaces();
    let link = workspaces.issue_unlock_link(ask(&customer.id)).await?.into_inner();
    ensure!(refused!(workspaces.issue_unlock_link(ask(&stranger.id))) == Some(Reason::ObjectNotFound));
    let page = system.page(&link.url).await?;
    ensure!(page.status == 200 && page.body.contains("1.00 CNY is owed"), "{page:?}");
    ensure!(page.body.contains("linked workspace") && page.body.contains("Recharge"), "{page:?}");
    let forged = system.page(&format!("{}x", link.url)).await?;
    ensure!(forged.status == 403 && !forged.body.contains("linked"), "{forged:?}");
    let open = || billing::OpenUnlockLinkRequest { token: link.token.clone() };
    let stolen = system.as_role(Role::Portal)?.standing().open_unlock_link(open()).await;
    ensure!(reason_of(&stolen.err().context("anybody may open links")?) == Some(Reason::RoleNotAllowed));

    // The mail has one, too; after the recharge it says so.
    let mailed = system
        .eventually("the arrears are told with a link", async || {
            let mails = system.mails_to(&customer.email)?;
            let word = mails.iter().flat_map(|mail| mail.text.split_whitespace());
            Ok(word.into_iter().find(|word| word.contains("/unlock/")).map(str::to_owned))
        })
        .await?;
    let debt = billing::GetDebtRequest { billing_account_id: paid.account.clone() };
    let debt = system.portal()?.standing().get_debt(debt).await?.into_inner().debt.context("debt")?;
    ensure!(debt.owed_bill_count == 1 && debt.workspaces.len() == 1, "{debt:?}");
    system.recharge(&paid.account, "CNY", 100).await?;
    let page = system.page(&mailed).await?;
    ensure!(page.status == 200 && page.body.contains("Nothing is owed"), "{page:?}");
    system.advance(SignedDuration::from_mins(61)).await?;
    let late = system.page(&link.url).await?;
    ensure!((late.status, late.body) == (403, forged.body), "an expired link tells more than a forged one");
    ensure!(system.page(&mailed).await?.status == 200, "a mail is read later");
    Ok(())
}

async fn a_dissolved_workspace_has_ended_everywhere_and_its_last_day_is_billed(
    engine: Engine,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "leaving").await?;
    system.recharge(&paid.account, "CNY", 1_000).await?;
    let mate = system.register("cn1", "mate").await?;
    let portal = system.portal()?;
    let add = console::AddMemberRequest {
        request_id: request_id("add"),
        workspace_id: paid.workspace.clone(),
        acting_account_id: customer.id.clone(),
        console_account_id: mate.id.clone(),
        role: console::MemberRole::Administrator.into(),
    };
    portal.workspaces().add_member(add).await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[5]).await?;
    let request = system.dissolution(&customer, &paid.workspace, "leaving workspace").await?;
    let other = |change: fn(&mut console::DissolveWorkspaceRequest)| {
        let mut other = console::DissolveWorkspaceRequest { request_id: request_id("no"), ..request.clone() };
        change(&mut other);
        other
    };
    let mut workspaces = portal.workspaces();
    let by_mate = console::DissolveWorkspaceRequest { acting_account_id: mate.id.clone(), ..other(|_| {}) };
    ensure!(refused!(workspaces.dissolve_workspace(by_mate)) == Some(Reason::NotOwner));
    let misspelt = other(|m| m.confirm_name.push('s'));
    ensure!(refused!(workspaces.dissolve_workspace(misspelt)) == Some(Reason::InvalidField));
    let guessed = other(|m| m.email_code = if m.email_code == "000000" { "000001" } else { "000000" }.into());
    ensure!(refused!(workspaces.dissolve_workspace(guessed)) == Some(Reason::CodeInvalid));
    ensure!(system.workspace(&paid.workspace).await?.standing() == WorkspaceStanding::Active);

    // Recorded a moment before the end: it counts.
    system.record_all(vec![point(&paid.workspace, hours[4], BillingItem::Trigger, 10_000)]).await?;
    let answer = workspaces.dissolve_workspace(request.clone()).await?.into_inner();
    let dissolved = answer.workspace.clone().context("workspace")?;
    ensure!(dissolved.standing() == WorkspaceStanding::Dissolved, "{dissolved:?}");
    ensure!(workspaces.dissolve_workspace(request.clone()).await?.into_inner() == answer, "I-05");
    let spent = other(|_| {});
    ensure!(refused!(workspaces.dissolve_workspace(spent)) == Some(Reason::WorkspaceDissolved));
    let late = system.record(vec![point(&paid.workspace, hours[4], BillingItem::Trigger, 90_000)]).await?;
    ensure!(late.refused.len() == 1 && late.refused[0].reason == "WORKSPACE_DISSOLVED", "{late:?}");
    let gone = Some(Reason::WorkspaceDissolved);
    ensure!(refused!(portal.usage().get_usage_summary(summary(&paid.workspace))) == gone);
    let retention = console::SetRetentionRequest {
        request_id: request_id("retention"),
        workspace_id: paid.workspace.clone(),
        acting_account_id: customer.id.clone(),
        item: BillingItem::LogCount.into(),
        retention_days: 30,
    };
    ensure!(refused!(workspaces.set_retention(retention)) == gone);
    let seen = console::GetWorkspaceRequest {
        workspace_id: paid.workspace.clone(),
        acting_account_id: mate.id.clone(),
    };
    let seen = workspaces.get_workspace(seen).await?.into_inner().workspace.context("workspace")?;
    ensure!(seen.standing() == WorkspaceStanding::Dissolved, "members see it: {seen:?}");

    ended_in_billing(&system, &paid).await?;
    let change = billing::ChangeSettlementMethodRequest {
        request_id: request_id("change"),
        billing_account_id: paid.account.clone(),
        workspace_id: paid.workspace.clone(),
        settlement_method: SettlementMethod::AlibabaCloud.into(),
        purchase: Some(billing::change_settlement_method_request::Purchase::LandingTicket("x".to_owned())),
    };
    ensure!(refused!(portal.bindings().change_settlement_method(change)) == gone);
    system
        .eventually("the end is told", async || {
            let mails = system.mails_to(&customer.email)?;
            Ok(mails.iter().any(|mail| mail.subject.contains("已解散")).then_some(()))
        })
        .await?;
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(payable(&bill) == 100, "the last day is billed: {bill:?}");
    system
        .eventually("the points are deleted", async || {
            Ok((points_of(&system, &paid.workspace).await? == 0).then_some(()))
        })
        .await?;
    system.check_converged().await
}

async fn ended_in_billing(system: &System, paid: &Paid) -> anyhow::Result<()> {
    let sql = format!(
        "SELECT COUNT(*) FROM workspace WHERE workspace_id = '{}' AND standing = 'dissolved'",
        paid.workspace
    );
    system
        .eventually("Billing has heard of it", async || {
            Ok((system.billing_rows().await?.number(&sql).await? == 1).then_some(()))
        })
        .await?;
    let binding = billing::GetBindingRequest { workspace_id: paid.workspace.clone() };
    ensure!(refused!(system.operator()?.bindings().get_binding(binding)) == Some(Reason::WorkspaceNotBound));
    let history = system.history(&paid.workspace).await?;
    ensure!(history.last().is_some_and(|period| period.end_time.is_some()), "{history:?}");
    Ok(())
}

async fn a_free_workspace_is_dissolved_without_billing(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let customer = system.register("cn1", "trial").await?;
    let workspace = system.free_workspace(&customer, "trial space").await?;
    system.stop_service(Service::Billing).await?;
    let request = system.dissolution(&customer, &workspace, "trial space").await?;
    let answer = system.portal()?.workspaces().dissolve_workspace(request).await?.into_inner();
    ensure!(answer.workspace.is_some_and(|w| w.standing() == WorkspaceStanding::Dissolved));
    system
        .eventually("the owner is told", async || {
            let mails = system.mails_to(&customer.email)?;
            Ok(mails.iter().any(|mail| mail.text.contains("trial space")).then_some(()))
        })
        .await?;
    let waiting = "SELECT COUNT(*) FROM workspace_standing WHERE tell_at IS NOT NULL";
    ensure!(system.console_rows().await?.number(waiting).await? == 0);
    system.start_service(Service::Billing).await?;
    system.check_converged().await
}

async fn a_workspace_is_dissolved_while_billing_is_away(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "hurried").await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[5]).await?;
    let request = system.dissolution(&customer, &paid.workspace, "hurried workspace").await?;
    system.stop_service(Service::Billing).await?;
    system.record_all(vec![point(&paid.workspace, hours[4], BillingItem::Trigger, 10_000)]).await?;
    let answer = system.portal()?.workspaces().dissolve_workspace(request).await?.into_inner();
    ensure!(answer.workspace.is_some_and(|w| w.standing() == WorkspaceStanding::Dissolved));
    let late = system.record(vec![point(&paid.workspace, hours[4], BillingItem::Trigger, 1)]).await?;
    ensure!(late.refused.len() == 1, "it has ended at once: {late:?}");
    // Longer than any message would be kept trying: the end is never given up.
    for _ in 0..20 {
        system.advance(SignedDuration::from_hours(1)).await?;
    }
    ensure!(points_of(&system, &paid.workspace).await? == 1, "not before it is delivered");
    system.start_service(Service::Billing).await?;
    ended_in_billing(&system, &paid).await?;
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(payable(&bill) == 100, "{bill:?}");
    system
        .eventually("the points are deleted", async || {
            Ok((points_of(&system, &paid.workspace).await? == 0).then_some(()))
        })
        .await?;
    ensure!(system.workspace(&paid.workspace).await?.standing() == WorkspaceStanding::Dissolved);
    system.check_converged().await
}

async fn the_console_dies_at_each_commit_of_a_dissolution(engine: Engine) -> anyhow::Result<()> {
    a_service_dies_at_each_commit_of_a_dissolution(engine, Service::Console).await
}

async fn billing_dies_at_each_commit_of_a_dissolution(engine: Engine) -> anyhow::Result<()> {
    a_service_dies_at_each_commit_of_a_dissolution(engine, Service::Billing).await
}

/// Whenever a service dies, the owner's repetition has the first answer, and in the end both services know, the last day
/// is billed once and everybody is told once.
async fn a_service_dies_at_each_commit_of_a_dissolution(
    engine: Engine,
    mortal: Service,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).processes(NODE).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "mortal").await?;
    system.recharge(&paid.account, "CNY", 1_000).await?;
    let first = day("2026-03-02")?;
    let hours = hours(first, "Asia/Shanghai")?;
    system.advance_to(hours[5]).await?;
    system.record_all(vec![point(&paid.workspace, hours[4], BillingItem::Trigger, 10_000)]).await?;
    let request = system.dissolution(&customer, &paid.workspace, "mortal workspace").await?;
    let mut answers = std::collections::BTreeSet::new();
    let deaths = system
        .die_at_each_commit(mortal, "the workspace has ended in both", async || {
            let answer = system.portal()?.workspaces().dissolve_workspace(request.clone()).await?.into_inner();
            answers.insert(format!("{answer:?}"));
            let told = format!(
                "SELECT COUNT(*) FROM workspace_standing WHERE workspace_id = '{}' AND dissolved_at IS NOT NULL \
                 AND tell_at IS NULL AND purge_at IS NULL",
                paid.workspace
            );
            Ok(system.console_rows().await?.number(&told).await? == 1)
        })
        .await?;
    println!("{} died {deaths} times", mortal.name());
    ensure!(deaths >= 2, "only {deaths} deaths: this proves nothing");
    ensure!(answers.len() == 1, "I-05: {answers:?}");
    ended_in_billing(&system, &paid).await?;
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, &paid.workspace, "2026-03-02").await?;
    ensure!(payable(&bill) == 100, "{bill:?}");
    let told = async || {
        let mails = system.mails_to(&customer.email)?;
        anyhow::Ok(mails.iter().filter(|mail| mail.subject.contains("已解散")).count())
    };
    system.eventually("the customer is told", async || Ok((told().await? > 0).then_some(()))).await?;
    ensure!(told().await? == 1, "I-29: told {} times", told().await?);
    system.check_converged().await
}
