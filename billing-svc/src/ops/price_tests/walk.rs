//! Random weeks beside a small model: lists are published, logs change their mode, usage comes on time, late and lower,
//! and in the end every quantity was charged once, at the price and by the item of its own day.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tandem_proto::day::UsageDay;
use tandem_proto::item::BillingItem;
use tandem_proto::item::BillingItem::{LogCount, LogIngest, Trigger};
use tandem_proto::reason::Reason;

use super::{differences, end_of, lines, publish, refusal, set_mode, with_price};
use crate::domain::log_mode::LogMode;
use crate::testing::{Bench, both, day};

/// Days of a walk; late usage comes up to three days after.
const DAYS: i32 = 7;
/// Walks on each engine.
const WALKS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// Triggers cost this many yuan from so many days after today on.
    Publish(i64, i32),
    Mode(LogMode),
    /// So many days ago so many units of one of the items were used, in all.
    Use(i32, usize, i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1i64..9, -2i32..3).prop_map(|(price, ahead)| Step::Publish(price, ahead)),
        1 => any::<bool>().prop_map(|i| Step::Mode(if i { LogMode::Ingest } else { LogMode::Count })),
        6 => (0i32..4, 0usize..3, 0i64..8).prop_map(|(ago, item, units)| Step::Use(ago, item, units)),
    ]
}

#[derive(Default)]
struct Model {
    /// What triggers cost from a day on; the last one told counts.
    prices: Vec<(i32, i64)>,
    modes: BTreeMap<i32, LogMode>,
    used: BTreeMap<(i32, BillingItem), i64>,
}

impl Model {
    fn mode(&self, on: i32) -> LogMode {
        self.modes.range(..=on).next_back().map_or(LogMode::Count, |(_, mode)| *mode)
    }

    /// What a unit (10 000 triggers, 1 000 000 logs, 1 GB) of an item costs on a day, in millionths; `None` when it is
    /// statistics only.
    fn price(&self, on: i32, item: BillingItem) -> Option<i64> {
        match item {
            Trigger => {
                let mut started: Vec<(usize, &(i32, i64))> =
                    self.prices.iter().enumerate().filter(|(_, (from, _))| *from <= on).collect();
                started.sort_by_key(|(order, (from, _))| (*from, *order));
                Some(started.last().map_or(1_000_000, |(_, (_, yuan))| yuan * 1_000_000))
            }
            LogCount => (self.mode(on) == LogMode::Count).then_some(1_500_000),
            LogIngest => (self.mode(on) == LogMode::Ingest).then_some(1_000_000),
            _ => None,
        }
    }

    /// What each day's use of each item costs in all.
    fn charged(&self) -> BTreeMap<(i32, BillingItem), i64> {
        let cost = |(place, units): (&(i32, BillingItem), &i64)| {
            Some((*place, self.price(place.0, place.1)? * units))
        };
        self.used.iter().filter_map(cost).filter(|(_, micros)| *micros != 0).collect()
    }
}

const ITEMS: [(BillingItem, i32, i64); 3] =
    [(Trigger, 0, 10_000), (LogCount, 14, 1_000_000), (LogIngest, 14, 1_000_000_000)];

fn on(offset: i32) -> UsageDay {
    day("2026-03-01").plus_days(offset)
}

async fn walk(bench: &Bench, name: &str, days: &[Vec<Step>]) {
    let account = bench.account(name).await;
    let workspace = bench.workspace(&account, name).await;
    let mut model = Model::default();
    let (mut revision, mut versions) = (0, 0);
    for (today, steps) in (0_i32..).zip(days) {
        for step in steps {
            // A minute later, so that the order of publications is told by their time.
            bench.pass(jiff::SignedDuration::from_mins(1));
            match step {
                Step::Publish(yuan, ahead) => {
                    versions += 1;
                    let list = with_price(Trigger, yuan * 1_000_000);
                    let from = today + ahead;
                    let answer = publish(bench, &format!("v{versions}"), &on(from).to_string(), &list).await;
                    // Billed are all days before today.
                    if from < today && today > 0 {
                        assert_eq!(refusal(answer).0, Reason::PriceDayBilled, "{from} on {today}");
                    } else {
                        answer.unwrap();
                        model.prices.push((from, *yuan));
                    }
                }
                Step::Mode(mode) => {
                    if let Some(set) = set_mode(bench, &workspace, *mode).await
                        && model.mode(today + 1) != *mode
                    {
                        assert_eq!(set.effective_day, on(today + 1));
                        model.modes.insert(today + 1, *mode);
                    }
                }
                Step::Use(ago, item, units) => {
                    let (item, retention, unit) = ITEMS[*item];
                    revision += 1;
                    let used = [(item, retention, units * unit)];
                    let day = today - ago;
                    bench.deliver(&workspace, &on(day).to_string(), revision, &used).await;
                    model.used.insert((day, item), *units);
                }
            }
        }
        end_of(bench, &on(today).to_string());
        bench.bill(&on(today).to_string()).await;
        assert_eq!(differences(bench).await, Vec::<String>::new());
    }
    // One more day with much to pay, so that nothing waits for a positive bill (D34).
    let last = DAYS;
    bench.deliver(&workspace, &on(last).to_string(), 1_000_000, &[(Trigger, 0, 100_000_000)]).await;
    model.used.insert((last, Trigger), 10_000);
    end_of(bench, &on(last).to_string());
    bench.bill(&on(last).to_string()).await;
    let mut billed: BTreeMap<(i32, BillingItem), i64> = BTreeMap::new();
    for offset in 0..=last {
        for line in lines(bench, &account, &on(offset).to_string()).await {
            let place = (line.adjusted_day.unwrap_or(on(offset)).days_since(on(0)), line.item.unwrap());
            *billed.entry(place).or_default() += line.amount.micros;
        }
    }
    billed.retain(|_, micros| *micros != 0);
    assert_eq!(billed, model.charged());
    bench.prove().await;
}

/// I-14, D13, D35 and the log modes, over random weeks. A failing seed is one line: print `days`.
#[tokio::test]
async fn every_quantity_is_charged_once_by_its_own_days_list_and_mode() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[47; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let days = prop::collection::vec(prop::collection::vec(step(), 0..9), usize::try_from(DAYS).unwrap());
    for n in 0..WALKS {
        let days = days.new_tree(&mut runner).unwrap().current();
        for bench in both(&format!("walk{n}")).await {
            walk(&bench, "alice", &days).await;
        }
    }
}
