//! The part of `billing.v1.BillService` that streams files.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use jiff::Timestamp;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::export_bills_request::What as Wanted;
use tandem_proto::month::Month;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::context::Context;
use crate::ops::export_bills::{Export, What, until};
use crate::store::account;
use crate::store::ledger::Range;

/// Most days of one export: more than anybody keeps in one sheet, and a bound.
const DAYS_MAX: i32 = 3_660;

/// Parts of a file.
pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<pb::ExportBillsResponse, Status>> + Send>>;

/// `ExportBills`.
pub(super) async fn export(ctx: &Arc<Context>, request: pb::ExportBillsRequest) -> Result<Parts, Fault> {
    let id = validate::parse("billing_account_id", &request.billing_account_id)?;
    let what = what(ctx, request.what)?;
    account::find(&ctx.db.read, &id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    let mut export = Export::new(id, what);
    let ctx = Arc::clone(ctx);
    // One part waits for a slow reader; the rest stays in the database.
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let part = match export.next(&ctx.db.read).await {
                Ok(None) => return,
                Ok(Some(text)) => Ok(pb::ExportBillsResponse { data: text.into() }),
                Err(error) => Err(error.into()),
            };
            let failed = part.is_err();
            if send.send(part).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(Box::pin(ReceiverStream::new(receive)))
}

fn what(ctx: &Context, wanted: Option<Wanted>) -> Result<What, Fault> {
    Ok(match wanted {
        Some(Wanted::DailyLines(lines)) => What::DailyLines {
            days: super::spend::days(&lines.start_day, &lines.end_day, DAYS_MAX)?,
            workspace: super::optional("workspace_id", &lines.workspace_id)?,
        },
        Some(Wanted::MonthlyTotals(totals)) => {
            let first: Month = validate::parse("start_month", &totals.start_month)?;
            let last: Month = validate::parse("end_month", &totals.end_month)?;
            if last < first {
                return Err(Fault::field("end_month", "must not be before start_month"));
            }
            What::MonthlyTotals { months: (first, last) }
        }
        Some(Wanted::Ledger(ledger)) => {
            let now = until(ctx.clock.now());
            let bound = |field, time: Option<prost_types::Timestamp>, missing| match time {
                Some(time) => validate::timestamp(field, Some(time)),
                None => Ok(missing),
            };
            let from = bound("start_time", ledger.start_time, Timestamp::UNIX_EPOCH)?;
            let until = bound("end_time", ledger.end_time, now)?.min(now);
            if ledger.end_time.is_some() && until <= from {
                return Err(Fault::field("end_time", "must be after start_time"));
            }
            What::Ledger { range: Range { from, until, customers_only: !ledger.with_books } }
        }
        None => return Err(Fault::field("what", "is required: daily_lines, monthly_totals or ledger")),
    })
}
