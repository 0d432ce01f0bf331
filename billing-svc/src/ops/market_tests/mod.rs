//! The market side through the services, on both engines.

mod accounts;
mod binding;
mod contacts;
mod events;
mod gateway;
mod metering;
mod moves;
mod moves_model;
mod pending;
mod purchase;
mod races;

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use tandem_proto::billing::v1 as pb;
use tandem_proto::billing::v1::binding_service_server::BindingService as _;
use tandem_proto::billing::v1::marketplace_service_server::MarketplaceService as _;
use tandem_proto::common::v1 as common;
use tandem_proto::ids::{BillingAccountId, WorkspaceId};
use tandem_proto::marketplace::v1::PurchaseState;
use tandem_proto::reason::Reason;
use tandem_service_kit::clock::Clock as _;
use tandem_service_kit::fault::reason_of;
use tandem_service_kit::fresh::{fresh, fresh_uuid};
use tandem_service_kit::identity::Caller;
use tandem_service_kit::mail::Mail;
use tonic::{Request, Response, Status};

use self::gateway::Gateway;
use crate::context::Context;
use crate::grpc::{binding as binding_service, marketplace as marketplace_service};
use crate::store::read::{self, Row};
use crate::testing::Bench;

/// The buyer, and the instance they bought.
const BUYER: &str = "1744500000000021";
const INSTANCE: &str = "1551234567";

/// A context with a gateway that knows the buyer's purchase.
struct Market {
    bench: Bench,
    gateway: Gateway,
}

impl std::ops::Deref for Market {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.bench
    }
}

async fn both(name: &str) -> Vec<Market> {
    let mut markets = Vec::new();
    for bench in crate::testing::both(name).await {
        let gateway = Gateway::start().await;
        gateway.knows(INSTANCE, BUYER, PurchaseState::Active);
        markets.push(Market { bench: bench.calling(&gateway.uri), gateway });
    }
    markets
}

/// A request by a caller whom the guard has let in.
fn by_caller<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller { name: "tester".to_owned(), role: common::Role::Operator });
    request
}

/// The reason of a refusal.
fn refusal<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Reason {
    let status = answer.unwrap_err();
    reason_of(&status).unwrap_or_else(|| panic!("no reason in {status:?}"))
}

fn request_id() -> String {
    fresh_uuid().to_string()
}

fn event(kind: pb::MarketplaceEventKind, key: &str) -> pb::AnnouncedEvent {
    let subscribed = kind == pb::MarketplaceEventKind::Subscribed;
    pb::AnnouncedEvent {
        vendor: common::Vendor::Alibaba.into(),
        market: common::Market::China.into(),
        kind: kind.into(),
        event_key: format!("{key}:{INSTANCE}"),
        key_per_state: kind == pb::MarketplaceEventKind::Suspended,
        vendor_instance_id: INSTANCE.to_owned(),
        vendor_account_id: if subscribed { BUYER.to_owned() } else { String::new() },
        product_code: if subscribed { "cmgj00099001".to_owned() } else { String::new() },
        plan: if subscribed { "cmgj00099001-postpay".to_owned() } else { String::new() },
        ..Default::default()
    }
}

/// The four events whose orders are tried.
fn bought() -> pb::AnnouncedEvent {
    event(pb::MarketplaceEventKind::Subscribed, "createInstance")
}

fn renewed(order: &str) -> pb::AnnouncedEvent {
    event(pb::MarketplaceEventKind::Renewed, &format!("renewInstance:{order}"))
}

fn frozen() -> pb::AnnouncedEvent {
    event(pb::MarketplaceEventKind::Suspended, "expiredInstance")
}

fn released() -> pb::AnnouncedEvent {
    event(pb::MarketplaceEventKind::Cancelled, "releaseInstance")
}

fn ids(account: &str, instance: &str) -> common::PurchaseIds {
    common::PurchaseIds { vendor_account_id: account.to_owned(), vendor_instance_id: instance.to_owned() }
}

