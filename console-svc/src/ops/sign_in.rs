//! Checks an email address and password.

use secrecy::SecretString;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::password;

use super::Context;
use crate::domain::account::{Account, email_key};
use crate::store::{account, sign_in};

/// Returns the account when the password is right.
///
/// Every try is counted as failed before the password is looked at, and forgotten when it was right. An unknown account
/// costs the same work. Fails with `SIGN_IN_FAILED`, and `TOO_MANY_TRIES` after ten failures within an hour.
pub async fn run(
    context: &Context,
    site: &str,
    email: &str,
    password: SecretString,
) -> Result<Account, Fault> {
    let key = email_key(email);
    if !sign_in::begin(&context.db, site, &key, context.now()).await? {
        return Err(Fault::new(Reason::TooManyTries));
    }
    let account = account::find_by_email(&context.db.read, site, email).await?;
    let right = match &account {
        Some(account) => password::verify(&account.password_hash, password).await?,
        None => password::verify_dummy(password).await?,
    };
    match account.filter(|_| right) {
        Some(account) => {
            sign_in::clear(&context.db, site, &key).await?;
            Ok(account)
        }
        None => Err(Fault::new(Reason::SignInFailed)),
    }
}
