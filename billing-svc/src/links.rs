//! Links that Billing gives out: short-lived, signed, each for one purpose (`domain.md` 3.12).

use jiff::{SignedDuration, Timestamp};
use tandem_proto::reason::Reason;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::signed_link::{LIFETIME_MAX, LinkKey};

/// What an unlock link is good for, and nothing else.
const UNLOCK: &str = "unlock";
/// The path under which the gateway shows what an unlock link opens.
const UNLOCK_PATH: &str = "unlock";

/// Makes and opens links.
#[derive(Debug, Clone)]
pub struct Links {
    key: LinkKey,
    base_url: String,
}

/// A link that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The signed part.
    pub token: String,
    /// The whole address; empty when no public address is configured.
    pub url: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl Links {
    /// Links under a public address, which may be empty.
    pub fn new(key: LinkKey, base_url: &str) -> Links {
        Links { key, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// Makes an unlock link for an account (`bac_…`) or one workspace (`wks_…`).
    pub fn unlock(&self, subject: &str, life: SignedDuration, now: Timestamp) -> Link {
        let token = self.key.seal(UNLOCK, subject, life, now);
        let url = match self.base_url.as_str() {
            "" => String::new(),
            base => format!("{base}/{UNLOCK_PATH}/{token}"),
        };
        Link { token, url, expires_at: now + life.clamp(SignedDuration::ZERO, LIFETIME_MAX) }
    }

    /// The address of an unlock link for a mail, which is read late rather than at once; empty without a public address.
    pub fn mailed(&self, subject: &str, now: Timestamp) -> String {
        self.unlock(subject, LIFETIME_MAX, now).url
    }

    /// What an unlock link is about, and until when.
    ///
    /// Fails with `LINK_INVALID`, whatever is wrong with it: who forges one learns nothing.
    pub fn open_unlock(&self, token: &str, now: Timestamp) -> Result<(String, Timestamp), Fault> {
        self.key.open(UNLOCK, token.trim(), now).map_err(|error| {
            tracing::info!(error = %error, "refused a link: {error}");
            Fault::new(Reason::LinkInvalid)
        })
    }
}

#[cfg(test)]
pub(crate) fn for_tests() -> Links {
    let secret = secrecy::SecretString::from("a key for tests that signs links");
    Links::new(LinkKey::derive(&secret), "https://tandem.example/")
}
