//! The payment provider's side as tests use it, and what Billing made of it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tandem_adapters::payment::sandbox::{PaymentSandbox, PaymentSandboxConfig};
use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::Money;
use tandem_service_kit::clock::{Clock as _, TestClock};
use tonic::Status;

use crate::configs::{Addresses, Keys};
use crate::market::Answer;
use crate::system::{System, request_id};

/// Who we are at the provider.
const MERCHANT: &str = "acme";
/// The names of the secrets that both sides share.
pub const SECRETS: [&str; 2] = ["api_key", "notice_key"];

/// Where the provider announces payments.
pub fn notify_url(addresses: &Addresses) -> String {
    format!("http://{}/payments/alipay", addresses.callbacks)
}

/// Writes the gateway's section.
pub fn section(text: &mut String, folder: &Path, addresses: &Addresses) -> std::fmt::Result {
    write!(
        text,
        "[payments.alipay]\nadapter = 'hosted_page'\nmerchant = '{MERCHANT}'\n\
         base_url = 'http://{}/payments'\nnotify_url = '{}'\nallow_insecure = true\n[payments.alipay.secrets]\n",
        addresses.sandbox,
        notify_url(addresses),
    )?;
    for name in SECRETS {
        writeln!(text, "{name} = {{ file = '{}' }}", folder.join(name).display())?;
    }
    Ok(())
}

/// The sandbox provider of a system.
pub fn sandbox(
    addresses: &Addresses,
    keys: &Keys,
    clock: &Arc<TestClock>,
    spacing: Duration,
) -> anyhow::Result<PaymentSandbox> {
    let config = PaymentSandboxConfig {
        merchant: MERCHANT.to_owned(),
        secrets: keys.payments.clone(),
        base_url: format!("http://{}", addresses.sandbox),
        spacing,
        state_file: None,
    };
    let clock = Arc::clone(clock);
    Ok(PaymentSandbox::new(config, Arc::new(move || clock.now()))?)
}

/// What a customer asks for who pays online.
pub fn online(account: &str, currency: &str, minor_units: i64) -> billing::CreateRechargeRequest {
    billing::CreateRechargeRequest {
        request_id: request_id("recharge"),
        billing_account_id: account.to_owned(),
        amount: Some(Money { currency_code: currency.to_owned(), minor_units }),
        channel: billing::RechargeChannel::Alipay.into(),
        buys_card: false,
    }
}

impl System {
    /// Announces a recharge that is paid online.
    pub async fn recharge_online(
        &self,
        request: &billing::CreateRechargeRequest,
    ) -> Result<billing::Recharge, Status> {
        let portal = self.portal().map_err(|error| Status::unknown(error.to_string()))?;
        let answer = portal.wallet().create_recharge(request.clone()).await?.into_inner();
        answer.recharge.ok_or_else(|| Status::unknown("the answer has no recharge"))
    }

    /// An account's recharges.
    pub async fn recharges(&self, account: &str) -> anyhow::Result<Vec<billing::Recharge>> {
        let request = billing::ListRechargesRequest {
            billing_account_id: account.to_owned(),
            page_size: 500,
            ..Default::default()
        };
        Ok(self.portal()?.wallet().list_recharges(request).await?.into_inner().recharges)
    }

    /// A recharge by its id.
    pub async fn one_recharge(&self, account: &str, id: &str) -> anyhow::Result<billing::Recharge> {
        let all = self.recharges(account).await?;
        all.into_iter().find(|recharge| recharge.id == id).context("no such recharge")
    }

    /// Payments in a state, newest first.
    pub async fn payments_in(
        &self,
        state: billing::PaymentState,
    ) -> anyhow::Result<Vec<billing::OnlinePayment>> {
        let request =
            billing::ListPaymentsRequest { state: state.into(), page_size: 500, ..Default::default() };
        Ok(self.operator()?.payments().list_payments(request).await?.into_inner().payments)
    }

    /// Sends a body with headers to the address of notices.
    pub async fn send_notice(&self, headers: &[(&str, String)], body: &str) -> anyhow::Result<Answer> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut request = client.post(notify_url(&self.addresses)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    }
}
