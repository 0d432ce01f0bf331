//! Moves beside a small model, and at the same time as everything they might meet.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::item::BillingItem::Trigger;

use super::moves::scenes;
use super::races::until_decided;
use super::*;
use crate::testing::{at, day};

const ROUNDS: usize = 8;

/// Numbers that look random and are the same at each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

impl Market {
    /// What stands on an account's bills for each usage day of a workspace, in hundredths, late parts included.
    async fn on_bills(&self, account: &BillingAccountId) -> BTreeMap<i32, i64> {
        let text = "SELECT CAST(COALESCE(l.adjusted_day, b.usage_day) AS INTEGER) AS day, \
                    CAST(SUM(l.quantity) AS BIGINT) AS quantity FROM daily_bill b JOIN bill_line l \
                    ON l.billing_account_id = b.billing_account_id AND l.bill_id = b.id \
                    WHERE b.billing_account_id = ? AND l.item <> '' GROUP BY 1";
        let rows = read::all(&self.db.read, text, [account.as_str().into()]).await.unwrap();
        let day = |row| (Row(row, "test").small("day").unwrap(), Row(row, "test").int("quantity").unwrap());
        rows.iter().map(day).filter(|(_, quantity)| *quantity != 0).collect()
    }
}

/// D8, I-08, I-12: whatever is delivered, late or not, and however often the workspace moves, each day stands on the
/// bills of exactly the account that had it when the day ended.
#[tokio::test]
async fn each_day_is_paid_by_who_has_the_workspace_when_it_ends() {
    for scene in scenes("move_model").await {
        let shanghai = zone("Asia/Shanghai").unwrap();
        let names = ["li", "wang", "zhao"];
        let accounts = [scene.li.clone(), scene.wang.clone(), scene.account("zhao").await];
        for account in &accounts {
            scene.recharge(account, 100_000_000).await;
        }
        let mut dice = Dice(20_260_301);
        let (mut owner, mut revision) = (0_usize, 10_i64);
        let mut ended: BTreeMap<i32, usize> = BTreeMap::from([(20_260_228, 0)]);
        let mut used: BTreeMap<i32, i64> = BTreeMap::from([(20_260_228, 10_000)]);
        for step in 0..70 {
            let today = UsageDay::of(scene.now(), &shanghai);
            match dice.roll(10) {
                0..=4 => {
                    let back = i32::try_from(dice.roll(3)).unwrap();
                    let on = today.plus_days(-back).max(day("2026-02-28"));
                    let total = used.entry(on.number()).or_default();
                    *total += 1_000 + i64::try_from(dice.roll(20_000)).unwrap();
                    revision += 1;
                    scene.deliver(&scene.shop, &on.to_string(), revision, &[(Trigger, 0, *total)]).await;
                }
                5..=7 => {
                    let to = (owner + 1 + usize::try_from(dice.roll(2)).unwrap()) % 3;
                    let moved = scene.move_to(&scene.shop, names[owner], names[to]).await.unwrap();
                    assert_eq!(moved.into_inner().first_day, today.to_string(), "step {step}");
                    owner = to;
                }
                _ => {
                    ended.insert(today.number(), owner);
                    scene.clock.advance_to(today.end(&shanghai) + SignedDuration::from_mins(10));
                    scene.bill(&today.to_string()).await;
                    scene.clock.advance_to(today.end(&shanghai) + SignedDuration::from_hours(4));
                }
            }
        }
        for _ in 0..2 {
            let today = UsageDay::of(scene.now(), &shanghai);
            ended.insert(today.number(), owner);
            scene.clock.advance_to(today.end(&shanghai) + SignedDuration::from_mins(10));
            scene.bill(&today.to_string()).await;
        }
        for (index, account) in accounts.iter().enumerate() {
            let mut expected: BTreeMap<i32, i64> = BTreeMap::new();
            for (on, units) in &used {
                if ended[on] == index {
                    expected.insert(*on, units * 100);
                }
            }
            assert_eq!(scene.on_bills(account).await, expected, "{}", names[index]);
        }
        let open = scene.number("SELECT COUNT(*) FROM usage_day WHERE quantity <> billed").await;
        assert_eq!(open, 0);
        scene.check_one_payer().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_moves_at_once_one_wins() {
    for scene in scenes("move_twice").await {
        let zhao = scene.account("zhao").await;
        scene.deliver(&scene.shop, "2026-03-01", 1, &[(Trigger, 0, 20_000)]).await;
        let to_wang = scene.move_codes(&scene.shop, "li", "wang").await;
        let to_zhao = scene.move_codes(&scene.shop, "li", "zhao").await;
        let to_wang = scene.move_request(&scene.shop, "wang", to_wang);
        let to_zhao = scene.move_request(&scene.shop, "zhao", to_zhao);
        let service = scene.bindings();
        let (first, second) = tokio::join!(
            until_decided(|| service.move_workspace(by_caller(to_wang.clone()))),
            until_decided(|| service.move_workspace(by_caller(to_zhao.clone())))
        );
        let winner = if first.is_ok() { &scene.wang } else { &zhao };
        assert_eq!([&first, &second].iter().filter(|outcome| outcome.is_ok()).count(), 1);
        // The loser's codes agreed to a move from li, who has it no more.
        assert_eq!(first.err().or(second.err()), Some(Reason::CodeInvalid));
        let owner = "SELECT billing_account_id AS value FROM usage_day WHERE usage_day = 20260301";
        assert_eq!(scene.texts(owner).await, [winner.as_str()]);
        assert_eq!(scene.count("workspace_move").await, 1);
        scene.check_one_payer().await;
    }
}

/// A delivery is written to the account that its day belongs to, even while the day is being taken away from another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deliveries_during_a_move_are_counted_once() {
    for scene in scenes("move_deliver").await {
        for round in 0..ROUNDS {
            let (from, to) = if round % 2 == 0 { ("li", "wang") } else { ("wang", "li") };
            let codes = scene.move_codes(&scene.shop, from, to).await;
            let request = scene.move_request(&scene.shop, to, codes);
            let service = scene.bindings();
            let first = i64::try_from(round).unwrap() * 100 + 10;
            let deliver = async {
                for step in 0..10 {
                    let revision = first + step;
                    scene.deliver(&scene.shop, "2026-03-01", revision, &[(Trigger, 0, revision * 100)]).await;
                    scene.deliver(&scene.shop, "2026-02-28", revision, &[(Trigger, 0, revision * 100)]).await;
                }
            };
            let (moved, ()) =
                tokio::join!(until_decided(|| service.move_workspace(by_caller(request.clone()))), deliver);
            moved.unwrap();
            let newest = format!("SELECT COUNT(*) FROM usage_day WHERE revision = {}", first + 9);
            assert_eq!(scene.number(&newest).await, 2, "round {round}");
            assert_eq!(scene.count("usage_day").await, 2, "round {round}");
        }
        let owner = "SELECT billing_account_id AS value FROM usage_day ORDER BY usage_day";
        assert_eq!(scene.texts(owner).await, [scene.li.as_str(), scene.li.as_str()]);
        scene.check_one_payer().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_during_the_bill_run_leaves_each_day_on_one_bill() {
    for scene in scenes("move_bill").await {
        let shanghai = zone("Asia/Shanghai").unwrap();
        scene.recharge(&scene.wang, 1_000_000).await;
        let mut names = ["li", "wang"];
        let mut total = 0;
        for round in 0..ROUNDS {
            let today = UsageDay::of(scene.now(), &shanghai);
            total += 1;
            scene.deliver(&scene.shop, &today.to_string(), 1, &[(Trigger, 0, 10_000)]).await;
            scene.clock.advance_to(today.end(&shanghai) + SignedDuration::from_mins(5));
            let [from, to] = names;
            let codes = scene.move_codes(&scene.shop, from, to).await;
            let request = scene.move_request(&scene.shop, to, codes);
            let service = scene.bindings();
            let go = async {
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                service.move_workspace(by_caller(request.clone())).await
            };
            let on = today.to_string();
            let (moved, _) = tokio::join!(go, scene.bill(&on));
            match moved {
                Ok(_) => names.reverse(),
                Err(status) => {
                    let reason = reason_of(&status).unwrap();
                    // While the day is not billed, or met in the middle.
                    assert!([Reason::UsageNotBilled, Reason::Conflict].contains(&reason), "{reason:?}");
                }
            }
            scene.clock.advance_to(today.end(&shanghai) + SignedDuration::from_hours(4));
            scene.check_one_payer().await;
        }
        let billed = scene.on_bills(&scene.li).await.len() + scene.on_bills(&scene.wang).await.len();
        assert_eq!(billed, total + 1, "each day once, the one before included");
        assert_eq!(scene.number("SELECT COUNT(*) FROM usage_day WHERE quantity <> billed").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_move_and_a_cloud_activation_one_wins() {
    for scene in scenes("move_cloud").await {
        scene.announce(vec![bought()]).await;
        for round in 0..ROUNDS {
            let codes = scene.move_codes(&scene.shop, "li", "wang").await;
            let request = scene.move_request(&scene.shop, "wang", codes);
            let change = pb::ChangeSettlementMethodRequest {
                request_id: request_id(),
                billing_account_id: scene.li.as_str().into(),
                workspace_id: scene.shop.as_str().into(),
                settlement_method: common::SettlementMethod::AlibabaCloud.into(),
                purchase: Some(pb::change_settlement_method_request::Purchase::PurchaseIds(ids(
                    BUYER, INSTANCE,
                ))),
            };
            let service = scene.bindings();
            let late = async {
                for _ in 0..round * 3 {
                    tokio::task::yield_now().await;
                }
                until_decided(|| service.move_workspace(by_caller(request.clone()))).await
            };
            let (moved, changed) = tokio::join!(
                late,
                until_decided(|| service.change_settlement_method(by_caller(change.clone())))
            );
            match (&moved, &changed) {
                // On a busy machine the vendor may not be heard in time: then the change did not take part.
                (Ok(_), Err(Reason::WorkspaceNotBound | Reason::VendorUnavailable)) => {
                    scene.move_to(&scene.shop, "wang", "li").await.unwrap();
                }
                (Err(Reason::CloudSubscriptionLive), Ok(_)) => {
                    // As if a month later, with the purchase given back.
                    for text in [
                        "UPDATE workspace SET method_changed_month = NULL",
                        "UPDATE workspace_binding SET settlement_method = 'billing_center', cloud_account_id = NULL, \
                         subscription_id = NULL",
                    ] {
                        scene.run(text, []).await;
                    }
                }
                other => panic!("round {round}: {other:?}"),
            }
            scene.check_one_payer().await;
        }
    }
}

/// A profile that the Console tells while the workspace moves arrives where the workspace is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_told_during_a_move_is_not_lost() {
    for scene in scenes("move_profile").await {
        let mut names = ["li", "wang"];
        for round in 0..i64::try_from(ROUNDS).unwrap() {
            let [from, to] = names;
            let codes = scene.move_codes(&scene.shop, from, to).await;
            let request = scene.move_request(&scene.shop, to, codes);
            let told = pb::UpdateWorkspaceProfileRequest {
                request_id: request_id(),
                workspace: Some(pb::WorkspaceProfile {
                    workspace_id: scene.shop.as_str().into(),
                    revision: 10 + round,
                    ..profile(&format!("shop {round}"), "owner@x.test")
                }),
            };
            let service = scene.bindings();
            let (moved, updated) = tokio::join!(
                until_decided(|| service.move_workspace(by_caller(request.clone()))),
                until_decided(|| service.update_workspace_profile(by_caller(told.clone())))
            );
            moved.unwrap();
            updated.unwrap();
            let name = "SELECT name AS value FROM workspace WHERE left_at IS NULL";
            assert_eq!(scene.texts(name).await, [format!("shop {round}")]);
            names.reverse();
        }
        assert!(at("2026-03-01T00:00:00Z") < scene.now());
    }
}
