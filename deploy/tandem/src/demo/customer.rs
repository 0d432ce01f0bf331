//! What customers do on the pages: register, activate a workspace, prove that a billing account is theirs.

use tandem_proto::billing::v1::{
    ConfirmRechargeRequest, CreateRechargeRequest, GetWalletRequest, RechargeChannel,
    SendVerificationCodeRequest as SendBillingCodeRequest,
};
use tandem_proto::common::v1::{BillingRegion, Company, Language, PurchaseIds};
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::commercial_activation::{Payer, Purchase};
use tandem_proto::console::v1::{
    ActivateWorkspaceRequest, ActivateWorkspaceResponse, BillingAccountProof, CommercialActivation,
    RegisterAccountRequest, SendVerificationCodeRequest, VerificationPurpose,
};
use tandem_proto::money::{Currency, Money};
use tandem_proto::settlement::SettlementMethod;

use super::stage::Stage;
use crate::client::present;
use crate::commands::wallet;
use crate::failure::{Failure, Result};

/// Good enough for the rules of `domain.md` D19, and nobody's real one.
const PASSWORD: &str = "Kettle-42-steam";

/// Somebody who registers.
#[derive(Debug, Clone)]
pub struct Person {
    /// The site.
    pub site: &'static str,
    /// The username.
    pub username: String,
    /// The address.
    pub email: String,
    /// The phone number; unique among billing accounts.
    pub phone: String,
    /// The company's name.
    pub company: &'static str,
    /// The language of mails.
    pub language: Language,
}

/// Registers by a mailed code; returns the Console account's id.
pub async fn register(stage: &Stage, person: &Person) -> Result<String> {
    let send = SendVerificationCodeRequest {
        request_id: stage.request_id(),
        purpose: VerificationPurpose::Register.into(),
        site: person.site.to_owned(),
        email: person.email.clone(),
        language: person.language.into(),
    };
    stage.portal.registration().send_verification_code(send).await?;
    let code = stage.code_for(&person.email).await?;
    let request = RegisterAccountRequest {
        request_id: stage.request_id(),
        site: person.site.to_owned(),
        username: person.username.clone(),
        password: PASSWORD.to_owned(),
        email: person.email.clone(),
        email_code: code,
        phone: person.phone.clone(),
        company: Some(Company { name: person.company.to_owned(), ..Company::default() }),
        agreements_accepted: true,
    };
    let answer = stage.portal.registration().register_account(request).await?.into_inner();
    let account = present(answer.account, "account")?;
    stage.teller.tell(&format!("{} is registered on {} as {}", person.company, person.site, account.id))?;
    Ok(account.id)
}

/// Who pays for a new workspace, and how.
#[derive(Debug, Clone)]
pub enum Paying {
    /// A new billing account, from its balance.
    NewByBalance,
    /// A new billing account, through a cloud.
    NewByPurchase(SettlementMethod, PurchaseIds),
    /// A billing account that exists, by username and mailed code, from its balance.
    ExistingByBalance(BillingAccountProof),
    /// A billing account that exists, by username and mailed code, through its cloud account.
    ExistingByCloudAccount(SettlementMethod, BillingAccountProof, String),
}

/// Activates a Commercial workspace.
pub async fn activate(
    stage: &Stage,
    console_account: &str,
    name: &str,
    language: Language,
    paying: Paying,
) -> Result<ActivateWorkspaceResponse> {
    let (payer, method, purchase) = match paying {
        Paying::NewByBalance => (Payer::CreateBillingAccount(true), SettlementMethod::BillingCenter, None),
        Paying::NewByPurchase(method, ids) => {
            (Payer::CreateBillingAccount(true), method, Some(Purchase::PurchaseIds(ids)))
        }
        Paying::ExistingByBalance(proof) => {
            (Payer::ExistingAccount(proof), SettlementMethod::BillingCenter, None)
        }
        Paying::ExistingByCloudAccount(method, proof, cloud_account) => {
            (Payer::ExistingAccount(proof), method, Some(Purchase::CloudAccountId(cloud_account)))
        }
    };
    let commercial =
        CommercialActivation { settlement_method: method.to_message().into(), payer: Some(payer), purchase };
    let request = ActivateWorkspaceRequest {
        request_id: stage.request_id(),
        console_account_id: console_account.to_owned(),
        workspace_name: name.to_owned(),
        language: language.into(),
        agreements_accepted: true,
        activation: Some(Activation::Commercial(commercial)),
    };
    let request_id = request.request_id.clone();
    let answer = stage.portal.registration().activate_workspace(request).await;
    Ok(answer.map_err(|status| Failure::of_act(status, &request_id))?.into_inner())
}

/// Proves that a billing account is the customer's: a code to its own address.
pub async fn prove_account(stage: &Stage, person: &Person) -> Result<BillingAccountProof> {
    let request = SendBillingCodeRequest {
        request_id: stage.request_id(),
        region: BillingRegion::Domestic.into(),
        username: person.username.clone(),
        language: person.language.into(),
        ..Default::default()
    };
    stage.portal.accounts().send_verification_code(request).await?;
    let code = stage.code_for(&person.email).await?;
    Ok(BillingAccountProof { username: person.username.clone(), code })
}

/// An amount in yuan; the stories' accounts are all kept in it.
pub fn cny(minor: i64) -> Money {
    Money { minor, currency: Currency::Cny }
}

/// Announces and books a recharge, and shows the balance after it.
pub async fn recharge(stage: &Stage, account: &str, minor: i64, reference: &str) -> Result<()> {
    let create = CreateRechargeRequest {
        request_id: stage.request_id(),
        billing_account_id: account.to_owned(),
        amount: Some(cny(minor).to_message()),
        channel: RechargeChannel::BankTransfer.into(),
        buys_card: false,
    };
    let created = stage.portal.wallet().create_recharge(create).await?.into_inner();
    let confirm = ConfirmRechargeRequest {
        request_id: stage.request_id(),
        billing_account_id: account.to_owned(),
        recharge_id: present(created.recharge, "recharge")?.id,
        external_ref: format!("{reference}{}", stage.suffix),
    };
    stage.operator.wallet().confirm_recharge(confirm).await?;
    let request = GetWalletRequest { billing_account_id: account.to_owned() };
    let balances = stage.portal.wallet().get_wallet(request).await?.into_inner();
    stage.teller.table(&wallet::record(account, &balances))
}
