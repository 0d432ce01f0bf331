//! Deletes what is no longer needed, a bounded number at a time.

use std::time::Duration;

use tandem_service_kit::worker::spawn_loop;
use tandem_service_kit::{outbox, request_log, verification};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ops::Context;
use crate::ops::activation::{ACTIVATE, UPGRADE};
use crate::store::sign_in;

/// Answers that are never deleted: they made somebody pay.
const KEPT: [&str; 2] = [ACTIVATE, UPGRADE];
/// How often to look; what is due is then deleted batch by batch without waiting.
const EVERY: Duration = Duration::from_secs(600);

pub(super) fn spawn(context: &Context, shutdown: &CancellationToken) -> JoinHandle<()> {
    let context = context.clone();
    spawn_loop("tidy", context.clock.clone(), EVERY, None, shutdown.clone(), move || {
        let context = context.clone();
        async move {
            let now = context.now();
            let answers = request_log::purge(&context.db.write, now, now, &KEPT).await?;
            let messages = outbox::purge(&context.db.write, now, now).await?;
            let tries = sign_in::purge(&context.db, now).await?;
            let codes = verification::purge(&context.db, now).await?;
            let total = answers.saturating_add(messages).saturating_add(tries).saturating_add(codes);
            Ok::<_, tandem_service_kit::db::StoreError>(usize::try_from(total).unwrap_or(usize::MAX))
        }
    })
}
