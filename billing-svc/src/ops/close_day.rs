//! Marks a site's usage day as complete, so that it may be billed.

use jiff::Timestamp;
use tandem_proto::day::{UsageDay, zone};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use crate::store::site_day::{self, SiteDay};

/// Closes a day; closing it again returns the first mark.
///
/// Fails with `DAY_NOT_OVER` before the day's midnight in the zone.
pub async fn close_day(
    tx: &Tx,
    site: &str,
    day: UsageDay,
    zone_name: &str,
    now: Timestamp,
) -> Result<SiteDay, Fault> {
    let zone = zone(zone_name)
        .ok_or_else(|| Fault::field("time_zone", "must be an IANA zone such as Asia/Shanghai"))?;
    let ends_at = day.end(&zone);
    if ends_at > now {
        return Err(Fault::new(Reason::DayNotOver).with("ends_at", ends_at.to_string()));
    }
    Ok(site_day::close(tx, site, day, zone_name, ends_at, now).await?)
}
