//! The money of four customers: wallet, prices, bills, debt, alerts, changes, packages, invoices, jobs, two people.
//!
//! One file for each part; the parts meet in time, so that most of them come up more than once.

pub mod alerts;
pub mod approvals;
pub mod bills;
pub mod changes;
pub mod debt;
pub mod invoices;
pub mod jobs;
pub mod packages;
pub mod prices;
pub mod proofs;
pub mod tenant;
pub mod wallet;

use std::path::Path;

use serde_json::Value;
use tandem_proto::common::v1::Language;
use tandem_proto::item::BillingItem;

use super::customer::Person;
use super::stage::{Calendar, Stage};
use super::usage::{self, DOCUMENTED_DAY, Use};
use crate::failure::Result;
use tenant::Tenant;

/// The fourth is the first day of a month on which the bills of the month before are made.
const MONTHS_ARE_BILLED: &str = "-04";
/// Days of the story before the months are billed.
const STORY_DAYS: u32 = 22;

/// Lives through the story and checks the proofs at its end; returns them for scripts. Documents go to `folder`.
pub async fn run(stage: &Stage, folder: &Path) -> Result<Value> {
    let calendar = stage.calendar("cn1").await?;
    let (mut tea, roastery, bridge, mill) = arrive(stage).await?;

    // The evening before the first day.
    wallet::fill(stage, &tea, &calendar).await?;
    prices::publish(stage, &calendar).await?;
    alerts::watch(stage, &tea).await?;
    packages::order(stage, &bridge, &mill).await?;
    invoices::buy_card(stage, &bridge).await?;

    // The first day.
    stage.arrive(&calendar, 1, 12, 10).await?;
    debt::use_and_dissolve(stage, &roastery, &calendar).await?;
    changes::retention_at_noon(stage, &tea, &calendar).await?;
    prices::by_volume(stage, &tea).await?;
    stage.arrive(&calendar, 1, 23, 30).await?;
    stage.teller.step("Everybody uses the product for the rest of the day")?;
    let texts = Use { item: BillingItem::Sms, retention_days: 0, units: 100 };
    let uses: Vec<_> = DOCUMENTED_DAY.into_iter().chain([texts]).collect();
    usage::record(stage, &tea.workspaces[0], &calendar, 1, 0..24, &uses).await?;
    changes::use_in_the_afternoon(stage, &tea, &calendar).await?;
    packages::use_documented_day(stage, &bridge, &mill, &calendar).await?;
    alerts::told(stage, &tea).await?;

    // The second day begins with the first one's bills.
    stage.arrive(&calendar, 2, 0, 11).await?;
    wallet::deducted(stage, &tea, &calendar).await?;
    packages::billed(stage, &bridge, &mill, &calendar).await?;
    debt::arrears(stage, &roastery, &calendar).await?;
    changes::two_lines(stage, &tea, &calendar).await?;
    changes::move_workspace(stage, &tea, &bridge).await?;
    changes::change_email(stage, &mut tea).await?;
    stage.arrive(&calendar, 2, 12, 0).await?;
    stage.teller.step("The second day, and something late for the first")?;
    usage::record(stage, &tea.workspaces[0], &calendar, 2, 0..12, &[texts]).await?;
    let late = Use { units: 160, ..texts };
    usage::record(stage, &tea.workspaces[0], &calendar, 1, 8..9, &[late]).await?;

    // The third.
    stage.arrive(&calendar, 3, 0, 11).await?;
    bills::adjusted(stage, &tea, &calendar).await?;
    stage.teller.part("6. Changes of the method")?;
    changes::settle_through_cloud(stage, &tea).await?;

    // The weeks until the months are billed.
    debt::lock_and_unlock(stage, &roastery, &calendar).await?;
    jobs::expire(stage, &tea, &calendar).await?;
    stage.teller.part("3. Bills of the month")?;
    let month = calendar.day(1).to_string().split_at(7).0.to_owned();
    stage
        .teller
        .step(&format!("The bills of {month} are made when its days are closed and the third is over"))?;
    stage.arrive(&calendar, months_are_billed(&calendar), 1, 0).await?;
    bills::month(stage, &tea, &month).await?;
    bills::month(stage, &bridge, &month).await?;
    bills::export(stage, &tea, &calendar, folder).await?;
    invoices::invoice(stage, &bridge, &month, folder).await?;
    approvals::credit(stage, &roastery).await?;
    proofs::check(stage, &[&tea, &roastery, &bridge, &mill]).await
}

/// Four customers and six workspaces.
async fn arrive(stage: &Stage) -> Result<(Tenant, Tenant, Tenant, Tenant)> {
    stage.teller.step("Four customers register; their balance is to pay")?;
    let suffix = &stage.suffix;
    let person = |name: &str, host: &str, phone: &str, company, language| Person {
        site: "cn1",
        username: format!("{name}{suffix}"),
        email: format!("{name}{suffix}@{host}.example"),
        phone: format!("{phone}{}", stage.digits()),
        company,
        language,
    };
    let tea = person("lin_tea", "teahouse", "+8613901", "林记茶馆", Language::Zh);
    let roastery = person("noor_roast", "roastery", "+8613902", "Noor's Roastery", Language::En);
    let bridge = person("bridge_labs", "bridgelabs", "+8613903", "Bridge Labs", Language::En);
    let mill = person("mill_house", "millhouse", "+8613904", "Mill House", Language::En);
    let mut tea = Tenant::arrive(stage, tea, "茶馆监控").await?;
    let mut roastery = Tenant::arrive(stage, roastery, "Roastery").await?;
    let bridge = Tenant::arrive(stage, bridge, "Bridge").await?;
    let mill = Tenant::arrive(stage, mill, "Mill").await?;
    tea.open(stage, "仓库").await?;
    roastery.open(stage, "Old shop").await?;
    Ok((tea, roastery, bridge, mill))
}

/// The number of the first day on which the months of the story are billed.
fn months_are_billed(calendar: &Calendar) -> u32 {
    let fourth = |day: &u32| calendar.day(*day).to_string().ends_with(MONTHS_ARE_BILLED);
    (STORY_DAYS..STORY_DAYS + 31).find(fourth).unwrap_or(STORY_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::{on_postgres, on_sqlite};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_story_ends_with_proofs_that_hold_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let proofs = on_sqlite(async |stage| run(stage, folder.path()).await).await;
        assert_eq!(proofs["ledger"]["different"], 0);
        assert_eq!(proofs["bills"]["different"], 0);
        let documents = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(documents, 5, "two invoices, two months, one file for spreadsheets");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_story_ends_with_proofs_that_hold_on_postgresql() {
        let folder = tempfile::tempdir().unwrap();
        let proofs = on_postgres(async |stage| run(stage, folder.path()).await).await;
        assert_eq!(proofs["months"]["different"], 0);
        assert_eq!(proofs["packages"]["different"], 0);
    }
}
