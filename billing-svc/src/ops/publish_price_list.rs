//! Publishes a price list (`domain.md` 2.10, 4.6).

use jiff::{SignedDuration, Timestamp};
use sea_orm::ConnectionTrait;
use tandem_proto::day::UsageDay;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::domain::price::{PriceKey, PriceList, in_force};
use crate::domain::price_check::{missing, named};
use crate::store::price;

/// Most missing prices that are named one by one: error details travel in a header of bounded size.
const NAMED_MAX: usize = 40;

/// Checks that a list prices everything that is used or may be used.
///
/// Reads much and locks nothing, so it comes before the transaction: usage may begin at any moment after it anyway.
/// Fails with `PRICE_MISSING`, naming all that is missing.
pub async fn check(db: &impl ConnectionTrait, list: &PriceList) -> Result<(), Fault> {
    let lists = price::all(db).await?;
    let columns = price::columns_in_use(db).await?;
    let used = price::keys_in_use(db).await?;
    let missing = missing(list, in_force(&lists, list.effective_day), &columns, &used);
    if missing.is_empty() { Ok(()) } else { Err(price_missing("prices", &missing)) }
}

/// Publishes a list that has been checked.
///
/// Waits for the bills that are being made, so that each of them was made by a list that was in force. Fails with
/// `PRICE_DAY_BILLED`, naming the last billed day, and with `PRICE_LIST_EXISTS`.
pub async fn run(tx: &Tx, list: &PriceList, now: Timestamp) -> Result<Vec<PriceList>, Fault> {
    price::lock_for_publishing(tx).await?;
    if let Some(billed) = price::last_billed_day(tx).await?
        && list.effective_day <= billed
    {
        return Err(day_billed(billed));
    }
    // The order of publications counts, also when the clock stands still or was set back.
    let before = price::all(tx).await?.into_iter().map(|list| list.published_at).max();
    let published_at = before.map_or(now, |last| now.max(last + SignedDuration::from_micros(1)));
    if !price::insert(tx, list, published_at).await? {
        return Err(Fault::new(Reason::PriceListExists)
            .and_field("version", "must be a name that no published list has"));
    }
    Ok(price::all(tx).await?)
}

fn day_billed(billed: UsageDay) -> Fault {
    Fault::new(Reason::PriceDayBilled)
        .and_field("effective_day", format!("must be after {billed}, the last day that bills were made for"))
        .with("last_billed_day", billed.to_string())
}

/// The error that names missing prices under a field.
pub(super) fn price_missing(field: &str, missing: &[PriceKey]) -> Fault {
    let groups = named(missing);
    let more = groups.len().saturating_sub(NAMED_MAX);
    let mut fault = Fault::new(Reason::PriceMissing).with("missing_count", missing.len().to_string());
    for group in groups.iter().take(NAMED_MAX) {
        fault = fault.and_field(field, format!("has no price for {group}"));
    }
    if more > 0 {
        fault = fault.and_field(field, format!("and {more} more"));
    }
    fault
}
