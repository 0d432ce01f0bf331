//! Registration steps 1 and 2: makes the Console account (`domain.md` 3.1).

use jiff::Timestamp;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::verification;

use super::send_code::{Purpose, address_key};
use crate::domain::account::{Account, Company, Stage};
use crate::store;

/// A registration whose fields were checked.
#[derive(Debug, Clone)]
pub struct Registration {
    /// A site that exists.
    pub site: String,
    /// Offered as the billing account's username.
    pub username: String,
    /// An argon2id hash in PHC form.
    pub password_hash: String,
    /// As written.
    pub email: String,
    /// The mailed code.
    pub email_code: String,
    /// The phone.
    pub phone: String,
    /// The company.
    pub company: Company,
}

/// Makes the account and uses the code up.
///
/// Fails with `CODE_INVALID` and, only after the code proved the address, `EMAIL_TAKEN`.
pub async fn run(tx: &Tx, registration: Registration, now: Timestamp) -> Result<Account, Fault> {
    let address = address_key(&registration.site, &registration.email);
    verification::redeem(tx, Purpose::Register.name(), &address, &registration.email_code, now).await?;
    let account = Account {
        id: fresh(),
        site: registration.site,
        email: registration.email,
        username: registration.username,
        password_hash: registration.password_hash,
        phone: registration.phone,
        company: registration.company,
        stage: Stage::Registered,
        created_at: now,
    };
    if store::account::insert(tx, &account).await? {
        Ok(account)
    } else {
        Err(Fault::new(Reason::EmailTaken))
    }
}
