//! Sets a new password, proved by a mailed code. The billing account's password is another one and stays.

use jiff::Timestamp;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::verification;

use super::send_code::{Purpose, address_key};
use crate::domain::account::Account;
use crate::store;

/// Uses the code up and replaces the password. Fails with `CODE_INVALID`.
pub async fn run(
    tx: &Tx,
    account: &Account,
    code: &str,
    password_hash: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let address = address_key(&account.site, &account.email);
    verification::redeem(tx, Purpose::ChangePassword.name(), &address, code, now).await?;
    if store::account::set_password(tx, &account.id, password_hash).await? {
        Ok(())
    } else {
        Err(Fault::new(Reason::ObjectNotFound))
    }
}
