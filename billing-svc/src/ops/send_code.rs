//! Mails a code that proves control of a billing account (`domain.md` 3.3, D18).

use jiff::Timestamp;
use tandem_proto::language::Language;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::{outbox, verification};

use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::mail::{self, Letter};
use crate::store::account;

/// What the codes that prove an account are for.
pub const PURPOSE: &str = "billing_account_proof";

/// What a code is for; it is good for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves the account.
    Account,
    /// Sets a new password.
    Password,
}

impl Purpose {
    /// The purpose's name.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Account => PURPOSE,
            Purpose::Password => "billing_account_password",
        }
    }
}

/// What a code for an account is bound to: the account and the address it was mailed to.
pub fn address(account: &BillingAccount) -> String {
    format!("{} {}", account.id, account::key(&account.email))
}

/// Sends the code and returns how many seconds it is good.
///
/// Does the same for an unknown username, except that no mail leaves, so that usernames cannot be probed. Fails with
/// `CODE_TOO_SOON`.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    region: BillingRegion,
    username: &str,
    purpose: Purpose,
    language: Language,
    now: Timestamp,
) -> Result<i32, Fault> {
    let found = account::find_by_username(tx, region, username).await?;
    let address = match &found {
        Some(account) => address(account),
        None => format!("nobody {} {}", region.name(), account::key(username)),
    };
    let code = verification::issue(tx, purpose.name(), &address, now).await?;
    if let Some(account) = found {
        let minutes = i64::try_from(verification::GOOD_FOR.as_secs() / 60).unwrap_or(0);
        let letter = Letter::VerificationCode {
            username: account.username.clone(),
            code: code.digits().to_owned(),
            minutes,
        };
        let key = format!("code:{}:{}:{}", purpose.name(), account.id, now.as_microsecond());
        let mail =
            mail::outgoing(&ctx.letterhead, &letter, &account.email, language, account.id.as_str(), &key);
        outbox::add(tx, &[mail], now).await?;
    }
    Ok(i32::try_from(verification::GOOD_FOR.as_secs()).unwrap_or(i32::MAX))
}