fn profile(name: &str, owner: &str) -> pb::WorkspaceProfile {
    pb::WorkspaceProfile {
        workspace_id: fresh::<WorkspaceId>().into(),
        name: name.to_owned(),
        site: "cn1".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        price_zone: common::PriceZone::Cn.into(),
        billing_region: common::BillingRegion::Domestic.into(),
        default_settlement_methods: vec![common::SettlementMethod::AlibabaCloud.into()],
        language: common::Language::Zh.into(),
        owner_email: owner.to_owned(),
        revision: 1,
    }
}

/// A hash in PHC form, so that no test waits for one to be made.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn new_account(username: &str) -> pb::NewAccount {
    pb::NewAccount {
        username: username.to_owned(),
        email: format!("{username}@acme.test"),
        phone: String::new(),
        company: Some(common::Company { name: "ACME".to_owned(), ..Default::default() }),
        region: common::BillingRegion::Domestic.into(),
        language: common::Language::En.into(),
        first_password: Some(pb::new_account::FirstPassword::PasswordHash(HASH.to_owned())),
    }
}

fn bind_request(
    workspace: pb::WorkspaceProfile,
    username: &str,
    purchase: Option<pb::bind_workspace_request::Purchase>,
) -> pb::BindWorkspaceRequest {
    let method = match purchase {
        Some(_) => common::SettlementMethod::AlibabaCloud,
        None => common::SettlementMethod::BillingCenter,
    };
    pb::BindWorkspaceRequest {
        request_id: request_id(),
        workspace: Some(workspace),
        payer: Some(pb::bind_workspace_request::Payer::NewAccount(new_account(username))),
        settlement_method: method.into(),
        purchase,
    }
}

fn by_ids(account: &str, instance: &str) -> Option<pb::bind_workspace_request::Purchase> {
    Some(pb::bind_workspace_request::Purchase::PurchaseIds(ids(account, instance)))
}

impl Market {
    fn now(&self) -> Timestamp {
        self.bench.clock.now()
    }

    fn context(&self) -> Arc<Context> {
        Arc::clone(&self.bench.ctx)
    }

    fn bindings(&self) -> binding_service::Service {
        binding_service::Service(self.context())
    }

    fn market(&self) -> marketplace_service::Service {
        marketplace_service::Service(self.context())
    }

    /// Announces events in one call and returns their outcomes.
    async fn announce(&self, events: Vec<pb::AnnouncedEvent>) -> Vec<pb::EventOutcome> {
        let request = pb::RecordMarketplaceEventsRequest { request_id: request_id(), events };
        let answer = self.market().record_marketplace_events(by_caller(request)).await;
        answer.unwrap().into_inner().outcomes
    }

    async fn bind(
        &self,
        request: pb::BindWorkspaceRequest,
    ) -> Result<Response<pb::BindWorkspaceResponse>, Status> {
        self.bindings().bind_workspace(by_caller(request)).await
    }

    /// Binds a workspace of a new account to the announced purchase.
    async fn bound(&self, username: &str, owner: &str) -> pb::BindWorkspaceResponse {
        self.announce(vec![bought()]).await;
        let request = bind_request(profile(username, owner), username, by_ids(BUYER, INSTANCE));
        self.bind(request).await.unwrap().into_inner()
    }

    /// Binds a further workspace of an account to its cloud account.
    async fn further(
        &self,
        first: &pb::BindWorkspaceResponse,
        workspace: pb::WorkspaceProfile,
    ) -> pb::WorkspaceBinding {
        let account = first.account.as_ref().unwrap();
        let cloud = first.binding.as_ref().unwrap().cloud_account_id.clone();
        let request = pb::BindWorkspaceRequest {
            payer: Some(self.proved(account).await),
            ..bind_request(
                workspace,
                "unused",
                Some(pb::bind_workspace_request::Purchase::CloudAccountId(cloud)),
            )
        };
        self.bind(request).await.unwrap().into_inner().binding.unwrap()
    }

