//! Repeated requests of what takes several steps with codes: contacts, requested changes, moves (I-05).

use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{Language, SettlementMethod};
use tandem_tests::customer::PASSWORD;
use tandem_tests::mail::Mail;
use tandem_tests::system::{System, request_id};

use crate::requests::repeat;

/// The same request with another body.
fn with<T: Clone>(first: &T, change: impl FnOnce(&mut T)) -> T {
    let mut other = first.clone();
    change(&mut other);
    other
}

/// The six digits in a text.
fn digits(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 6).map(str::to_owned)
}

/// How an account is reached and signs in.
pub(crate) async fn contacts(
    system: &System,
    seen: &mut Vec<&'static str>,
    account: &billing::BillingAccount,
) -> anyhow::Result<()> {
    use billing::send_contact_code_request::To;
    const SEND: &str = "/tandem.billing.v1.AccountService/SendContactCode";
    let code_to = async |address: &str| {
        system
            .eventually("the code is mailed", async || {
                Ok(system.mails_to(address)?.into_iter().rev().find_map(|mail| mail.code()))
            })
            .await
    };
    let send = |to: To, proof| billing::SendContactCodeRequest {
        request_id: request_id("contact"),
        billing_account_id: account.id.clone(),
        language: Language::En.into(),
        to: Some(to),
        proof,
    };
    let known: Vec<Option<String>> = system.mails_to(&account.email)?.iter().map(Mail::code).collect();
    let present = send(To::Present(billing::ContactKind::Email.into()), None);
    let other = with(&present, |m| m.language = Language::Zh.into());
    repeat(system, seen, SEND, &present, &other).await?;
    let code = system
        .eventually("the code is mailed", async || {
            let codes = system.mails_to(&account.email)?.into_iter().map(|mail| mail.code());
            Ok(codes.filter(|code| !known.contains(code)).flatten().next())
        })
        .await?;
    let proof = billing::ContactProof { contact: billing::ContactKind::Email.into(), code };
    let mut client = system.portal()?.billing_accounts();
    client.send_contact_code(send(To::NewPhone("+8613811112222".to_owned()), Some(proof.clone()))).await?;
    let phone_code = system
        .eventually("the code is texted", async || {
            let texts = system.texts_to("+8613811112222")?;
            Ok(texts.first().and_then(|text| digits(text)))
        })
        .await?;
    let change = billing::ChangePhoneRequest {
        request_id: request_id("phone"),
        billing_account_id: account.id.clone(),
        proof: Some(proof),
        new_phone: "+8613811112222".to_owned(),
        code: phone_code,
    };
    let other = with(&change, |m| m.new_phone = "+8613811113333".to_owned());
    repeat(system, seen, "/tandem.billing.v1.AccountService/ChangePhone", &change, &other).await?;

    system.advance(jiff::SignedDuration::from_secs(61)).await?;
    client.send_contact_code(send(To::Present(billing::ContactKind::Phone.into()), None)).await?;
    let code = system
        .eventually("another code is texted", async || {
            let texts = system.texts_to("+8613811112222")?;
            Ok(texts.iter().filter_map(|text| digits(text)).find(|code| *code != change.code))
        })
        .await?;
    let proof = billing::ContactProof { contact: billing::ContactKind::Phone.into(), code };
    client
        .send_contact_code(send(To::NewEmail("newer@billing.example".to_owned()), Some(proof.clone())))
        .await?;
    let change = billing::ChangeEmailRequest {
        request_id: request_id("email"),
        billing_account_id: account.id.clone(),
        proof: Some(proof),
        new_email: "newer@billing.example".to_owned(),
        code: code_to("newer@billing.example").await?,
    };
    let other = with(&change, |m| m.new_email = "other@billing.example".to_owned());
    repeat(system, seen, "/tandem.billing.v1.AccountService/ChangeEmail", &change, &other).await?;
    let change = billing::ChangePasswordRequest {
        request_id: request_id("password"),
        region: account.region,
        username: account.username.clone(),
        proof: Some(billing::change_password_request::Proof::CurrentPassword(PASSWORD.to_owned())),
        new_password: "Other-Horse-8".to_owned(),
    };
    let other = with(&change, |m| m.new_password = "Third-Horse-9".to_owned());
    repeat(system, seen, "/tandem.billing.v1.AccountService/ChangePassword", &change, &other).await?;
    Ok(())
}

/// A workspace's requested change, and its move to the account `billed`.
pub(crate) async fn moves(
    system: &System,
    seen: &mut Vec<&'static str>,
    payer: &billing::BillingAccount,
    workspace: &str,
) -> anyhow::Result<()> {
    let ask = billing::RequestSettlementChangeRequest {
        request_id: request_id("ask"),
        billing_account_id: payer.id.clone(),
        workspace_ids: vec![workspace.to_owned()],
        settlement_method: SettlementMethod::AlibabaCloud.into(),
    };
    let other = with(&ask, |m| m.workspace_ids.push(format!("wks_{}", "0".repeat(32))));
    repeat(system, seen, "/tandem.billing.v1.BindingService/RequestSettlementChange", &ask, &other).await?;
    let cancel = billing::CancelSettlementChangeRequest {
        request_id: request_id("cancel"),
        billing_account_id: payer.id.clone(),
        workspace_id: workspace.to_owned(),
    };
    let other = with(&cancel, |m| m.workspace_id = format!("wks_{}", "0".repeat(32)));
    repeat(system, seen, "/tandem.billing.v1.BindingService/CancelSettlementChange", &cancel, &other).await?;
    let send = billing::SendMoveCodesRequest {
        request_id: request_id("codes"),
        workspace_id: workspace.to_owned(),
        to_username: "billed".to_owned(),
    };
    let other = with(&send, |m| m.to_username = "other".to_owned());
    repeat(system, seen, "/tandem.billing.v1.BindingService/SendMoveCodes", &send, &other).await?;
    let code_to = async |address: &str| {
        system
            .eventually("the code is mailed", async || {
                let mails = system.mails_to(address)?.into_iter();
                let mut codes = mails.filter(|mail| mail.subject.contains("moving a workspace"));
                Ok(codes.find_map(|mail| mail.code()))
            })
            .await
    };
    let go = billing::MoveWorkspaceRequest {
        request_id: request_id("move"),
        workspace_id: workspace.to_owned(),
        to_username: "billed".to_owned(),
        from_code: code_to(&payer.email).await?,
        to_code: code_to("newer@billing.example").await?,
    };
    let other = with(&go, |m| m.to_username = "other".to_owned());
    repeat(system, seen, "/tandem.billing.v1.BindingService/MoveWorkspace", &go, &other).await?;
    Ok(())
}
