//! Buying, upgrading, ending, and what is refused.

use super::*;

#[tokio::test]
async fn an_order_is_paid_in_full_or_not_at_all_and_vouchers_pay_no_messages() {
    for bench in both("package_pay").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        let act = || order("start-up", &[("messages", 1, 100)], &[&workspace]);
        let messages = 10 * 372 * 100;
        let grant = Act::GrantVoucher {
            face: Money { minor: START_UP + messages, currency: Currency::Cny },
            min_spend: 0,
            valid_from: at("2026-01-01T00:00:00Z"),
            last_day: day("2026-12-31"),
            note: "welcome".into(),
        };
        bench.act(&account, grant).await.unwrap();
        let refused = buy(&bench, &account, act()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::BalanceInsufficient);
        assert_eq!(bench.number("SELECT COUNT(*) FROM package").await, 0);
        bench.card_by_payment(&account, messages - 2_000).await;
        bench.recharge(&account, 2_000).await;
        let ordered = buy(&bench, &account, act()).await.unwrap();
        let parts: Vec<_> = ordered.parts.iter().map(|p| (p.kind, p.amount, p.restricted)).collect();
        assert_eq!(
            parts,
            [
                (LotKind::GeneralVoucher, START_UP, 0),
                (LotKind::PrepaidCard, messages - 2_000, messages - 2_000),
                (LotKind::Cash, 2_000, 2_000),
            ]
        );
        let left = bench.wallet(&account).await;
        assert_eq!((left.total(LotKind::GeneralVoucher), left.total(LotKind::Cash)), (messages, 0));
        let mails = "SELECT COUNT(*) FROM outbox WHERE topic = 'mail'";
        assert!(bench.number(mails).await >= 1);
        bench.deliver(&workspace, FIRST, 1, &[(Sms, 0, 120)]).await;
        assert_eq!(finish(&bench, FIRST).await, 1);
        assert_eq!(payable(&bench).await, 200);
        prove(&bench).await;
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_with_its_reason() {
    for bench in both("package_refused").await {
        let (account, other) = (bench.account("alice").await, bench.account("bob").await);
        let (mine, cloud) =
            (bench.workspace(&account, "mine").await, bench.workspace(&account, "cloud").await);
        let foreign = bench.workspace(&other, "foreign").await;
        bench.settle_by_cloud(&account, &[&cloud]).await;
        bench.recharge(&account, 10 * START_UP).await;
        let reason = |outcome: Result<Ordered, Fault>| outcome.unwrap_err().reason;
        for (act, wanted) in [
            (order("start-up", &[], &[&mine, &foreign]), Reason::WorkspaceNotBound),
            (order("start-up", &[], &[&cloud]), Reason::PackageNeedsBillingCenter),
            (order("", &[("logs", 1, 100)], &[&mine]), Reason::AnnualPackageMissing),
            (order("gigantic", &[], &[&mine]), Reason::InvalidField),
            (order("start-up", &[("nothing", 1, 100)], &[&mine]), Reason::InvalidField),
            (order("start-up", &[("logs", i64::MAX, 100)], &[&mine]), Reason::InvalidField),
        ] {
            assert_eq!(reason(buy(&bench, &account, act.clone()).await), wanted, "{act:?}");
        }
        bench.run("UPDATE billing_account SET currency = 'USD' WHERE id = ?", [other.as_str().into()]).await;
        assert_eq!(
            reason(buy(&bench, &other, order("start-up", &[], &[&foreign])).await),
            Reason::CurrencyMismatch
        );
        assert_eq!(bench.number("SELECT COUNT(*) FROM package").await, 0);
        // A day that is closed cannot be covered any more, nor one far away.
        finish(&bench, FIRST).await;
        let start = |text: &str| {
            Act::Package(PackageAct::Order {
                annual: Some("start-up".into()),
                traffic: Vec::new(),
                workspaces: vec![mine.clone()],
                start_day: Some(day(text)),
            })
        };
        for far in [FIRST, "2028-01-01"] {
            assert_eq!(reason(buy(&bench, &account, start(far)).await), Reason::InvalidField);
        }
        let later = buy(&bench, &account, start("2026-03-20")).await.unwrap();
        assert_eq!(later.packages[0].state(day("2026-03-02")), PackageState::Waiting);
        prove(&bench).await;
    }
}

/// R4: until the package's last day is over, also before its first.
#[tokio::test]
async fn a_workspace_with_a_package_cannot_go_to_a_cloud() {
    for bench in both("package_r4").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP).await;
        let cloud = SettlementMethod::Cloud(Vendor::Alibaba);
        let check = async || {
            let now = bench.ctx.clock.now();
            change_settlement::check(&bench.ctx, &account, &workspace, cloud, now).await.map(|_| ())
        };
        assert_eq!(check().await, Ok(()));
        buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        assert_eq!(check().await.unwrap_err().reason, Reason::PackageRunning);
        bench.clock.advance_to(at("2027-03-07T15:59:00Z"));
        assert_eq!(check().await.unwrap_err().reason, Reason::PackageRunning, "the last day");
        bench.clock.advance_to(at("2027-03-07T16:01:00Z"));
        assert_eq!(check().await, Ok(()));
    }
}

