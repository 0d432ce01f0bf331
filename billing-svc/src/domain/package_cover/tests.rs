use jiff::Timestamp;
use proptest::prelude::*;
use tandem_proto::ids::{BillingAccountId, Id, PackageOrderId};
use tandem_proto::item::BillingItem::{ApmTrace, Collector, LogCount, RumPv, Trigger};
use tandem_proto::money::{Currency, LineAmount, Money};

use super::*;
use crate::domain::package::{PackageKind, last_day};

const DAY: &str = "2026-03-02";

fn day(text: &str) -> UsageDay {
    text.parse().unwrap()
}

fn workspace(n: u128) -> WorkspaceId {
    WorkspaceId::from_uuid(uuid::Uuid::from_u128(n))
}

fn content(item: BillingItem, units: i64, yuan: &str, factors: &str) -> PackageItem {
    let micros = tandem_proto::money::parse_micros(yuan).unwrap();
    PackageItem {
        item,
        quota: Quantity::whole(units).unwrap(),
        price: Price {
            unit_size: item.unit_size(),
            unit_price: LineAmount { micros, currency: Currency::Cny },
        },
        factors: factors.parse().unwrap(),
    }
}

fn logs(units: i64) -> PackageItem {
    content(LogCount, units, "1.5", "3:1,7:1,14:1,30:2,60:3")
}

/// `domain.md` 4.9.
fn start_up() -> Vec<PackageItem> {
    vec![
        logs(40_000_000),
        content(ApmTrace, 5_000_000, "3", "3:1,7:1,14:2"),
        content(RumPv, 400_000, "1", "3:1,7:1,14:2"),
        content(Trigger, 190_000, "1", "0:1"),
        content(Collector, 20, "3", "0:1"),
    ]
}

fn package(n: u128, kind: PackageKind, items: Vec<PackageItem>, workspaces: &[u128]) -> Package {
    let first_day = day("2026-03-01");
    let price = Money { minor: 4_200_000, currency: Currency::Cny };
    Package {
        billing_account: BillingAccountId::from_uuid(uuid::Uuid::from_u128(1)),
        id: PackageId::from_uuid(uuid::Uuid::from_u128(n)),
        order: PackageOrderId::from_uuid(uuid::Uuid::from_u128(n)),
        kind,
        offer: "start-up".into(),
        multiple: 1,
        percent: 100,
        price,
        charged: price,
        first_day,
        last_day: last_day(first_day),
        term_end: last_day(first_day),
        bought_at: Timestamp::UNIX_EPOCH,
        replaced_by: None,
        workspaces: workspaces.iter().map(|n| workspace(*n)).collect(),
        items,
    }
}

fn used(item: BillingItem, retention_days: i32, units: i64) -> Usage {
    Usage {
        day: day(DAY),
        item,
        retention_days,
        sub_key: String::new(),
        quantity: Quantity::whole(units).unwrap(),
        billed: Quantity::ZERO,
    }
}

/// What the rest costs, by item in yuan.
fn excess(quotas: &Quotas, workspace: &WorkspaceId, usage: &[Usage]) -> Vec<(BillingItem, i64)> {
    let cost = |used: &Usage| {
        let price = quotas.beyond(&UsageKey::of(workspace, used)).unwrap().price;
        let rest = used.quantity.checked_sub(used.billed).unwrap();
        let micros = LineAmount::of(rest, price.unit_size, price.unit_price).unwrap().micros;
        assert_eq!(micros % 1_000_000, 0);
        (used.item, micros / 1_000_000)
    };
    usage.iter().map(cost).filter(|(_, yuan)| *yuan != 0).collect()
}

fn documented() -> Vec<Usage> {
    vec![
        used(LogCount, 30, 40_000_000),
        used(ApmTrace, 14, 5_000_000),
        used(RumPv, 14, 400_000),
        used(Trigger, 0, 210_000),
        used(Collector, 0, 25),
    ]
}

fn cover_one(quotas: &mut Quotas, n: u128, usage: &mut [Usage]) -> Vec<Draw> {
    quotas.cover(&mut [Covering { workspace: &workspace(n), usage }])
}

/// `domain.md` 4.9: 15 + 60 + 15 + 40 + 2 = 132.
#[test]
fn the_documented_day_goes_132_beyond_a_start_up_package() {
    let mut quotas = Quotas::new(vec![package(1, PackageKind::Annual, start_up(), &[1])]);
    let mut usage = documented();
    cover_one(&mut quotas, 1, &mut usage);
    let beyond = excess(&quotas, &workspace(1), &usage);
    assert_eq!(beyond, [(LogCount, 60), (ApmTrace, 15), (RumPv, 40), (Trigger, 2), (Collector, 15)]);
    assert_eq!(beyond.iter().map(|(_, yuan)| yuan).sum::<i64>(), 132);
}

