//! Starts the gateway on free ports and speaks to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tandem_adapters::callback::{CallbackAction, CallbackFields};
use tandem_gateway::config::Config;
use tandem_gateway::{App, Listeners};
use tandem_proto::common::v1::Role;
use tandem_proto::marketplace::v1::marketplace_gateway_service_client::MarketplaceGatewayServiceClient;
use tandem_proto::marketplace::v1::payment_gateway_service_client::PaymentGatewayServiceClient;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::clock::TestClock;
use tandem_service_kit::identity::{Signer, SigningKey};
use tandem_service_kit::peer::{Peer, PeerChannel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::billing::FakeBilling;
use crate::market::FakeMarket;

/// The callback key, and the one before it.
pub(crate) const KEY: &str = "9f2c1e7a-4b1d-isv-key-41b8";
pub(crate) const KEY_BEFORE: &str = "5a7d90c3-77e2-isv-key-22aa";
pub(crate) const KEY_SECRET: &str = "kq8WmZ41LxTr93VbNc72HsYe0Gd5Pf";
/// The payment provider's key, and the one before it.
pub(crate) const NOTICE_KEY: &str = "8c1f-notice-key-4b7e2d90a1";
pub(crate) const NOTICE_KEY_BEFORE: &str = "1d20-notice-key-99e2d4c0b7";
pub(crate) const ACCOUNT: &str = "1744500000000021";
pub(crate) const INSTANCE: &str = "1551234567";
pub(crate) const PRODUCT: &str = "cmgj00099001";
pub(crate) const CALLBACKS: &str = "/callbacks/alibaba";
pub(crate) const LANDING: &str = "/landing/alibaba";

pub(crate) struct Harness {
    pub(crate) billing: FakeBilling,
    pub(crate) market: FakeMarket,
    /// Where the payment provider is expected.
    pub(crate) provider: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) metrics: SocketAddr,
    billing_key: Mutex<Option<SigningKey>>,
    stop: CancellationToken,
    app: Mutex<Option<JoinHandle<Result<(), tandem_gateway::Error>>>>,
    billing_server: Mutex<Option<JoinHandle<()>>>,
    billing_address: SocketAddr,
}

/// An HTTP answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn now() -> Timestamp {
    "2026-03-01T02:01:30Z".parse().unwrap()
}

impl Harness {
    /// A gateway with a Billing that answers.
    pub(crate) async fn start() -> Harness {
        let harness = Harness::start_without_billing().await;
        harness.start_billing().await;
        harness
    }

    /// A gateway whose Billing is away.
    pub(crate) async fn start_without_billing() -> Harness {
        log();
        let (listener, billing_address) = FakeBilling::bind().await;
        drop(listener);
        let market = FakeMarket::start().await;
        let (listener, provider) = FakeBilling::bind().await;
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let billing_key = SigningKey::generate().unwrap();
        let config = configuration(folder.path(), billing_address, market.address, provider, &billing_key);
        let listeners = Listeners::bind(&config).await.unwrap();
        let metrics = listeners.metrics.as_ref().unwrap().local_addr().unwrap();
        let app = App::build(config, listeners, Arc::new(TestClock::frozen(now()))).unwrap();
        let (http, grpc, stop) = (app.http_address(), app.grpc_address(), CancellationToken::new());
        let app = Mutex::new(Some(tokio::spawn(app.run(stop.clone()))));
        let (billing, billing_key) = (FakeBilling::default(), Mutex::new(Some(billing_key)));
        let billing_server = Mutex::new(None);
        Harness {
            billing,
            market,
            provider,
            http,
            grpc,
            metrics,
            billing_key,
            stop,
            app,
            billing_server,
            billing_address,
        }
    }

    /// Billing comes up.
    pub(crate) async fn start_billing(&self) {
        let listener = tokio::net::TcpListener::bind(self.billing_address).await.unwrap();
        *self.billing_server.lock().unwrap() = Some(self.billing.serve(listener));
    }

    /// Asks the gateway to stop and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let app = self.app.lock().unwrap().take().unwrap();
        app.await.unwrap().unwrap();
    }

    /// `GET`s a path with a query.
    pub(crate) async fn get(&self, path: &str, query: &str) -> Answer {
        self.get_with(path, query, "").await
    }

    /// `GET`s with further header lines, each ended by CRLF.
    pub(crate) async fn get_with(&self, path: &str, query: &str, headers: &str) -> Answer {
        let request = format!("GET {path}?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        self.send(request.as_bytes()).await
    }

    /// Sends bytes and reads what comes back.
    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        send_to(self.http, request).await
    }

    /// What `/metrics` shows.
    pub(crate) async fn metrics_text(&self) -> String {
        send_to(self.metrics, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.body
    }

    /// A client as Billing has it.
    pub(crate) fn client(&self) -> MarketplaceGatewayServiceClient<PeerChannel> {
        self.client_as("billing", Role::Billing, self.billing_key.lock().unwrap().take().unwrap())
    }

    /// A client for payments, as Billing has it.
    pub(crate) fn payment_client(&self) -> PaymentGatewayServiceClient<PeerChannel> {
        let key = self.billing_key.lock().unwrap().take().unwrap();
        let signer = Arc::new(Signer::new("billing", Role::Billing, key));
        let uri = format!("http://{}", self.grpc);
        let peer = Peer::connect_lazy(&uri, signer, "gateway", Duration::from_secs(10)).unwrap();
        PaymentGatewayServiceClient::new(peer.channel())
    }

    pub(crate) fn client_as(
        &self,
        name: &str,
        role: Role,
        key: SigningKey,
    ) -> MarketplaceGatewayServiceClient<PeerChannel> {
        let signer = Arc::new(Signer::new(name, role, key));
        let uri = format!("http://{}", self.grpc);
        let peer = Peer::connect_lazy(&uri, signer, "gateway", Duration::from_secs(10)).unwrap();
        MarketplaceGatewayServiceClient::new(peer.channel())
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(server) = self.billing_server.lock().unwrap().take() {
            server.abort();
        }
    }
}

