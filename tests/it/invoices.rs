//! Invoices and documents through what is served: a customer's whole way, and that repetitions change nothing (I-05).

use anyhow::{Context as _, ensure};
use prost::Message as _;
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingItem, Language};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::reason_of;
use tandem_tests::day::{day, hours};
use tandem_tests::engine::Engine;
use tandem_tests::system::{Setup, System, request_id};

use crate::on_both_engines;
use crate::requests::{other, repeat};

on_both_engines! {
    a_customer_is_verified_asks_and_is_sent_an_invoice;
}

fn details(bank: &str) -> billing::InvoiceDetails {
    billing::InvoiceDetails {
        kind: billing::InvoiceKind::VatSpecial.into(),
        bank: bank.to_owned(),
        bank_account: "1001 2345 6789".to_owned(),
        registered_address: "上海市某某路 1 号".to_owned(),
        landline: "021-50800000".to_owned(),
    }
}

fn address(id: &str, recipient: &str) -> billing::DeliveryAddress {
    billing::DeliveryAddress {
        id: id.to_owned(),
        recipient: recipient.to_owned(),
        phone: "+86 13800000000".to_owned(),
        email: "finance@billing.example".to_owned(),
        address: "上海市某某路 1 号".to_owned(),
    }
}

/// Every changing method of invoices, repeated, on an account that has bought one prepaid card from cash.
pub(crate) async fn repeat_methods(
    system: &System,
    seen: &mut Vec<&'static str>,
    account: &str,
) -> anyhow::Result<()> {
    // The way of a path is known at compile time, because `seen` keeps it.
    macro_rules! again {
        ($method:literal, $first:expr, |$m:ident| $change:expr) => {{
            let other = other!($first, |$m| $change);
            repeat(system, seen, concat!("/tandem.billing.v1.InvoiceService/", $method), &$first, &other)
                .await?
        }};
    }
    let billing_account_id = account.to_owned();
    let submit = billing::SubmitVerificationRequest {
        request_id: request_id("company"),
        billing_account_id: billing_account_id.clone(),
        company_name: "账单有限公司".to_owned(),
        taxpayer_id: "91310000MA1K4B0X2P".to_owned(),
    };
    again!("SubmitVerification", submit, |m| m.company_name = "其他有限公司".to_owned());
    let decide = billing::DecideVerificationRequest {
        request_id: request_id("decide"),
        billing_account_id: billing_account_id.clone(),
        decision: billing::VerificationState::Verified.into(),
        reason: String::new(),
    };
    again!("DecideVerification", decide, |m| m.decision = billing::VerificationState::Rejected.into());
    let create = billing::CreateInvoiceProfileRequest {
        request_id: request_id("profile"),
        billing_account_id: billing_account_id.clone(),
        details: Some(details("ICBC")),
    };
    let answer = again!("CreateInvoiceProfile", create, |m| m.details = Some(details("BOC")));
    let profile = billing::CreateInvoiceProfileResponse::decode(answer)?.profile.context("profile")?;
    ensure!(profile.title == "账单有限公司", "the title is the company's, not {}", profile.title);
    let update = billing::UpdateInvoiceProfileRequest {
        request_id: request_id("profile"),
        billing_account_id: billing_account_id.clone(),
        profile_id: profile.id.clone(),
        details: Some(details("BOC")),
    };
    again!("UpdateInvoiceProfile", update, |m| m.details = Some(details("CCB")));
    let create = billing::CreateDeliveryAddressRequest {
        request_id: request_id("address"),
        billing_account_id: billing_account_id.clone(),
        address: Some(address("", "Lin")),
    };
    let answer = again!("CreateDeliveryAddress", create, |m| m.address = Some(address("", "Wu")));
    let to = billing::CreateDeliveryAddressResponse::decode(answer)?.address.context("address")?;
    let update = billing::UpdateDeliveryAddressRequest {
        request_id: request_id("address"),
        billing_account_id: billing_account_id.clone(),
        address: Some(address(&to.id, "Wu")),
    };
    again!("UpdateDeliveryAddress", update, |m| m.address = Some(address(&to.id, "Zhou")));

    let open = billing::GetInvoiceableRequest {
        billing_account_id: billing_account_id.clone(),
        ..Default::default()
    };
    let open = system.portal()?.invoices().get_invoiceable(open).await?.into_inner();
    let [billing::Invoiceable { source: Some(billing::invoiceable::Source::CardId(card)), .. }] =
        open.items.as_slice()
    else {
        anyhow::bail!("one prepaid card is open, not {:?}", open.items)
    };
    let ask = billing::RequestInvoiceRequest {
        request_id: request_id("invoice"),
        billing_account_id: billing_account_id.clone(),
        profile_id: profile.id.clone(),
        address_id: to.id.clone(),
        months: Vec::new(),
        card_ids: vec![card.clone()],
    };
    let answer = again!("RequestInvoice", ask, |m| m.months = vec!["2026-02".to_owned()]);
    let rejected = billing::RequestInvoiceResponse::decode(answer)?.invoice.context("invoice")?.id;
    let reject = billing::RejectInvoiceRequest {
        request_id: request_id("reject"),
        billing_account_id: billing_account_id.clone(),
        invoice_id: rejected,
        reason: "wrong kind".to_owned(),
    };
    again!("RejectInvoice", reject, |m| m.reason = "late".to_owned());
    let ask = billing::RequestInvoiceRequest { request_id: request_id("invoice"), ..ask };
    let again_asked = system.portal()?.invoices().request_invoice(ask).await?.into_inner();
    let invoice_id = again_asked.invoice.context("invoice")?.id;
    let issue = billing::IssueInvoiceRequest {
        request_id: request_id("issue"),
        billing_account_id: billing_account_id.clone(),
        invoice_id: invoice_id.clone(),
        invoice_number: "24312000000012345678".to_owned(),
    };
    again!("IssueInvoice", issue, |m| m.invoice_number = "1".to_owned());
    let send = billing::SendInvoiceRequest {
        request_id: request_id("send"),
        billing_account_id: billing_account_id.clone(),
        invoice_id,
        tracking: "SF 1029".to_owned(),
    };
    again!("SendInvoice", send, |m| m.tracking = "SF 1030".to_owned());

    let delete = billing::DeleteInvoiceProfileRequest {
        request_id: request_id("delete"),
        billing_account_id: billing_account_id.clone(),
        profile_id: profile.id,
    };
    again!("DeleteInvoiceProfile", delete, |m| m.profile_id = format!("ivp_{}", "0".repeat(32)));
    let delete = billing::DeleteDeliveryAddressRequest {
        request_id: request_id("delete"),
        billing_account_id,
        address_id: to.id,
    };
    again!("DeleteDeliveryAddress", delete, |m| m.address_id = format!("ida_{}", "0".repeat(32)));
    Ok(())
}

