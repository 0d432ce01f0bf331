//! A site's closed days, and how far their bill runs have come.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::day::UsageDay;
use tandem_service_kit::db::{StoreError, Tx};

use super::read::{self, Row, for_update, micros};

const TABLE: &str = "site_day";

/// A site's closed day.
#[derive(Debug, Clone)]
pub struct SiteDay {
    /// The site's code.
    pub site: String,
    /// The day.
    pub day: UsageDay,
    /// The instant the day ended at.
    pub ends_at: Timestamp,
    /// When it was closed.
    pub closed_at: Timestamp,
    /// The last workspace whose bill is made: account and workspace, or empty.
    pub cursor: String,
    /// When all bills were made.
    pub billed_at: Option<Timestamp>,
}

/// Whether anything is known of a site: a workspace on it, or a day of it that was closed.
pub async fn is_known(db: &impl ConnectionTrait, site: &str) -> Result<bool, StoreError> {
    let text = "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM workspace WHERE site = ?) \
                OR EXISTS (SELECT 1 FROM site_day WHERE site = ?)";
    Ok(!read::all(db, text, [site.into(), site.into()]).await?.is_empty())
}

/// Marks a day as closed, unless it is already; returns the mark.
pub async fn close(
    tx: &Tx,
    site: &str,
    day: UsageDay,
    zone: &str,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<SiteDay, StoreError> {
    let text = "INSERT INTO site_day (site, usage_day, time_zone, ends_at, closed_at, run_cursor) \
                VALUES (?, ?, ?, ?, ?, '') ON CONFLICT (site, usage_day) DO NOTHING";
    tx.run(text, [site.into(), day.number().into(), zone.into(), micros(ends_at), micros(now)]).await?;
    find(tx, site, day).await?.ok_or(StoreError::Corrupt { table: TABLE, column: "usage_day" })
}

/// Finds a closed day.
pub async fn find(
    db: &impl ConnectionTrait,
    site: &str,
    day: UsageDay,
) -> Result<Option<SiteDay>, StoreError> {
    let text = "SELECT * FROM site_day WHERE site = ? AND usage_day = ?";
    read::one(db, text, [site.into(), day.number().into()]).await?.as_ref().map(site_day).transpose()
}

/// Reads a closed day and locks it: one run at a time.
pub async fn lock(tx: &Tx, site: &str, day: UsageDay) -> Result<Option<SiteDay>, StoreError> {
    let text = format!("SELECT * FROM site_day WHERE site = ? AND usage_day = ?{}", for_update(tx));
    read::one(tx, &text, [site.into(), day.number().into()]).await?.as_ref().map(site_day).transpose()
}

/// The closed days that ended by `due` and are not billed to the end, oldest first.
///
/// A day comes only after every earlier day of its site, so that adjustments find the bills they adjust.
pub async fn open(db: &impl ConnectionTrait, due: Timestamp, limit: i64) -> Result<Vec<SiteDay>, StoreError> {
    let text =
        "SELECT * FROM site_day WHERE billed_at IS NULL AND ends_at <= ? ORDER BY usage_day, site LIMIT ?";
    read::all(db, text, [micros(due), limit.into()]).await?.iter().map(site_day).collect()
}

/// A site's closed days up to one that are not billed to the end, oldest first.
pub async fn open_until(
    db: &impl ConnectionTrait,
    site: &str,
    day: UsageDay,
) -> Result<Vec<UsageDay>, StoreError> {
    let text = "SELECT usage_day FROM site_day WHERE site = ? AND usage_day <= ? AND billed_at IS NULL ORDER BY usage_day";
    let rows = read::all(db, text, [site.into(), day.number().into()]).await?;
    rows.iter().map(|row| Row(row, TABLE).day("usage_day")).collect()
}

/// The sites whose days are all billed up to a day, and that day or a later one is.
pub async fn billed_through(db: &impl ConnectionTrait, day: UsageDay) -> Result<Vec<String>, StoreError> {
    let text = "SELECT DISTINCT s.site FROM site_day s WHERE s.usage_day >= ? AND s.billed_at IS NOT NULL \
                AND NOT EXISTS (SELECT 1 FROM site_day o WHERE o.site = s.site AND o.usage_day <= ? \
                AND o.billed_at IS NULL) ORDER BY s.site";
    let rows = read::all(db, text, [day.number().into(), day.number().into()]).await?;
    rows.iter().map(|row| Row(row, TABLE).text("site")).collect()
}

/// The sites that workspaces bound before an instant are on.
pub async fn sites_in_use(
    db: &impl ConnectionTrait,
    bound_before: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let text = "SELECT DISTINCT site FROM workspace WHERE bound_at < ? ORDER BY site";
    let rows = read::all(db, text, [micros(bound_before)]).await?;
    rows.iter().map(|row| Row(row, "workspace").text("site")).collect()
}

/// Notes how far a run has come, and when it is done.
pub async fn save_progress(
    tx: &Tx,
    site: &str,
    day: UsageDay,
    cursor: &str,
    billed_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let text = "UPDATE site_day SET run_cursor = ?, billed_at = ? WHERE site = ? AND usage_day = ?";
    tx.run(text, [cursor.into(), read::maybe_micros(billed_at), site.into(), day.number().into()]).await?;
    Ok(())
}

fn site_day(row: &QueryResult) -> Result<SiteDay, StoreError> {
    let row = Row(row, TABLE);
    Ok(SiteDay {
        site: row.text("site")?,
        day: row.day("usage_day")?,
        ends_at: row.time("ends_at")?,
        closed_at: row.time("closed_at")?,
        cursor: row.text("run_cursor")?,
        billed_at: row.maybe_time("billed_at")?,
    })
}
