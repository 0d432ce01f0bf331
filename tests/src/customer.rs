//! What customers do: register, buy, activate, prove that an account is theirs.

use anyhow::{Context as _, anyhow};
use tandem_adapters::sandbox::Buy;
use tandem_adapters::sandbox::state::{SandboxPurchase, Status};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::{BillingRegion, Company, Language, Plan, PurchaseIds, SettlementMethod};
use tandem_proto::console::v1 as console;
use tandem_proto::console::v1::activate_workspace_request::Activation;
use tandem_proto::console::v1::commercial_activation::{Payer, Purchase};
use tandem_service_kit::peer::call_with_retry;
use tonic::Status as RpcStatus;

use crate::system::{System, request_id};

/// The password of every customer.
pub const PASSWORD: &str = "Correct-Horse-7";

/// Tries of a call that meets a conflict, with the same id: as callers are told to, on a machine that is busy.
const TRIES: u32 = 4;

/// A registered customer.
#[derive(Debug, Clone)]
pub struct Customer {
    /// `cac_…`.
    pub id: String,
    /// The site's code.
    pub site: String,
    /// Also the address of a billing account made with it.
    pub email: String,
    /// Also the username of a billing account made with it.
    pub username: String,
}

impl Customer {
    /// The Billing Center of the customer's site.
    pub fn region(&self) -> BillingRegion {
        match self.site.as_str() {
            "cn1" | "cn2" | "cn4" => BillingRegion::Domestic,
            _ => BillingRegion::International,
        }
    }
}

/// A workspace and who pays for it.
#[derive(Debug, Clone)]
pub struct Paid {
    /// `wks_…`.
    pub workspace: String,
    /// `bac_…`.
    pub account: String,
}

impl System {
    /// Steps 1 and 2 of registration, with the code from the mail.
    pub async fn register(&self, site: &str, name: &str) -> anyhow::Result<Customer> {
        let portal = self.portal()?;
        let email = format!("{name}@{site}.customers.example");
        let send = console::SendVerificationCodeRequest {
            request_id: request_id("code"),
            purpose: console::VerificationPurpose::Register.into(),
            site: site.to_owned(),
            email: email.clone(),
            language: Language::Zh.into(),
        };
        let mut client = portal.registration();
        let email_code = self.code_to(&email, client.send_verification_code(send)).await?;
        let request = console::RegisterAccountRequest {
            request_id: request_id("register"),
            site: site.to_owned(),
            username: name.to_owned(),
            password: PASSWORD.to_owned(),
            email: email.clone(),
            email_code,
            phone: phone(name, site),
            company: Some(Company { name: format!("{name} Ltd"), ..Company::default() }),
            agreements_accepted: true,
        };
        let call = || {
            let (mut client, request) = (portal.registration(), request.clone());
            async move { client.register_account(request).await }
        };
        let response = call_with_retry(TRIES, call).await?;
        let account = response.account.context("the answer has no account")?;
        Ok(Customer { id: account.id, site: site.to_owned(), email, username: name.to_owned() })
    }

    /// Step 3, as it was asked for.
    pub async fn activate(
        &self,
        customer: &Customer,
        name: &str,
        commercial: console::CommercialActivation,
    ) -> Result<console::ActivateWorkspaceResponse, RpcStatus> {
        let request = activation(customer, name, Activation::Commercial(commercial));
        let portal = self.portal().map_err(|error| RpcStatus::unknown(error.to_string()))?;
        let call = || {
            let (mut client, request) = (portal.registration(), request.clone());
            async move { client.activate_workspace(request).await }
        };
        call_with_retry(TRIES, call).await
    }

    /// Registers a customer with a workspace that is settled by the Billing Center.
    pub async fn direct_customer(&self, site: &str, name: &str) -> anyhow::Result<(Customer, Paid)> {
        let customer = self.register(site, name).await?;
        let asked = commercial(Payer::CreateBillingAccount(true), SettlementMethod::BillingCenter, None);
        let response = self.activate(&customer, &format!("{name} workspace"), asked).await?;
        Ok((customer, paid(response)?))
    }

    /// Registers a customer with a workspace that is settled through a purchase.
    pub async fn cloud_customer(
        &self,
        site: &str,
        name: &str,
        purchase: &SandboxPurchase,
    ) -> anyhow::Result<(Customer, Paid)> {
        let customer = self.register(site, name).await?;
        let asked = commercial(
            Payer::CreateBillingAccount(true),
            SettlementMethod::AlibabaCloud,
            Some(Purchase::PurchaseIds(ids(purchase))),
        );
        let response = self.activate(&customer, &format!("{name} workspace"), asked).await?;
        Ok((customer, paid(response)?))
    }

