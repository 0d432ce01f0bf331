//! Billing as the gateway sees it: three calls, each within the time a vendor or a buyer waits.

use std::time::Duration;

use tandem_adapters::event::Landing;
use tandem_adapters::payment::Payment;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::marketplace_service_client::MarketplaceServiceClient;
use tandem_proto::billing::v1::payment_service_client::PaymentServiceClient;
use tandem_proto::billing::v1::standing_service_client::StandingServiceClient;
use tandem_proto::payment::PaymentChannel;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::peer::{Peer, PeerChannel, call_with_retry};
use tonic::{Request, Status};

use crate::convert;

/// Time for Billing, all tries together: vendors are answered in under three seconds (`vendors/*.md`, transport).
pub(crate) const BUDGET: Duration = Duration::from_millis(2_500);
/// Tries within the budget: the second covers a conflict or a connection lost by accident; an outage is the vendor's to
/// bridge, it calls again.
const TRIES: u32 = 2;

/// Billing.
pub(crate) struct Billing {
    peer: Peer,
}

impl Billing {
    /// Takes the peer.
    pub(crate) fn new(peer: Peer) -> Billing {
        Billing { peer }
    }

    /// Has events recorded; answers once they are durable, one outcome for each, in the same order.
    ///
    /// Fails when Billing refuses them or does not answer in time; then it is not known whether they were recorded, and
    /// they may be announced again.
    pub(crate) async fn record(
        &self,
        events: Vec<pb::AnnouncedEvent>,
    ) -> Result<Vec<pb::EventOutcome>, Status> {
        within_budget(async {
            // Where a repeat looks like a second event only Billing can tell them apart, so it must not be answered from
            // its memory of requests.
            if !events.iter().any(|event| event.key_per_state) {
                let outcomes = self.record_as(convert::content_id(&events), &events).await?;
                let applied =
                    |outcome: &pb::EventOutcome| outcome.state() == pb::MarketplaceEventState::Applied;
                if outcomes.iter().all(applied) {
                    return Ok(outcomes);
                }
                // May be the remembered answer to an earlier delivery, from before the event was applied.
            }
            self.record_as(format!("mkt_{}", fresh_uuid().simple()), &events).await
        })
        .await
    }

    async fn record_as(
        &self,
        id: String,
        events: &[pb::AnnouncedEvent],
    ) -> Result<Vec<pb::EventOutcome>, Status> {
        let message = pb::RecordMarketplaceEventsRequest { request_id: id, events: events.to_vec() };
        let answer = call_with_retry(TRIES, || {
            let (mut client, request) = (self.client(), limited(message.clone()));
            async move { client.record_marketplace_events(request).await }
        });
        let outcomes = answer.await?.outcomes;
        if outcomes.len() == events.len() {
            Ok(outcomes)
        } else {
            Err(Status::internal("Billing answered another number of events than it was told."))
        }
    }

    /// Opens a ticket for a buyer who arrived. The link counts once: a second use must not be answered from Billing's
    /// memory of the first, so each arrival is a request of its own.
    ///
    /// Fails with Billing's reason, or when it does not answer in time.
    pub(crate) async fn open_landing(&self, landing: &Landing) -> Result<pb::OpenLandingResponse, Status> {
        let message = convert::landing_to_message(landing, format!("lnd_{}", fresh_uuid().simple()));
        within_budget(call_with_retry(TRIES, || {
            let (mut client, request) = (self.client(), limited(message.clone()));
            async move { client.open_landing(request).await }
        }))
        .await
    }

    /// Opens an unlock link that somebody brought. Fails with Billing's reason, or when it does not answer in time.
    pub(crate) async fn open_unlock_link(&self, token: &str) -> Result<pb::OpenUnlockLinkResponse, Status> {
        let message = pb::OpenUnlockLinkRequest { token: token.to_owned() };
        within_budget(call_with_retry(TRIES, || {
            let (mut client, request) =
                (StandingServiceClient::new(self.peer.channel()), limited(message.clone()));
            async move { client.open_unlock_link(request).await }
        }))
        .await
    }

    /// Has a payment recorded; answers once it is durable. The same announcement is the same request.
    ///
    /// Fails when Billing refuses it or does not answer in time; then it is not known whether it was recorded.
    pub(crate) async fn record_payment(
        &self,
        channel: PaymentChannel,
        payment: &Payment,
    ) -> Result<pb::OnlinePayment, Status> {
        let message = convert::payment_to_message(channel, payment);
        let answer = within_budget(call_with_retry(TRIES, || {
            let mut client = PaymentServiceClient::new(self.peer.channel());
            let request = limited(message.clone());
            async move { client.record_payment(request).await }
        }));
        answer.await?.payment.ok_or_else(|| Status::internal("Billing answered without the payment."))
    }

    fn client(&self) -> MarketplaceServiceClient<PeerChannel> {
        MarketplaceServiceClient::new(self.peer.channel())
    }
}

/// Lets Billing stop, too, when nobody waits any more.
fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(BUDGET);
    request
}

async fn within_budget<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded("Billing did not answer in time.");
    tokio::time::timeout(BUDGET, call).await.map_err(|_| late())?
}
