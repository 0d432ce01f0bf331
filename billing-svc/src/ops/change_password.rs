//! Sets a billing account's password, proved by the present one or, when that is forgotten, by a mailed code
//! (`domain.md` 2.4, 3.10). The Console's password is another one and stays.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::{outbox, password, verification};

use super::send_code::{self, Purpose};
use super::sign_in;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::mail::{self, Letter};
use crate::store::{account, failed_try};

/// How a caller shows that the account is theirs.
pub enum Proof {
    /// The password as it is now.
    Current(SecretString),
    /// The six digits.
    Code(String),
}

/// A change that may be made: proved, and the new password hashed.
pub struct Proved {
    account: BillingAccountId,
    code: Option<String>,
    password_hash: String,
}

/// Checks the proof and hashes the new password; slow on purpose, so done before the transaction. Wrong tries count
/// whatever happens afterwards.
///
/// Fails with `CODE_INVALID` or `SIGN_IN_FAILED`, also for an unknown username, and with `TOO_MANY_TRIES`.
pub async fn prove(
    ctx: &Context,
    region: BillingRegion,
    username: &str,
    proof: Proof,
    new: SecretString,
    now: Timestamp,
) -> Result<Proved, Fault> {
    password::check_policy(new.expose_secret()).map_err(named)?;
    let found = account::find_by_username(&ctx.db.read, region, username).await?;
    let (account, code) = match (proof, found) {
        (Proof::Current(current), Some(found)) => {
            sign_in::run(ctx, region, &found.username, current, now).await?;
            (found.id, None)
        }
        (Proof::Current(current), None) => {
            // Costs what a known name costs, and counts.
            sign_in::run(ctx, region, username, current, now).await?;
            return Err(Fault::new(Reason::SignInFailed));
        }
        (Proof::Code(code), Some(found)) => {
            let (purpose, address) = (Purpose::Password.name(), send_code::address(&found));
            verification::check(&ctx.db, purpose, &address, &code, now).await?;
            (found.id, Some(code))
        }
        (Proof::Code(_), None) => return Err(Fault::new(Reason::CodeInvalid)),
    };
    Ok(Proved { account, code, password_hash: password::hash(new).await? })
}

/// The policy names the field as it is called here.
fn named(mut fault: Fault) -> Fault {
    fault.fields.iter_mut().for_each(|(name, _)| "new_password".clone_into(name));
    fault
}

/// Uses the code up, if there is one, replaces the password and tells the account by mail. Failed tries to sign in are
/// forgotten: whoever is proved to be the holder need not wait for somebody else's guesses. Locks the account.
pub async fn run(tx: &Tx, ctx: &Context, proved: &Proved, now: Timestamp) -> Result<BillingAccount, Fault> {
    let found = account::lock(tx, &proved.account).await?.ok_or(Fault::new(Reason::CodeInvalid))?;
    if let Some(code) = &proved.code {
        let (purpose, address) = (Purpose::Password.name(), send_code::address(&found));
        verification::redeem(tx, purpose, &address, code, now).await?;
    }
    account::save_password(tx, &found.id, &proved.password_hash).await?;
    failed_try::forget(tx, &sign_in::subject(&found.id)).await?;
    let letter = Letter::PasswordChanged { username: found.username.clone() };
    let key = format!("password:{}:{}", found.id, now.as_microsecond());
    let about = found.id.as_str();
    let mail = mail::outgoing(&ctx.letterhead, &letter, &found.email, found.language, about, &key);
    outbox::add(tx, &[mail], now).await?;
    Ok(found)
}
