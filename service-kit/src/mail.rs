//! Mail: written to the outbox with its cause, sent as a file or over SMTP, with a Message-ID that stays the same at
//! every try (I-29).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::config::{ConfigError, MailMode, MailSection};
use crate::outbox::{Claimed, Failure, Handler, Outgoing};

/// The topic of mails in the outbox.
pub const TOPIC: &str = "mail";
/// Longest time for one SMTP command.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// A mail, as it waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Without angle brackets, such as `evt_….1@tandem.example`: one for each event and recipient, the same at each try.
    pub message_id: String,
    /// The sender's address when it is not the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The recipient's address.
    pub to: String,
    /// The subject, in any language.
    pub subject: String,
    /// The text, in any language.
    pub text: String,
}

/// Puts a mail into the outbox's form; its Message-ID keeps it from being added twice.
pub fn outgoing(mail: &Mail, aggregate_id: impl Into<String>) -> Outgoing {
    Outgoing {
        topic: TOPIC,
        aggregate_id: aggregate_id.into(),
        dedupe_key: Some(mail.message_id.clone()),
        // A struct of texts can always be said in JSON.
        payload: serde_json::to_vec(mail).unwrap_or_default(),
    }
}

/// Sends mails.
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

enum Way {
    Files(PathBuf),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl Mailer {
    /// Makes a mailer.
    ///
    /// Fails when the sender or the server cannot be used, or when a server that is not on this machine would be spoken
    /// to without TLS.
    pub fn new(section: &MailSection) -> Result<Mailer, ConfigError> {
        let address = section.from_address.parse::<Address>();
        let address = address.map_err(|_| wrong("from_address", "is no mail address"))?;
        let from = Mailbox::new(Some(section.from_name.clone()), address);
        let way = match section.mode {
            MailMode::Eml => {
                std::fs::create_dir_all(&section.directory)
                    .map_err(|source| ConfigError::Read { path: section.directory.clone(), source })?;
                Way::Files(section.directory.clone())
            }
            MailMode::Smtp => Way::Smtp(smtp(section)?),
        };
        Ok(Mailer { from, way })
    }

    /// Sends a mail dated `date`; as a file, the same mail makes the same file.
    pub async fn send(&self, mail: &Mail, date: Timestamp) -> Result<(), Failure> {
        let message = self.build(mail, date)?;
        match &self.way {
            Way::Files(folder) => {
                let written =
                    write_file(folder, &file_name(&mail.message_id, "eml"), &message.formatted()).await;
                written.map_err(|error| {
                    Failure::Retry(format!("the mail file cannot be written: {}", error.kind()))
                })
            }
            Way::Smtp(transport) => match transport.send(message).await {
                Ok(_) => Ok(()),
                // The server's own text may name the address, so only its code is kept.
                Err(error) if error.is_permanent() => Err(Failure::Refused(smtp_failure(&error))),
                Err(error) => Err(Failure::Retry(smtp_failure(&error))),
            },
        }
    }

    fn build(&self, mail: &Mail, date: Timestamp) -> Result<Message, Failure> {
        let refuse = |what: &str| Failure::Refused(format!("the mail's {what} cannot be used"));
        let to = mail.to.parse::<Address>().map_err(|_| refuse("recipient"))?;
        let mut from = self.from.clone();
        if let Some(address) = &mail.from {
            from.email = address.parse().map_err(|_| refuse("sender"))?;
        }
        let printable = |b: u8| b.is_ascii_graphic() && b != b'<' && b != b'>';
        if mail.message_id.is_empty() || !mail.message_id.bytes().all(printable) {
            return Err(refuse("Message-ID"));
        }
        if mail.subject.chars().any(char::is_control) {
            return Err(refuse("subject"));
        }
        let since_1970 = Duration::from_secs(u64::try_from(date.as_second()).unwrap_or(0));
        Message::builder()
            .from(from)
            .to(Mailbox::new(None, to))
            .subject(mail.subject.as_str())
            .date(SystemTime::UNIX_EPOCH + since_1970)
            .message_id(Some(format!("<{}>", mail.message_id)))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|_| refuse("content"))
    }
}

fn wrong(key: &str, message: &str) -> ConfigError {
    ConfigError::Key { origin: format!("mail.{key}"), message: message.to_owned() }
}

fn smtp_failure(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None => "the mail server cannot be reached".to_owned(),
    }
}

fn smtp(section: &MailSection) -> Result<AsyncSmtpTransport<Tokio1Executor>, ConfigError> {
    let url =
        section.smtp_url.as_deref().ok_or_else(|| wrong("smtp_url", "is required when mode is smtp"))?;
    check_smtp_url(url).map_err(|message| wrong("smtp_url", message))?;
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
        .map_err(|_| wrong("smtp_url", "must be smtps://host:465 or smtp://host:587?tls=required"))?;
    if let (Some(user), Some(password)) = (&section.smtp_username, &section.smtp_password) {
        let password = password.resolve()?.expose_secret().to_owned();
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.timeout(Some(SMTP_TIMEOUT)).build())
}

