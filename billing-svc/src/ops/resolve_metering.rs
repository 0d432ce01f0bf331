//! Decides a metering record that waits for an operator (`domain.md` D15).

use jiff::Timestamp;
use tandem_proto::ids::MeteringRecordId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;

use super::settle_bills;
use crate::context::Context;
use crate::domain::metering::State;
use crate::store::metering::{self, MeteringRecord};
use crate::store::{account, metering_queue};

/// What an operator found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The vendor's bill shows that it was taken.
    Accepted,
    /// The vendor does not have it.
    BillingCenter,
}

/// Decides the record and settles its bills accordingly.
///
/// Fails with `OBJECT_NOT_FOUND`, and with `RECORD_NOT_RESOLVABLE` unless the record is unknown or was refused: the
/// bills of an expired one have been settled by the Billing Center already.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    id: &MeteringRecordId,
    resolution: Resolution,
    note: &str,
    now: Timestamp,
) -> Result<MeteringRecord, Fault> {
    let not_found = || Fault::new(Reason::ObjectNotFound);
    let found = metering_queue::find(tx, id).await?.ok_or_else(not_found)?;
    account::lock(tx, &found.billing_account).await?;
    let record = metering::lock(tx, std::slice::from_ref(id)).await?.pop().ok_or_else(not_found)?;
    if !matches!(record.state, State::Unknown | State::Refused) {
        return Err(Fault::new(Reason::RecordNotResolvable));
    }
    let state = match resolution {
        Resolution::Accepted => State::Accepted,
        Resolution::BillingCenter => State::Moved,
    };
    let decided = MeteringRecord { state, note: note.to_owned(), decided_at: Some(now), ..record };
    metering::save_state(tx, &decided).await?;
    match resolution {
        Resolution::Accepted => settle_bills::accepted(tx, &decided, now).await?,
        Resolution::BillingCenter => settle_bills::move_to_billing_center(tx, ctx, &decided, now).await?,
    }
    Ok(decided)
}
