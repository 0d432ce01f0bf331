//! Follows Billing's event feed from where it was left.

use std::time::Duration;

use tandem_proto::billing::v1::StreamEventsRequest;
use tandem_proto::billing::v1::event_service_client::EventServiceClient;
use tandem_service_kit::fresh::jittered;
use tandem_service_kit::peer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ops::{Context, apply_events};
use crate::store;

/// The first wait after a break; it doubles up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_millis(200);
/// The longest wait: the copy of a standing is at most some seconds old once Billing is back.
const WAIT_MAX: Duration = Duration::from_secs(3);

pub(super) fn spawn(context: &Context, shutdown: &CancellationToken) -> JoinHandle<()> {
    let (context, shutdown) = (context.clone(), shutdown.clone());
    tokio::spawn(async move {
        let mut wait = WAIT;
        loop {
            let mut followed = false;
            tokio::select! {
                () = shutdown.cancelled() => return,
                reason = follow(&context, &mut followed) => {
                    tracing::warn!(reason, "the event feed broke off; following it again");
                }
            }
            wait = if followed { WAIT } else { (wait * 2).min(WAIT_MAX) };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(jittered(wait)) => {}
            }
        }
    })
}

/// Follows until it breaks, and says why. Every replica follows: events are applied by their revision, so often is as
/// good as once. Being cancelled in the middle loses nothing, because the cursor moves with the effect.
async fn follow(context: &Context, followed: &mut bool) -> &'static str {
    let after_position = match store::feed::position(&context.db.write).await {
        Ok(position) => position,
        Err(_) => return "the cursor cannot be read",
    };
    let mut client = EventServiceClient::new(context.billing.clone());
    let mut stream = match client.stream_events(StreamEventsRequest { after_position }).await {
        Ok(response) => response.into_inner(),
        Err(status) => return peer::fault(&status).reason.name(),
    };
    loop {
        match stream.message().await {
            Ok(Some(batch)) => {
                if apply_events::run(&context.db, &batch.events, context.now()).await.is_err() {
                    return "events cannot be stored";
                }
                *followed = true;
            }
            Ok(None) => return "Billing ended the stream",
            Err(status) => return peer::fault(&status).reason.name(),
        }
    }
}
