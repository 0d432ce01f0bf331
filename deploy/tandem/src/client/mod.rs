//! The services as the command line calls them: one lazy channel each, and a token on every call.

mod bearer;
pub mod http;
mod pages;
mod payments;

pub use bearer::{AUDIENCES, Bearer};
pub use pages::{Listed, PAGE_SIZE, all_pages};

use std::time::Duration;

use tandem_proto::billing::v1 as billing;
use tandem_proto::billing::v1::account_service_client::AccountServiceClient as BillingAccounts;
use tandem_proto::billing::v1::alert_service_client::AlertServiceClient;
use tandem_proto::billing::v1::approval_service_client::ApprovalServiceClient;
use tandem_proto::billing::v1::bill_service_client::BillServiceClient;
use tandem_proto::billing::v1::binding_service_client::BindingServiceClient;
use tandem_proto::billing::v1::document_service_client::DocumentServiceClient;
use tandem_proto::billing::v1::invoice_service_client::InvoiceServiceClient;
use tandem_proto::billing::v1::job_service_client::JobServiceClient;
use tandem_proto::billing::v1::marketplace_service_client::MarketplaceServiceClient;
use tandem_proto::billing::v1::package_service_client::PackageServiceClient;
use tandem_proto::billing::v1::payment_service_client::PaymentServiceClient;
use tandem_proto::billing::v1::price_service_client::PriceServiceClient;
use tandem_proto::billing::v1::standing_service_client::StandingServiceClient;
use tandem_proto::billing::v1::usage_service_client::UsageServiceClient as BillingUsage;
use tandem_proto::billing::v1::wallet_service_client::WalletServiceClient;
use tandem_proto::common::v1 as common;
use tandem_proto::common::v1::audit_service_client::AuditServiceClient;
use tandem_proto::common::v1::clock_service_client::ClockServiceClient;
use tandem_proto::common::v1::outbox_service_client::OutboxServiceClient;
use tandem_proto::console::v1::account_service_client::AccountServiceClient as ConsoleAccounts;
use tandem_proto::console::v1::registration_service_client::RegistrationServiceClient;
use tandem_proto::console::v1::usage_service_client::UsageServiceClient;
use tandem_proto::console::v1::workspace_service_client::WorkspaceServiceClient;
use tandem_proto::marketplace::v1::marketplace_gateway_service_client::MarketplaceGatewayServiceClient;
use tandem_proto::reason::Reason;
use tandem_service_kit::fresh;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::data_dir::Endpoints;
use crate::failure::{Attempt as _, Failure, Result};

/// How long to wait for a connection: loopback and private networks answer in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait for an answer: three times what the services themselves allow a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a call travels through.
pub type Wire = InterceptedService<Channel, Bearer>;

/// The services.
#[derive(Clone)]
pub struct Clients {
    console: Channel,
    billing: Channel,
    gateway: Channel,
    bearer: Bearer,
}

macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $channel:ident => $client:ident;)+) => {
        impl Clients {$(
            $(#[$doc])*
            pub fn $name(&self) -> $client<Wire> {
                $client::with_interceptor(self.$channel.clone(), self.bearer.clone())
            }
        )+}
    };
}

