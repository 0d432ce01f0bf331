//! Closes a site's usage days: delivers what is left of them, then marks them closed at Billing (`domain.md` 4.1, D17).
//!
//! Days are closed one after the other, each once and none left out, however long the process was away or however far
//! the clock jumped: the last closed day is kept, and the next one follows it.

use jiff::{SignedDuration, Timestamp};
use opentelemetry::KeyValue;
use tandem_proto::billing::v1::CloseUsageDayRequest;
use tandem_proto::billing::v1::usage_service_client::UsageServiceClient;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::peer::{self, call_with_retry};

use super::{Context, deliver_usage, roll_up};
use crate::domain::site::Site;
use crate::domain::usage_day::{NotADay, UsageDay};
use crate::store::site_day;
use crate::store::usage_total::Scope;

/// Tries of one call.
const TRIES: u32 = 3;

/// Closes the next day of a site that is over since the grace; `false` when there is none.
///
/// A site's first day is the one of its first charged hour.
pub async fn next(context: &Context, site: &Site) -> Result<bool, Fault> {
    let Some(day) = next_day(context, site).await? else { return Ok(false) };
    let grace = SignedDuration::from_secs(i64::from(context.usage.close_grace_secs));
    if !is_over(day, site, context.now(), grace)? {
        return Ok(false);
    }
    close(context, site, day, true).await?;
    Ok(true)
}

/// Closes a site's days up to `day` at once, without grace; returns how many quantities were delivered.
///
/// Fails with `DAY_NOT_OVER` and, when Billing is away, `PEER_UNAVAILABLE`.
pub async fn up_to(context: &Context, site: &Site, day: UsageDay) -> Result<i64, Fault> {
    if !is_over(day, site, context.now(), SignedDuration::ZERO)? {
        return Err(Fault::new(Reason::DayNotOver));
    }
    let mut delivered = 0_i64;
    let mut closed_it = false;
    while let Some(next) = next_day(context, site).await?.filter(|next| *next <= day) {
        delivered = delivered.saturating_add(close(context, site, next, true).await?);
        closed_it = next == day;
    }
    if !closed_it {
        // Closed before, or before anything was charged here: what is late is delivered all the same.
        delivered = delivered.saturating_add(close(context, site, day, false).await?);
    }
    Ok(delivered)
}

async fn next_day(context: &Context, site: &Site) -> Result<Option<UsageDay>, Fault> {
    // From the primary: another replica may have closed a day this moment.
    let db = &context.db.write;
    if let Some(last) = site_day::last_closed(db, &site.code).await? {
        return Ok(Some(last.plus(1).map_err(out_of_range)?));
    }
    let first = site_day::first_charge(db, &site.code).await?;
    Ok(first.map(|first| UsageDay::of(first, &site.zone)))
}

fn is_over(day: UsageDay, site: &Site, now: Timestamp, grace: SignedDuration) -> Result<bool, Fault> {
    let end = day.end(&site.zone).map_err(out_of_range)?;
    Ok(end.saturating_add(grace).unwrap_or(Timestamp::MAX) <= now)
}

/// Rolls up, delivers and closes. Every part may be repeated after a crash in between.
async fn close(context: &Context, site: &Site, day: UsageDay, record: bool) -> Result<i64, Fault> {
    roll_up::all(&context.db, Scope::Site(&site.code, day)).await?;
    let mut delivered = 0_i64;
    loop {
        match deliver_usage::some(context, Some((&site.code, day))).await.map_err(away)? {
            0 => break,
            count => delivered = delivered.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)),
        }
    }
    let request = CloseUsageDayRequest {
        // The same for every repetition, also from another replica.
        request_id: format!("close.{}.{day}.{}", site.code, site.time_zone),
        site: site.code.clone(),
        usage_day: day.to_string(),
        time_zone: site.time_zone.clone(),
    };
    let client = UsageServiceClient::new(context.billing.clone());
    let call = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.close_usage_day(request).await }
    };
    call_with_retry(TRIES, call).await.map_err(|status| away(peer::fault(&status)))?;
    if record {
        site_day::record(&context.db.write, &site.code, day, delivered, context.now()).await?;
        context.meters.days_closed.add(1, &[KeyValue::new("site", site.code.clone())]);
        tracing::info!(site = site.code, usage_day = %day, delivered, "closed day {day} of site {}", site.code);
    }
    Ok(delivered)
}

/// Whatever keeps Billing from answering is one thing to the caller.
fn away(fault: Fault) -> Fault {
    match fault.reason {
        Reason::StorageUnavailable | Reason::Overloaded | Reason::Conflict => {
            Fault::new(Reason::PeerUnavailable)
        }
        _ => fault,
    }
}

fn out_of_range(_: NotADay) -> Fault {
    Fault::field("usage_day", "must lie within the calendar")
}
