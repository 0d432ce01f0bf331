//! A buyer arrives in the browser with a link that the vendor signed: one ticket for one link.

use tandem_adapters::delivery::Outcome;
use tandem_adapters::event::Landing;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_service_kit::validate;
use tonic::Status;
use tracing::{error, warn};

use crate::Gateway;
use crate::markets::Served;
use crate::pages::Page;
use crate::status;

/// Opens a landing ticket and says what the buyer sees.
pub(crate) async fn open(gateway: &Gateway, served: &Served, landing: &Landing) -> Page {
    let Ok(_place) = served.inbound.try_acquire() else {
        gateway.meters.shed("inbound");
        warn!("turned a buyer away: as many deliveries as allowed are with Billing");
        return Page::TryLater;
    };
    match gateway.billing.open_landing(landing).await {
        Err(status) => refusal(gateway, served, &status),
        Ok(opened) => match validate::timestamp("expire_time", opened.expire_time) {
            Ok(valid_until) => {
                let already_bound = opened.already_bound;
                Page::Arrived { ticket: opened.landing_ticket, valid_until, already_bound }
            }
            Err(fault) => {
                error!(error = %fault, "Billing opened a ticket without an end");
                Page::TryLater
            }
        },
    }
}

fn refusal(gateway: &Gateway, served: &Served, status: &Status) -> Page {
    match reason_of(status) {
        Some(Reason::TicketInvalid) => Page::LinkUsed,
        Some(Reason::PurchaseNotFound) => Page::PurchaseUnknown,
        Some(Reason::PurchasePending) => Page::PurchasePending,
        Some(Reason::PurchaseSuspended) => Page::PurchaseSuspended,
        Some(Reason::PurchaseEnded | Reason::SubscriptionEnded) => Page::PurchaseEnded,
        _ => {
            if let Outcome::Refused { .. } = status::outcome_of(status) {
                gateway.meters.alarm(served, "landing_refused");
            }
            Page::TryLater
        }
    }
}
