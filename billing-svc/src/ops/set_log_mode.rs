//! Charges a workspace's logs by count or by volume from its next usage day on (`domain.md` 2.3, 4.4).

use std::collections::BTreeSet;

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::WorkspaceId;
use tandem_proto::money::Currency;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::PriceZone;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::publish_price_list::price_missing;
use crate::domain::log_mode::{LogMode, LogModes, first_day};
use crate::domain::price::{PriceKey, PriceList, in_force};
use crate::store::log_mode::{self, LogModePeriod};
use crate::store::{account, bill, price, workspace};

/// Sets the mode. `None` when it is so from the beginning and nothing had to be written.
///
/// The running day and every day that stands on a bill keep theirs. A change that has not begun yet is replaced. Locks
/// the account, then the workspace. Fails with `WORKSPACE_NOT_BOUND`, and with `PRICE_MISSING` when logs are not sold
/// that way where the workspace is.
pub async fn run(
    tx: &Tx,
    id: &WorkspaceId,
    mode: LogMode,
    set_by: &str,
    now: Timestamp,
) -> Result<Option<LogModePeriod>, Fault> {
    let not_bound = || Fault::new(Reason::WorkspaceNotBound);
    let found = workspace::find(tx, id).await?.ok_or_else(not_bound)?;
    let payer = account::lock(tx, &found.billing_account).await?.ok_or_else(not_bound)?;
    let locked = workspace::lock(tx, std::slice::from_ref(id)).await?.pop().ok_or_else(not_bound)?;
    if locked.billing_account != payer.id {
        // Moved to another account in this moment.
        return Err(Fault::new(Reason::Conflict));
    }
    let zone =
        zone(&locked.time_zone).ok_or(StoreError::Corrupt { table: "workspace", column: "time_zone" })?;
    let modes = log_mode::of(tx, [id]).await?.remove(id).unwrap_or_default();
    let last_billed = bill::last_day(tx, &payer.id, id).await?;
    let first = first_day(UsageDay::of(now, &zone), last_billed, &modes);
    if modes.at(first) == mode {
        return since(tx, id, &modes, first).await;
    }
    let lists = price::all(tx).await?;
    sold(in_force(&lists, first), mode, locked.price_zone, payer.currency)?;
    let period = LogModePeriod { effective_day: first, mode, set_at: now, set_by: set_by.to_owned() };
    log_mode::put(tx, id, &period).await?;
    Ok(Some(period))
}

/// The entry that made the mode of a day what it is.
async fn since(
    tx: &Tx,
    id: &WorkspaceId,
    modes: &LogModes,
    day: UsageDay,
) -> Result<Option<LogModePeriod>, Fault> {
    let mode = modes.at(day);
    let entries = log_mode::list(tx, id, i32::MIN, i64::MAX.unsigned_abs()).await?;
    let started = entries.into_iter().rev().skip_while(|entry| entry.effective_day > day);
    // The oldest of those that say the same without a break.
    Ok(started.take_while(|entry| entry.mode == mode).last())
}

/// Checks that the item is sold at each retention that either log item is sold at: the workspace may use any of them.
fn sold(list: Option<&PriceList>, mode: LogMode, zone: PriceZone, currency: Currency) -> Result<(), Fault> {
    let key = |item, retention_days| PriceKey { zone, currency, item, retention_days };
    let prices = list.map(|list| &list.prices);
    let here = |sold: &&PriceKey| (sold.zone, sold.currency) == (zone, currency);
    let logs = prices.into_iter().flat_map(|prices| prices.keys()).filter(here);
    let logs = logs.filter(|sold| sold.item == mode.item() || sold.item == mode.other_item());
    let retentions: BTreeSet<i32> = logs.map(|sold| sold.retention_days).collect();
    if retentions.is_empty() {
        return Err(Fault::new(Reason::PriceMissing).and_field("log_mode", "logs are not sold there at all"));
    }
    let wanted = retentions.into_iter().map(|days| key(mode.item(), days));
    let missing: Vec<PriceKey> =
        wanted.filter(|key| !prices.is_some_and(|prices| prices.contains_key(key))).collect();
    if missing.is_empty() { Ok(()) } else { Err(price_missing("log_mode", &missing)) }
}
