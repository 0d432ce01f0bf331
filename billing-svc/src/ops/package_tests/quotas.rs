//! Whose usage is covered, and what goes beyond.

use super::*;

/// `domain.md` 4.9: 15 + 60 + 15 + 40 + 2 = 132.
#[tokio::test]
async fn the_documented_day_is_billed_132() {
    for bench in both("package_132").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP + 13_200).await;
        let ordered = buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        assert_eq!(ordered.charged.minor, START_UP);
        let package = &ordered.packages[0];
        assert_eq!((package.first_day, package.last_day), (day(FIRST), day("2027-03-07")));
        bench.deliver(&workspace, FIRST, 1, &DOCUMENTED).await;
        assert_eq!(finish(&bench, FIRST).await, 1);
        assert_eq!(payable(&bench).await, 13_200);
        assert_eq!(bench.wallet(&account).await.total(LotKind::Cash), 0);
        let lines = lines(&bench, &account, &workspace, FIRST).await;
        assert!(lines.iter().all(|line| line.package.as_ref() == Some(&package.id)));
        let excess: Vec<_> = lines
            .iter()
            .filter(|line| line.kind == LineKind::PayAsYouGo)
            .map(|line| (line.item.unwrap(), line.amount.to_string()))
            .collect();
        let yuan = |item, text: &str| (item, format!("{text} CNY"));
        assert_eq!(
            excess,
            [
                yuan(LogCount, "60.00"),
                yuan(ApmTrace, "15.00"),
                yuan(RumPv, "40.00"),
                yuan(Trigger, "2.00"),
                yuan(Collector, "15.00"),
            ]
        );
        let covered: Vec<_> = shown(&lines).into_iter().filter(|l| l.0 == LineKind::AnnualPackage).collect();
        let by_package = |item, units| (LineKind::AnnualPackage, item, units);
        assert_eq!(
            covered,
            [
                by_package(LogCount, 20_000_000),
                by_package(ApmTrace, 2_500_000),
                by_package(RumPv, 200_000),
                by_package(Trigger, 190_000),
                by_package(Collector, 20),
            ]
        );
        let usage = usage(&bench, &account, FIRST).await;
        assert_eq!((usage.excess.micros, usage.beyond_annual.micros), (132_000_000, 132_000_000));
        prove(&bench).await;
    }
}

/// `domain.md` 4.9: a 30 M log traffic package at 80 % costs 36 a day, and 87 go beyond: 123.
#[tokio::test]
async fn with_a_traffic_package_the_documented_day_costs_123() {
    for bench in both("package_123").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP + 36 * 372 * 100 + 8_700).await;
        let act = order("start-up", &[("logs", 30, 80)], &[&workspace]);
        let ordered = buy(&bench, &account, act).await.unwrap();
        assert_eq!(ordered.charged.minor, START_UP + 36 * 372 * 100);
        bench.deliver(&workspace, FIRST, 1, &DOCUMENTED).await;
        assert_eq!(finish(&bench, FIRST).await, 1);
        assert_eq!(payable(&bench).await, 8_700);
        assert_eq!(bench.wallet(&account).await.total(LotKind::Cash), 0);
        let usage = usage(&bench, &account, FIRST).await;
        assert_eq!((usage.traffic_day_price.micros, usage.excess.micros), (36_000_000, 87_000_000));
        assert_eq!(usage.beyond_annual.micros, 123_000_000);
        let drawn: Vec<_> = usage.packages.iter().map(|p| p.items[0].drawn.hundredths / 100).collect();
        assert_eq!(drawn, [40_000_000, 30_000_000]);
        prove(&bench).await;
    }
}

#[tokio::test]
async fn without_a_package_collectors_are_only_counted() {
    for bench in both("package_none").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.deliver(&workspace, FIRST, 1, &[(Collector, 0, 25), (Trigger, 0, 10_000)]).await;
        assert_eq!(finish(&bench, FIRST).await, 1);
        assert_eq!(payable(&bench).await, 100);
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day WHERE quantity <> billed").await, 0);
        assert_eq!(shown(&lines(&bench, &account, &workspace, FIRST).await).len(), 1);
        prove(&bench).await;
    }
}

/// `domain.md` 3.18: the first workspace uses the quota first. A day that is covered in full has nothing to pay and no
/// bill, but its quota is gone.
#[tokio::test]
async fn the_first_workspace_uses_the_quota_first_and_a_covered_day_has_no_bill() {
    for bench in both("package_order").await {
        let account = bench.account("alice").await;
        let (one, two) = (bench.workspace(&account, "one").await, bench.workspace(&account, "two").await);
        bench.recharge(&account, START_UP + 100_000).await;
        buy(&bench, &account, order("start-up", &[], &[&two, &one])).await.unwrap();
        for workspace in [&one, &two] {
            bench.deliver(workspace, FIRST, 1, &[(Trigger, 0, 150_000)]).await;
        }
        assert_eq!(finish(&bench, FIRST).await, 1, "the second in the package has something to pay");
        assert_eq!(lines(&bench, &account, &two, FIRST).await, []);
        let of_one = shown(&lines(&bench, &account, &one, FIRST).await);
        assert_eq!(
            of_one,
            [(LineKind::AnnualPackage, Trigger, 40_000), (LineKind::PayAsYouGo, Trigger, 110_000)]
        );
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day WHERE quantity <> billed").await, 0);
        assert_eq!(bench.number("SELECT COUNT(*) FROM package_use WHERE bill_id IS NULL").await, 1);
        prove(&bench).await;
    }
}

