//! Keeps where invoices are sent (`domain.md` 2.10).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, DeliveryAddressId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;

use crate::domain::invoice::Address;
use crate::store::account;
use crate::store::invoice_profile::{self, StoredAddress};

/// Most addresses of an account: as many as somebody chooses from.
const ADDRESSES_MAX: i64 = 100;

/// Adds an address. Fails with `OBJECT_NOT_FOUND`, `LIMIT_REACHED` and, without any way to send, `INVALID_FIELD`.
pub async fn create(
    tx: &Tx,
    account: &BillingAccountId,
    address: Address,
    now: Timestamp,
) -> Result<StoredAddress, Fault> {
    account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    reachable(&address)?;
    if invoice_profile::count_addresses(tx, account).await? >= ADDRESSES_MAX {
        return Err(Reason::LimitReached.into());
    }
    let stored = StoredAddress { id: fresh(), address, created_at: now };
    invoice_profile::save_address(tx, account, &stored).await?;
    Ok(stored)
}

/// Replaces what an address says. Fails like [`create`].
pub async fn update(
    tx: &Tx,
    account: &BillingAccountId,
    id: &DeliveryAddressId,
    address: Address,
) -> Result<StoredAddress, Fault> {
    account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    reachable(&address)?;
    let found =
        invoice_profile::find_address(tx, account, id).await?.ok_or(Fault::not_found("address.id"))?;
    let stored = StoredAddress { address, ..found };
    invoice_profile::save_address(tx, account, &stored).await?;
    Ok(stored)
}

/// Deletes an address. Fails with `OBJECT_NOT_FOUND`.
pub async fn delete(tx: &Tx, account: &BillingAccountId, id: &DeliveryAddressId) -> Result<(), Fault> {
    account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let deleted = invoice_profile::delete_address(tx, account, id).await?;
    if deleted { Ok(()) } else { Err(Fault::not_found("address_id")) }
}

fn reachable(address: &Address) -> Result<(), Fault> {
    if address.email.is_empty() && address.postal.is_empty() {
        return Err(Fault::field("address.email", "an email address or a postal address is required"));
    }
    Ok(())
}
