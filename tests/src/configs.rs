//! The services' configuration files, as an operator would write them, and the keys they name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tandem_proto::common::v1::Role;
use tandem_service_kit::fresh::{random_bytes, random_token};
use tandem_service_kit::identity::{Signer, SigningKey, role_name};
use tokio::net::TcpListener;

use crate::engine::Databases;
use crate::payments;
use crate::system::{Service, Setup};

/// The product that the sandbox sells.
pub const PRODUCT: &str = "cmgj00099001";
/// The vendor that the sandbox stands in for.
pub const VENDOR: tandem_proto::vendor::Vendor = tandem_proto::vendor::Vendor::Alibaba;
/// The names of the secrets that both sides of the market share.
const SECRETS: [&str; 3] = ["isv_key", "access_key_id", "access_key_secret"];
/// A second person who runs the system.
const APPROVER: &str = "approver";
/// Every role that a caller may have.
pub const ROLES: [Role; 7] = [
    Role::Operator,
    Role::Portal,
    Role::UsageSource,
    Role::Console,
    Role::Billing,
    Role::Gateway,
    Role::Follower,
];

/// Where everything listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The Console's gRPC.
    pub console: SocketAddr,
    /// Billing's gRPC.
    pub billing: SocketAddr,
    /// The gateway's gRPC.
    pub gateway: SocketAddr,
    /// The gateway's callbacks and landing pages.
    pub callbacks: SocketAddr,
    /// The sandbox cloud.
    pub sandbox: SocketAddr,
}

impl Addresses {
    /// Takes free ports.
    pub async fn free() -> anyhow::Result<Addresses> {
        Ok(Addresses {
            console: free_port().await?,
            billing: free_port().await?,
            gateway: free_port().await?,
            callbacks: free_port().await?,
            sandbox: free_port().await?,
        })
    }
}

/// Takes a free port below those that outgoing connections get, so that a stopped service finds its own free again.
async fn free_port() -> anyhow::Result<SocketAddr> {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side start in different places.
    let _ = NEXT.compare_exchange(
        0,
        u16::from_le_bytes(random_bytes()) | 1,
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
    loop {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).await.is_ok() {
            return Ok(address);
        }
    }
}

/// Keys and secrets of one system.
pub struct Keys {
    signers: BTreeMap<String, Arc<Signer>>,
    approver: Arc<Signer>,
    approver_key: String,
    public: BTreeMap<String, String>,
    /// The secrets that the market's two sides share, by the adapter's names.
    pub market: BTreeMap<String, SecretString>,
    /// The secrets that we share with the payment provider, by the adapter's names.
    pub payments: BTreeMap<String, SecretString>,
}

impl Keys {
    /// Makes new ones and writes the secret halves into `folder`.
    pub fn generate(folder: &Path) -> anyhow::Result<Keys> {
        let (mut signers, mut public) = (BTreeMap::new(), BTreeMap::new());
        for role in ROLES {
            let (name, key) = (role_name(role), SigningKey::generate()?);
            std::fs::write(folder.join(format!("{name}.key")), key.to_secret().expose_secret())?;
            public.insert(name.clone(), key.public_key());
            signers.insert(name.clone(), Arc::new(Signer::new(name, role, key)));
        }
        let (market, payments) =
            (shared_secrets(folder, &SECRETS)?, shared_secrets(folder, &payments::SECRETS)?);
        let key = SigningKey::generate()?;
        let approver_key = key.public_key();
        let approver = Arc::new(Signer::new(APPROVER, Role::Operator, key));
        Ok(Keys { signers, approver, approver_key, public, market, payments })
    }

    /// The signer of a role: the caller is named like it.
    pub fn signer(&self, role: Role) -> anyhow::Result<Arc<Signer>> {
        let signer = self.signers.get(&role_name(role));
        Ok(Arc::clone(signer.ok_or_else(|| anyhow::anyhow!("no caller has the role {role:?}"))?))
    }

    /// The signer of a second person who runs the system.
    pub fn approver(&self) -> Arc<Signer> {
        Arc::clone(&self.approver)
    }

    /// The key that signs callbacks.
    pub fn callback_key(&self) -> anyhow::Result<&SecretString> {
        self.market.get(SECRETS[0]).ok_or_else(|| anyhow::anyhow!("there is no callback key"))
    }
}

/// Makes secrets and writes them into `folder`, each under its name.
fn shared_secrets(folder: &Path, names: &[&str]) -> anyhow::Result<BTreeMap<String, SecretString>> {
    let mut made = BTreeMap::new();
    for name in names {
        let secret = random_token();
        std::fs::write(folder.join(name), &secret)?;
        made.insert((*name).to_owned(), SecretString::from(secret));
    }
    Ok(made)
}

/// The settings of the market, the same for the adapter and for the sandbox.
pub fn market_settings(addresses: &Addresses) -> Value {
    let callbacks = format!("http://{}", addresses.callbacks);
    json!({
        "market": "china",
        "base_url": format!("http://{}", addresses.sandbox),
        "allow_insecure": true,
        "products": { PRODUCT: {
            "billing_cycle": "DAY",
            "plans": { format!("{PRODUCT}-postpay"): "commercial" },
            "metering": { "Unit": { "id": format!("{PRODUCT}-Unit-1") } },
        }},
        "app_info": {
            "front_end_url": format!("{callbacks}/"),
            "admin_url": format!("{callbacks}/"),
            "auth_url": format!("{callbacks}/landing/{VENDOR}"),
        },
    })
}

