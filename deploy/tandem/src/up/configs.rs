//! The three services' configurations for one process: what their files say, and above it where they meet each other.

use tandem_billing::config::Config as BillingConfig;
use tandem_console::config::Config as ConsoleConfig;
use tandem_gateway::config::Config as GatewayConfig;
use tandem_proto::common::v1::Role;
use tandem_service_kit::config::{
    CallerSection, DatabaseSection, IdentitySection, MailSection, ServerSection, SmsMode, SmsSection,
};
use tandem_service_kit::identity::{SigningKey, role_name};

use super::market::Market;
use super::{Options, payments};
use crate::data_dir::{APPROVER, APPROVER_KEY, Endpoints, IDENTITY_KEY, ROLES};
use crate::failure::Result;

/// Connections to PostgreSQL for each service: one process has two, and a small machine's server takes a hundred.
const CONNECTIONS_MAX: u32 = 16;

/// The three configurations.
pub struct Configs {
    /// The Console's.
    pub console: ConsoleConfig,
    /// Billing's.
    pub billing: BillingConfig,
    /// The gateway's.
    pub gateway: GatewayConfig,
}

impl Configs {
    /// Reads the files and connects the three: addresses, databases, keys, mail and the sandbox's market.
    ///
    /// What a file says of a cloud stays: then that cloud is spoken to, not the sandbox.
    pub fn load(options: &Options, endpoints: &Endpoints, market: &Market) -> Result<Configs> {
        let mut console = ConsoleConfig::load(options.console_config.as_deref())?;
        let mut billing = BillingConfig::load(options.billing_config.as_deref())?;
        let mut gateway = GatewayConfig::load(options.gateway_config.as_deref())?;
        let key = SigningKey::from_secret(&options.data.secret(IDENTITY_KEY)?)?;
        let public_key = key.public_key();
        let second = SigningKey::from_secret(&options.data.secret(APPROVER_KEY)?)?.public_key();
        for identity in [&mut console.identity, &mut billing.identity, &mut gateway.identity] {
            introduce(identity, options, &public_key, &second);
        }
        for server in [&mut console.server, &mut billing.server, &mut gateway.server] {
            open(server);
        }
        database(
            &mut console.database,
            options.console_database.as_deref(),
            &options.data.sqlite_url("console.db"),
        );
        database(
            &mut billing.database,
            options.billing_database.as_deref(),
            &options.data.sqlite_url("billing.db"),
        );
        for (mail, file) in
            [(&mut console.mail, &options.console_config), (&mut billing.mail, &options.billing_config)]
        {
            post(mail, options, file.is_some());
        }
        if options.billing_config.is_none() {
            billing.sms = SmsSection { mode: SmsMode::File, directory: options.data.texts() };
        }
        console.billing.url.clone_from(&endpoints.billing);
        billing.gateway.uri.clone_from(&endpoints.gateway);
        if billing.links.base_url.is_empty() {
            billing.links.base_url.clone_from(&endpoints.callbacks);
        }
        gateway.billing.uri.clone_from(&endpoints.billing);
        let section = market.section(&options.data)?;
        gateway.vendors.entry(market.vendor()?.name().to_owned()).or_insert(section);
        let section = payments::section(&options.data, endpoints);
        gateway.payments.entry(payments::CHANNEL.name().to_owned()).or_insert(section);
        Ok(Configs { console, billing, gateway })
    }
}

/// The process has one key, and every role is a caller of that name; a second operator has a key of its own.
fn introduce(identity: &mut IdentitySection, options: &Options, public_key: &str, second: &str) {
    identity.key = Some(options.data.secret_ref(IDENTITY_KEY));
    for role in ROLES {
        let name = role_name(role);
        identity.callers.retain(|caller| caller.name != name);
        identity.callers.push(CallerSection {
            role: name.clone(),
            name,
            public_keys: vec![public_key.to_owned()],
        });
    }
    identity.callers.retain(|caller| caller.name != APPROVER);
    identity.callers.push(CallerSection {
        name: APPROVER.to_owned(),
        role: role_name(Role::Operator),
        public_keys: vec![second.to_owned()],
    });
}

/// Loopback only, so the schema may be shown.
fn open(server: &mut ServerSection) {
    server.reflection = true;
}

fn database(section: &mut DatabaseSection, told: Option<&str>, embedded: &str) {
    // A file or the environment that names PostgreSQL is followed; the shipped default is not.
    let configured = section.url.starts_with("postgres");
    match told {
        Some(url) => url.clone_into(&mut section.url),
        None if configured => {}
        None => embedded.clone_into(&mut section.url),
    }
    section.max_connections = section.max_connections.min(CONNECTIONS_MAX);
}

fn post(mail: &mut MailSection, options: &Options, configured: bool) {
    if !configured || mail.directory == MailSection::default().directory {
        mail.directory = options.data.mail();
    }
}
