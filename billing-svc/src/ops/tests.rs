//! The money operations on both engines.

use jiff::SignedDuration;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::item::BillingItem;
use tandem_proto::item::BillingItem::{ApmTrace, LogCount, RumPv, TimeSeries, Trigger};

use crate::domain::wallet::LotKind;
use crate::ops::{issue_bills, settle_bills, stand};
use crate::store::{metering, subscription, workspace};
use crate::testing::{Bench, at, both};

/// `domain.md` 4.7.
const DOCUMENTED: [(BillingItem, i32, i64); 5] = [
    (TimeSeries, 3, 6_000),
    (LogCount, 7, 2_000_000),
    (ApmTrace, 3, 2_000_000),
    (RumPv, 3, 20_000),
    (Trigger, 0, 20_000),
];

async fn wallet(bench: &Bench, account: &BillingAccountId) -> (i64, i64) {
    let wallet = bench.wallet(account).await;
    (wallet.total(LotKind::Cash), wallet.overdraft())
}

#[tokio::test]
async fn the_documented_day_is_billed_once_and_paid_from_cash() {
    for bench in both("documented").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, 2_000).await;
        bench.deliver(&workspace, "2026-03-01", 1, &DOCUMENTED).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        assert_eq!(bench.bill("2026-03-01").await, 1);
        assert_eq!(bench.bill("2026-03-01").await, 0, "a second run changes nothing");
        assert_eq!(bench.number("SELECT payable FROM daily_bill").await, 1_340);
        assert_eq!(wallet(&bench, &account).await, (660, 0));
        bench.prove().await;
    }
}

/// I-11: late usage becomes an adjustment of the next day, and the issued bill does not change.
#[tokio::test]
async fn late_usage_is_adjusted_on_the_next_bill() {
    for bench in both("late").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        // A lower revision that comes late changes nothing; a greater one does.
        bench.deliver(&workspace, "2026-03-01", 3, &[(Trigger, 0, 30_000)]).await;
        bench.deliver(&workspace, "2026-03-01", 2, &[(Trigger, 0, 90_000)]).await;
        bench.deliver(&workspace, "2026-03-02", 1, &[(Trigger, 0, 10_000)]).await;
        bench.clock.advance_to(at("2026-03-02T16:10:00Z"));
        bench.bill("2026-03-02").await;
        assert_eq!(bench.number("SELECT payable FROM daily_bill WHERE usage_day = 20260301").await, 200);
        assert_eq!(bench.number("SELECT payable FROM daily_bill WHERE usage_day = 20260302").await, 200);
        let adjusted = "SELECT COUNT(*) FROM bill_line WHERE kind = 'adjustment' AND adjusted_day = 20260301 AND quantity = 1000000";
        assert_eq!(bench.number(adjusted).await, 1);
        bench.prove().await;
    }
}

#[tokio::test]
async fn a_debt_counts_down_locks_and_a_recharge_makes_the_account_good() {
    for bench in both("arrears").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, "2026-03-01", 1, &DOCUMENTED).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(wallet(&bench, &account).await, (0, -1_340));
        assert_eq!(bench.number("SELECT COUNT(*) FROM workspace WHERE standing = 'lock_countdown'").await, 1);
        // D6: mails 7, 3 and 1 days before the end, each once.
        let warned = "SELECT COUNT(*) FROM outbox WHERE dedupe_key IS NOT NULL";
        let before = bench.number(warned).await;
        for (hours, mails) in [(6 * 24, 0), (24, 2), (0, 0), (4 * 24, 2), (2 * 24, 2)] {
            let so_far = bench.number(warned).await;
            bench.pass(SignedDuration::from_hours(hours));
            stand::warn_soon(&bench.ctx).await.unwrap();
            assert_eq!(bench.number(warned).await - so_far, mails, "after {hours} more hours");
        }
        assert_eq!(bench.number(warned).await - before, 6, "account and owner, three times");
        bench.pass(SignedDuration::from_hours(24) - SignedDuration::from_secs(1));
        assert_eq!(stand::lock_due(&bench.ctx, bench.ctx.clock.now()).await.unwrap(), 0);
        bench.pass(SignedDuration::from_secs(1));
        let now = bench.ctx.clock.now();
        assert_eq!(stand::set_overdue(&bench.ctx, now).await.unwrap(), 2, "the account and its bill");
        assert_eq!(stand::set_overdue(&bench.ctx, now).await.unwrap(), 0);
        assert_eq!(stand::lock_due(&bench.ctx, now).await.unwrap(), 1);
        assert_eq!(bench.number("SELECT COUNT(*) FROM daily_bill WHERE state = 'overdue'").await, 1);
        bench.recharge(&account, 1_000).await;
        assert_eq!(wallet(&bench, &account).await, (0, -340));
        assert_eq!(bench.number("SELECT COUNT(*) FROM workspace WHERE standing = 'locked'").await, 1);
        bench.recharge(&account, 1_000).await;
        assert_eq!(wallet(&bench, &account).await, (660, 0));
        let held = "SELECT COUNT(*) FROM workspace WHERE standing = 'locked'";
        assert_eq!(bench.number(held).await, 1, "D7: an operator opens it again");
        assert_eq!(bench.number("SELECT COUNT(*) FROM billing_account WHERE standing = 'good'").await, 1);
        bench.prove().await;
    }
}

