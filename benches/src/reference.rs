//! What the Console is held against: plain statements into a table of the same definition, in a schema of its own.

use anyhow::Context as _;
use sqlx::PgConnection;

use crate::points::Columns;
use crate::postgres::{number, run};

/// The columns of the table; the reference fills all of them.
const COLUMNS: &str =
    "workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start, quantity, place";

/// The plain statement of the issue: all rows as arrays, replaced by key, its own transaction.
const UPSERT: &str = "INSERT INTO reference.usage_point (workspace_id, usage_day, item, retention_days, sub_key, \
    measure, hour_start, quantity, place) \
    SELECT * FROM UNNEST($1::text[], $2::int4[], $3::int4[], $4::int4[], $5::text[], $6::int4[], $7::int8[], \
    $8::int8[], $9::int4[]) \
    ON CONFLICT (workspace_id, usage_day, item, retention_days, sub_key, measure, hour_start) \
    DO UPDATE SET quantity = excluded.quantity, place = excluded.place";

/// Makes the reference's table: columns, checks and indexes are taken from the Console's own.
pub(crate) async fn make_table(connection: &mut PgConnection) -> anyhow::Result<()> {
    let text =
        "CREATE SCHEMA reference; CREATE TABLE reference.usage_point (LIKE public.usage_point INCLUDING ALL)";
    run(connection, text).await
}

/// Writes a batch, durably.
pub(crate) async fn write(connection: &mut PgConnection, rows: &Columns) -> anyhow::Result<()> {
    let done = sqlx::query(UPSERT)
        .bind(&rows.workspace_id)
        .bind(&rows.usage_day)
        .bind(&rows.item)
        .bind(&rows.retention_days)
        .bind(&rows.sub_key)
        .bind(&rows.measure)
        .bind(&rows.hour_start)
        .bind(&rows.quantity)
        .bind(&rows.place)
        .execute(connection)
        .await
        .context("the plain statement failed")?;
    anyhow::ensure!(
        usize::try_from(done.rows_affected())? == rows.place.len(),
        "the plain statement left rows out"
    );
    Ok(())
}

/// Lets both tables start a measurement in the same shape: nothing to clean up, statistics up to date, little to flush.
pub(crate) async fn settle(connection: &mut PgConnection) -> anyhow::Result<()> {
    for text in
        ["VACUUM (ANALYZE) public.usage_point", "VACUUM (ANALYZE) reference.usage_point", "CHECKPOINT"]
    {
        run(connection, text).await?;
    }
    Ok(())
}

/// Fails unless both tables hold the same points: a side that wrote less would look faster.
pub(crate) async fn compare(connection: &mut PgConnection) -> anyhow::Result<()> {
    let kept = COLUMNS.strip_suffix(", place").unwrap_or(COLUMNS);
    for (left, right) in [("public", "reference"), ("reference", "public")] {
        let text = format!(
            "SELECT COUNT(*) FROM (SELECT {kept} FROM {left}.usage_point EXCEPT ALL SELECT {kept} FROM {right}.usage_point) AS d"
        );
        let missing = number(connection, &text).await?;
        anyhow::ensure!(missing == 0, "{missing} points are in {left}.usage_point only");
    }
    Ok(())
}
