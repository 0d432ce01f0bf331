//! Clients of everything that is served, in the name of one caller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_proto::billing::v1 as billing;
use tandem_proto::common::v1::audit_service_client::AuditServiceClient;
use tandem_proto::common::v1::outbox_service_client::OutboxServiceClient;
use tandem_proto::console::v1 as console;
use tandem_proto::marketplace::v1::marketplace_gateway_service_client::MarketplaceGatewayServiceClient;
use tandem_service_kit::identity::Signer;
use tandem_service_kit::peer::{Peer, PeerChannel};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::configs::Addresses;
use crate::system::Service;

/// How long a test waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One caller's clients.
pub struct Clients {
    console: Peer,
    billing: Peer,
    gateway: Peer,
}

macro_rules! clients {
    ($($(#[doc = $doc:literal])+ $name:ident: $client:ty, $of:ident;)+) => {
        impl Clients {
            $($(#[doc = $doc])+ pub fn $name(&self) -> $client {
                <$client>::new(self.$of.channel())
            })+
        }
    };
}

clients! {
    /// The Console's registration.
    registration: console::registration_service_client::RegistrationServiceClient<PeerChannel>, console;
    /// The Console's accounts and sites.
    accounts: console::account_service_client::AccountServiceClient<PeerChannel>, console;
    /// The Console's workspaces.
    workspaces: console::workspace_service_client::WorkspaceServiceClient<PeerChannel>, console;
    /// The Console's usage.
    usage: console::usage_service_client::UsageServiceClient<PeerChannel>, console;
    /// The Console's outbox.
    console_outbox: OutboxServiceClient<PeerChannel>, console;
    /// Who tried to change what in the Console.
    console_audit: AuditServiceClient<PeerChannel>, console;
    /// Billing's accounts.
    billing_accounts: billing::account_service_client::AccountServiceClient<PeerChannel>, billing;
    /// Billing's bindings.
    bindings: billing::binding_service_client::BindingServiceClient<PeerChannel>, billing;
    /// Debts, locks and the end of workspaces.
    standing: billing::standing_service_client::StandingServiceClient<PeerChannel>, billing;
    /// Billing's marketplace side.
    marketplace: billing::marketplace_service_client::MarketplaceServiceClient<PeerChannel>, billing;
    /// Billing's usage.
    billing_usage: billing::usage_service_client::UsageServiceClient<PeerChannel>, billing;
    /// Bills.
    bills: billing::bill_service_client::BillServiceClient<PeerChannel>, billing;
    /// Wallets and the ledger.
    wallet: billing::wallet_service_client::WalletServiceClient<PeerChannel>, billing;
    /// Annual and traffic packages.
    packages: billing::package_service_client::PackageServiceClient<PeerChannel>, billing;
    /// Invoices.
    invoices: billing::invoice_service_client::InvoiceServiceClient<PeerChannel>, billing;
    /// Printable documents.
    documents: billing::document_service_client::DocumentServiceClient<PeerChannel>, billing;
    /// Payments that providers announced.
    payments: billing::payment_service_client::PaymentServiceClient<PeerChannel>, billing;
    /// Prices.
    prices: billing::price_service_client::PriceServiceClient<PeerChannel>, billing;
    /// The event feed.
    events: billing::event_service_client::EventServiceClient<PeerChannel>, billing;
    /// Acts that take two people.
    approvals: billing::approval_service_client::ApprovalServiceClient<PeerChannel>, billing;
    /// Who tried to change what in Billing.
    billing_audit: AuditServiceClient<PeerChannel>, billing;
    /// Billing's outbox.
    billing_outbox: OutboxServiceClient<PeerChannel>, billing;
    /// The gateway.
    gateway: MarketplaceGatewayServiceClient<PeerChannel>, gateway;
}

impl Clients {
    /// Makes clients that connect when they are used.
    pub fn connect(addresses: &Addresses, signer: &Arc<Signer>) -> anyhow::Result<Clients> {
        let peer = |service: Service| {
            let uri = format!("http://{}", service.address(addresses));
            Peer::connect_lazy(&uri, Arc::clone(signer), service.name(), TIMEOUT)
        };
        Ok(Clients {
            console: peer(Service::Console)?,
            billing: peer(Service::Billing)?,
            gateway: peer(Service::Gateway)?,
        })
    }

    /// The channel to a service.
    pub fn of(&self, service: Service) -> PeerChannel {
        match service {
            Service::Console => self.console.channel(),
            Service::Billing => self.billing.channel(),
            Service::Gateway => self.gateway.channel(),
        }
    }
}

/// Asks a service how it is.
pub async fn health(address: SocketAddr) -> anyhow::Result<ServingStatus> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.timeout(TIMEOUT);
    let mut client = HealthClient::new(endpoint.connect().await?);
    let response = client.check(HealthCheckRequest { service: String::new() }).await?;
    Ok(response.into_inner().status())
}
