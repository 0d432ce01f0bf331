//! Changes the currency of an account (`domain.md` 2.4, 3.17, D25): by an operator, when nothing in the old one is open.

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::Currency;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;

use super::publish_price_list::price_missing;
use crate::domain::account::BillingAccount;
use crate::domain::currency::in_the_way;
use crate::domain::price::{PriceKey, in_force};
use crate::store::{account, currency, price};

/// How many days back the account's use tells what it will go on using: a month, as most items are used monthly if not
/// daily.
const USE_DAYS: i32 = 31;

/// The account in its currency, and the first usage day that is billed in it.
pub struct Changed {
    /// The account.
    pub account: BillingAccount,
    /// The day.
    pub first_day: UsageDay,
}

/// Changes the currency; every bill made from now on is in it, so that it begins with the next usage day that is not
/// billed yet. Setting what is set already changes nothing.
///
/// Locks the account, which every act on its money does first. Fails with `OBJECT_NOT_FOUND`, with `CURRENCY_IN_USE`,
/// naming all that is in the way, and with `PRICE_MISSING` when something it uses is not sold in the new currency.
pub async fn run(tx: &Tx, id: &BillingAccountId, wanted: Currency, now: Timestamp) -> Result<Changed, Fault> {
    let payer = account::lock(tx, id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let zone =
        zone(payer.region.time_zone()).ok_or(StoreError::Corrupt { table: "region", column: "zone" })?;
    let today = UsageDay::of(now, &zone);
    let first_day = currency::last_billed_day(tx, id).await?.map_or(today, UsageDay::next);
    if payer.currency == wanted {
        return Ok(Changed { account: payer, first_day });
    }
    let open = in_the_way(currency::open(tx, id).await?);
    if !open.is_empty() {
        let mut fault = Fault::new(Reason::CurrencyInUse);
        for thing in open {
            fault = fault
                .and_field("currency_code", format!("{} {}", thing.count, thing.what))
                .with(thing.name, thing.count.to_string());
        }
        return Err(fault);
    }
    let lists = price::all(tx).await?;
    let list = in_force(&lists, first_day).ok_or(Fault::new(Reason::PriceMissing))?;
    let used = currency::keys_used(tx, id, today.plus_days(-USE_DAYS), wanted).await?;
    let mut missing: Vec<PriceKey> = used.into_iter().filter(|key| !list.prices.contains_key(key)).collect();
    missing.sort();
    if !missing.is_empty() {
        return Err(price_missing("currency_code", &missing).with("price_list_version", &list.version));
    }
    currency::save(tx, id, wanted).await?;
    Ok(Changed { account: BillingAccount { currency: wanted, ..payer }, first_day })
}
