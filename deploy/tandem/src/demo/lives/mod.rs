//! The life of two customers: one direct, one through a cloud's market.

pub mod direct;
pub mod market;
pub mod proofs;

use serde_json::Value;
use tandem_proto::billing::v1::{AccountStanding, BillState};
use tandem_proto::common::v1::WorkspaceStanding;

use super::stage::Stage;
use crate::failure::Result;
use direct::Direct;
use market::Market;

/// Lives through both lives and checks the proofs at the end; returns them for scripts.
pub async fn run(stage: &Stage) -> Result<Value> {
    let direct = Direct::register(stage).await?;
    direct.recharge(stage, 2_000, "DEMO-1").await?;
    let market = Market::arrive(stage).await?;
    let calendar = stage.calendar("cn1").await?;

    // Day 1: both use the product and are billed.
    stage.arrive(&calendar, 2, 0, 1).await?;
    direct.use_documented_day(stage, &calendar, 1).await?;
    market.use_hours(stage, &calendar, 1, 0..24).await?;
    stage.arrive(&calendar, 2, 0, 11).await?;
    direct.billed(stage, &calendar, 1, BillState::Paid).await?;
    market.billed(stage, &calendar, 1).await?;

    // Day 2: the balance does not suffice.
    stage.arrive(&calendar, 3, 0, 1).await?;
    direct.use_documented_day(stage, &calendar, 2).await?;
    market.use_hours(stage, &calendar, 2, 0..24).await?;
    stage.arrive(&calendar, 3, 0, 11).await?;
    direct.billed(stage, &calendar, 2, BillState::InArrears).await?;
    direct.stands(stage, WorkspaceStanding::LockCountdown, AccountStanding::Arrears).await?;
    market.billed(stage, &calendar, 2).await?;
    direct.recharge(stage, 5_000, "DEMO-2").await?;
    direct.stands(stage, WorkspaceStanding::Active, AccountStanding::Good).await?;

    // Day 3: the market's customer cancels in the middle of the day.
    stage.arrive(&calendar, 3, 10, 30).await?;
    market.use_hours(stage, &calendar, 3, 0..10).await?;
    market.cancel(stage, &calendar, 3).await?;
    market.cancel_again(stage).await?;
    market.recharge(stage, 10_000, "DEMO-3").await?;
    stage.arrive(&calendar, 4, 0, 1).await?;
    market.use_hours(stage, &calendar, 3, 11..24).await?;
    stage.arrive(&calendar, 4, 0, 11).await?;
    market.rest_is_billed(stage, &calendar, 3).await?;

    proofs::check(stage, (calendar.day(1), calendar.day(4)), &direct, &market).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::{on_postgres, on_sqlite};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_lives_end_with_proofs_that_hold_on_sqlite() {
        let proofs = on_sqlite(run).await;
        assert_eq!(proofs["bills"]["different"], 0);
        assert_eq!(proofs["usage"]["different"], 0);
        assert_eq!(proofs["metering"][0]["sent"], proofs["metering"][0]["remembered"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn both_lives_end_with_proofs_that_hold_on_postgresql() {
        let proofs = on_postgres(run).await;
        assert_eq!(proofs["ledger"]["sums"][0]["sum"]["minor_units"], 0);
    }
}
