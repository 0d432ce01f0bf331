//! Part 1: what a wallet is filled with, and in which order it pays.

use tandem_adapters::payment::sandbox::Pay;
use tandem_proto::billing::v1::{
    ActivateVoucherRequest, BuyPrepaidCardRequest, CreateRechargeRequest, GrantVoucherRequest,
    IssueVoucherCodesRequest, ListRechargesRequest, PaymentInstrument, Recharge, RechargeChannel,
    RechargeState,
};
use tandem_proto::reason::Reason;

use super::tenant::{Tenant, must, payable, tell_mails};
use crate::client::present;
use crate::commands::{ledger, recharge_list};
use crate::demo::customer::cny;
use crate::demo::stage::{Calendar, Stage};
use crate::demo::usage::DOCUMENTED_PAYABLE;
use crate::failure::{Failure, Result};

/// The last day of a voucher that nothing will have used up.
pub const SHORT_LIFE: u32 = 18;
/// The last day of the others.
const LONG_LIFE: u32 = 90;
/// More entries than this account has.
const ENTRIES_MAX: usize = 1_000;

/// Fills the wallet in every way there is.
pub async fn fill(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("1. The wallet")?;
    pay_online(stage, tenant, 1_100_000).await?;

    stage.teller.step("Staff give two general vouchers; a code from a fair is activated, and works once")?;
    let until = |day| calendar.day(day).to_string();
    let grant = |face, min_spend: Option<i64>, last_day, note: &str| GrantVoucherRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        face_value: Some(cny(face).to_message()),
        min_spend: min_spend.map(|minor| cny(minor).to_message()),
        valid_from_time: None,
        last_day,
        note: note.to_owned(),
    };
    let mut staff = stage.operator.wallet();
    staff.grant_voucher(grant(500, None, until(LONG_LIFE), "welcome")).await?;
    staff.grant_voucher(grant(800, Some(100_000), until(SHORT_LIFE), "for large bills only")).await?;
    let codes = IssueVoucherCodesRequest {
        request_id: stage.request_id(),
        face_value: Some(cny(300).to_message()),
        min_spend: None,
        last_day: until(LONG_LIFE - 30),
        count: 1,
        note: "fair".to_owned(),
    };
    let codes = staff.issue_voucher_codes(codes).await?.into_inner().codes;
    let code = present(codes.into_iter().next(), "codes")?;
    let activate = || ActivateVoucherRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        code: code.clone(),
    };
    let mut portal = stage.portal.wallet();
    portal.activate_voucher(activate()).await?;
    let again = portal.activate_voucher(activate()).await.map_err(Failure::from);
    stage.refused(again, Some(Reason::VoucherCodeUsed))?;

    stage
        .teller
        .step("A prepaid card over 10000.00 CNY is bought from cash and brings a discount voucher")?;
    let buy = BuyPrepaidCardRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        face_value: Some(cny(1_000_000).to_message()),
    };
    let bought = portal.buy_prepaid_card(buy).await?.into_inner();
    must(bought.discount_voucher.is_some(), || "the card brought no discount voucher".to_owned())?;
    tenant.show_wallet(stage, true).await?;
    tell_mails(stage)
}

/// Recharges on the payment provider's page; its notice comes three times.
pub async fn pay_online(stage: &Stage, tenant: &Tenant, minor: i64) -> Result<()> {
    let company = tenant.person.company;
    stage.teller.step(&format!("{company} recharges {} online; the notice comes three times", cny(minor)))?;
    let create = CreateRechargeRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        amount: Some(cny(minor).to_message()),
        channel: RechargeChannel::Alipay.into(),
        buys_card: false,
    };
    let created = stage.portal.wallet().create_recharge(create).await?.into_inner();
    let created = present(created.recharge, "recharge")?;
    stage.teller.tell(&format!("the customer pays at {}", created.payment_url))?;
    stage.sandbox.pay(&created.id, &Pay { copies: 3, ..Pay::default() }).await?;
    let paid = stage.until("the recharge to be paid", async || {
        let found = recharge(stage, tenant, &created.id).await?;
        Ok((found.state() == RechargeState::Paid).then_some(found))
    });
    stage.teller.table(&recharge_list::recharges_table(&[paid.await?]))?;
    tenant.show_wallet(stage, false).await
}

async fn recharge(stage: &Stage, tenant: &Tenant, id: &str) -> Result<Recharge> {
    let request = ListRechargesRequest {
        billing_account_id: tenant.account.clone(),
        page_size: 100,
        ..Default::default()
    };
    let listed = stage.portal.wallet().list_recharges(request).await?.into_inner().recharges;
    present(listed.into_iter().find(|recharge| recharge.id == id), "recharge")
}

/// The documented day and some texts: what paid them, and in which order.
pub async fn deducted(stage: &Stage, tenant: &Tenant, calendar: &Calendar) -> Result<()> {
    stage.teller.part("1. The wallet pays")?;
    stage.teller.step(
        "The documented day is paid by vouchers, the earliest expiry first; the texts only by the card",
    )?;
    let bill = tenant.bill(stage, &tenant.workspaces[0], calendar.day(1)).await?;
    let by = |wanted| {
        let payments = bill.paid_by.iter().filter(move |payment| payment.instrument() == wanted);
        payments.map(|payment| payment.amount.as_ref().map_or(0, |money| money.minor_units)).sum::<i64>()
    };
    let texts = payable(&bill) - DOCUMENTED_PAYABLE;
    let paid = (
        by(PaymentInstrument::GeneralVoucher),
        by(PaymentInstrument::DiscountVoucher),
        by(PaymentInstrument::PrepaidCard),
    );
    must(texts > 0 && paid == (800, DOCUMENTED_PAYABLE - 800, texts), || {
        format!("vouchers must pay 13.40 CNY and the card the rest, not {paid:?}")
    })?;
    stage.teller.step("Its income and expenditure")?;
    let entries = ledger::list(&stage.portal, &tenant.account, ENTRIES_MAX).await?;
    stage.teller.table(&ledger::entries_table(&entries.rows))?;
    tell_mails(stage)
}
