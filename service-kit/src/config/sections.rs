//! The sections that every process's configuration shares.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::SecretRef;

/// Where the process listens and how it stops.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// The gRPC address. Loopback and any free port unless said otherwise.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/healthz` are served; not at all when left out.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether gRPC reflection is served.
    pub reflection: bool,
    /// How long work in flight may take after the process was told to stop.
    pub drain_secs: u32,
}

impl Default for ServerSection {
    fn default() -> ServerSection {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        ServerSection { listen, metrics_listen: None, reflection: false, drain_secs: 10 }
    }
}

impl ServerSection {
    /// The time for draining.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_secs))
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs, traces and metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySection {
    /// How log lines are written on standard error.
    pub log_format: LogFormat,
    /// Which log lines are written, such as `info,tandem_billing=debug`.
    pub log_filter: String,
    /// The OTLP collector's gRPC address for traces and metrics; none are sent when left out.
    pub otlp_endpoint: Option<String>,
    /// The service's name in traces and metrics; the process's own name when left out.
    pub service_name: Option<String>,
}

impl Default for TelemetrySection {
    fn default() -> TelemetrySection {
        // The transport's own lines would trace every export of a trace (`dependencies.md` 4, pitfall 8).
        let log_filter = "info,h2=warn,hyper=warn,tonic=warn,sqlx=warn,sea_orm=warn".to_owned();
        TelemetrySection { log_format: LogFormat::Text, log_filter, otlp_endpoint: None, service_name: None }
    }
}

/// The database.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSection {
    /// `sqlite:path/to/file.db` or `postgres://user@host/name`.
    pub url: String,
    /// PostgreSQL's password, when the URL has none.
    pub password: Option<SecretRef>,
    /// Most connections; on SQLite the measure for how much work is admitted.
    pub max_connections: u32,
    /// How long to wait for a connection on PostgreSQL (`reliability.md` 4.4).
    pub acquire_timeout_ms: u64,
    /// The secret that the audit's hashes are made with, 24 bytes or more, the same in every replica; without it they
    /// are plain, and whoever can write to the database can make them.
    pub audit_key: Option<SecretRef>,
    /// Earlier secrets, to prove older rows.
    pub audit_old_keys: Vec<SecretRef>,
}

impl Default for DatabaseSection {
    fn default() -> DatabaseSection {
        let url = "sqlite:tandem.db".to_owned();
        DatabaseSection {
            url,
            password: None,
            max_connections: 16,
            acquire_timeout_ms: 500,
            audit_key: None,
            audit_old_keys: Vec::new(),
        }
    }
}

/// Hides the URL, which may hold a password.
impl fmt::Debug for DatabaseSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.split(':').next().unwrap_or_default();
        f.debug_struct("DatabaseSection")
            .field("url", &format_args!("{scheme}:…"))
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout_ms", &self.acquire_timeout_ms)
            .finish_non_exhaustive()
    }
}

/// Who this process is and whom it knows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySection {
    /// This process's name as a caller of others, such as `console`.
    pub name: String,
    /// This process's role as a caller, such as `console`.
    pub role: String,
    /// This process's private key: PEM or base64 of PKCS#8, or base64 of the 32-byte seed. Left out by a process that
    /// calls nobody.
    pub key: Option<SecretRef>,
    /// What tokens for this process name as their audience, such as `billing`.
    pub audience: String,
    /// Who may call.
    pub callers: Vec<CallerSection>,
}

/// A caller this process knows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerSection {
    /// The caller's name: the `kid` of its tokens.
    pub name: String,
    /// The one role it has, such as `console`.
    pub role: String,
    /// Its Ed25519 public keys, base64 of 32 bytes each; two while one replaces the other.
    pub public_keys: Vec<String>,
}

/// How mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailMode {
    /// As a file for each mail.
    Eml,
    /// Over SMTP.
    Smtp,
}

/// Mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailSection {
    /// Files or SMTP.
    pub mode: MailMode,
    /// The folder of the files.
    pub directory: PathBuf,
    /// `smtps://host:465`, `smtp://host:587?tls=required`, or plain `smtp://127.0.0.1:1025` on the same machine only.
    pub smtp_url: Option<String>,
    /// The SMTP user.
    pub smtp_username: Option<String>,
    /// The SMTP user's password.
    pub smtp_password: Option<SecretRef>,
    /// The sender's name.
    pub from_name: String,
    /// The sender's address.
    pub from_address: String,
    /// The product's name in mails.
    pub brand_name: String,
    /// Where a reader can get help; empty leaves the line out.
    pub support_address: String,
    /// The address of the pages that mails link to; empty leaves links out.
    pub portal_url: String,
    /// The domain of Message-IDs.
    pub message_id_domain: String,
}

impl Default for MailSection {
    fn default() -> MailSection {
        MailSection {
            mode: MailMode::Eml,
            directory: PathBuf::from("data/mail"),
            smtp_url: None,
            smtp_username: None,
            smtp_password: None,
            from_name: "Tandem".to_owned(),
            from_address: "no-reply@tandem.localhost".to_owned(),
            brand_name: "Tandem".to_owned(),
            support_address: String::new(),
            portal_url: String::new(),
            message_id_domain: "tandem.localhost".to_owned(),
        }
    }
}

/// How text messages leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmsMode {
    /// Not at all.
    Off,
    /// As a file for each message.
    File,
}

/// Text messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmsSection {
    /// Off or files.
    pub mode: SmsMode,
    /// The folder of the files.
    pub directory: PathBuf,
}

impl Default for SmsSection {
    fn default() -> SmsSection {
        SmsSection { mode: SmsMode::Off, directory: PathBuf::from("data/sms") }
    }
}
