//! One row for each attempt to change something, in chains that nobody can touch unseen (I-32, `reliability.md` 4.6).

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use tandem_proto::common::v1::audit_service_client::AuditServiceClient;
use tandem_proto::common::v1::{
    AuditBreakKind, AuditHead, AuditOutcome, AuditRow, BillingItem, ListAuditRequest, ProveAuditRequest,
    ProveAuditResponse,
};
use tandem_service_kit::peer::PeerChannel;
use tandem_tests::day::{day, hours, point};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, request_id};

use crate::on_both_engines;

on_both_engines! {
    every_attempt_is_on_record_in_both_services;
    somebody_with_the_database_in_hand_is_found;
}

async fn rows(
    client: &mut AuditServiceClient<PeerChannel>,
    filter: ListAuditRequest,
) -> anyhow::Result<Vec<AuditRow>> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAuditRequest { page_size: 7, page_token, ..filter.clone() };
        let page = client.list_audit(request).await?.into_inner();
        rows.extend(page.rows);
        if page.next_page_token.is_empty() {
            return Ok(rows);
        }
        page_token = page.next_page_token;
    }
}

async fn prove(
    client: &mut AuditServiceClient<PeerChannel>,
    known_heads: Vec<AuditHead>,
) -> anyhow::Result<ProveAuditResponse> {
    let request = ProveAuditRequest { known_heads, ..ProveAuditRequest::default() };
    let page = client.prove_audit(request).await?.into_inner();
    ensure!(page.next_page_token.is_empty(), "these few rows are one page");
    Ok(page)
}

async fn every_attempt_is_on_record_in_both_services(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "watched").await?;
    system.recharge(&paid.account, "CNY", 5_000).await?;
    let hours = hours(day("2026-03-01")?, "Asia/Shanghai")?;
    for hour in hours.iter().take(3) {
        let points = vec![point(&paid.workspace, *hour, BillingItem::Trigger, 10)];
        system.record_all(points).await?;
    }
    // Refused: by the role, and by the rules.
    let buy = tandem_proto::billing::v1::BuyPrepaidCardRequest {
        request_id: request_id("dear"),
        billing_account_id: paid.account.clone(),
        face_value: Some(tandem_proto::common::v1::Money {
            currency_code: "CNY".to_owned(),
            minor_units: 1_000_000,
        }),
    };
    let confirm = tandem_proto::billing::v1::ConfirmRechargeRequest::default();
    ensure!(system.portal()?.wallet().buy_prepaid_card(buy.clone()).await.is_err());
    ensure!(system.portal()?.wallet().confirm_recharge(confirm).await.is_err());

    let (mut console, mut billing) = (system.operator()?.console_audit(), system.operator()?.billing_audit());
    let about = |object: &str| ListAuditRequest { object: object.to_owned(), ..Default::default() };
    let account = system
        .eventually("what was refused is written", async || {
            let found = rows(&mut system.operator()?.billing_audit(), about(&paid.account)).await?;
            Ok(found.iter().any(|row| row.outcome() == AuditOutcome::Refused).then_some(found))
        })
        .await?;
    let of =
        |method: &str| account.iter().find(|row| row.method.ends_with(method)).context(method.to_owned());
    let confirmed = of("/ConfirmRecharge")?;
    ensure!(
        confirmed.outcome() == AuditOutcome::Accepted && confirmed.principal == "operator",
        "{confirmed:?}"
    );
    ensure!(confirmed.digest.len() == 64 && confirmed.attempt_count == 1, "{confirmed:?}");
    let refused = of("/BuyPrepaidCard")?;
    ensure!(refused.reason == "BALANCE_INSUFFICIENT" && refused.request_id == buy.request_id, "{refused:?}");
    ensure!(refused.principal == "portal" && refused.object_ids == [paid.account.clone()], "{refused:?}");
    let bound = rows(&mut billing, about(&paid.workspace)).await?;
    ensure!(bound.iter().any(|row| row.method.ends_with("/BindWorkspace") && row.principal == "console"));
    let by_role = ListAuditRequest {
        method: "ConfirmRecharge".to_owned(),
        outcome: AuditOutcome::Refused.into(),
        principal: "portal".to_owned(),
        ..Default::default()
    };
    let by_role = rows(&mut billing, by_role).await?;
    ensure!(by_role.len() == 1 && by_role[0].reason == "ROLE_NOT_ALLOWED", "{by_role:?}");

    // Recorded usage is counted, each batch once.
    system
        .eventually("batches of usage are counted", async || {
            let filter = ListAuditRequest { method: "RecordUsage".to_owned(), ..Default::default() };
            let found = rows(&mut system.operator()?.console_audit(), filter).await?;
            ensure!(
                found.iter().all(|row| row.digest.len() == 64 && row.principal == "usage_source"),
                "{found:?}"
            );
            Ok((found.iter().map(|row| row.attempt_count).sum::<i64>() == 3).then_some(()))
        })
        .await?;
    for client in [&mut console, &mut billing] {
        let all = rows(client, ListAuditRequest::default()).await?;
        let times: Vec<_> = all.iter().map(|row| row.time.map(|t| (t.seconds, t.nanos))).collect();
        ensure!(times.is_sorted_by(|a, b| a >= b), "newest first");
        let proof = prove(client, Vec::new()).await?;
        ensure!(proof.breaks.is_empty(), "{:?}", proof.breaks);
        ensure!(proof.row_count >= i64::try_from(all.len())?, "{} of {}", proof.row_count, all.len());
    }
    // Every answer that is stored has its row: nothing accepted goes unrecorded.
    let billing_rows = system.billing_rows().await?;
    let unrecorded = "SELECT COUNT(*) FROM request_log l WHERE NOT EXISTS (SELECT 1 FROM audit_row a \
                      WHERE a.outcome = 'accepted' AND a.principal = l.principal AND a.method = l.method \
                      AND a.request_id = l.request_id AND a.digest = l.digest)";
    ensure!(billing_rows.number(unrecorded).await? == 0);
    system.check_invariants().await
}

