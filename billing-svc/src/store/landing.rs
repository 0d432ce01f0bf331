//! Landing tickets: a buyer who came from a market with a proof, and what for.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, QueryResult};
use tandem_proto::ids::LandingTicketId;
use tandem_proto::settlement::Market;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::db::{StoreError, Tx};

use super::read::{self, Row, micros};

const TABLE: &str = "landing_ticket";

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Cannot be guessed: whoever has it is the buyer.
    pub id: LandingTicketId,
    /// The cloud.
    pub vendor: Vendor,
    /// Which of its markets.
    pub market: Market,
    /// The purchase's number there.
    pub vendor_instance_id: String,
    /// The buyer's number there.
    pub vendor_account_id: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// When it was used.
    pub claimed_at: Option<Timestamp>,
}

/// Adds a ticket for a proof; `false` when the proof was used before.
pub async fn insert(tx: &Tx, t: &Ticket, proof_digest: &str) -> Result<bool, StoreError> {
    let text = "INSERT INTO landing_ticket (id, vendor, market, vendor_instance_id, vendor_account_id, proof_digest, \
                expires_at, claimed_at) VALUES (?, ?, ?, ?, ?, ?, ?, NULL) ON CONFLICT (proof_digest) DO NOTHING";
    let values = [
        t.id.as_str().into(),
        t.vendor.name().into(),
        t.market.name().into(),
        t.vendor_instance_id.as_str().into(),
        t.vendor_account_id.as_str().into(),
        proof_digest.into(),
        micros(t.expires_at),
    ];
    Ok(tx.run(text, values).await? == 1)
}

/// Finds a ticket.
pub async fn find(db: &impl ConnectionTrait, id: &LandingTicketId) -> Result<Option<Ticket>, StoreError> {
    let text = "SELECT * FROM landing_ticket WHERE id = ?";
    read::one(db, text, [id.as_str().into()]).await?.as_ref().map(ticket).transpose()
}

/// Uses a ticket up; `false` when it is used or expired.
pub async fn claim(tx: &Tx, id: &LandingTicketId, now: Timestamp) -> Result<bool, StoreError> {
    let text =
        "UPDATE landing_ticket SET claimed_at = ? WHERE id = ? AND claimed_at IS NULL AND expires_at > ?";
    Ok(tx.run(text, [micros(now), id.as_str().into(), micros(now)]).await? == 1)
}

fn ticket(row: &QueryResult) -> Result<Ticket, StoreError> {
    let row = Row(row, TABLE);
    Ok(Ticket {
        id: row.parse("id")?,
        vendor: row.parse("vendor")?,
        market: row.parse("market")?,
        vendor_instance_id: row.text("vendor_instance_id")?,
        vendor_account_id: row.text("vendor_account_id")?,
        expires_at: row.time("expires_at")?,
        claimed_at: row.maybe_time("claimed_at")?,
    })
}
