//! The part of `billing.v1.BillService` about what was spent.

use tandem_proto::billing::v1 as pb;
use tandem_proto::day::UsageDay;
use tandem_proto::money::LineAmount;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::validate;

use super::monthly::currency;
use crate::context::Context;
use crate::domain::spend::Group;
use crate::ops::get_spend::{self, DAYS_MAX, Query, Row, Subject};
use crate::store::spend::{Days, Scope};

/// Reads a range of days: both given, in order, and at most so many.
pub(super) fn days(start: &str, end: &str, most: i32) -> Result<Days, Fault> {
    let first: UsageDay = validate::parse("start_day", start)?;
    let last: UsageDay = validate::parse("end_day", end)?;
    if last < first {
        return Err(Fault::field("end_day", "must not be before start_day"));
    }
    if last.days_since(first) >= most {
        return Err(Fault::field("end_day", format!("at most {most} days with start_day")));
    }
    Ok((first, last))
}

/// `GetSpend`.
pub(super) async fn get(ctx: &Context, request: pb::GetSpendRequest) -> Result<pb::GetSpendResponse, Fault> {
    let account = validate::parse("billing_account_id", &request.billing_account_id)?;
    let days = days(&request.start_day, &request.end_day, DAYS_MAX)?;
    let workspace = super::optional("workspace_id", &request.workspace_id)?;
    let group = match request.group_by() {
        pb::SpendGroup::Day => Some(Group::Day),
        pb::SpendGroup::Item => Some(Group::Item),
        pb::SpendGroup::Workspace => Some(Group::Workspace),
        pb::SpendGroup::Unspecified => None,
    };
    let group = super::named("group_by", group)?;
    let page = super::page(request.page_size, &request.page_token, 1)?;
    let currency = currency(ctx, &account, &request.currency_code).await?;
    let scope = Scope { account, currency, workspace };
    let spend = get_spend::get_spend(&ctx.db, &Query { scope, days, group, page }).await?;
    let amount = |micros| Some(LineAmount { micros, currency }.to_message());
    let row = |row: Row| {
        let mut message =
            pb::SpendRow { billed: amount(row.billed), running: amount(row.running), ..Default::default() };
        match row.subject {
            Subject::Day(day) => message.usage_day = day.to_string(),
            Subject::Item(item) => message.item = item.map_or(0, |item| item.to_message().into()),
            Subject::Workspace(id, name) => {
                (message.workspace_id, message.workspace_name) = (id.into(), name);
            }
        }
        message
    };
    Ok(pb::GetSpendResponse {
        rows: spend.rows.into_iter().map(row).collect(),
        billed: spend.totals.and_then(|(billed, _)| amount(billed)),
        running: spend.totals.and_then(|(_, running)| amount(running)),
        unpriced_items: spend.unpriced.into_iter().map(|item| item.to_message().into()).collect(),
        next_page_token: spend.next_page_token,
    })
}