fn check_smtp_url(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("is no URL")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must not hold a user or password; use smtp_username and smtp_password");
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let encrypted = scheme == "smtps" || (scheme == "smtp" && rest.ends_with("?tls=required"));
    if encrypted || (scheme == "smtp" && local) {
        Ok(())
    } else {
        Err("must be smtps:// or end in ?tls=required; plain smtp:// is for this machine only")
    }
}

/// A file's name made from a message's id: readable, and different for different ids.
pub(crate) fn file_name(message_id: &str, extension: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-@".contains(c) { c } else { '_' };
    let readable: String = message_id.trim_start_matches('.').chars().take(80).map(safe).collect();
    let digest = hex::encode(Sha256::digest(message_id.as_bytes()));
    format!("{readable}.{}.{extension}", digest.get(..16).unwrap_or_default())
}

/// Writes a file so that it is there whole or not at all. One that is there already is the same message and stays.
pub(crate) async fn write_file(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let path = folder.join(name);
    if tokio::fs::try_exists(&path).await? {
        return Ok(());
    }
    let temporary = folder.join(format!(".{name}.{}", crate::lease::claim_token()));
    let result = async {
        let mut file = tokio::fs::File::create(&temporary).await?;
        file.write_all(content).await?;
        file.sync_all().await?;
        tokio::fs::rename(&temporary, &path).await?;
        // The name lasts only when the folder is synchronised as well.
        tokio::fs::File::open(folder).await?.sync_all().await
    };
    let result = result.await;
    if result.is_err() {
        // Best effort: the error that matters is the one above.
        let _ = tokio::fs::remove_file(&temporary).await;
    }
    result
}

/// Delivers mails from the outbox.
pub struct MailHandler {
    mailer: Mailer,
}

impl MailHandler {
    /// Makes the handler for [`TOPIC`].
    pub fn new(mailer: Mailer) -> MailHandler {
        MailHandler { mailer }
    }
}

#[async_trait::async_trait]
impl Handler for MailHandler {
    async fn deliver(&self, message: &Claimed) -> Result<(), Failure> {
        let mail: Mail = serde_json::from_slice(&message.payload)
            .map_err(|_| Failure::Refused("the stored mail cannot be read".to_owned()))?;
        self.mailer.send(&mail, message.created_at).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            message_id: "evt_1.0@tandem.localhost".to_owned(),
            from: None,
            to: "li@kunde.cn".to_owned(),
            subject: "您的工作空间已切换到计费中心".to_owned(),
            text: "你好，\n工作空间 „Über“ …\n".to_owned(),
        }
    }

    fn date() -> Timestamp {
        "2026-03-01T08:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn the_same_mail_makes_the_same_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let section = MailSection { directory: folder.path().join("mail"), ..MailSection::default() };
        let mailer = Mailer::new(&section).unwrap();
        for _ in 0..2 {
            mailer.send(&mail(), date()).await.unwrap();
        }
        mailer.send(&Mail { message_id: "../evt/2".to_owned(), ..mail() }, date()).await.unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&section.directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 2, "{names:?}");
        let name = names.iter().find(|name| name.starts_with("evt_1.0@tandem.localhost.")).unwrap();
        let text = std::fs::read_to_string(section.directory.join(name)).unwrap();
        assert!(text.contains("Message-ID: <evt_1.0@tandem.localhost>\r\n"), "{text}");
        assert!(text.contains("Date: Sun, 01 Mar 2026 08:00:00 +0000\r\n"), "{text}");
        assert!(text.contains("Subject: =?utf-8?b?"), "{text}");
        assert!(text.is_ascii());
    }

    #[tokio::test]
    async fn a_mail_that_can_never_leave_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let section = MailSection { directory: folder.path().to_owned(), ..MailSection::default() };
        let mailer = Mailer::new(&section).unwrap();
        for bad in [
            Mail { to: "nobody".to_owned(), ..mail() },
            Mail { message_id: "a\r\nBcc: x@y.z".to_owned(), ..mail() },
            Mail { subject: "a\r\nBcc: x@y.z".to_owned(), ..mail() },
            Mail { from: Some("x".to_owned()), ..mail() },
        ] {
            assert!(matches!(mailer.send(&bad, date()).await, Err(Failure::Refused(_))), "{bad:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn mail_leaves_the_machine_encrypted_only() {
        for good in [
            "smtps://mail.kunde.cn:465",
            "smtp://mail.kunde.cn:587?tls=required",
            "smtp://127.0.0.1:25",
            "smtp://[::1]:25",
        ] {
            assert_eq!(check_smtp_url(good), Ok(()), "{good}");
        }
        for bad in [
            "smtp://mail.kunde.cn",
            "smtp://mail.kunde.cn?tls=opportunistic",
            "smtp://localhost.kunde.cn",
            "http://localhost",
            "x",
            "smtps://u:p@h",
        ] {
            assert!(check_smtp_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_outbox_keeps_a_mail_whole() {
        let out = outgoing(&mail(), "wks_1");
        assert_eq!(out.dedupe_key.as_deref(), Some("evt_1.0@tandem.localhost"));
        assert_eq!(serde_json::from_slice::<Mail>(&out.payload).unwrap(), mail());
    }
}
