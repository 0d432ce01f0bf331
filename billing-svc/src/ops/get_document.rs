//! Makes the printable document of a bill or an invoice from what is stored.

use std::sync::Arc;

use jiff::Timestamp;
use tandem_proto::ids::{BillId, BillingAccountId, InvoiceId};
use tandem_proto::language::Language;
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tokio::sync::Semaphore;

use super::request_invoice::first_open_month;
use crate::context::Context;
use crate::document::{self, MonthSheet, Sheet};
use crate::domain::account::BillingAccount;
use crate::domain::invoice::{Month, Source};
use crate::store::{account, bill, invoice, invoiceable, month_sheet};

/// Most documents that are made at once: making one is work for a processor, and calls must not starve for it.
const MAKERS: usize = 2;
/// Most callers that wait for their turn; the next is told to come back.
const WAITING: usize = 32;
/// Up to so many workspaces a month's document shows the items of each.
const ITEMISED_MAX: i64 = 250;
/// Most workspaces a month's document names; the rest is one line.
const NAMED_MAX: i64 = 2_500;
/// Largest document that is sent, below the largest message.
const BYTES_MAX: usize = 3 * 1024 * 1024;

static TURN: Semaphore = Semaphore::const_new(MAKERS);
static QUEUE: Semaphore = Semaphore::const_new(MAKERS + WAITING);

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// A PDF file.
    pub pdf: Vec<u8>,
    /// What to call the file.
    pub file_name: String,
}

/// The document of a daily bill. Fails with `OBJECT_NOT_FOUND`.
pub async fn of_bill(
    ctx: &Arc<Context>,
    account: &BillingAccountId,
    id: &BillId,
    language: Option<Language>,
) -> Result<Document, Fault> {
    let db = &ctx.db.read;
    let payer = payer(ctx, account).await?;
    let found = bill::find(db, account, id).await?.ok_or(Fault::not_found("bill_id"))?;
    let found = [found];
    let (mut lines, mut payments) = (bill::lines(db, &found).await?, bill::payments(db, &found).await?);
    let [found] = found;
    let (lines, payments) = (lines.remove(id).unwrap_or_default(), payments.remove(id).unwrap_or_default());
    let sheet = document::bill(&payer, &found, &lines, &payments, language.unwrap_or(payer.language));
    make(ctx, sheet, format!("bill-{}-{id}.pdf", found.day)).await
}

/// The document of an account's month. Fails with `MONTH_NOT_GENERATED` and, when the month has no bills,
/// `OBJECT_NOT_FOUND`.
pub async fn of_month(
    ctx: &Arc<Context>,
    account: &BillingAccountId,
    month: Month,
    language: Option<Language>,
    now: Timestamp,
) -> Result<Document, Fault> {
    let payer = payer(ctx, account).await?;
    if month >= first_open_month(&payer, now) {
        return Err(Fault::new(Reason::MonthNotGenerated).with("month", month.to_string()));
    }
    let sheet = month_sheet(ctx, &payer, month).await?;
    let sheet = document::month(&payer, &sheet, language.unwrap_or(payer.language));
    make(ctx, sheet, format!("bill-{month}.pdf")).await
}

/// The document of an invoice request. Fails with `OBJECT_NOT_FOUND`.
pub async fn of_invoice(
    ctx: &Arc<Context>,
    account: &BillingAccountId,
    id: &InvoiceId,
    language: Option<Language>,
) -> Result<Document, Fault> {
    let db = &ctx.db.read;
    let payer = payer(ctx, account).await?;
    let found = invoice::find(db, account, id).await?.ok_or(Fault::not_found("invoice_id"))?;
    let lines = invoice::lines(db, account, id).await?;
    let sheet = document::invoice(&payer, &found, &lines, language.unwrap_or(payer.language));
    make(ctx, sheet, format!("{id}.pdf")).await
}

async fn payer(ctx: &Context, account: &BillingAccountId) -> Result<BillingAccount, Fault> {
    account::find(&ctx.db.read, account).await?.ok_or(Fault::not_found("billing_account_id"))
}

/// What an account's month comes to, as its document says it.
pub(super) async fn month_sheet(
    ctx: &Context,
    payer: &BillingAccount,
    month: Month,
) -> Result<MonthSheet, Fault> {
    let db = &ctx.db.read;
    let sums = month_sheet::sums(db, payer, month).await?;
    if sums.bills == 0 {
        return Err(Fault::not_found("month"));
    }
    let mut workspaces = month_sheet::workspaces(db, payer, month, NAMED_MAX).await?;
    if sums.workspaces <= ITEMISED_MAX {
        month_sheet::fill_items(db, payer, month, &mut workspaces).await?;
    }
    let named = i64::try_from(workspaces.len()).unwrap_or(i64::MAX);
    let shown: i64 = workspaces.iter().map(|w| w.payable).sum();
    let further = (sums.workspaces > named).then(|| (sums.workspaces - named, sums.payable - shown));
    let zone = tandem_proto::day::zone(payer.region.time_zone()).unwrap_or(jiff::tz::TimeZone::UTC);
    // A month that is generated is before every open one, so any later month does as the bound.
    let open = invoiceable::find(db, payer, Month::of(month.end_day()), &[Source::Month(month)]).await?;
    Ok(MonthSheet {
        month,
        generated_at: month.generated_at(&zone),
        items: month_sheet::items(db, payer, month).await?,
        workspaces,
        further,
        paid_by: month_sheet::payments(db, payer, month).await?,
        payable: sums.payable,
        with_clouds: sums.with_clouds,
        invoiceable: open.first().map_or(0, crate::domain::invoice::Invoiceable::open),
    })
}

/// Makes a document beside the threads that answer calls.
async fn make(ctx: &Arc<Context>, sheet: Sheet, file_name: String) -> Result<Document, Fault> {
    let _waiting = QUEUE.try_acquire().map_err(|_| Fault::new(Reason::Overloaded))?;
    let turn = TURN.acquire().await.map_err(|_| Fault::new(Reason::Overloaded))?;
    let ctx = Arc::clone(ctx);
    let made = tokio::task::spawn_blocking(move || {
        // Held until the work is done, also when the caller has gone.
        let _turn = turn;
        document::render(&sheet, &ctx.brand)
    });
    let pdf = match made.await {
        Ok(Ok(pdf)) => pdf,
        Ok(Err(error)) => {
            tracing::error!(error = %error, "a document could not be made");
            return Err(Reason::Internal.into());
        }
        Err(error) => {
            tracing::error!(error = %error, "making a document broke off");
            return Err(Reason::Internal.into());
        }
    };
    if pdf.len() > BYTES_MAX {
        tracing::error!(bytes = pdf.len(), "a document is larger than any should be");
        return Err(Reason::Internal.into());
    }
    Ok(Document { pdf, file_name })
}
