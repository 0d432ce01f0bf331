//! What customers change, through both services: retention in the middle of a day, and who pays (3.9, 3.19).

use anyhow::{Context as _, ensure};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::BillingItem;
use tandem_proto::console::v1 as console;
use tandem_tests::day::{amounts, day, hours, payable, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;

on_both_engines! {
    retention_changed_at_noon_gives_two_lines_of_logs_and_one_of_metrics;
    a_moved_workspace_is_billed_to_its_new_account;
}

async fn set_retention(system: &System, workspace: &str, item: BillingItem, days: i32) -> anyhow::Result<()> {
    let owner = system.workspace(workspace).await?.owner_account_id;
    let request = console::SetRetentionRequest {
        request_id: request_id("retention"),
        workspace_id: workspace.to_owned(),
        acting_account_id: owner,
        item: item.into(),
        retention_days: days,
    };
    system.portal()?.workspaces().set_retention(request).await?;
    Ok(())
}

async fn retention_changed_at_noon_gives_two_lines_of_logs_and_one_of_metrics(
    engine: Engine,
) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "retention").await?;
    system.recharge(&paid.account, "CNY", 10_000).await?;
    let workspace = paid.workspace.as_str();
    let first = day("2026-03-02")?;
    let hour = hours(first, "Asia/Shanghai")?;
    // Ten past noon.
    system.advance_to(hour[12] + jiff::SignedDuration::from_mins(10)).await?;
    let (logs, series) = (BillingItem::LogCount, BillingItem::TimeSeries);
    system
        .record_all(vec![
            point(workspace, hour[9], logs, 1_500_000),
            point(workspace, hour[12], logs, 500_000),
            point(workspace, hour[9], series, 6_000),
        ])
        .await?;
    set_retention(&system, workspace, logs, 30).await?;
    set_retention(&system, workspace, series, 30).await?;
    system.advance_to(hour[20]).await?;
    system
        .record_all(vec![
            point(workspace, hour[13], logs, 1_000_000),
            point(workspace, hour[20], logs, 2_000_000),
            point(workspace, hour[20], series, 8_000),
            // Sent again: it stays where it was.
            point(workspace, hour[9], logs, 1_500_000),
        ])
        .await?;
    // Two further changes of the day are for tomorrow, and the last one counts.
    set_retention(&system, workspace, logs, 3).await?;
    set_retention(&system, workspace, logs, 60).await?;
    system.finish_day("cn1", first).await?;
    let bill = system.bill(&paid.account, workspace, "2026-03-02").await?;
    let line = |name: &str, micros: i64| (name.to_owned(), micros);
    // 2 M at 1.5, 3 M at 2, 8 000 series at 1.
    let expected =
        [line("TIME_SERIES/30", 8_000_000), line("LOG_COUNT/14", 3_000_000), line("LOG_COUNT/30", 6_000_000)];
    ensure!(amounts(&bill) == expected, "{:?}", amounts(&bill));
    ensure!(payable(&bill) == 1_700, "{bill:?}");

    let second = day("2026-03-03")?;
    let next = hours(second, "Asia/Shanghai")?;
    system.record_all(vec![point(workspace, next[0], logs, 1_000_000)]).await?;
    // Late, for an hour before the change: an adjustment at the price of that hour's policy.
    system.record_all(vec![point(workspace, hour[10], logs, 1_000_000)]).await?;
    system.finish_day("cn1", second).await?;
    let bill = system.bill(&paid.account, workspace, "2026-03-03").await?;
    let expected = [line("LOG_COUNT/60", 2_500_000), line("LOG_COUNT of 2026-03-02", 1_500_000)];
    ensure!(amounts(&bill) == expected, "{:?}", amounts(&bill));
    system.check_converged().await
}

async fn a_moved_workspace_is_billed_to_its_new_account(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (li, shop) = system.direct_customer("cn1", "lin").await?;
    let (wang, other) = system.direct_customer("cn1", "wang").await?;
    for account in [&shop.account, &other.account] {
        system.recharge(account, "CNY", 10_000).await?;
    }
    let (first, second) = (day("2026-03-02")?, day("2026-03-03")?);
    let (hours_1, hours_2) = (hours(first, "Asia/Shanghai")?, hours(second, "Asia/Shanghai")?);
    let item = BillingItem::Trigger;
    system.advance_to(hours_1[23]).await?;
    system.record_all(vec![point(&shop.workspace, hours_1[3], item, 10_000)]).await?;
    system.finish_day("cn1", first).await?;
    system.advance_to(hours_2[10]).await?;
    system.record_all(vec![point(&shop.workspace, hours_2[1], item, 20_000)]).await?;
    system
        .eventually("what was used this morning is delivered", async || {
            let sql = "SELECT COUNT(*) FROM usage_day WHERE usage_day = 20260303";
            Ok((system.billing_rows().await?.number(sql).await? == 1).then_some(()))
        })
        .await?;

    let codes = billing::SendMoveCodesRequest {
        request_id: request_id("codes"),
        workspace_id: shop.workspace.clone(),
        to_username: wang.username.clone(),
    };
    let portal = system.portal()?;
    let mut client = portal.bindings();
    let from_code = system.code_to(&li.email, client.send_move_codes(codes)).await?;
    let to_code = system
        .eventually("the other code is mailed", async || {
            let mails = system.mails_to(&wang.email)?.into_iter();
            Ok(mails.filter(|m| m.text.contains("lin") && m.subject.contains("迁移")).find_map(|m| m.code()))
        })
        .await?;
    let go = billing::MoveWorkspaceRequest {
        request_id: request_id("move"),
        workspace_id: shop.workspace.clone(),
        to_username: wang.username.clone(),
        from_code,
        to_code,
    };
    let moved = client.move_workspace(go).await?.into_inner();
    ensure!(moved.first_day == "2026-03-03", "{moved:?}");
    // The Console hears it by the feed.
    system
        .eventually("the Console knows who pays", async || {
            let copy = system.workspace(&shop.workspace).await?;
            Ok((copy.billing_account_id == other.account).then_some(()))
        })
        .await?;
    // More of today, and something late of yesterday.
    system.record_all(vec![point(&shop.workspace, hours_2[2], item, 30_000)]).await?;
    system.record_all(vec![point(&shop.workspace, hours_1[5], item, 40_000)]).await?;
    system.finish_day("cn1", second).await?;
    let bill = system.bill(&other.account, &shop.workspace, "2026-03-03").await?;
    ensure!(payable(&bill) == 500, "{bill:?}");
    let late = system.bill(&shop.account, &shop.workspace, "2026-03-03").await?;
    ensure!(amounts(&late) == [("TRIGGER of 2026-03-02".to_owned(), 4_000_000)], "{late:?}");
    let history =
        billing::ListBindingHistoryRequest { workspace_id: shop.workspace.clone(), ..Default::default() };
    let history = system.operator()?.bindings().list_binding_history(history).await?.into_inner().periods;
    let last = history.last().context("a period")?;
    ensure!(last.cause() == billing::PeriodCause::Moved && last.billing_account_id == other.account);
    ensure!(system.wallet(&shop.account).await? == (10_000 - 100 - 400, 0), "the old account");
    ensure!(system.wallet(&other.account).await? == (10_000 - 500, 0), "the new account");
    system.check_converged().await
}
