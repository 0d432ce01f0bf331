//! The part of `billing.v1.BillService` about months.

use tandem_proto::billing::v1 as pb;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::money::{Currency, LineAmount, Money};
use tandem_proto::month::Month;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::identity::Caller;
use tandem_service_kit::request_log::{self, Open, RequestKey};
use tandem_service_kit::validate::{self, to_message};

use super::convert_bill::instrument;
use crate::context::Context;
use crate::domain::monthly::{MonthKey, MonthlyState};
use crate::ops::read_month::{self, Part, Shown};
use crate::ops::{prove_months, roll_months};
use crate::store::account;
use crate::store::spend::ItemAmount;

/// Reads the currency of a request; empty is the account's present one.
///
/// Fails with `OBJECT_NOT_FOUND` when there is no such account.
pub(super) async fn currency(ctx: &Context, id: &BillingAccountId, code: &str) -> Result<Currency, Fault> {
    let found = account::find(&ctx.db.read, id).await?.ok_or(Fault::not_found("billing_account_id"))?;
    if code.is_empty() { Ok(found.currency) } else { validate::parse("currency_code", code) }
}

async fn key(ctx: &Context, account: &str, month: &str, code: &str) -> Result<MonthKey, Fault> {
    let billing_account = validate::parse("billing_account_id", account)?;
    let month: Month = validate::parse("month", month)?;
    let currency = currency(ctx, &billing_account, code).await?;
    Ok(MonthKey { billing_account, month, currency })
}

/// `ListMonthlyBills`.
pub(super) async fn list(
    ctx: &Context,
    request: pb::ListMonthlyBillsRequest,
) -> Result<pb::ListMonthlyBillsResponse, Fault> {
    let account = validate::parse("billing_account_id", &request.billing_account_id)?;
    let page = super::page(request.page_size, &request.page_token, 2)?;
    let (bills, next_page_token) = read_month::list(&ctx.db, &account, &page).await?;
    Ok(pb::ListMonthlyBillsResponse { bills: bills.into_iter().map(monthly_bill).collect(), next_page_token })
}

/// `GetMonthlyBill`.
pub(super) async fn get(
    ctx: &Context,
    request: pb::GetMonthlyBillRequest,
) -> Result<pb::GetMonthlyBillResponse, Fault> {
    let key = key(ctx, &request.billing_account_id, &request.month, &request.currency_code).await?;
    let shown = read_month::get(&ctx.db, &key).await?;
    Ok(pb::GetMonthlyBillResponse { bill: Some(monthly_bill(shown)) })
}

/// `ListMonthlyBillWorkspaces`.
pub(super) async fn list_workspaces(
    ctx: &Context,
    request: pb::ListMonthlyBillWorkspacesRequest,
) -> Result<pb::ListMonthlyBillWorkspacesResponse, Fault> {
    let key = key(ctx, &request.billing_account_id, &request.month, &request.currency_code).await?;
    let page = super::page(request.page_size, &request.page_token, 1)?;
    let (parts, next_page_token) = read_month::list_workspaces(&ctx.db, &key, &page).await?;
    let workspaces = parts.into_iter().map(|part| workspace(part, key.currency)).collect();
    Ok(pb::ListMonthlyBillWorkspacesResponse { workspaces, next_page_token })
}

/// `RunMonthlyBilling`.
pub(super) async fn run(
    ctx: &Context,
    caller: &Caller,
    request: pb::RunMonthlyBillingRequest,
) -> Result<pb::RunMonthlyBillingResponse, Fault> {
    let method = "/tandem.billing.v1.BillService/RunMonthlyBilling";
    let key = RequestKey::new(caller, method, &request.request_id, &request)?;
    let month = validate::parse("month", &request.month)?;
    let account = super::optional("billing_account_id", &request.billing_account_id)?;
    if let Some(answer) = request_log::replay(&ctx.db, &key).await? {
        return Ok(answer);
    }
    // The run has its own transactions and remembers itself how far it came; the answer is stored after it.
    let ran = roll_months::run_month(ctx, month, account.as_ref(), !request.without_waiting).await?;
    let response = pb::RunMonthlyBillingResponse {
        generated_count: i64::try_from(ran.generated).unwrap_or(i64::MAX),
        waiting_count: ran.waiting,
        open_sites: ran.open_sites,
    };
    let now = ctx.clock.now();
    match request_log::open(&ctx.db, key).await? {
        Open::Answered(answer) => Ok(answer),
        Open::Fresh(pending) => pending.finish(response, now).await,
    }
}

