//! Notes what an operator did with an invoice (`domain.md` 5.5).

use jiff::Timestamp;
use tandem_proto::ids::{BillingAccountId, InvoiceId};
use tandem_proto::reason::Reason;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::outbox;

use crate::context::Context;
use crate::domain::invoice::{Line, Step, after};
use crate::mail::{self, Letter};
use crate::store::account;
use crate::store::invoice::{self, Invoice};

/// What was done.
#[derive(Debug, Clone)]
pub enum Act {
    /// It exists at the tax office, under this number.
    Issue(String),
    /// It was sent; how to find the consignment, which may be empty.
    Send(String),
    /// It is refused, for this reason. Its amounts are free again.
    Reject(String),
}

/// Moves an invoice on, and tells the account by mail.
///
/// Fails with `OBJECT_NOT_FOUND`, `INVOICE_NOT_OPEN` and `INVOICE_NUMBER_USED`.
pub async fn run(
    tx: &Tx,
    ctx: &Context,
    account: &BillingAccountId,
    id: &InvoiceId,
    act: Act,
    now: Timestamp,
) -> Result<(Invoice, Vec<Line>), Fault> {
    let payer = account::lock(tx, account).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let mut moved = invoice::lock(tx, account, id).await?.ok_or(Fault::not_found("invoice_id"))?;
    let before = moved.state;
    let step = match &act {
        Act::Issue(_) => Step::Issue,
        Act::Send(_) => Step::Send,
        Act::Reject(_) => Step::Reject,
    };
    let not_open = || Fault::new(Reason::InvoiceNotOpen).with("state", before.name());
    moved.state = after(before, step).ok_or_else(not_open)?;
    let amount = moved.amount.to_string();
    let letter = match act {
        Act::Issue(number) => {
            // The unique index decides; looking first only gives the better answer.
            if invoice::number_is_used(tx, &number).await? {
                return Err(Reason::InvoiceNumberUsed.into());
            }
            (moved.number, moved.issued_at) = (Some(number.clone()), Some(now));
            Letter::InvoiceIssued { title: moved.title.clone(), amount, number }
        }
        Act::Send(tracking) => {
            (moved.tracking, moved.sent_at) = (tracking.clone(), Some(now));
            let number = moved.number.clone().unwrap_or_default();
            Letter::InvoiceSent { title: moved.title.clone(), amount, number, tracking }
        }
        Act::Reject(reason) => {
            (moved.reason, moved.rejected_at) = (reason.clone(), Some(now));
            invoice::release(tx, account, id).await?;
            Letter::InvoiceRejected { title: moved.title.clone(), amount, reason }
        }
    };
    invoice::save(tx, &moved, before).await?;
    let key = format!("invoice:{id}:{}", moved.state.name());
    let mail = mail::outgoing(&ctx.letterhead, &letter, &payer.email, payer.language, account.as_str(), &key);
    outbox::add(tx, &[mail], now).await?;
    let lines = invoice::lines(tx, account, id).await?;
    Ok((moved, lines))
}