    /// A payer who proves an account with a code from its mail.
    async fn proved(&self, account: &pb::BillingAccount) -> pb::bind_workspace_request::Payer {
        use tandem_proto::billing::v1::account_service_server::AccountService as _;
        self.bench.pass(jiff::SignedDuration::from_secs(61));
        let request = pb::SendVerificationCodeRequest {
            request_id: request_id(),
            region: account.region,
            username: account.username.clone(),
            language: common::Language::En.into(),
            ..Default::default()
        };
        let service = crate::grpc::account::Service(self.context());
        service.send_verification_code(by_caller(request)).await.unwrap();
        let mails = self.mails().await;
        let mail = mails.iter().rev().find(|mail| mail.subject.contains("verification code")).unwrap();
        let code = mail.subject.rsplit(' ').next().unwrap().to_owned();
        pb::bind_workspace_request::Payer::ProvedAccount(pb::ProvedAccount {
            username: account.username.clone(),
            code,
        })
    }

    /// Every mail in the outbox, in the order of its writing.
    async fn mails(&self) -> Vec<Mail> {
        let rows =
            read::all(&self.bench.db.read, "SELECT payload FROM outbox WHERE topic = 'mail' ORDER BY id", [])
                .await;
        let payload = |row: &sea_orm::QueryResult| row.try_get::<Vec<u8>>("", "payload").unwrap();
        rows.unwrap().iter().map(|row| serde_json::from_slice(&payload(row)).unwrap()).collect()
    }

    /// The mails whose subject says that a subscription has ended.
    async fn end_mails(&self) -> Vec<Mail> {
        let ended = |mail: &Mail| mail.subject.contains("has ended") || mail.subject.contains("已终止");
        self.mails().await.into_iter().filter(ended).collect()
    }

    /// One column of texts.
    async fn texts(&self, text: &str) -> Vec<String> {
        let rows = read::all(&self.bench.db.read, text, []).await.unwrap();
        rows.iter().map(|row| Row(row, "test").text("value").unwrap()).collect()
    }

    async fn count(&self, table: &str) -> i64 {
        self.bench.number(&format!("SELECT COUNT(*) FROM {table}")).await
    }

    async fn subscription_state(&self) -> String {
        let text = format!("SELECT state AS value FROM subscription WHERE vendor_instance_id = '{INSTANCE}'");
        self.texts(&text).await.pop().unwrap_or_default()
    }

    async fn methods(&self) -> Vec<String> {
        let text = "SELECT settlement_method AS value FROM workspace_binding WHERE effective_to IS NULL ORDER BY workspace_id";
        self.texts(text).await
    }

    /// I-18 to I-23, by SQL.
    async fn check_invariants(&self) {
        let none = [
            // I-18: exactly one open period, no gap, no overlap.
            "SELECT COUNT(*) FROM workspace w WHERE 1 <> (SELECT COUNT(*) FROM workspace_binding b \
             WHERE b.workspace_id = w.workspace_id AND b.effective_to IS NULL)",
            "SELECT COUNT(*) FROM workspace_binding b WHERE b.effective_to IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM workspace_binding n WHERE n.workspace_id = b.workspace_id \
             AND n.billing_account_id = b.billing_account_id AND n.effective_from = b.effective_to)",
            // I-19: whoever settles through an instance is its one owner.
            "SELECT COUNT(*) FROM workspace_binding b JOIN subscription s ON s.id = b.subscription_id \
             WHERE s.billing_account_id IS NULL OR s.billing_account_id <> b.billing_account_id",
            // I-20, I-23: nobody settles through an ended purchase.
            "SELECT COUNT(*) FROM workspace_binding b JOIN subscription s ON s.id = b.subscription_id \
             WHERE b.effective_to IS NULL AND s.state NOT IN ('active', 'suspended')",
            // An active purchase belongs to somebody.
            "SELECT COUNT(*) FROM subscription WHERE state = 'active' AND billing_account_id IS NULL",
        ];
        for text in none {
            assert_eq!(self.bench.number(text).await, 0, "{text}");
        }
    }
}

/// The encoded form, to compare answers.
fn bytes(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

fn account_id(response: &pb::BindWorkspaceResponse) -> BillingAccountId {
    response.account.as_ref().unwrap().id.parse().unwrap()
}

fn workspace_id(response: &pb::BindWorkspaceResponse) -> WorkspaceId {
    response.binding.as_ref().unwrap().workspace_id.parse().unwrap()
}
