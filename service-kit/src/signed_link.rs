//! Signed links: whoever holds one may look at one thing, for one purpose, for a day at most, without signing in.
//!
//! A token is `payload.mac`, both base64url: the payload names purpose, subject and end, the MAC is HMAC-SHA256 under a
//! key that is derived from the process's own private key, so that every replica knows it and nobody has to configure
//! it. Nothing is stored: a token cannot be called back, which is why it is short-lived and opens a view only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

use crate::fresh::random_bytes;

/// Longest life of a link.
pub const LIFETIME_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Longest token that is looked at: ours have about 200 bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// Between the parts of a payload; no part may hold it.
const SEPARATOR: char = '|';

/// Makes and checks tokens.
#[derive(Clone)]
pub struct LinkKey(hmac::Key);

/// Shows nothing.
impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(…)")
    }
}

/// Why a token was refused. It is for logs: whoever brought it learns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not a token of ours.
    #[error("the link is malformed or its signature is wrong")]
    Forged,
    /// Made for another purpose.
    #[error("the link was made for another purpose")]
    Purpose,
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
}

impl LinkKey {
    /// Derives the key from a process's private key. Blanks and line ends in the secret's text do not count.
    pub fn derive(secret: &SecretString) -> LinkKey {
        let text: Vec<u8> = secret.expose_secret().bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &text), b"signed-link\0v1");
        LinkKey(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Makes a token. A life longer than [`LIFETIME_MAX`] is cut to it; `purpose` and `subject` must not hold `|`.
    pub fn seal(&self, purpose: &str, subject: &str, life: SignedDuration, now: Timestamp) -> String {
        let end = now.as_second().saturating_add(life.clamp(SignedDuration::ZERO, LIFETIME_MAX).as_secs());
        let nonce = hex::encode(random_bytes::<8>());
        let payload = URL_SAFE_NO_PAD.encode(format!("{purpose}|{subject}|{end}|{nonce}"));
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, payload.as_bytes()));
        format!("{payload}.{mac}")
    }

    /// What a token is about, and until when it is good.
    ///
    /// The signature is checked first, in constant time; a token that is good for longer than a day is not ours.
    pub fn open(&self, purpose: &str, token: &str, now: Timestamp) -> Result<(String, Timestamp), LinkError> {
        let forged = LinkError::Forged;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(forged);
        }
        let (payload, mac) = token.split_once('.').ok_or(forged)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| forged)?;
        hmac::verify(&self.0, payload.as_bytes(), &mac).map_err(|_| forged)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| forged)?;
        let payload = String::from_utf8(payload).map_err(|_| forged)?;
        let parts: Vec<&str> = payload.split(SEPARATOR).collect();
        let [made_for, subject, end, _nonce] = parts.as_slice() else { return Err(forged) };
        if *made_for != purpose {
            return Err(LinkError::Purpose);
        }
        let end: Timestamp =
            end.parse().ok().and_then(|end| Timestamp::from_second(end).ok()).ok_or(forged)?;
        if end <= now {
            return Err(LinkError::Expired);
        }
        if end.duration_since(now) > LIFETIME_MAX {
            return Err(forged);
        }
        Ok(((*subject).to_owned(), end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> LinkKey {
        LinkKey::derive(&SecretString::from(text))
    }

    fn now() -> Timestamp {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_genuine_token_opens_until_its_end() {
        let token = key("secret").seal("unlock", "thing_1", SignedDuration::from_hours(2), now());
        let end = now() + SignedDuration::from_hours(2);
        assert_eq!(key("sec\nret ").open("unlock", &token, now()), Ok(("thing_1".to_owned(), end)));
        let last = end - SignedDuration::from_secs(1);
        assert!(key("secret").open("unlock", &token, last).is_ok());
        assert_eq!(key("secret").open("unlock", &token, end), Err(LinkError::Expired));
        assert_eq!(key("secret").open("dissolve", &token, now()), Err(LinkError::Purpose));
        assert_eq!(key("other").open("unlock", &token, now()), Err(LinkError::Forged));
        assert_ne!(token, key("secret").seal("unlock", "thing_1", SignedDuration::from_hours(2), now()));
    }

    #[test]
    fn nobody_is_given_more_than_a_day() {
        let token = key("secret").seal("unlock", "x", SignedDuration::from_hours(1_000), now());
        let (_, end) = key("secret").open("unlock", &token, now()).unwrap();
        assert_eq!(end, now() + LIFETIME_MAX);
        // A clock that was set back far does not make an old link good for longer.
        let earlier = now() - SignedDuration::from_hours(48);
        assert_eq!(key("secret").open("unlock", &token, earlier), Err(LinkError::Forged));
        assert!(token.len() < TOKEN_BYTES_MAX);
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn one_changed_letter_is_refused(place in 0_usize..120, letter in "[A-Za-z0-9_.-]") {
            let genuine = key("secret").seal("unlock", "thing_1", SignedDuration::from_hours(1), now());
            let place = place % genuine.len();
            let mut forged = genuine.clone();
            forged.replace_range(place..=place, &letter);
            // The last letter of a base64 text has bits that do not count; decoding refuses them.
            prop_assume!(forged != genuine);
            prop_assert!(key("secret").open("unlock", &forged, now()).is_err());
        }

        #[test]
        fn nothing_makes_it_fall_over(text in "\\PC{0,600}") {
            prop_assert_eq!(key("secret").open("unlock", &text, now()), Err(LinkError::Forged));
        }
    }
}
