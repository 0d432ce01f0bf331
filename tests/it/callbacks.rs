//! Callbacks that are forged, unknown or repeated: refused, or harmless, without a trace in state (I-21, I-30).

use anyhow::ensure;
use tandem_adapters::callback::CallbackAction;
use tandem_adapters::sandbox::state::SandboxPurchase;
use tandem_proto::billing::v1::SubscriptionState;
use tandem_proto::common::v1::SettlementMethod;
use tandem_tests::engine::Engine;
use tandem_tests::market::fields_of;
use tandem_tests::system::{Setup, System};

use crate::on_both_engines;

const ACCOUNT: &str = "1744000000000001";

on_both_engines! {
    forged_callbacks_leave_no_trace;
    repeated_callbacks_change_nothing;
    the_end_state_does_not_depend_on_the_order;
}

/// Every table that a callback could touch.
const TABLES: [&str; 6] =
    ["marketplace_event", "subscription", "workspace_binding", "outbox", "feed_event", "landing_ticket"];

async fn forged_callbacks_leave_no_trace(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    let (_, paid) = system.cloud_customer("cn1", "target", &purchase).await?;
    let release = system.signed(CallbackAction::Release, &fields_of(&purchase))?;
    let before = system.billing_rows().await?.counts(&TABLES).await?;

    let token = release.split('&').find(|pair| pair.starts_with("token=")).unwrap_or_default().to_owned();
    let flipped = token.chars().rev().collect::<String>();
    let swapped = release.replacen(&purchase.instance_id, "1551777777", 1);
    let forged = [
        release.replace(&token, ""),
        release.replace(&token, "token="),
        release.replace(&token, &format!("token={}", "0".repeat(32))),
        release.replace(&token, &format!("token={}", flipped.trim_end_matches("=nekot"))),
        release.replacen("release", "renew", 1),
        swapped,
        format!("{release}&extra=1"),
        format!("{release}&instanceId=1551777777"),
        format!("{release}&{token}"),
        String::new(),
        "action=releaseInstance".to_owned(),
        "%%%".to_owned(),
        format!("{release}&x={}", "y".repeat(9_000)),
    ];
    for query in forged {
        let answer = system.call_back(&query).await?;
        ensure!(!answer.is_success(), "accepted {query}: {answer:?}");
        ensure!((400..500).contains(&answer.status), "{query} was answered {answer:?}");
        ensure!(!answer.body.contains("token") && !answer.body.contains("key"), "{answer:?}");
    }
    let after = system.billing_rows().await?.counts(&TABLES).await?;
    ensure!(before == after, "I-30: {before:?} became {after:?}");
    ensure!(system.binding(&paid.workspace).await?.settlement_method() == SettlementMethod::AlibabaCloud);

    // The untouched one still works: not everything is refused.
    ensure!(system.call_back(&release).await?.is_success());
    ensure!(system.binding(&paid.workspace).await?.settlement_method() == SettlementMethod::BillingCenter);
    system.check_invariants().await
}

async fn repeated_callbacks_change_nothing(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    let create = system.signed(CallbackAction::Create, &fields_of(&purchase))?;
    let first = system.call_back(&create).await?;
    let events = system.announced(&purchase.instance_id).await?;
    let again = system.call_back(&create).await?;
    ensure!(first == again && first.status == 200, "{first:?}, {again:?}");
    ensure!(first.body.contains(&purchase.instance_id), "the number is echoed: {first:?}");
    let repeated = system.announced(&purchase.instance_id).await?;
    ensure!(repeated.len() == events.len(), "{repeated:?}");
    ensure!(repeated[0].id == events[0].id, "{repeated:?}");

    // The same number with another buyer contradicts what is recorded.
    let mut other = fields_of(&purchase);
    other.account = Some("1744000000000009".to_owned());
    let answer = system.call_back(&system.signed(CallbackAction::Create, &other)?).await?;
    ensure!(!answer.body.contains(&purchase.instance_id), "accepted a second buyer: {answer:?}");
    let subscription = system.subscription(&purchase.instance_id).await?;
    ensure!(subscription.vendor_account_id == ACCOUNT, "{subscription:?}");

    // A release of something we never had is acknowledged, or the vendor would never stop (`vendors/alibaba.md` 5.5).
    let stranger = SandboxPurchase { instance_id: "1559876543".to_owned(), ..purchase.clone() };
    let answer = system.call_back(&system.signed(CallbackAction::Release, &fields_of(&stranger))?).await?;
    ensure!(answer.is_success(), "{answer:?}");
    let mut plan = fields_of(&purchase);
    plan.plan = Some("cmgj00099001-nosuch".to_owned());
    let answer = system.call_back(&system.signed(CallbackAction::Upgrade, &plan)?).await?;
    ensure!(!answer.is_success() && answer.status == 200, "an unknown plan is not guessed: {answer:?}");
    system.check_invariants().await
}

/// I-21: whatever order the purchase's callbacks come in, however often, it ends as released.
async fn the_end_state_does_not_depend_on_the_order(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let purchase = system.buy(ACCOUNT).await?;
    let actions = [CallbackAction::Create, CallbackAction::Expire, CallbackAction::Release];
    let orders: [[usize; 5]; 5] =
        [[0, 1, 2, 0, 1], [2, 1, 0, 2, 0], [1, 2, 0, 1, 2], [1, 0, 2, 1, 0], [2, 0, 1, 0, 2]];
    for (number, order) in orders.into_iter().enumerate() {
        let instance = format!("155888000{number}");
        let like = SandboxPurchase { instance_id: instance.clone(), ..purchase.clone() };
        for at in order {
            let query = system.signed(actions[at], &fields_of(&like))?;
            system.call_back(&query).await?;
        }
        let state = end_state(&system, &instance).await?;
        ensure!(state == SubscriptionState::Cancelled, "{order:?} ends as {state:?}");
    }
    system.check_invariants().await
}

async fn end_state(system: &System, instance: &str) -> anyhow::Result<SubscriptionState> {
    Ok(system.subscription(instance).await?.state())
}
