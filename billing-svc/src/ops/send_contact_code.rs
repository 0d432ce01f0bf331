//! Sends the two codes of changing an account's mail address or phone (`domain.md` 3.10, D18): the first to what the
//! account has now, the second, against the first, to the new one.

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::language::Language;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox::{self, Outgoing};
use tandem_service_kit::sms::{self, Sms};
use tandem_service_kit::verification::{self, Code};

use super::change_contact::taken;
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::contact::{Contact, ContactKind};
use crate::mail::{self, Letter};
use crate::store::account;

/// What the code to the present address or phone is for.
pub(super) const PRESENT: &str = "contact_present";
/// What the code to the new address or phone is for.
pub(super) const NEW: &str = "contact_new";

/// The first step: a code that was sent to what the account has now.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Where it was sent.
    pub contact: ContactKind,
    /// The six digits.
    pub code: String,
}

/// Where a code is to go.
#[derive(Debug, Clone)]
pub enum To {
    /// To what the account has now.
    Present(ContactKind),
    /// To a new address or phone, against the first step's proof.
    New(Contact, Proof),
}

/// What a code is bound to: the account, and where it was sent.
pub(super) fn address(account: &BillingAccountId, contact: &Contact) -> String {
    format!("{account} {} {}", contact.kind.name(), contact.key())
}

/// Checks the first step's code, and counts a wrong one whatever happens afterwards. It is good for ten minutes, so a
/// second step that comes later is refused.
///
/// Fails with `CODE_INVALID`, and `OBJECT_NOT_FOUND`.
pub async fn prove(
    ctx: &Context,
    account: &BillingAccountId,
    proof: &Proof,
    now: Timestamp,
) -> Result<(), Fault> {
    let found = account::find(&ctx.db.read, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let present = Contact::present(&found, proof.contact).ok_or(Fault::new(Reason::CodeInvalid))?;
    verification::check(&ctx.db, PRESENT, &address(account, &present), &proof.code, now).await
}

/// Sends the code and returns how many seconds it is good. The proof must have been checked by [`prove`].
///
/// Fails with `CODE_TOO_SOON`, `SMS_NOT_CONFIGURED` and, for a new one that is in use, `EMAIL_TAKEN` or `PHONE_TAKEN`.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    account: &BillingAccountId,
    to: &To,
    language: Language,
    now: Timestamp,
) -> Result<i32, Fault> {
    let found = account::find(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let (purpose, contact) = match to {
        To::Present(kind) => {
            let present = Contact::present(&found, *kind);
            (
                PRESENT,
                present.ok_or_else(|| Fault::field("present", "the account has no phone; use its mail"))?,
            )
        }
        To::New(contact, _) => {
            if !account::is_free(tx, found.region, contact).await? {
                return Err(Fault::new(taken(contact.kind)));
            }
            (NEW, contact.clone())
        }
    };
    if contact.kind == ContactKind::Phone && !ctx.can_text {
        return Err(Fault::new(Reason::SmsNotConfigured));
    }
    let code = verification::issue(tx, purpose, &address(account, &contact), now).await?;
    outbox::add(tx, &[message(ctx, &found, &contact, &code, language, now)], now).await?;
    Ok(i32::try_from(verification::GOOD_FOR.as_secs()).unwrap_or(i32::MAX))
}

fn message(
    ctx: &Context,
    account: &BillingAccount,
    contact: &Contact,
    code: &Code,
    language: Language,
    now: Timestamp,
) -> Outgoing {
    let minutes = i64::try_from(verification::GOOD_FOR.as_secs() / 60).unwrap_or(0);
    let key = format!("contact-code:{}:{}", account.id, now.as_microsecond());
    let about = account.id.as_str();
    match contact.kind {
        ContactKind::Email => {
            let (username, code) = (account.username.clone(), code.digits().to_owned());
            let letter = Letter::VerificationCode { username, code, minutes };
            mail::outgoing(&ctx.letterhead, &letter, &contact.value, language, about, &key)
        }
        ContactKind::Phone => {
            let text = mail::code_text(&ctx.letterhead, code.digits(), minutes, language);
            let id = mail::message_id(&ctx.letterhead, &key, &contact.value);
            sms::outgoing(&Sms { id, to: contact.value.clone(), text }, about)
        }
    }
}