/// Half of the term is left: half of the difference. Days before keep their quota, also for late usage.
#[tokio::test]
async fn an_upgrade_costs_the_difference_of_the_days_left() {
    for bench in both("package_upgrade").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP + 11_900_000 + 100_000).await;
        let bought = buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        let upgrade = |package: &Package, offer: &str| {
            Act::Package(PackageAct::Upgrade { package: package.id.clone(), offer: offer.into() })
        };
        let old = &bought.packages[0];
        let reason = |outcome: Result<Ordered, Fault>| outcome.unwrap_err().reason;
        assert_eq!(reason(buy(&bench, &account, upgrade(old, "start-up")).await), Reason::PackageNotLarger);
        assert_eq!(reason(buy(&bench, &account, upgrade(old, "growth")).await), Reason::BalanceInsufficient);
        // 2026-09-02 is closed, so the larger quota begins with the 3rd: 186 of 372 days are left.
        finish(&bench, "2026-09-02").await;
        let upgraded = buy(&bench, &account, upgrade(old, "growth")).await.unwrap();
        assert_eq!(upgraded.charged.minor, 11_900_000);
        let new = &upgraded.packages[0];
        assert_eq!((new.first_day, new.last_day), (day("2026-09-03"), old.last_day));
        assert_eq!(reason(buy(&bench, &account, upgrade(old, "enterprise")).await), Reason::PackageEnded);
        let listed = package::list(&bench.db.read, &account, &[], 10).await.unwrap();
        let states: Vec<_> = listed.iter().map(|p| p.state(day("2026-09-03"))).collect();
        assert_eq!(states, [PackageState::Upgraded, PackageState::Running]);
        assert_eq!(listed[0].last_day, day("2026-09-02"));
        bench.deliver(&workspace, "2026-09-02", 1, &[(Trigger, 0, 200_000)]).await;
        bench.deliver(&workspace, "2026-09-03", 1, &[(Trigger, 0, 1_400_000)]).await;
        assert_eq!(finish(&bench, "2026-09-03").await, 1);
        assert_eq!(payable(&bench).await, 100);
        prove(&bench).await;
    }
}

#[tokio::test]
async fn customers_are_told_30_and_7_days_before_the_end_once() {
    for bench in both("package_mail").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP).await;
        buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        let told = async |at_text: &str| {
            bench.clock.advance_to(at(at_text));
            let first = warn_packages::run(&bench.ctx, bench.ctx.clock.now()).await.unwrap();
            let again = warn_packages::run(&bench.ctx, bench.ctx.clock.now()).await.unwrap();
            (first, again)
        };
        assert_eq!(told("2027-02-04T00:00:00Z").await, (0, 0), "31 days");
        assert_eq!(told("2027-02-05T00:00:00Z").await, (1, 0), "30 days");
        assert_eq!(told("2027-02-20T00:00:00Z").await, (0, 0));
        assert_eq!(told("2027-02-28T00:00:00Z").await, (1, 0), "7 days");
        assert_eq!(told("2027-03-05T00:00:00Z").await, (0, 0));
        assert_eq!(told("2027-04-01T00:00:00Z").await, (0, 0));
    }
}

/// A day after the last one is charged by the price list again, and collectors are only counted.
#[tokio::test]
async fn after_its_last_day_a_package_covers_nothing() {
    for bench in both("package_end").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP + 100_000).await;
        buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        for (on, logs) in [("2027-03-07", 1_000_000), ("2027-03-08", 1_000_000)] {
            bench.deliver(&workspace, on, 1, &[(LogCount, 30, logs), (Collector, 0, 5)]).await;
        }
        assert_eq!(finish(&bench, "2027-03-07").await, 0);
        assert_eq!(finish(&bench, "2027-03-08").await, 1);
        assert_eq!(payable(&bench).await, 200, "a million logs at 30 days cost 2");
        prove(&bench).await;
    }
}
