//! How far Billing's feed has been followed.

use sea_orm::ConnectionTrait;
use tandem_service_kit::db::{StoreError, get, statement};

/// The one feed there is.
const BILLING: &str = "billing";

/// The position of the last event that was dealt with; 0 when there was none.
pub async fn position(db: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let text = "SELECT position FROM feed_cursor WHERE feed = ?";
    let row = db.query_one_raw(statement(db.get_database_backend(), text, [BILLING.into()])).await?;
    row.map_or(Ok(0), |row| get(&row, "feed_cursor", "position"))
}

/// Moves the cursor forward; it never goes back.
pub async fn advance(tx: &impl ConnectionTrait, position: i64) -> Result<(), StoreError> {
    let text = "INSERT INTO feed_cursor (feed, position) VALUES (?, ?) \
                ON CONFLICT (feed) DO UPDATE SET position = excluded.position \
                WHERE feed_cursor.position < excluded.position";
    tx.execute_raw(statement(tx.get_database_backend(), text, [BILLING.into(), position.into()])).await?;
    Ok(())
}
