//! Part 8: a company is verified, asks for an invoice, and has it as a document.

use std::path::Path;

use tandem_proto::billing::v1::get_bill_document_request::Bill;
use tandem_proto::billing::v1::invoiceable::Source;
use tandem_proto::billing::v1::{
    BuyPrepaidCardRequest, CreateDeliveryAddressRequest, CreateInvoiceProfileRequest,
    DecideVerificationRequest, DeliveryAddress, GetBillDocumentRequest, GetInvoiceDocumentRequest,
    GetInvoiceableRequest, InvoiceDetails, InvoiceKind, IssueInvoiceRequest, RequestInvoiceRequest,
    SendInvoiceRequest, SubmitVerificationRequest, VerificationState,
};
use tandem_proto::common::v1::Language;

use super::tenant::{Tenant, must, tell_mails};
use crate::client::present;
use crate::commands::invoice;
use crate::demo::customer::cny;
use crate::demo::stage::Stage;
use crate::failure::{Attempt as _, Result};

/// Buys a prepaid card, which is invoiced at its price; what it pays later is not invoiced again.
pub async fn buy_card(stage: &Stage, tenant: &Tenant) -> Result<()> {
    stage.teller.step(&format!("{} buys a prepaid card over 100.00 CNY", tenant.person.company))?;
    let buy = BuyPrepaidCardRequest {
        request_id: stage.request_id(),
        billing_account_id: tenant.account.clone(),
        face_value: Some(cny(10_000).to_message()),
    };
    stage.portal.wallet().buy_prepaid_card(buy).await?;
    tenant.show_wallet(stage, false).await
}

/// From the verified company to the sent invoice, over a month and a card; writes the documents.
pub async fn invoice(stage: &Stage, tenant: &Tenant, month: &str, folder: &Path) -> Result<()> {
    stage.teller.part("8. Invoices")?;
    stage.teller.step("The company is handed in and accepted; it says how and where it wants invoices")?;
    let account = || tenant.account.clone();
    let (mut portal, mut staff) = (stage.portal.invoices(), stage.operator.invoices());
    let submit = SubmitVerificationRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        company_name: "上海磨坊与桥梁数据实验室有限公司".to_owned(),
        taxpayer_id: "91310000MA1K4B0X2P".to_owned(),
    };
    portal.submit_verification(submit).await?;
    let decide = DecideVerificationRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        decision: VerificationState::Verified.into(),
        reason: String::new(),
    };
    staff.decide_verification(decide).await?;
    let details = InvoiceDetails {
        kind: InvoiceKind::VatSpecial.into(),
        bank: "中国工商银行上海分行".to_owned(),
        bank_account: "1001 2345 6789".to_owned(),
        registered_address: "上海市某某路 1 号".to_owned(),
        landline: "021-50800000".to_owned(),
    };
    let profile = CreateInvoiceProfileRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        details: Some(details),
    };
    let profile = portal.create_invoice_profile(profile).await?.into_inner().profile;
    let address = DeliveryAddress {
        id: String::new(),
        recipient: "Bridge Labs Finance".to_owned(),
        phone: "+86 13800000000".to_owned(),
        email: tenant.person.email.clone(),
        address: "上海市某某路 1 号".to_owned(),
    };
    let address = CreateDeliveryAddressRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        address: Some(address),
    };
    let address = portal.create_delivery_address(address).await?.into_inner().address;

    stage.teller.step("What was paid with money may be invoiced: the month's part in cash, and the card")?;
    let open = GetInvoiceableRequest { billing_account_id: account(), page_size: 100, ..Default::default() };
    let open = portal.get_invoiceable(open).await?.into_inner();
    stage.teller.table(&invoice::open_table(&open.items))?;
    let card_ids = open.items.iter().filter_map(|item| match &item.source {
        Some(Source::CardId(card)) => Some(card.clone()),
        _ => None,
    });
    let ask = RequestInvoiceRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        profile_id: present(profile, "profile")?.id,
        address_id: present(address, "address")?.id,
        months: vec![month.to_owned()],
        card_ids: card_ids.collect(),
    };
    let asked = present(portal.request_invoice(ask).await?.into_inner().invoice, "invoice")?;
    stage.teller.tell(&format!("{} is requested over {} lines", asked.id, asked.lines.len()))?;

    stage.teller.step("Staff issue and send it")?;
    let issue = IssueInvoiceRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        invoice_id: asked.id.clone(),
        invoice_number: "24312000000012345678".to_owned(),
    };
    staff.issue_invoice(issue).await?;
    let send = SendInvoiceRequest {
        request_id: stage.request_id(),
        billing_account_id: account(),
        invoice_id: asked.id.clone(),
        tracking: "SF 1029".to_owned(),
    };
    let sent = present(staff.send_invoice(send).await?.into_inner().invoice, "invoice")?;
    stage.teller.table(&invoice::invoices_table(std::slice::from_ref(&sent)))?;

    stage.teller.step("The documents")?;
    for language in [Language::Zh, Language::En] {
        let ask = GetInvoiceDocumentRequest {
            billing_account_id: account(),
            invoice_id: sent.id.clone(),
            language: language.into(),
        };
        let made = stage.portal.documents().get_invoice_document(ask).await?.into_inner();
        write(stage, folder, language, &made.file_name, &made.pdf)?;
        let ask = GetBillDocumentRequest {
            billing_account_id: account(),
            bill: Some(Bill::Month(month.to_owned())),
            language: language.into(),
        };
        let made = stage.portal.documents().get_bill_document(ask).await?.into_inner();
        write(stage, folder, language, &made.file_name, &made.pdf)?;
    }
    tell_mails(stage)
}

fn write(stage: &Stage, folder: &Path, language: Language, name: &str, pdf: &[u8]) -> Result<()> {
    must(pdf.starts_with(b"%PDF-"), || format!("{name} is no PDF"))?;
    let tongue = if language == Language::Zh { "zh" } else { "en" };
    let path = folder.join(format!("{tongue}-{name}"));
    std::fs::write(&path, pdf).attempt(|| format!("writing {}", path.display()))?;
    stage.teller.tell(&format!("{} ({} bytes)", path.display(), pdf.len()))
}