/// `domain.md` 4.9: with a 30 M log traffic package, whose day costs 36 at 80 %, 87 go beyond: 123.
#[test]
fn with_a_traffic_package_the_documented_day_costs_123() {
    let mut traffic = package(2, PackageKind::Traffic, vec![logs(30_000_000)], &[1]);
    traffic.price = Money { minor: 30 * 150 * 372 * 80 / 100, currency: Currency::Cny };
    let day_price = traffic.day_price();
    assert_eq!(day_price.micros, 36_000_000);
    let annual = package(1, PackageKind::Annual, start_up(), &[1]);
    // The annual package is used first, whatever the order they are given in.
    let mut quotas = Quotas::new(vec![traffic, annual]);
    let mut usage = documented();
    let draws = cover_one(&mut quotas, 1, &mut usage);
    let beyond: i64 = excess(&quotas, &workspace(1), &usage).iter().map(|(_, yuan)| yuan).sum();
    assert_eq!(beyond, 87);
    assert_eq!(beyond + day_price.micros / 1_000_000, 123);
    let logs: Vec<_> = draws.iter().filter(|draw| draw.key.item == LogCount).map(|d| d.covered).collect();
    assert_eq!(logs, [20_000_000, 15_000_000].map(|units| Quantity::whole(units).unwrap()));
}

#[test]
fn the_first_workspace_uses_the_quota_first() {
    let mut quotas = Quotas::new(vec![package(1, PackageKind::Annual, start_up(), &[2, 1])]);
    let (mut one, mut two) = (vec![used(LogCount, 14, 30_000_000)], vec![used(LogCount, 14, 30_000_000)]);
    let (first, second) = (workspace(1), workspace(2));
    quotas.cover(&mut [
        Covering { workspace: &first, usage: &mut one },
        Covering { workspace: &second, usage: &mut two },
    ]);
    assert_eq!(two[0].billed, Quantity::whole(30_000_000).unwrap());
    assert_eq!(one[0].billed, Quantity::whole(10_000_000).unwrap());
}

#[test]
fn packages_are_used_by_earliest_end_then_oldest_then_id() {
    let mut ends_first = package(4, PackageKind::Traffic, vec![logs(10)], &[1]);
    ends_first.term_end = day("2026-12-31");
    let mut oldest = package(3, PackageKind::Traffic, vec![logs(10)], &[1]);
    oldest.bought_at = Timestamp::UNIX_EPOCH - jiff::SignedDuration::from_secs(1);
    let (by_id, last) = (
        package(1, PackageKind::Traffic, vec![logs(10)], &[1]),
        package(2, PackageKind::Traffic, vec![logs(10)], &[1]),
    );
    let quotas = Quotas::new(vec![last.clone(), by_id.clone(), oldest.clone(), ends_first.clone()]);
    let order: Vec<_> = quotas.packages().iter().map(|package| &package.id).collect();
    assert_eq!(order, [&ends_first.id, &oldest.id, &by_id.id, &last.id]);
}

#[test]
fn a_retention_that_is_not_named_is_not_part_of_the_package() {
    let mut quotas = Quotas::new(vec![package(1, PackageKind::Annual, start_up(), &[1])]);
    let mut usage = vec![used(ApmTrace, 30, 1_000), used(BillingItem::TimeSeries, 3, 1_000)];
    assert_eq!(cover_one(&mut quotas, 1, &mut usage), []);
    assert!(usage.iter().all(|used| quotas.beyond(&UsageKey::of(&workspace(1), used)).is_none()));
    // Neither is another workspace, nor a day before or after.
    for key in [
        UsageKey::of(&workspace(9), &used(Trigger, 0, 1)),
        UsageKey { day: day("2026-02-28"), ..UsageKey::of(&workspace(1), &used(Trigger, 0, 1)) },
        UsageKey { day: day("2027-03-08"), ..UsageKey::of(&workspace(1), &used(Trigger, 0, 1)) },
    ] {
        assert_eq!(quotas.beyond(&key), None, "{key:?}");
    }
}

#[test]
fn late_usage_draws_on_what_is_left_and_a_correction_gives_charged_usage_back_first() {
    let mut quotas = Quotas::new(vec![package(1, PackageKind::Annual, vec![logs(100)], &[1, 2])]);
    let mut usage = vec![used(LogCount, 14, 130)];
    cover_one(&mut quotas, 1, &mut usage);
    // The bill takes the 30 beyond the quota.
    let billed = |usage: &mut Vec<Usage>| usage[0].billed = usage[0].quantity;
    billed(&mut usage);
    usage[0].quantity = Quantity::whole(110).unwrap();
    assert_eq!(cover_one(&mut quotas, 1, &mut usage), [], "20 of the 30 that were charged");
    billed(&mut usage);
    usage[0].quantity = Quantity::whole(80).unwrap();
    let back = cover_one(&mut quotas, 1, &mut usage);
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].covered, Quantity { hundredths: -2_000 }, "10 were charged, 20 were covered");
    assert_eq!(usage[0].billed, Quantity::whole(90).unwrap());
    // Another workspace's late usage finds the 20.
    let mut late = vec![used(LogCount, 30, 50)];
    cover_one(&mut quotas, 2, &mut late);
    assert_eq!(late[0].billed, Quantity::whole(10).unwrap());
    assert!(!quotas.has_left(&UsageKey::of(&workspace(2), &late[0])));
}