/// Bills of a site whose day ends later never change those of one whose day ended before.
#[tokio::test]
async fn a_site_that_closes_later_gets_what_is_left() {
    for bench in both("package_sites").await {
        let account = bench.account("alice").await;
        let (here, there) =
            (bench.workspace(&account, "here").await, bench.workspace(&account, "there").await);
        let west = "UPDATE workspace SET site = 'us1', time_zone = 'America/New_York' WHERE workspace_id = ?";
        bench.run(west, [there.as_str().into()]).await;
        bench.recharge(&account, START_UP + 100_000).await;
        buy(&bench, &account, order("start-up", &[], &[&there, &here])).await.unwrap();
        for workspace in [&there, &here] {
            bench.deliver(workspace, FIRST, 1, &[(Trigger, 0, 150_000)]).await;
        }
        assert_eq!(finish(&bench, FIRST).await, 0);
        bench.pass(SignedDuration::from_hours(14));
        assert_eq!(bill_site(&bench, "us1", "America/New_York", FIRST).await, 1);
        assert_eq!(lines(&bench, &account, &here, FIRST).await, []);
        assert_eq!(payable(&bench).await, 1_100);
        let usage = usage(&bench, &account, FIRST).await;
        let triggers = usage.packages[0].items.iter().find(|item| item.item == Trigger).unwrap();
        let drawn: Vec<_> =
            triggers.workspaces.iter().map(|(id, drawn)| (id, drawn.hundredths / 100)).collect();
        assert_eq!(drawn, [(&there, 40_000), (&here, 150_000)]);
        prove(&bench).await;
    }
}

/// D13, I-11: late usage draws on what its own day has left; a correction takes back what was charged first.
#[tokio::test]
async fn late_usage_draws_on_its_own_day_and_corrections_give_back() {
    for bench in both("package_late").await {
        let account = bench.account("alice").await;
        let workspace = bench.workspace(&account, "prod").await;
        bench.recharge(&account, START_UP + 100_000).await;
        buy(&bench, &account, order("start-up", &[], &[&workspace])).await.unwrap();
        bench.deliver(&workspace, FIRST, 1, &[(Trigger, 0, 180_000)]).await;
        assert_eq!(finish(&bench, FIRST).await, 0);
        // 30 000 come late: 10 000 are left of that day, 20 000 are charged. The next day has its own quota.
        bench.deliver(&workspace, FIRST, 2, &[(Trigger, 0, 210_000)]).await;
        bench.deliver(&workspace, "2026-03-02", 1, &[(Trigger, 0, 100_000)]).await;
        assert_eq!(finish(&bench, "2026-03-02").await, 1);
        assert_eq!(
            shown(&lines(&bench, &account, &workspace, "2026-03-02").await),
            [
                (LineKind::AnnualPackage, Trigger, 100_000),
                (LineKind::AnnualPackage, Trigger, 10_000),
                (LineKind::Adjustment, Trigger, 20_000),
            ]
        );
        assert_eq!(payable(&bench).await, 200);
        prove(&bench).await;
        // Down to 185 000: the 20 000 come back on the next bill that is positive, 5 000 of quota at once.
        bench.deliver(&workspace, FIRST, 3, &[(Trigger, 0, 185_000)]).await;
        assert_eq!(finish(&bench, "2026-03-03").await, 0);
        prove(&bench).await;
        bench.deliver(&workspace, "2026-03-04", 1, &[(Trigger, 0, 590_000)]).await;
        assert_eq!(finish(&bench, "2026-03-04").await, 1);
        assert_eq!(
            shown(&lines(&bench, &account, &workspace, "2026-03-04").await),
            [
                (LineKind::AnnualPackage, Trigger, 190_000),
                (LineKind::PayAsYouGo, Trigger, 400_000),
                (LineKind::Adjustment, Trigger, -20_000),
            ]
        );
        let first = usage(&bench, &account, FIRST).await;
        assert_eq!(first.excess.micros, 0);
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day WHERE quantity <> billed").await, 0);
        prove(&bench).await;
    }
}

/// A batch of the run that ends between workspaces of one account still keeps the package's order.
#[tokio::test]
async fn workspaces_of_a_package_are_billed_together_however_many_there_are() {
    for bench in both("package_batches").await {
        let account = bench.account("alice").await;
        let mut ids = Vec::new();
        for n in 0..260 {
            ids.push(bench.workspace(&account, &format!("w{n}")).await);
        }
        ids.sort();
        bench.recharge(&account, START_UP + 1_000_000).await;
        buy(&bench, &account, order("start-up", &[], &[&ids[259], &ids[0]])).await.unwrap();
        for id in &ids {
            bench.deliver(id, FIRST, 1, &[(Trigger, 0, 190_000)]).await;
        }
        assert_eq!(finish(&bench, FIRST).await, 259);
        assert_eq!(lines(&bench, &account, &ids[259], FIRST).await, []);
        let first = lines(&bench, &account, &ids[0], FIRST).await;
        assert_eq!(shown(&first), [(LineKind::PayAsYouGo, Trigger, 190_000)]);
        assert_eq!(bench.number("SELECT COUNT(*) FROM usage_day WHERE quantity <> billed").await, 0);
        prove(&bench).await;
    }
}