async fn somebody_with_the_database_in_hand_is_found(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "robbed").await?;
    for _ in 0..4 {
        system.recharge(&paid.account, "CNY", 100).await?;
    }
    let mut client = system.operator()?.billing_audit();
    let kept = prove(&mut client, Vec::new()).await?;
    ensure!(kept.breaks.is_empty(), "{:?}", kept.breaks);
    let database = system.billing_rows().await?;
    for touch in ["UPDATE audit_row SET principal = 'x'", "DELETE FROM audit_row"] {
        ensure!(database.change(touch).await.is_err(), "{touch} is refused by trigger");
    }
    match engine {
        Engine::Postgres => database.change("ALTER TABLE audit_row DISABLE TRIGGER USER").await?,
        Engine::Sqlite => {
            database.change("DROP TRIGGER audit_row_no_update").await?;
            database.change("DROP TRIGGER audit_row_no_delete").await?;
        }
    }
    let longest = kept.heads.iter().max_by_key(|head| head.number).context("a chain")?;
    ensure!(longest.number > 2, "{longest:?}");
    database
        .change(&format!("DELETE FROM audit_row WHERE chain = '{}' AND number = 2", longest.chain))
        .await?;
    let touched =
        format!("UPDATE audit_row SET principal = 'x' WHERE chain = '{}' AND number = 1", longest.chain);
    database.change(&touched).await?;
    let found = prove(&mut client, Vec::new()).await?;
    let found: BTreeMap<i64, AuditBreakKind> = found.breaks.iter().map(|b| (b.number, b.kind())).collect();
    let wanted = BTreeMap::from([(1, AuditBreakKind::RowChanged), (2, AuditBreakKind::RowsMissing)]);
    ensure!(found == wanted, "{found:?}");
    // A chain that is gone as a whole leaves nothing to be missed by, but for what was kept elsewhere.
    database.change(&format!("DELETE FROM audit_row WHERE chain = '{}'", longest.chain)).await?;
    let found = prove(&mut client, kept.heads.clone()).await?;
    ensure!(
        found.breaks.iter().any(|b| b.kind() == AuditBreakKind::HeadMissing && b.chain == longest.chain),
        "{:?}",
        found.breaks
    );
    Ok(())
}
