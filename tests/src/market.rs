//! The vendor's side as tests use it: callbacks sent by hand, and where bindings and metering stand.

use anyhow::{Context as _, ensure};
use tandem_adapters::callback::{CallbackAction, CallbackFields};
use tandem_adapters::sandbox::state::SandboxPurchase;
use tandem_proto::billing::v1 as billing;

use crate::configs::{self, VENDOR};
use crate::system::System;

/// What the gateway answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Whether the vendor reads it as done.
    pub fn is_success(&self) -> bool {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.status == 200 && value.get("success") == Some(&serde_json::Value::Bool(true))
    }
}

/// The fields of a callback about a purchase.
pub fn fields_of(purchase: &SandboxPurchase) -> CallbackFields {
    CallbackFields {
        instance: Some(purchase.instance_id.clone()),
        account: Some(purchase.account_id.clone()),
        order: purchase.orders.first().map(|order| order.order_id.clone()),
        product: Some(purchase.product_code.clone()),
        plan: Some(purchase.plan.clone()),
        ..CallbackFields::default()
    }
}

impl System {
    /// The query of a genuine callback.
    pub fn signed(&self, action: CallbackAction, fields: &CallbackFields) -> anyhow::Result<String> {
        Ok(tandem_adapters::sign_callback(VENDOR, self.keys.callback_key()?, action, fields)?.query)
    }

    /// Sends a query to the callback address.
    pub async fn call_back(&self, query: &str) -> anyhow::Result<Answer> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}?{query}", configs::callback_url(&self.addresses));
        let response = client.get(url).send().await?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    }

    /// A subscription by the vendor's number.
    pub async fn subscription(&self, instance: &str) -> anyhow::Result<billing::MarketplaceSubscription> {
        let request = billing::GetSubscriptionRequest {
            key: Some(billing::get_subscription_request::Key::VendorInstance(billing::VendorInstance {
                vendor: VENDOR.to_message().into(),
                vendor_instance_id: instance.to_owned(),
            })),
        };
        let response = self.operator()?.marketplace().get_subscription(request).await?.into_inner();
        response.subscription.context("the answer has no subscription")
    }

    /// A workspace's binding as it is now.
    pub async fn binding(&self, workspace: &str) -> anyhow::Result<billing::WorkspaceBinding> {
        let request = billing::GetBindingRequest { workspace_id: workspace.to_owned() };
        let response = self.operator()?.bindings().get_binding(request).await?.into_inner();
        response.binding.context("the answer has no binding")
    }

    /// The account's only cloud account.
    pub async fn cloud_account(&self, account: &str) -> anyhow::Result<billing::CloudAccount> {
        let request = billing::ListCloudAccountsRequest {
            billing_account_id: account.to_owned(),
            ..Default::default()
        };
        let mut found =
            self.operator()?.marketplace().list_cloud_accounts(request).await?.into_inner().cloud_accounts;
        ensure!(found.len() == 1, "{} cloud accounts", found.len());
        found.pop().context("no cloud account")
    }

    /// Allows an account to settle with any cloud.
    pub async fn allow_any_settlement(&self, account: &str) -> anyhow::Result<()> {
        let request = billing::SetAnySettlementRequest {
            request_id: crate::system::request_id("any"),
            billing_account_id: account.to_owned(),
            allowed: true,
        };
        self.operator()?.billing_accounts().set_any_settlement(request).await?;
        Ok(())
    }

    /// Every event that the vendor announced of a purchase.
    pub async fn announced(&self, instance: &str) -> anyhow::Result<Vec<billing::MarketplaceEvent>> {
        let request = billing::ListMarketplaceEventsRequest {
            vendor_instance_id: instance.to_owned(),
            page_size: 500,
            ..Default::default()
        };
        Ok(self.operator()?.marketplace().list_marketplace_events(request).await?.into_inner().events)
    }

    /// Every metering record.
    pub async fn metering_records(&self) -> anyhow::Result<Vec<billing::MeteringRecord>> {
        let request = billing::ListMeteringRecordsRequest { page_size: 500, ..Default::default() };
        Ok(self.operator()?.marketplace().list_metering_records(request).await?.into_inner().records)
    }
}
