//! Lists under inserts: what was there is returned, once (I-37).

use std::collections::BTreeMap;

use anyhow::ensure;
use tandem_proto::billing::v1 as billing;
use tandem_proto::console::v1 as console;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::engine::Engine;
use tandem_tests::system::Setup;

use crate::on_both_engines;

on_both_engines! {
    every_old_row_comes_once_while_new_ones_are_added;
}

/// Reads all pages and adds something between any two; every one of `old` must come exactly once.
async fn read(
    what: &str,
    old: &[String],
    mut page: impl AsyncFnMut(String) -> anyhow::Result<(Vec<String>, String)>,
    mut add: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    ensure!(old.len() > 4, "{what}: too few to need pages");
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut token = String::new();
    let mut pages = 0;
    loop {
        let (ids, next) = page(token).await?;
        ensure!(ids.len() <= 2, "{what}: a page is too long");
        for id in ids {
            *seen.entry(id).or_default() += 1;
        }
        pages += 1;
        // Adding without end would page without end.
        if pages <= 3 {
            add().await?;
        }
        if next.is_empty() {
            break;
        }
        token = next;
    }
    ensure!(seen.values().all(|times| *times == 1), "{what}: something came twice: {seen:?}");
    ensure!(old.iter().all(|id| seen.contains_key(id)), "{what}: {old:?} is not in {seen:?}");
    Ok(())
}

async fn every_old_row_comes_once_while_new_ones_are_added(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (customer, paid) = system.direct_customer("cn1", "many").await?;
    let operator = system.operator()?;

    let mut old = vec![paid.workspace.clone()];
    for number in 0..5 {
        old.push(system.free_workspace(&customer, &format!("free {number}")).await?);
    }
    let workspaces = |page_token| console::ListWorkspacesRequest {
        console_account_id: customer.id.clone(),
        page_size: 2,
        page_token,
    };
    read(
        "workspaces",
        &old,
        async |token| {
            let page = operator.workspaces().list_workspaces(workspaces(token)).await?.into_inner();
            Ok((page.workspaces.into_iter().map(|w| w.id).collect(), page.next_page_token))
        },
        async || system.free_workspace(&customer, "meanwhile").await.map(drop),
    )
    .await?;

    for _ in 0..3 {
        system.recharge(&paid.account, "CNY", 100).await?;
    }
    let request = billing::ListLedgerEntriesRequest {
        billing_account_id: paid.account.clone(),
        page_size: 500,
        page_token: String::new(),
        ..Default::default()
    };
    let name = |entry: billing::LedgerEntry| format!("{}/{:?}", entry.transfer_id, entry.account());
    let all = operator.wallet().list_ledger_entries(request.clone()).await?.into_inner().entries;
    let old: Vec<String> = all.into_iter().map(name).collect();
    read(
        "ledger entries",
        &old,
        async |page_token| {
            let request = billing::ListLedgerEntriesRequest { page_size: 2, page_token, ..request.clone() };
            let page = operator.wallet().list_ledger_entries(request).await?.into_inner();
            Ok((page.entries.into_iter().map(name).collect(), page.next_page_token))
        },
        async || system.recharge(&paid.account, "CNY", 1).await,
    )
    .await?;

    // Newest first: what is added comes before the page, not behind it.
    let mut old = Vec::new();
    for _ in 0..5 {
        let purchase = system.buy("1744000000000001").await?;
        old.extend(system.announced(&purchase.instance_id).await?.into_iter().map(|event| event.id));
    }
    read(
        "marketplace events",
        &old,
        async |page_token| {
            let request =
                billing::ListMarketplaceEventsRequest { page_size: 2, page_token, ..Default::default() };
            let page = operator.marketplace().list_marketplace_events(request).await?.into_inner();
            Ok((page.events.into_iter().map(|event| event.id).collect(), page.next_page_token))
        },
        async || system.buy("1744000000000001").await.map(drop),
    )
    .await?;

    let answer = operator.workspaces().list_workspaces(workspaces("nonsense".to_owned())).await;
    let Err(status) = answer else { anyhow::bail!("a token that is none was taken") };
    ensure!(reason_of(&status) == Some(Reason::InvalidField), "{status:?}");
    Ok(())
}
