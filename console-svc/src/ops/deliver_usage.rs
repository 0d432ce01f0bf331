//! Tells Billing what changed, oldest day first (design section 5.2).
//!
//! Revisions converge: repeating a delivery, or delivering from two replicas, changes nothing.

use opentelemetry::KeyValue;
use tandem_proto::billing::v1::usage_service_client::UsageServiceClient;
use tandem_proto::billing::v1::{DeliverUsageRequest, DeliveredUsage};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::StoreError;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::lease::after;
use tandem_service_kit::peer::{self, call_with_retry};

use super::Context;
use crate::domain::usage_day::UsageDay;
use crate::store::usage_total::{self, Refused, Total};

/// Quantities in one delivery.
const BATCH: u32 = 1_000;
/// Tries of one delivery; the worker comes again anyway.
const TRIES: u32 = 3;
/// When a refused quantity is tried again: a binding may be on its way.
const RETRY_REFUSED: std::time::Duration = std::time::Duration::from_secs(600);

/// Delivers one batch; returns how many quantities were in it. `site` limits it to a site's days up to one.
///
/// Fails when Billing is away; nothing is lost, everything stays undelivered.
pub async fn some(context: &Context, site: Option<(&str, UsageDay)>) -> Result<usize, Fault> {
    let now = context.now();
    let totals = usage_total::undelivered(&context.db.read, site, now, BATCH).await?;
    if totals.is_empty() {
        return Ok(0);
    }
    let usage = totals.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    // Made anew for each delivery: what was refused before has to be judged again, not answered from a store.
    let request = DeliverUsageRequest { request_id: format!("deliver.{}", fresh_uuid().simple()), usage };
    let client = UsageServiceClient::new(context.billing.clone());
    let call = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.deliver_usage(request).await }
    };
    let answer = call_with_retry(TRIES, call).await.map_err(|status| peer::fault(&status))?;
    let mut results: Vec<(&Total, Option<Refused<'_>>)> = totals.iter().map(|total| (total, None)).collect();
    for refused in &answer.refused {
        let place = usize::try_from(refused.index).ok().and_then(|index| results.get_mut(index));
        let (total, result) = place.ok_or(Fault::new(Reason::Internal))?;
        let retry_at = Some(after(now, RETRY_REFUSED));
        tracing::error!(
            workspace.id = total.key.workspace_id,
            usage_day = total.key.usage_day,
            item = total.key.item.name(),
            reason = refused.reason,
            "Billing refused a daily quantity; it is kept"
        );
        context.meters.delivered.add(1, &[KeyValue::new("outcome", refused.reason.clone())]);
        *result = Some(Refused { reason: &refused.reason, retry_at });
    }
    let tx = context.db.begin().await?;
    usage_total::settle(&tx, &results).await?;
    tx.commit().await?;
    let taken = u64::try_from(answer.taken_count).unwrap_or(0);
    context.meters.delivered.add(taken, &[KeyValue::new("outcome", "taken")]);
    Ok(totals.len())
}

fn message(total: &Total) -> Result<DeliveredUsage, StoreError> {
    let corrupt = StoreError::Corrupt { table: "usage_total", column: "usage_day" };
    Ok(DeliveredUsage {
        workspace_id: total.key.workspace_id.clone(),
        usage_day: UsageDay::from_number(total.key.usage_day).map_err(|_| corrupt)?.to_string(),
        item: i32::from(total.key.item.number()),
        retention_days: i32::from(total.key.retention_days),
        sub_key: total.key.sub_key.clone(),
        quantity_hundredths: total.quantity.hundredths,
        revision: total.revision,
    })
}
