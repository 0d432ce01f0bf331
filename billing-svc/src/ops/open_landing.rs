//! Opens a landing ticket for a buyer who came from a market with a proof (`domain.md` 3.3).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::ids::{Id as _, LandingTicketId};
use tandem_proto::marketplace::v1::PurchaseState;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::random_bytes;

use super::attach_purchase;
use super::verify_purchase::{self, Purchase};
use crate::context::Context;
use crate::store::landing::{self, Ticket};
use crate::store::subscription;

/// How long a ticket is good: long enough to fill in a registration.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Who came, and with what.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The purchase's number there.
    pub vendor_instance_id: String,
    /// The buyer's number there; empty where the proof does not say it.
    pub vendor_account_id: String,
    /// Digest of the proof.
    pub proof_digest: String,
}

/// A ticket, and whether its purchase is bound already.
#[derive(Debug)]
pub struct Opened {
    /// The ticket.
    pub ticket: Ticket,
    /// The buyer only has to sign in.
    pub already_bound: bool,
    /// The purchase became known only by this.
    pub newly_known: bool,
}

/// Asks the vendor for a purchase that was never announced; `None` for one that is recorded.
///
/// Fails with `PURCHASE_NOT_FOUND` when the vendor does not know it as ours, and when the buyer is another.
pub async fn prepare(ctx: &Context, arrival: &Arrival) -> Result<Option<Purchase>, Fault> {
    let not_found = || Fault::new(Reason::PurchaseNotFound);
    let Arrival { vendor, market, vendor_instance_id, vendor_account_id, .. } = arrival;
    if subscription::find_instance(&ctx.db.read, *vendor, vendor_instance_id).await?.is_some() {
        return Ok(None);
    }
    let found =
        verify_purchase::look_up(ctx, *vendor, *market, vendor_instance_id, vendor_account_id).await?;
    let found = found.filter(|f| f.product_is_ours && f.vendor_instance_id == *vendor_instance_id);
    let found = found.ok_or_else(not_found)?;
    let same_buyer = vendor_account_id.is_empty() || *vendor_account_id == found.vendor_account_id;
    if !same_buyer || found.vendor_account_id.is_empty() || found.state == PurchaseState::Ended {
        return Err(not_found());
    }
    Ok(Some(Purchase {
        vendor: *vendor,
        market: *market,
        vendor_instance_id: found.vendor_instance_id,
        vendor_account_id: found.vendor_account_id,
        product_code: found.product_code,
        expires_at: found.expires_at,
        recorded: None,
    }))
}

/// Opens the ticket. `unannounced` is what [`prepare`] found.
///
/// Fails with `TICKET_INVALID` when the proof was used before, `PURCHASE_NOT_FOUND` when the purchase is another
/// buyer's, and `PURCHASE_ENDED`.
pub async fn run(
    tx: &Tx,
    arrival: &Arrival,
    unannounced: Option<&Purchase>,
    now: Timestamp,
) -> Result<Opened, Fault> {
    let (purchase, newly_known) = match unannounced {
        Some(found) => attach_purchase::record(tx, found, now).await?,
        None => {
            let found = subscription::lock_instance(tx, arrival.vendor, &arrival.vendor_instance_id).await?;
            (found.ok_or(Fault::new(Reason::PurchaseNotFound))?, false)
        }
    };
    if purchase.state.is_ended() {
        return Err(Fault::new(Reason::PurchaseEnded));
    }
    let known = purchase.vendor_account_id.clone().unwrap_or_default();
    if !arrival.vendor_account_id.is_empty() && arrival.vendor_account_id != known {
        return Err(Fault::new(Reason::PurchaseNotFound));
    }
    let ticket = Ticket {
        // Whoever has the ticket is the buyer, so it holds nothing that could be guessed, not even the time.
        id: LandingTicketId::from_uuid(uuid::Uuid::from_bytes(random_bytes::<16>())),
        vendor: arrival.vendor,
        market: purchase.market,
        vendor_instance_id: arrival.vendor_instance_id.clone(),
        vendor_account_id: known,
        expires_at: now + GOOD_FOR,
        claimed_at: None,
    };
    if !landing::insert(tx, &ticket, &arrival.proof_digest).await? {
        return Err(Fault::new(Reason::TicketInvalid));
    }
    Ok(Opened { ticket, already_bound: purchase.owner.is_some(), newly_known })
}