async fn a_customer_is_verified_asks_and_is_sent_an_invoice(engine: Engine) -> anyhow::Result<()> {
    let system = Setup::new(engine).run().await?;
    let (_, paid) = system.direct_customer("cn1", "invoiced").await?;
    let account = paid.account.clone();
    system.recharge(&account, "CNY", 100_000).await?;
    let march = day("2026-03-02")?;
    let hours = hours(march, "Asia/Shanghai")?;
    system.advance_to(hours[23]).await?;
    let point = tandem_tests::day::point(&paid.workspace, hours[2], BillingItem::Trigger, 50_000);
    system.record_all(vec![point]).await?;
    system.finish_day("cn1", march).await?;
    let bill = system.bills(&account).await?.into_iter().next().context("a bill")?;
    let (portal, operator) = (system.portal()?, system.operator()?);

    // The bill as a document, in both languages, the same each time.
    let mut documents = portal.documents();
    for language in [Language::Zh, Language::En] {
        let ask = billing::GetBillDocumentRequest {
            billing_account_id: account.clone(),
            bill: Some(billing::get_bill_document_request::Bill::BillId(bill.id.clone())),
            language: language.into(),
        };
        let first = documents.get_bill_document(ask.clone()).await?.into_inner();
        let second = documents.get_bill_document(ask).await?.into_inner();
        ensure!(first == second && first.pdf.starts_with(b"%PDF"), "the document of {language:?}");
    }
    let of_march = billing::GetBillDocumentRequest {
        billing_account_id: account.clone(),
        bill: Some(billing::get_bill_document_request::Bill::Month("2026-03".to_owned())),
        language: Language::Zh.into(),
    };
    let early = documents.get_bill_document(of_march.clone()).await.err().context("March runs")?;
    ensure!(reason_of(&early) == Some(Reason::MonthNotGenerated), "{early:?}");

    // A portal may not look into other customers' requests, an operator may.
    let all = billing::ListInvoicesRequest::default();
    let refused = portal.invoices().list_invoices(all.clone()).await.err().context("the portal sees all")?;
    ensure!(reason_of(&refused) == Some(Reason::InvalidField), "{refused:?}");
    ensure!(operator.invoices().list_invoices(all.clone()).await?.into_inner().invoices.is_empty());

    let submit = billing::SubmitVerificationRequest {
        request_id: request_id("company"),
        billing_account_id: account.clone(),
        company_name: "账单有限公司".to_owned(),
        taxpayer_id: "91310000MA1K4B0X2P".to_owned(),
    };
    portal.invoices().submit_verification(submit).await?;
    let queue = billing::ListVerificationsRequest {
        state: billing::VerificationState::Pending.into(),
        ..Default::default()
    };
    let waiting = operator.invoices().list_verifications(queue).await?.into_inner().verifications;
    ensure!(waiting.len() == 1 && waiting[0].billing_account_id == account, "{waiting:?}");
    let decide = billing::DecideVerificationRequest {
        request_id: request_id("decide"),
        billing_account_id: account.clone(),
        decision: billing::VerificationState::Verified.into(),
        reason: String::new(),
    };
    operator.invoices().decide_verification(decide).await?;
    let create = billing::CreateInvoiceProfileRequest {
        request_id: request_id("profile"),
        billing_account_id: account.clone(),
        details: Some(details("ICBC")),
    };
    let profile = portal.invoices().create_invoice_profile(create).await?.into_inner().profile;
    let create = billing::CreateDeliveryAddressRequest {
        request_id: request_id("address"),
        billing_account_id: account.clone(),
        address: Some(address("", "Lin")),
    };
    let to = portal.invoices().create_delivery_address(create).await?.into_inner().address;

    system.advance_to("2026-04-03T16:00:00Z".parse()?).await?;
    documents.get_bill_document(of_march).await?;
    let ask = billing::RequestInvoiceRequest {
        request_id: request_id("invoice"),
        billing_account_id: account.clone(),
        profile_id: profile.context("profile")?.id,
        address_id: to.context("address")?.id,
        months: vec!["2026-03".to_owned()],
        card_ids: Vec::new(),
    };
    let made = portal.invoices().request_invoice(ask).await?.into_inner().invoice.context("invoice")?;
    ensure!(made.amount == bill.payable, "what cash paid is invoiced: {made:?}");
    let issue = billing::IssueInvoiceRequest {
        request_id: request_id("issue"),
        billing_account_id: account.clone(),
        invoice_id: made.id.clone(),
        invoice_number: "24312000000012345678".to_owned(),
    };
    operator.invoices().issue_invoice(issue).await?;
    let send = billing::SendInvoiceRequest {
        request_id: request_id("send"),
        billing_account_id: account.clone(),
        invoice_id: made.id.clone(),
        tracking: String::new(),
    };
    operator.invoices().send_invoice(send).await?;
    let get = billing::GetInvoiceRequest { billing_account_id: account.clone(), invoice_id: made.id.clone() };
    let sent = portal.invoices().get_invoice(get).await?.into_inner().invoice.context("invoice")?;
    ensure!(sent.state() == billing::InvoiceState::Sent && sent.lines.len() == 1, "{sent:?}");
    let ask = billing::GetInvoiceDocumentRequest {
        billing_account_id: account,
        invoice_id: made.id,
        language: Language::Unspecified.into(),
    };
    let document = documents.get_invoice_document(ask).await?.into_inner();
    ensure!(document.pdf.starts_with(b"%PDF"), "the request's document");
    system.check_invariants().await
}
