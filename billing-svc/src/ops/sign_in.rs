//! Checks a login name and password (`domain.md` 2.4).

use jiff::Timestamp;
use secrecy::SecretString;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::password;

use super::create_account::plain_phone;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::store::{account, failed_try};

/// Failures within an hour after which nobody may try any more.
const FAILURES_MAX: i64 = 10;

/// What the tries at an account are counted by.
pub(super) fn subject(account: &BillingAccountId) -> String {
    format!("sign_in:{account}")
}

/// Signs in by username, email or phone; unknown names cost what known ones cost.
///
/// Fails with `SIGN_IN_FAILED` without telling which of the two is wrong, and with `TOO_MANY_TRIES`.
pub async fn run(
    ctx: &Context,
    region: BillingRegion,
    login_name: &str,
    password: SecretString,
    now: Timestamp,
) -> Result<BillingAccount, Fault> {
    let name = login_name.trim();
    let is_phone = name.starts_with(|c: char| c == '+' || c.is_ascii_digit());
    let name = if is_phone { plain_phone(name).unwrap_or_default() } else { account::key(name) };
    let found = account::find_login(&ctx.db.read, region, &name).await?;
    // Whatever the name it was tried by, an account has one count.
    let subject = match &found {
        Some((account, _)) => subject(&account.id),
        None => format!("sign_in:{}:{name}", region.name()),
    };
    let attempt = failed_try::begin(&ctx.db, &subject, FAILURES_MAX, now).await?;
    let right = match &found {
        Some((_, hash)) => password::verify(hash, password).await,
        None => password::verify_dummy(password).await,
    };
    match (right, found) {
        (Ok(true), Some((account, _))) => {
            attempt.succeed(&ctx.db).await?;
            Ok(account)
        }
        (Ok(_), _) => Err(Fault::new(Reason::SignInFailed)),
        (Err(fault), _) => {
            attempt.take_back(&ctx.db).await?;
            Err(fault)
        }
    }
}