clients! {
    /// Registration in the Console.
    registration: console => RegistrationServiceClient;
    /// Console accounts.
    console_accounts: console => ConsoleAccounts;
    /// Workspaces.
    workspaces: console => WorkspaceServiceClient;
    /// Usage in the Console.
    usage: console => UsageServiceClient;
    /// What is on its way out of the Console.
    console_outbox: console => OutboxServiceClient;
    /// Who tried to change what in the Console.
    console_audit: console => AuditServiceClient;
    /// The Console's clock.
    console_clock: console => ClockServiceClient;
    /// Billing accounts.
    accounts: billing => BillingAccounts;
    /// Bindings and settlement methods.
    bindings: billing => BindingServiceClient;
    /// Debts, locks and the end of workspaces.
    standing: billing => StandingServiceClient;
    /// Bills.
    bills: billing => BillServiceClient;
    /// Balances and the ledger.
    wallet: billing => WalletServiceClient;
    /// Spend alerts.
    alerts: billing => AlertServiceClient;
    /// What Billing does by the calendar.
    jobs: billing => JobServiceClient;
    /// Price lists and log modes.
    prices: billing => PriceServiceClient;
    /// Annual and traffic packages.
    packages: billing => PackageServiceClient;
    /// Invoices.
    invoices: billing => InvoiceServiceClient;
    /// Printable documents.
    documents: billing => DocumentServiceClient;
    /// Payments that providers announced.
    payments: billing => PaymentServiceClient;
    /// Usage in Billing.
    billing_usage: billing => BillingUsage;
    /// The marketplace side of Billing.
    marketplace: billing => MarketplaceServiceClient;
    /// What is on its way out of Billing.
    billing_outbox: billing => OutboxServiceClient;
    /// Who tried to change what in Billing.
    billing_audit: billing => AuditServiceClient;
    /// Acts that take two people.
    approvals: billing => ApprovalServiceClient;
    /// Billing's clock.
    billing_clock: billing => ClockServiceClient;
    /// The calls to vendors.
    outbound: gateway => MarketplaceGatewayServiceClient;
    /// The gateway's clock.
    gateway_clock: gateway => ClockServiceClient;
}

impl Clients {
    /// Prepares the channels; nothing is connected before the first call.
    ///
    /// Fails when an endpoint is no URL.
    pub fn new(endpoints: &Endpoints, bearer: Bearer) -> Result<Clients> {
        Ok(Clients {
            console: channel(&endpoints.console)?,
            billing: channel(&endpoints.billing)?,
            gateway: channel(&endpoints.gateway)?,
            bearer,
        })
    }

    /// The same services as another caller.
    #[must_use]
    pub fn called_by(&self, bearer: Bearer) -> Clients {
        Clients { bearer, ..self.clone() }
    }

    /// The id of a billing account that was named by its id or its username.
    pub async fn billing_account_id(&self, name: &str) -> Result<String> {
        Ok(self.billing_account(name).await?.id)
    }

    /// A billing account by its id or its username.
    pub async fn billing_account(&self, name: &str) -> Result<billing::BillingAccount> {
        if name.starts_with("bac_") {
            let request = billing::GetAccountRequest { billing_account_id: name.to_owned() };
            return present(self.accounts().get_account(request).await?.into_inner().account, "account");
        }
        let look_up = |region: common::BillingRegion| billing::LookUpAccountRequest {
            region: region.into(),
            username: name.to_owned(),
        };
        let mut accounts = self.accounts();
        let domestic = accounts.look_up_account(look_up(common::BillingRegion::Domestic)).await;
        match domestic.map_err(Failure::from) {
            Ok(found) => present(found.into_inner().account, "account"),
            Err(failure) if failure.reason() == Some(Reason::ObjectNotFound) => {
                let found = accounts.look_up_account(look_up(common::BillingRegion::International)).await?;
                present(found.into_inner().account, "account")
            }
            Err(failure) => Err(failure),
        }
    }
}

fn channel(url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .attempt(|| format!("{url} is no address; write http://HOST:PORT"))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true).connect_lazy())
}

/// A part of an answer that the schema promises.
pub fn present<T>(part: Option<T>, name: &str) -> Result<T> {
    part.ok_or_else(|| {
        Failure::failed(format!("the service's answer lacks `{name}`; are both of the same release?"))
    })
}

/// A new request id for an act from the command line.
pub fn new_request_id() -> String {
    format!("cli-{}", fresh::fresh_uuid().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_is_not_there_is_told_from_one_that_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let endpoints = Endpoints {
            console: url.clone(),
            billing: url.clone(),
            gateway: url.clone(),
            callbacks: url.clone(),
            sandbox: url.clone(),
            metrics: url,
        };
        let clients = Clients::new(&endpoints, Bearer::given("x")).unwrap();
        let failure = clients.billing_account("ada").await.unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.block().contains("tandem up"), "{}", failure.block());
    }
}
