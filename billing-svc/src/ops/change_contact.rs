//! Replaces an account's mail address or phone, proved by two codes (`domain.md` 3.10). The username never changes.

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::{outbox, verification};

use super::send_contact_code::{NEW, PRESENT, Proof, address, prove};
use crate::context::Context;
use crate::domain::account::BillingAccount;
use crate::domain::contact::{Contact, ContactKind};
use crate::mail::{self, Letter};
use crate::store::account;

/// What is to be changed, with both proofs.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The account.
    pub account: BillingAccountId,
    /// The first step.
    pub proof: Proof,
    /// The new address or phone.
    pub contact: Contact,
    /// The code sent to it.
    pub code: String,
}

/// Why a new address or phone that is in use is refused.
pub(super) fn taken(kind: ContactKind) -> Reason {
    match kind {
        ContactKind::Email => Reason::EmailTaken,
        ContactKind::Phone => Reason::PhoneTaken,
    }
}

/// Checks both codes, and counts wrong ones whatever happens afterwards. Fails with `CODE_INVALID`.
pub async fn check(ctx: &Context, wish: &Wish, now: Timestamp) -> Result<(), Fault> {
    prove(ctx, &wish.account, &wish.proof, now).await?;
    let new = address(&wish.account, &wish.contact);
    verification::check(&ctx.db, NEW, &new, &wish.code, now).await
}

/// Replaces it, and tells the address that mails went to until now. Locks the account.
///
/// Fails with `CODE_INVALID`, `EMAIL_TAKEN`, `PHONE_TAKEN`; the caller rolls back then.
pub async fn run(tx: &Tx, ctx: &Context, wish: &Wish, now: Timestamp) -> Result<BillingAccount, Fault> {
    let found = account::lock(tx, &wish.account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let invalid = || Fault::new(Reason::CodeInvalid);
    let present = Contact::present(&found, wish.proof.contact).ok_or_else(invalid)?;
    verification::redeem(tx, PRESENT, &address(&found.id, &present), &wish.proof.code, now).await?;
    verification::redeem(tx, NEW, &address(&found.id, &wish.contact), &wish.code, now).await?;
    // What the account has itself is in use, too: a change to it is none.
    if !account::is_free(tx, found.region, &wish.contact).await? {
        return Err(Fault::new(taken(wish.contact.kind)));
    }
    account::save_contact(tx, &found.id, &wish.contact).await?;
    let letter = Letter::ContactChanged { username: found.username.clone(), kind: wish.contact.kind };
    let key = format!("contact:{}:{}", found.id, now.as_microsecond());
    let about = found.id.as_str();
    let mail = mail::outgoing(&ctx.letterhead, &letter, &found.email, found.language, about, &key);
    outbox::add(tx, &[mail], now).await?;
    let value = wish.contact.value.clone();
    Ok(match wish.contact.kind {
        ContactKind::Email => BillingAccount { email: value, ..found },
        ContactKind::Phone => BillingAccount { phone: Some(value), ..found },
    })
}
