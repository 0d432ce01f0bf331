//! The life of two customers, lived through the public interfaces only: one direct, one through a cloud's market.
//!
//! Every wait is for a condition, with a deadline. Where something must be so and is not, the demo ends with
//! [`crate::failure::Failure::Proof`].

pub mod customer;
pub mod direct;
pub mod mailbox;
pub mod market;
pub mod proofs;
pub mod stage;
pub mod teller;
pub mod usage;

use serde_json::Value;
use tandem_proto::billing::v1::{AccountStanding, BillState};
use tandem_proto::common::v1::WorkspaceStanding;

use crate::failure::Result;
use direct::Direct;
use market::Market;
use stage::Stage;

/// Lives through both lives and checks the proofs at the end; returns them for scripts.
pub async fn run(stage: &Stage) -> Result<Value> {
    let direct = Direct::register(stage).await?;
    direct.recharge(stage, 2_000, "DEMO-1").await?;
    let market = Market::arrive(stage).await?;
    let calendar = stage.calendar("cn1").await?;

    // Day 1: both use the product and are billed.
    arrive_at(stage, &calendar, 2, 0, 1).await?;
    direct.use_documented_day(stage, &calendar, 1).await?;
    market.use_hours(stage, &calendar, 1, 0..24).await?;
    arrive_at(stage, &calendar, 2, 0, 11).await?;
    direct.billed(stage, &calendar, 1, BillState::Paid).await?;
    market.billed(stage, &calendar, 1).await?;

    // Day 2: the balance does not suffice.
    arrive_at(stage, &calendar, 3, 0, 1).await?;
    direct.use_documented_day(stage, &calendar, 2).await?;
    market.use_hours(stage, &calendar, 2, 0..24).await?;
    arrive_at(stage, &calendar, 3, 0, 11).await?;
    direct.billed(stage, &calendar, 2, BillState::InArrears).await?;
    direct.stands(stage, WorkspaceStanding::LockCountdown, AccountStanding::Arrears).await?;
    market.billed(stage, &calendar, 2).await?;
    direct.recharge(stage, 5_000, "DEMO-2").await?;
    direct.stands(stage, WorkspaceStanding::Active, AccountStanding::Good).await?;

    // Day 3: the market's customer cancels in the middle of the day.
    arrive_at(stage, &calendar, 3, 10, 30).await?;
    market.use_hours(stage, &calendar, 3, 0..10).await?;
    market.cancel(stage, &calendar, 3).await?;
    market.cancel_again(stage).await?;
    market.recharge(stage, 10_000, "DEMO-3").await?;
    arrive_at(stage, &calendar, 4, 0, 1).await?;
    market.use_hours(stage, &calendar, 3, 11..24).await?;
    arrive_at(stage, &calendar, 4, 0, 11).await?;
    market.rest_is_billed(stage, &calendar, 3).await?;

    proofs::check(stage, (calendar.day(1), calendar.day(4)), &direct, &market).await
}

async fn arrive_at(
    stage: &Stage,
    calendar: &stage::Calendar,
    day: u32,
    hour: u32,
    minute: u32,
) -> Result<()> {
    let (instant, local) = calendar.at(day, hour, minute);
    stage.move_to(instant, &local).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tandem_service_kit::clock::TestClock;
    use tandem_service_kit::db::testing::postgres_with;

    use super::*;
    use crate::data_dir::DataDir;
    use crate::output::Output;
    use crate::up::{Options, System};

    async fn both_lives_on(change: impl FnOnce(&mut Options)) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path());
        let clock = TestClock::new("2026-03-01T00:00:00Z".parse().unwrap());
        let mut options = Options::new(data.clone(), Arc::new(clock));
        options.log_filter = Some("error".to_owned());
        change(&mut options);
        let system = System::start(options).await.unwrap();
        let stage = Stage::set(&data, system.endpoints(), Output::new(true), String::new()).await.unwrap();
        let proofs = run(&stage).await;
        system.stop().await.unwrap();
        proofs.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_lives_end_with_proofs_that_hold_on_sqlite() {
        let proofs = both_lives_on(|_| {}).await;
        assert_eq!(proofs["bills"]["different"], 0);
        assert_eq!(proofs["usage"]["different"], 0);
        assert_eq!(proofs["metering"][0]["sent"], proofs["metering"][0]["remembered"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_lives_end_with_proofs_that_hold_on_postgresql() {
        let console = postgres_with("demo_console", Vec::new).await;
        let billing = postgres_with("demo_billing", Vec::new).await;
        let proofs = both_lives_on(|options| {
            options.console_database = Some(console.section.url.clone());
            options.billing_database = Some(billing.section.url.clone());
        });
        assert_eq!(proofs.await["ledger"]["sums"][0]["sum"]["minor_units"], 0);
    }
}