/// Where the market calls back.
pub fn callback_url(addresses: &Addresses) -> String {
    format!("http://{}/callbacks/{VENDOR}", addresses.callbacks)
}

/// The file of a service.
pub fn path(folder: &Path, service: Service) -> PathBuf {
    folder.join(format!("{}.toml", service.name()))
}

/// The folder a service writes its mail to.
pub fn mail_folder(folder: &Path, service: Service) -> PathBuf {
    folder.join(format!("mail-{}", service.name()))
}

/// The folder that text messages are written to.
pub fn sms_folder(folder: &Path) -> PathBuf {
    folder.join("sms")
}

/// Writes all three files.
pub fn write(
    folder: &Path,
    setup: &Setup,
    addresses: &Addresses,
    databases: &Databases,
    keys: &Keys,
) -> anyhow::Result<()> {
    for service in Service::ALL {
        let mut text = common(folder, setup, addresses, keys, service)?;
        match service {
            Service::Console => {
                database(&mut text, &databases.console)?;
                mail(&mut text, folder, service)?;
                write!(text, "[billing]\nurl = 'http://{}'\n", addresses.billing)?;
                writeln!(text, "[sites.time_zone]")?;
                for (site, zone) in &setup.time_zones {
                    writeln!(text, "{site} = '{zone}'")?;
                }
            }
            Service::Billing => {
                database(&mut text, &databases.billing)?;
                mail(&mut text, folder, service)?;
                writeln!(text, "[sms]\nmode = 'file'\ndirectory = '{}'", sms_folder(folder).display())?;
                write!(text, "[gateway]\nuri = 'http://{}'\n", addresses.gateway)?;
                write!(text, "[links]\nbase_url = 'http://{}'\n", addresses.callbacks)?;
            }
            Service::Gateway => {
                write!(text, "[http]\nlisten = '{}'\n", addresses.callbacks)?;
                write!(text, "[billing]\nuri = 'http://{}'\n", addresses.billing)?;
                write!(
                    text,
                    "[brand]\nname = 'Acme Observability'\nconsole_url = 'https://acme.example/'\n"
                )?;
                market(&mut text, folder, addresses)?;
                payments::section(&mut text, folder, addresses)?;
            }
        }
        std::fs::write(path(folder, service), text)?;
    }
    Ok(())
}

fn common(
    folder: &Path,
    setup: &Setup,
    addresses: &Addresses,
    keys: &Keys,
    service: Service,
) -> anyhow::Result<String> {
    let (name, listen) = (service.name(), service.address(addresses));
    let mut text = format!(
        "[server]\nlisten = '{listen}'\nreflection = true\ndrain_secs = 2\n\
         [telemetry]\nlog_filter = '{}'\n",
        std::env::var("TANDEM_TEST_LOG").unwrap_or_else(|_| setup.log_filter.clone()),
    );
    if let Some(endpoint) = &setup.otlp_endpoint {
        writeln!(text, "otlp_endpoint = '{endpoint}'")?;
    }
    let key = folder.join(format!("{name}.key"));
    write!(
        text,
        "[identity]\nname = '{name}'\nrole = '{name}'\naudience = '{name}'\nkey = {{ file = '{}' }}\n",
        key.display()
    )?;
    for (caller, key) in &keys.public {
        write!(
            text,
            "[[identity.callers]]\nname = '{caller}'\nrole = '{caller}'\npublic_keys = ['{key}']\n"
        )?;
    }
    write!(
        text,
        "[[identity.callers]]\nname = '{APPROVER}'\nrole = '{}'\npublic_keys = ['{}']\n",
        role_name(Role::Operator),
        keys.approver_key
    )?;
    Ok(text)
}

fn database(text: &mut String, url: &str) -> std::fmt::Result {
    // Tests run side by side on few cores: a connection may take longer than in service.
    write!(text, "[database]\nurl = '{url}'\nmax_connections = 6\nacquire_timeout_ms = 10000\n")
}

fn mail(text: &mut String, folder: &Path, service: Service) -> std::fmt::Result {
    let directory = mail_folder(folder, service);
    write!(
        text,
        "[mail]\nmode = 'eml'\ndirectory = '{}'\nbrand_name = 'Acme Observability'\n",
        directory.display()
    )
}

fn market(text: &mut String, folder: &Path, addresses: &Addresses) -> anyhow::Result<()> {
    writeln!(text, "[vendors.{VENDOR}]")?;
    let Value::Object(settings) = market_settings(addresses) else { return Ok(()) };
    for (name, value) in settings {
        writeln!(text, "{name} = {}", inline(&value))?;
    }
    writeln!(text, "[vendors.{VENDOR}.secrets]")?;
    for name in SECRETS {
        writeln!(text, "{name} = {{ file = '{}' }}", folder.join(name).display())?;
    }
    Ok(())
}

/// JSON as TOML's inline form.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("\"{k}\" = {}", inline(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