async fn send_to(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn configuration(
    folder: &Path,
    billing: SocketAddr,
    market: SocketAddr,
    provider: SocketAddr,
    billing_key: &SigningKey,
) -> Config {
    let secret = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        format!("{{ file = '{}' }}", path.display())
    };
    let own_key = SigningKey::generate().unwrap();
    let text = format!(
        "[server]\nlisten = '127.0.0.1:0'\nmetrics_listen = '127.0.0.1:0'\nreflection = true\n[http]\nlisten = '127.0.0.1:0'\n\
         [billing]\nuri = 'http://{billing}'\n\
         [brand]\nname = 'Acme'\nconsole_url = 'https://console.example.com/'\n\
         [identity]\nkey = {}\n\
         [[identity.callers]]\nname = 'billing'\nrole = 'billing'\npublic_keys = ['{}']\n\
         [vendors.alibaba]\nmarket = 'china'\nbase_url = 'http://{market}'\nallow_insecure = true\n\
         timeout_millis = 1000\n\
         [vendors.alibaba.secrets]\nisv_key = {}\nisv_key_previous = {}\naccess_key_id = {}\naccess_key_secret = {}\n\
         [vendors.alibaba.products.{PRODUCT}]\nplans = {{ '{PRODUCT}-postpay' = 'commercial' }}\n\
         metering = {{ Unit = {{ id = '{PRODUCT}-Unit-1' }} }}\nbilling_cycle = 'HOUR'\n\
         [vendors.alibaba.app_info]\nfront_end_url = 'https://a.example.com'\nadmin_url = 'https://a.example.com/admin'\n\
         auth_url = 'https://a.example.com/landing/alibaba'\n\
         [payments.alipay]\nadapter = 'hosted_page'\nmerchant = 'acme'\nbase_url = 'http://{provider}/payments'\n\
         notify_url = 'https://a.example.com/payments/alipay'\nallow_insecure = true\ntimeout_millis = 1000\n\
         [payments.alipay.secrets]\napi_key = {}\nnotice_key = {}\nnotice_key_previous = {}\n",
        secret("own", own_key.to_secret().expose_secret()),
        billing_key.public_key(),
        secret("isv_key", KEY),
        secret("isv_key_previous", KEY_BEFORE),
        secret("access_key_id", "LTAI5tQm7Xv2Kc9Rb4Wz8Ny1"),
        secret("access_key_secret", KEY_SECRET),
        secret("api_key", "3b1e5d70-our-own-api-key"),
        secret("notice_key", NOTICE_KEY),
        secret("notice_key_previous", NOTICE_KEY_BEFORE),
    );
    let file = folder.join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file)).unwrap()
}

/// A genuine callback's query.
pub(crate) fn signed(action: CallbackAction, fields: &CallbackFields) -> String {
    signed_by(KEY, action, fields)
}

pub(crate) fn signed_by(key: &str, action: CallbackAction, fields: &CallbackFields) -> String {
    tandem_adapters::sign_callback(Vendor::Alibaba, &SecretString::from(key), action, fields).unwrap().query
}

/// The fields of our purchase.
pub(crate) fn fields() -> CallbackFields {
    CallbackFields {
        instance: Some(INSTANCE.to_owned()),
        account: Some(ACCOUNT.to_owned()),
        order: Some("204200000000017".to_owned()),
        product: Some(PRODUCT.to_owned()),
        plan: Some(format!("{PRODUCT}-postpay")),
        expires_at: Some("2026-04-01T00:00:00Z".parse().unwrap()),
        at: Some(now()),
        message_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        ..CallbackFields::default()
    }
}

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Installs one subscriber for all tests: it keeps every line, and spans have trace ids as in a real process.
fn log() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        use opentelemetry::trace::TracerProvider as _;
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let filter = tracing_subscriber::EnvFilter::new(
            "info,tandem_gateway=trace,tandem_adapters=trace,tandem_service_kit=trace",
        );
        let lines =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Sink).with_filter(filter);
        tracing_subscriber::registry().with(lines).with(spans).init();
    });
}

/// Every log line of every test so far.
pub(crate) fn log_lines() -> String {
    String::from_utf8_lossy(&LINES.lock().unwrap()).into_owned()
}
