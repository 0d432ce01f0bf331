//! Checks that an account ID and an instance ID name a purchase that a billing account may use
//! (`domain.md` 3.2, `vendors/alibaba.md` 7.3).

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::marketplace::v1::{LookUpPurchaseRequest, PurchaseState};
use tandem_proto::reason::Reason;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::{peer, validate};

use crate::context::Context;
use crate::domain::subscription::{State, Subscription, usable_by};
use crate::store::{failed_try, subscription};

/// Failures within an hour after which a purchase cannot be tried any more (`reliability.md` 7).
const FAILURES_MAX: i64 = 5;
/// Longest id that is handed on; the vendors' own forms are the adapters' to check.
const ID_CHARS_MAX: usize = 128;

/// What a customer typed, and who would use it.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The cloud customer's main account number.
    pub vendor_account_id: String,
    /// The purchase's number; empty where the vendor is asked by the account alone (D29).
    pub vendor_instance_id: String,
    /// Who would use it; `None` for an account that is still to be made.
    pub payer: Option<BillingAccountId>,
}

/// A purchase that both our record and the vendor's allow to use.
#[derive(Debug, Clone)]
pub struct Purchase {
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The purchase's number there.
    pub vendor_instance_id: String,
    /// The buyer's number there.
    pub vendor_account_id: String,
    /// The vendor's product code.
    pub product_code: String,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// As we hold it; `None` when its announcement has not come.
    pub recorded: Option<Subscription>,
}

impl Purchase {
    /// The purchase as it is recorded when its announcement has not come: bought, not bound, its plan not known.
    pub fn unannounced(&self) -> Subscription {
        Subscription {
            id: fresh(),
            vendor: self.vendor,
            market: self.market,
            vendor_instance_id: self.vendor_instance_id.clone(),
            vendor_account_id: Some(self.vendor_account_id.clone()),
            owner: None,
            product_code: self.product_code.clone(),
            plan: String::new(),
            state: State::PendingBinding,
            trial: false,
            expires_at: self.expires_at,
            activated_at: None,
            closed_at: None,
            revision: 1,
        }
    }
}

/// A purchase in the vendor's own record.
#[derive(Debug, Clone)]
pub struct Found {
    /// The purchase's number.
    pub vendor_instance_id: String,
    /// The account that bought it.
    pub vendor_account_id: String,
    /// The vendor's product code.
    pub product_code: String,
    /// Whether the product is ours.
    pub product_is_ours: bool,
    /// Where it stands.
    pub state: PurchaseState,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Checks the purchase; changes nothing but the count of failures.
///
/// Fails with the reasons that `MarketplaceService.VerifyPurchase` lists. That the vendor is away is no failure.
pub async fn run(ctx: &Context, typed: &Typed, now: Timestamp) -> Result<Purchase, Fault> {
    settleable(ctx, typed.vendor)?;
    let account = validate::text("vendor_account_id", &typed.vendor_account_id, ID_CHARS_MAX)?;
    let instance = typed.vendor_instance_id.trim();
    if !instance.is_empty() {
        validate::text("vendor_instance_id", instance, ID_CHARS_MAX)?;
    }
    let tried = if instance.is_empty() { account } else { instance };
    let subject = format!("purchase:{}:{tried}", typed.vendor);
    let attempt = failed_try::begin(&ctx.db, &subject, FAILURES_MAX, now).await?;
    let outcome = decide(ctx, typed, account, instance).await;
    if !outcome.as_ref().is_err_and(|fault| counts(fault.reason)) {
        attempt.take_back(&ctx.db).await?;
    }
    outcome
}

/// Whether a vendor's purchases can be settled through.
///
/// Fails with `VENDOR_NOT_CONFIGURED`.
pub fn settleable(ctx: &Context, vendor: Vendor) -> Result<(), Fault> {
    let known = ctx.vendors.get(&vendor).is_some_and(|rules| rules.metering.is_some());
    if known { Ok(()) } else { Err(Fault::new(Reason::VendorNotConfigured)) }
}

/// Whether a refusal is a failed proof. What cannot be told yet, or is no id at all, proves nothing.
fn counts(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PurchaseNotFound
            | Reason::PurchaseWrongProduct
            | Reason::PurchaseSuspended
            | Reason::PurchaseEnded
            | Reason::PurchaseOwnedByOther
    )
}

