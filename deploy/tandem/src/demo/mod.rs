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

    proofs::check(stage, &direct, &market).await
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
