//! Goes on with activations and upgrades whose outcome at Billing is open.

use std::sync::Arc;
use std::time::Duration;

use tandem_service_kit::worker::spawn_loop;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ops::{Context, activation};
use crate::store::pending_activation;

/// How often to look when nothing wakes the loop.
const EVERY: Duration = Duration::from_secs(1);
/// Activations resumed in one round: each may take as long as a call to Billing.
const BATCH: u32 = 4;

pub(super) fn spawn(context: &Context, shutdown: &CancellationToken) -> JoinHandle<()> {
    let context = context.clone();
    let (clock, wake) = (context.clock.clone(), Arc::clone(&context.resume));
    spawn_loop("resume-activations", clock, EVERY, Some(wake), shutdown.clone(), move || {
        let context = context.clone();
        async move {
            let due = pending_activation::due(&context.db.read, context.now(), BATCH).await?;
            let mut finished = 0;
            for pending in &due {
                // A refusal ends it and an open outcome postpones it. One that stays due, because it could not even be
                // postponed, waits for the next round.
                match activation::resume(&context, pending).await {
                    Ok(()) => {
                        finished += 1;
                        tracing::info!(workspace.id = %pending.workspace_id, "finished an activation");
                    }
                    Err(fault) => tracing::info!(
                        workspace.id = %pending.workspace_id, reason = fault.reason.name(), "an activation did not finish"
                    ),
                }
            }
            Ok::<_, tandem_service_kit::db::StoreError>(finished)
        }
    })
}