async fn decide(ctx: &Context, typed: &Typed, account: &str, instance: &str) -> Result<Purchase, Fault> {
    let not_found = Fault::new(Reason::PurchaseNotFound);
    if !instance.is_empty() {
        match own_record(ctx, typed, account, instance).await {
            // An unknown and a foreign number are told alike, and take the same way: the adapter still says when a
            // number cannot be a main account's at all.
            Err(fault) if fault.reason == Reason::PurchaseNotFound => {
                look_up(ctx, typed.vendor, typed.market, instance, account).await?;
                return Err(not_found);
            }
            own => own?,
        };
    }
    let found =
        look_up(ctx, typed.vendor, typed.market, instance, account).await?.ok_or(not_found.clone())?;
    if found.vendor_account_id != account || (!instance.is_empty() && found.vendor_instance_id != instance) {
        return Err(not_found);
    }
    if !found.product_is_ours {
        return Err(Fault::new(Reason::PurchaseWrongProduct));
    }
    let recorded = own_record(ctx, typed, account, &found.vendor_instance_id).await?;
    match found.state {
        PurchaseState::Active => {}
        PurchaseState::Pending => return Err(Fault::new(Reason::PurchasePending)),
        PurchaseState::Suspended => return Err(Fault::new(Reason::PurchaseSuspended)),
        PurchaseState::Ended => return Err(Fault::new(Reason::PurchaseEnded)),
        PurchaseState::Unspecified => return Err(Fault::new(Reason::VendorUnavailable)),
    }
    // D20: a cloud account belongs to one billing account.
    let cloud_account = subscription::find_cloud_number(&ctx.db.read, typed.vendor, account).await?;
    if cloud_account.is_some_and(|c| Some(&c.billing_account) != typed.payer.as_ref()) {
        return Err(Fault::new(Reason::PurchaseOwnedByOther));
    }
    Ok(Purchase {
        vendor: typed.vendor,
        market: typed.market,
        vendor_instance_id: found.vendor_instance_id,
        vendor_account_id: found.vendor_account_id,
        product_code: found.product_code,
        expires_at: found.expires_at,
        recorded,
    })
}

async fn own_record(
    ctx: &Context,
    typed: &Typed,
    account: &str,
    instance: &str,
) -> Result<Option<Subscription>, Fault> {
    let recorded = subscription::find_instance(&ctx.db.read, typed.vendor, instance).await?;
    if let Some(recorded) = &recorded {
        usable_by(recorded, account, typed.payer.as_ref())?;
        if recorded.market != typed.market {
            return Err(Fault::new(Reason::RegionMismatch));
        }
    }
    Ok(recorded)
}

/// Asks the vendor for a purchase, through the gateway; never inside a transaction (I-26).
///
/// Fails with `VENDOR_UNAVAILABLE`, also when the gateway is away, and with what the adapter says of the ids.
pub async fn look_up(
    ctx: &Context,
    vendor: Vendor,
    market: Market,
    instance: &str,
    account: &str,
) -> Result<Option<Found>, Fault> {
    let request = LookUpPurchaseRequest {
        vendor: vendor.to_message().into(),
        market: market.to_message().into(),
        vendor_instance_id: instance.to_owned(),
        vendor_account_id: account.to_owned(),
    };
    let answer = ctx.gateway.clone().look_up_purchase(request).await;
    let answer = answer.map_err(|status| match peer::fault(&status) {
        fault @ Fault {
            reason: Reason::InvalidField | Reason::MainAccountRequired | Reason::VendorNotConfigured,
            ..
        } => fault,
        fault => {
            tracing::warn!(
                vendor = vendor.name(),
                reason = fault.reason.name(),
                "a purchase could not be looked up"
            );
            Fault::new(Reason::VendorUnavailable)
        }
    })?;
    let answer = answer.into_inner();
    if !answer.found {
        return Ok(None);
    }
    let expires_at = answer.expire_time.map(|time| validate::timestamp("expire_time", Some(time)));
    Ok(Some(Found {
        state: answer.state(),
        vendor_instance_id: answer.vendor_instance_id,
        vendor_account_id: answer.vendor_account_id,
        product_code: answer.product_code,
        product_is_ours: answer.product_is_ours,
        expires_at: expires_at.transpose().map_err(|_| Fault::new(Reason::VendorUnavailable))?,
    }))
}