/// `ProveMonthlyBills`.
pub(super) async fn prove(
    ctx: &Context,
    request: pb::ProveMonthlyBillsRequest,
) -> Result<pb::ProveMonthlyBillsResponse, Fault> {
    let account = super::optional("billing_account_id", &request.billing_account_id)?;
    let month = super::optional("month", &request.month)?;
    let page = super::page(request.page_size, &request.page_token, 3)?;
    let proof = prove_months::prove_months(&ctx.db, account.as_ref(), month, &page).await?;
    let difference = |d: prove_months::Difference| pb::MonthlyBillDifference {
        billing_account_id: d.account.into(),
        month: d.month.to_string(),
        what: d.what,
        stored: d.stored,
        recomputed: d.recomputed,
    };
    Ok(pb::ProveMonthlyBillsResponse {
        proved_count: i32::try_from(proof.proved).unwrap_or(i32::MAX),
        differences: proof.differences.into_iter().map(difference).collect(),
        next_page_token: proof.next_page_token,
    })
}

fn monthly_bill(shown: Shown) -> pb::MonthlyBill {
    let (m, currency) = (&shown.bill, shown.bill.key.currency);
    let money = |minor| Some(Money { minor, currency }.to_message());
    pb::MonthlyBill {
        billing_account_id: m.key.billing_account.as_str().to_owned(),
        month: m.key.month.to_string(),
        currency_code: currency.code().to_owned(),
        state: match shown.state {
            MonthlyState::Open => pb::MonthlyBillState::Open,
            MonthlyState::Generated => pb::MonthlyBillState::Generated,
            MonthlyState::InvoicedInPart => pb::MonthlyBillState::InvoicedInPart,
            MonthlyState::Invoiced => pb::MonthlyBillState::Invoiced,
        }
        .into(),
        time_zone: m.region.time_zone().to_owned(),
        bill_count: m.totals.bill_count,
        payable: money(m.totals.payable),
        paid_by: shown
            .paid_by
            .iter()
            .map(|(by, minor)| pb::InstrumentTotal {
                instrument: instrument(*by).into(),
                amount: money(*minor),
            })
            .collect(),
        in_cloud: money(m.totals.in_cloud),
        arrears: money(m.totals.arrears()),
        generate_time: m.generated_at.map(to_message),
        paid_from_cash: shown.from_cash.and_then(money),
        invoiced: money(m.invoiced),
        items: items(&shown.items, currency),
    }
}

fn items(items: &[ItemAmount], currency: Currency) -> Vec<pb::ItemTotal> {
    let total = |(item, micros): &ItemAmount| pb::ItemTotal {
        item: item.map_or(0, |item| item.to_message().into()),
        amount: Some(LineAmount { micros: *micros, currency }.to_message()),
    };
    items.iter().map(total).collect()
}

fn workspace(part: Part, currency: Currency) -> pb::MonthlyBillWorkspace {
    let money = |minor| Some(Money { minor, currency }.to_message());
    let totals = part.totals.totals;
    pb::MonthlyBillWorkspace {
        workspace_id: part.totals.workspace.into(),
        workspace_name: part.totals.name,
        bill_count: totals.bill_count,
        payable: money(totals.payable),
        paid: money(totals.paid),
        in_cloud: money(totals.in_cloud),
        arrears: money(totals.arrears()),
        items: items(&part.items, currency),
    }
}
