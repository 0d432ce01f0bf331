//! Makes a purchase a billing account's own, in the transaction that binds a workspace to it (I-19, I-23).

use jiff::Timestamp;
use tandem_proto::ids::{CloudAccountId, LandingTicketId};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::{StoreError, Tx};
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use super::verify_purchase::Purchase;
use crate::domain::account::BillingAccount;
use crate::domain::binding::Settlement;
use crate::domain::event::FeedEvent;
use crate::domain::subscription::{Owner, State, Subscription, usable_by};
use crate::store::feed::{self, NewEvent};
use crate::store::landing;
use crate::store::subscription::{self, CloudAccount};

/// How a customer shows which purchase is meant.
#[derive(Debug, Clone)]
pub enum Claim {
    /// By ids that have been verified.
    Verified(Box<Purchase>),
    /// By a landing ticket: the buyer came from the market with a proof.
    Ticket(LandingTicketId),
    /// By a cloud account that the billing account uses already.
    CloudAccount(CloudAccountId),
}

/// A purchase that is the billing account's.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The purchase, in use.
    pub subscription: Subscription,
    /// The way of settling through it.
    pub settlement: Settlement,
    /// Whether its announcement has not come yet, so that earlier events may wait for it.
    pub newly_known: bool,
}

/// Checks the purchase again under its lock and makes it the account's. The account must be locked.
///
/// Fails as `MarketplaceService.VerifyPurchase` does, with `TICKET_INVALID`, with `REGION_MISMATCH` when the market is
/// not the account's Billing Center's, and with `CURRENCY_MISMATCH` when the account's currency is not the market's.
pub async fn run(
    tx: &Tx,
    account: &BillingAccount,
    vendor: Vendor,
    claim: &Claim,
    now: Timestamp,
) -> Result<Attached, Fault> {
    let (purchase, number, newly_known) = find(tx, account, vendor, claim, now).await?;
    usable_by(&purchase, &number, Some(&account.id))?;
    if purchase.market != Market::of(account.region) {
        return Err(Fault::new(Reason::RegionMismatch));
    }
    // The market counts in its own currency's minor units, and nothing is converted (D25).
    if purchase.market.currency() != account.currency {
        return Err(Fault::new(Reason::CurrencyMismatch).with("currency", purchase.market.currency().code()));
    }
    let cloud_account = cloud_account(tx, account, vendor, &number, now).await?;
    let mut attached = purchase;
    if attached.owner.is_none() {
        let (cloud_account, billing_account) = (cloud_account.clone(), account.id.clone());
        attached.owner = Some(Owner { cloud_account, billing_account });
        attached.state = State::Active;
        attached.activated_at = Some(now);
        attached.revision += 1;
        subscription::save(tx, &attached).await?;
        feed::add(tx, &[changed(&attached, account)], now).await?;
    }
    let settlement = Settlement::Cloud { vendor, cloud_account, subscription: attached.id.clone() };
    Ok(Attached { subscription: attached, settlement, newly_known })
}

/// The event that tells a subscription's state.
pub(super) fn changed(subscription: &Subscription, account: &BillingAccount) -> NewEvent {
    NewEvent {
        billing_account: account.id.as_str().to_owned(),
        workspace: None,
        event: FeedEvent::SubscriptionChanged {
            subscription_id: subscription.id.as_str().to_owned(),
            state: subscription.state.name().to_owned(),
        },
    }
}

/// The purchase under its lock, the buyer's number that was proved, and whether it became known only now.
async fn find(
    tx: &Tx,
    account: &BillingAccount,
    vendor: Vendor,
    claim: &Claim,
    now: Timestamp,
) -> Result<(Subscription, String, bool), Fault> {
    match claim {
        Claim::Verified(purchase) => {
            if purchase.vendor != vendor {
                return Err(Fault::new(Reason::PurchaseNotFound));
            }
            let number = purchase.vendor_account_id.clone();
            let (found, fresh) = record(tx, purchase, now).await?;
            Ok((found, number, fresh))
        }
        Claim::Ticket(id) => {
            let invalid = || Fault::new(Reason::TicketInvalid);
            let ticket = landing::find(tx, id).await?.filter(|t| t.vendor == vendor).ok_or_else(invalid)?;
            if !landing::claim(tx, id, now).await? {
                return Err(invalid());
            }
            let found = subscription::lock_instance(tx, vendor, &ticket.vendor_instance_id).await?;
            Ok((found.ok_or(Fault::new(Reason::PurchaseNotFound))?, ticket.vendor_account_id, false))
        }
        Claim::CloudAccount(id) => {
            let owned = subscription::find_cloud_account(tx, id).await?;
            let owned = owned.filter(|c| c.billing_account == account.id && c.vendor == vendor);
            let owned = owned.ok_or(Fault::not_found("cloud_account_id"))?;
            let live = subscription::lock_live(tx, id).await?;
            let active = live.iter().find(|s| s.state == State::Active).or(live.first()).cloned();
            Ok((active.ok_or(Fault::new(Reason::PurchaseEnded))?, owned.vendor_account_id, false))
        }
    }
}

/// Locks a purchase that the vendor has confirmed, and records it when its announcement has not come.
pub(super) async fn record(
    tx: &Tx,
    purchase: &Purchase,
    now: Timestamp,
) -> Result<(Subscription, bool), StoreError> {
    if let Some(found) =
        subscription::lock_instance(tx, purchase.vendor, &purchase.vendor_instance_id).await?
    {
        return Ok((found, false));
    }
    let unannounced = purchase.unannounced();
    if subscription::insert(tx, &unannounced, now).await? {
        tracing::warn!(subscription.id = %unannounced.id, "recorded a purchase that was never announced");
        return Ok((unannounced, true));
    }
    // Its announcement won in this moment.
    let found = subscription::lock_instance(tx, purchase.vendor, &purchase.vendor_instance_id).await?;
    Ok((found.ok_or(StoreError::Conflict)?, false))
}

async fn cloud_account(
    tx: &Tx,
    account: &BillingAccount,
    vendor: Vendor,
    number: &str,
    now: Timestamp,
) -> Result<CloudAccountId, Fault> {
    let new = CloudAccount {
        id: fresh(),
        vendor,
        vendor_account_id: number.to_owned(),
        billing_account: account.id.clone(),
        created_at: now,
    };
    if subscription::insert_cloud_account(tx, &new).await? {
        return Ok(new.id);
    }
    let known = subscription::find_cloud_number(tx, vendor, number).await?.ok_or(StoreError::Conflict)?;
    if known.billing_account != account.id {
        return Err(Fault::new(Reason::PurchaseOwnedByOther));
    }
    Ok(known.id)
}