/// One purchase settles three workspaces by one record, and each outcome settles every bill once.
#[tokio::test]
async fn cloud_bills_share_a_record_and_never_touch_cash() {
    for bench in both("cloud").await {
        let account = bench.account("alice").await;
        let (a, b) = (bench.workspace(&account, "a").await, bench.workspace(&account, "b").await);
        bench.settle_by_cloud(&account, &[&a, &b]).await;
        bench.recharge(&account, 500).await;
        bench.deliver(&a, "2026-03-01", 1, &DOCUMENTED).await;
        bench.deliver(&b, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        assert_eq!(bench.bill("2026-03-01").await, 2);
        assert_eq!(bench.number("SELECT quantity FROM metering_record").await, 1_440);
        let ids =
            crate::store::read::all(&bench.db.read, "SELECT id FROM metering_record", []).await.unwrap();
        let id = ids[0].try_get::<String>("", "id").unwrap().parse().unwrap();
        let now = bench.ctx.clock.now();
        for _ in 0..2 {
            let tx = bench.db.begin().await.unwrap();
            let record = metering::lock(&tx, std::slice::from_ref(&id)).await.unwrap().remove(0);
            settle_bills::accepted(&tx, &record, now).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(bench.number("SELECT COUNT(*) FROM daily_bill WHERE state = 'paid'").await, 2);
        assert_eq!(wallet(&bench, &account).await, (500, 0));
        bench.prove().await;
    }
}

/// I-17: what the cloud no longer takes is settled by the Billing Center.
#[tokio::test]
async fn what_comes_too_late_for_the_cloud_is_settled_by_the_billing_center() {
    for bench in both("too_late").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "a").await;
        bench.settle_by_cloud(&account, &[&workspace]).await;
        bench.deliver(&workspace, "2026-03-01", 1, &DOCUMENTED).await;
        bench.clock.advance_to(at("2026-03-01T17:30:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(bench.number("SELECT COUNT(*) FROM metering_record").await, 0);
        assert_eq!(wallet(&bench, &account).await, (0, -1_340));
        // A record that was made in time and never taken ends the same way.
        bench.recharge(&account, 1_340).await;
        bench.deliver(&workspace, "2026-03-02", 1, &DOCUMENTED).await;
        bench.clock.advance_to(at("2026-03-02T16:10:00Z"));
        bench.bill("2026-03-02").await;
        let ids =
            crate::store::read::all(&bench.db.read, "SELECT id FROM metering_record", []).await.unwrap();
        let id = ids[0].try_get::<String>("", "id").unwrap().parse().unwrap();
        let tx = bench.db.begin().await.unwrap();
        let record = metering::lock(&tx, &[id]).await.unwrap().remove(0);
        settle_bills::move_to_billing_center(&tx, &bench.ctx, &record, bench.ctx.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(wallet(&bench, &account).await, (0, -1_340));
        bench.prove().await;
    }
}

/// A run of many workspaces goes on from where it stopped, and the feed numbers everything once.
#[tokio::test]
async fn a_long_run_is_resumed_and_the_feed_has_no_gap() {
    for bench in both("long").await {
        let account = bench.account("alice").await;
        for n in 0..300 {
            let workspace = bench.workspace(&account, &format!("w{n}")).await;
            bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        }
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        assert_eq!(bench.bill("2026-03-01").await, 300);
        assert_eq!(wallet(&bench, &account).await, (0, -30_000));
        let head = tokio::sync::watch::Sender::new(0);
        while crate::worker::feed::batch(&bench.ctx, &head).await.unwrap() > 0 {}
        let events = bench.number("SELECT COUNT(*) FROM feed_event").await;
        assert_eq!(bench.number("SELECT MAX(position) FROM feed_event").await, events);
        bench.prove().await;
    }
}

/// Two purchases that end on one day: the first gets a final bill, the rest of the day is the Billing Center's (I-13).
#[tokio::test]
async fn a_second_purchase_may_end_on_the_same_day() {
    for bench in both("second_final").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "a").await;
        let first = bench.settle_by_cloud(&account, &[&workspace]).await;
        bench.clock.advance_to(at("2026-03-01T04:30:00Z"));
        for units in [10_000, 30_000] {
            bench.deliver(&workspace, "2026-03-01", units, &[(Trigger, 0, units)]).await;
            let tx = bench.db.begin().await.unwrap();
            let ending = subscription::find(&tx, &first).await.unwrap().unwrap();
            let locked = workspace::lock(&tx, std::slice::from_ref(&workspace)).await.unwrap();
            issue_bills::issue_final(&tx, &bench.ctx, &ending, &locked, bench.ctx.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
        }
        bench.run("UPDATE subscription SET state = 'cancelled'", []).await;
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        assert_eq!(bench.number("SELECT payable FROM daily_bill WHERE kind = 'final'").await, 100);
        assert_eq!(bench.number("SELECT payable FROM daily_bill WHERE kind = 'daily'").await, 200);
        bench.prove().await;
    }
}

/// A repayment goes over any number of bills.
#[tokio::test]
async fn a_long_debt_is_repaid_in_one_recharge() {
    for bench in both("long_debt").await {
        let account = bench.account("alice").await;
        for n in 0..620 {
            let workspace = bench.workspace(&account, &format!("w{n}")).await;
            bench.deliver(&workspace, "2026-03-01", 1, &[(Trigger, 0, 10_000)]).await;
        }
        bench.clock.advance_to(at("2026-03-01T16:10:00Z"));
        bench.bill("2026-03-01").await;
        bench.recharge(&account, 61_950).await;
        assert_eq!(bench.number("SELECT COUNT(*) FROM daily_bill WHERE state = 'paid'").await, 619);
        assert_eq!(wallet(&bench, &account).await, (0, -50));
        bench.prove().await;
    }
}