    /// A Free workspace.
    pub async fn free_workspace(&self, customer: &Customer, name: &str) -> anyhow::Result<String> {
        let asked = Activation::Free(console::FreeActivation { create_billing_account: false });
        let response =
            self.portal()?.registration().activate_workspace(activation(customer, name, asked)).await?;
        let workspace = response.into_inner().workspace.context("the answer has no workspace")?;
        anyhow::ensure!(workspace.plan() == Plan::Free, "the workspace is not Free");
        Ok(workspace.id)
    }

    /// Buys in the market and waits until the purchase is confirmed.
    pub async fn buy(&self, account_id: &str) -> anyhow::Result<SandboxPurchase> {
        let bought = self.sandbox.buy(&Buy { account_id: account_id.to_owned(), ..Buy::default() })?;
        self.eventually("the purchase is confirmed", async || {
            let purchase = self.sandbox.purchase(&bought.instance_id).ok_or_else(|| anyhow!("it is gone"))?;
            Ok((purchase.status == Status::Open).then_some(purchase))
        })
        .await
    }

    /// Proves that a billing account is the customer's, with the code from the mail.
    pub async fn prove(&self, customer: &Customer) -> anyhow::Result<console::BillingAccountProof> {
        // A code may be asked for again only after a minute.
        self.advance(jiff::SignedDuration::from_secs(61)).await?;
        let request = billing::SendVerificationCodeRequest {
            request_id: request_id("prove"),
            region: customer.region().into(),
            username: customer.username.clone(),
            language: Language::En.into(),
            ..Default::default()
        };
        let mut client = self.portal()?.billing_accounts();
        let code = self.code_to(&customer.email, client.send_verification_code(request)).await?;
        Ok(console::BillingAccountProof { username: customer.username.clone(), code })
    }

    /// Pays money in by bank transfer: announced by the customer, booked by staff.
    pub async fn recharge(&self, account: &str, currency: &str, minor_units: i64) -> anyhow::Result<()> {
        let money = tandem_proto::common::v1::Money { currency_code: currency.to_owned(), minor_units };
        let request = billing::CreateRechargeRequest {
            request_id: request_id("recharge"),
            billing_account_id: account.to_owned(),
            amount: Some(money),
            channel: billing::RechargeChannel::BankTransfer.into(),
            buys_card: false,
        };
        let recharge = self.portal()?.wallet().create_recharge(request).await?.into_inner().recharge;
        let request = billing::ConfirmRechargeRequest {
            request_id: request_id("confirm"),
            billing_account_id: account.to_owned(),
            recharge_id: recharge.context("the answer has no recharge")?.id,
            external_ref: request_id("bank"),
        };
        let operator = self.operator()?;
        let call = || {
            let (mut client, request) = (operator.wallet(), request.clone());
            async move { client.confirm_recharge(request).await }
        };
        call_with_retry(TRIES, call).await?;
        Ok(())
    }
}

/// What is asked for in step 3.
pub fn commercial(
    payer: Payer,
    method: SettlementMethod,
    purchase: Option<Purchase>,
) -> console::CommercialActivation {
    console::CommercialActivation { payer: Some(payer), settlement_method: method.into(), purchase }
}

/// What the customer types for a purchase.
pub fn ids(purchase: &SandboxPurchase) -> PurchaseIds {
    PurchaseIds {
        vendor_account_id: purchase.account_id.clone(),
        vendor_instance_id: purchase.instance_id.clone(),
    }
}

/// The workspace and its payer, from the answer of step 3.
pub fn paid(response: console::ActivateWorkspaceResponse) -> anyhow::Result<Paid> {
    let workspace = response.workspace.context("the answer has no workspace")?.id;
    Ok(Paid { workspace, account: response.billing_account_id })
}

/// A whole request of step 3.
pub fn activation(
    customer: &Customer,
    name: &str,
    activation: Activation,
) -> console::ActivateWorkspaceRequest {
    console::ActivateWorkspaceRequest {
        request_id: request_id("activate"),
        console_account_id: customer.id.clone(),
        workspace_name: name.to_owned(),
        language: Language::Zh.into(),
        agreements_accepted: true,
        activation: Some(activation),
    }
}

/// A phone number that is nobody else's: they are login names as well.
fn phone(name: &str, site: &str) -> String {
    let sum = name.bytes().chain(site.bytes()).fold(7_u64, |sum, b| (sum * 131 + u64::from(b)) % 100_000_000);
    format!("+86138{sum:08}")
}