fn any_package() -> impl Strategy<Value = Package> {
    (
        1u128..6,
        prop::sample::select(PackageKind::ALL.to_vec()),
        0i64..400,
        prop::sample::subsequence(vec![1u128, 2, 3], 1..=3),
        0i32..3,
        0i64..3,
    )
        .prop_map(|(n, kind, quota, workspaces, end, bought)| {
            let items = vec![PackageItem { quota: Quantity { hundredths: quota }, ..logs(1) }];
            let package = package(n, kind, items, &workspaces);
            Package {
                term_end: package.term_end.plus_days(-end),
                bought_at: Timestamp::from_second(bought).unwrap(),
                ..package
            }
        })
}

/// Steps of usage: workspace, retention, sub key, new quantity in hundredths, and whether a bill takes the rest.
type Steps = Vec<(u128, i32, u8, i64, bool)>;

fn any_steps() -> impl Strategy<Value = Steps> {
    let retention = prop::sample::select(vec![7, 14, 30, 60]);
    prop::collection::vec((1u128..4, retention, 0u8..2, 0i64..500, any::<bool>()), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever comes in whatever order: no quota is drawn beyond its end or below zero, covered and excess are the
    /// usage, nothing is charged while quota is left, and drawing the record again gives the same.
    #[test]
    fn quotas_are_never_overdrawn(packages in prop::collection::vec(any_package(), 1..5), steps in any_steps()) {
        let mut packages = packages;
        packages.sort_by(|a, b| a.id.cmp(&b.id));
        packages.dedup_by(|a, b| a.id == b.id);
        let mut quotas = Quotas::new(packages.clone());
        let mut record: Vec<Draw> = Vec::new();
        let mut rows: HashMap<UsageKey, (Usage, i64)> = HashMap::new();
        for (n, retention, sub_key, hundredths, bill) in steps {
            let id = workspace(n);
            let fresh = Usage { sub_key: sub_key.to_string(), ..used(LogCount, retention, 0) };
            let key = UsageKey::of(&id, &fresh);
            let (row, charged) = rows.entry(key.clone()).or_insert((fresh, 0));
            row.quantity = Quantity { hundredths };
            let before = row.billed;
            let draws = cover_one(&mut quotas, n, std::slice::from_mut(row));
            let drawn: i64 = draws.iter().map(|draw| draw.covered.hundredths).sum();
            prop_assert_eq!(row.billed.hundredths - before.hundredths, drawn);
            let rest = row.quantity.hundredths - row.billed.hundredths;
            if rest > 0 && quotas.beyond(&key).is_some() {
                prop_assert!(!quotas.has_left(&key), "charged while quota is left");
            }
            if bill {
                *charged += rest;
                row.billed = row.quantity;
                prop_assert!(*charged >= 0);
                prop_assert_eq!(quotas.covered(&key).hundredths + *charged, row.quantity.hundredths);
            }
            record.extend(draws);
            for package in &packages {
                let drawn = quotas.drawn(&package.id, day(DAY), LogCount);
                prop_assert!(0 <= drawn && drawn <= package.items[0].quota.hundredths);
            }
        }
        let mut again = Quotas::new(packages);
        record.iter().for_each(|draw| again.note(draw));
        prop_assert_eq!(again.drawn, quotas.drawn);
    }

    /// Covered together, a later package or a later workspace of a package gets something only when the earlier ones
    /// have all they can take.
    #[test]
    fn the_order_is_respected(quota in 0i64..900, first in 0i64..500, second in 0i64..500, more in 0i64..300) {
        let annual = Package { items: vec![PackageItem { quota: Quantity { hundredths: quota }, ..logs(1) }], ..package(1, PackageKind::Annual, vec![], &[1, 2]) };
        let traffic = Package { items: vec![PackageItem { quota: Quantity { hundredths: more }, ..logs(1) }], ..package(2, PackageKind::Traffic, vec![], &[2, 1]) };
        let mut quotas = Quotas::new(vec![traffic, annual]);
        let mut one = vec![Usage { quantity: Quantity { hundredths: first }, ..used(LogCount, 14, 0) }];
        let mut two = vec![Usage { quantity: Quantity { hundredths: second }, ..used(LogCount, 14, 0) }];
        let (a, b) = (workspace(1), workspace(2));
        quotas.cover(&mut [Covering { workspace: &b, usage: &mut two }, Covering { workspace: &a, usage: &mut one }]);
        let of_annual = [first.min(quota), second.min(quota - first.min(quota))];
        let open = [first - of_annual[0], second - of_annual[1]];
        let of_traffic = [open[0].min(more - open[1].min(more)), open[1].min(more)];
        prop_assert_eq!(one[0].billed.hundredths, of_annual[0] + of_traffic[0]);
        prop_assert_eq!(two[0].billed.hundredths, of_annual[1] + of_traffic[1]);
    }
}
