//! Spend alerts on both engines (`domain.md` 3.16, D16).

use jiff::SignedDuration;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::item::BillingItem;
use tandem_proto::money::{Currency, Money};
use tandem_service_kit::fault::Fault;

use super::jobs;
use super::set_alert::{self, Wish};
use crate::domain::alert::Watched;
use crate::domain::job::Job;
use crate::store::alert::SpendAlert;
use crate::testing::{Bench, both};

async fn set(
    bench: &Bench,
    workspace: &WorkspaceId,
    watched: Watched,
    minor: i64,
) -> Result<SpendAlert, Fault> {
    let tx = bench.db.begin().await.unwrap();
    let wish = Wish {
        workspace: workspace.clone(),
        watched,
        threshold: Money { minor, currency: Currency::Cny },
        notify: vec!["Ops@acme.test".to_owned(), "shop@owner.test".to_owned(), "ops@acme.test".to_owned()],
    };
    let set = set_alert::set(&tx, wish, bench.ctx.clock.now()).await?;
    tx.commit().await.unwrap();
    Ok(set)
}

async fn look(bench: &Bench) {
    jobs::run(&bench.ctx, Job::Alerts, bench.ctx.clock.now()).await.unwrap();
}

async fn told(bench: &Bench) -> i64 {
    bench.number("SELECT COUNT(*) FROM spend_alert_sent").await
}

async fn mails(bench: &Bench) -> i64 {
    bench.number("SELECT COUNT(*) FROM outbox").await
}

async fn shop(bench: &Bench) -> (BillingAccountId, WorkspaceId) {
    let account = bench.account("ada").await;
    let workspace = bench.workspace(&account, "shop").await;
    // 2026-03-01, 20:00 in Shanghai.
    bench.pass(SignedDuration::from_hours(12));
    (account, workspace)
}

#[tokio::test]
async fn an_item_is_told_of_once_a_day_while_the_day_is_running() {
    for bench in both("alert_item").await {
        let (_, workspace) = shop(&bench).await;
        let trigger = Watched::Item(BillingItem::Trigger);
        let alert = set(&bench, &workspace, trigger, 200).await.unwrap();
        assert_eq!(alert.notify, ["Ops@acme.test", "shop@owner.test"]);
        bench.deliver(&workspace, "2026-03-01", 1, &[(BillingItem::Trigger, 0, 20_000)]).await;
        look(&bench).await;
        assert_eq!(told(&bench).await, 0, "2.00 is not more than 2.00");
        bench.deliver(&workspace, "2026-03-01", 2, &[(BillingItem::Trigger, 0, 20_100)]).await;
        look(&bench).await;
        // The owner is among those to notify and hears it once.
        assert_eq!((told(&bench).await, mails(&bench).await), (1, 2));
        bench.deliver(&workspace, "2026-03-01", 3, &[(BillingItem::Trigger, 0, 90_000)]).await;
        look(&bench).await;
        assert_eq!((told(&bench).await, mails(&bench).await), (1, 2), "once for a day");
        bench.pass(SignedDuration::from_hours(24));
        bench.bill("2026-03-01").await;
        let bill_mails = mails(&bench).await;
        bench.deliver(&workspace, "2026-03-02", 1, &[(BillingItem::Trigger, 0, 30_000)]).await;
        look(&bench).await;
        assert_eq!(
            (told(&bench).await, mails(&bench).await),
            (2, bill_mails + 2),
            "the next day is another period"
        );
    }
}

#[tokio::test]
async fn a_total_counts_what_stands_on_bills_and_what_does_not() {
    for bench in both("alert_total").await {
        let (account, workspace) = shop(&bench).await;
        bench.recharge(&account, 100_000).await;
        set(&bench, &workspace, Watched::Total, 500).await.unwrap();
        // What February cost does not count in March.
        bench.deliver(&workspace, "2026-02-27", 1, &[(BillingItem::Trigger, 0, 40_000)]).await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(BillingItem::Trigger, 0, 30_000)]).await;
        look(&bench).await;
        assert_eq!(told(&bench).await, 0);
        bench.pass(SignedDuration::from_hours(24));
        bench.bill("2026-03-01").await;
        bench.deliver(&workspace, "2026-03-02", 1, &[(BillingItem::Trigger, 0, 10_000)]).await;
        look(&bench).await;
        let spent = bench.number("SELECT COALESCE(MAX(spent), 0) FROM spend_alert_sent").await;
        // The bill of 2026-03-01 has 3.00 and the adjustment of 4.00 for February; 1.00 is not billed yet.
        assert_eq!((told(&bench).await, spent), (1, 8_000_000));
        // A changed threshold is a rule of its own, and told when it is exceeded, at once or later.
        set(&bench, &workspace, Watched::Total, 800).await.unwrap();
        look(&bench).await;
        assert_eq!(told(&bench).await, 1);
        bench.deliver(&workspace, "2026-03-02", 2, &[(BillingItem::Trigger, 0, 10_001)]).await;
        look(&bench).await;
        assert_eq!(told(&bench).await, 2);
    }
}

#[tokio::test]
async fn two_looks_at_once_tell_once() {
    for bench in both("alert_twice").await {
        let (_, workspace) = shop(&bench).await;
        set(&bench, &workspace, Watched::Total, 1).await.unwrap();
        bench.deliver(&workspace, "2026-03-01", 1, &[(BillingItem::Trigger, 0, 20_000)]).await;
        futures_util::future::join_all((0..4).map(|_| look(&bench))).await;
        assert_eq!((told(&bench).await, mails(&bench).await), (1, 2));
    }
}

#[tokio::test]
async fn a_wrong_wish_names_its_field_and_changes_nothing() {
    for bench in both("alert_wrong").await {
        let (_, workspace) = shop(&bench).await;
        let tx = bench.db.begin().await.unwrap();
        let wish = |currency, notify: &str| Wish {
            workspace: workspace.clone(),
            watched: Watched::Total,
            threshold: Money { minor: 1, currency },
            notify: vec![notify.to_owned()],
        };
        let now = bench.ctx.clock.now();
        let fault = set_alert::set(&tx, wish(Currency::Usd, "a@b.test"), now).await.unwrap_err();
        assert_eq!(fault.fields[0].0, "threshold.currency_code");
        let fault = set_alert::set(&tx, wish(Currency::Cny, "nobody"), now).await.unwrap_err();
        assert_eq!(fault.fields[0].0, "notify[0]");
        tx.commit().await.unwrap();
        assert_eq!(bench.number("SELECT COUNT(*) FROM spend_alert").await, 0);
    }
}
