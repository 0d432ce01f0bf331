//! Proofs of messages, made and checked. Nothing here knows what a message says.

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;

use crate::error::AuthError;

/// The header with the time of signing.
pub const TIMESTAMP: &str = "pay-timestamp";
/// The header with the signature.
pub const SIGNATURE: &str = "pay-signature";
/// How far the time of signing may lie from the receiver's clock.
pub const WINDOW: SignedDuration = SignedDuration::from_secs(300);
/// Longest time stamp: seconds until the year 5138.
const DIGITS_MAX: usize = 11;

/// What a message is for; part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An order is to be opened.
    Order,
    /// An order is asked for.
    Query,
    /// The provider announces something.
    Notice,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Purpose::Order => "order",
            Purpose::Query => "query",
            Purpose::Notice => "notice",
        }
    }
}

/// The proof that came with a message, not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    timestamp: String,
    signature: [u8; 32],
}

impl Proof {
    /// Takes the proof from a message's headers.
    ///
    /// Fails when a part is missing, comes twice or has another form.
    pub fn of(headers: &HeaderMap) -> Result<Proof, AuthError> {
        let timestamp = only(headers, TIMESTAMP)?;
        if timestamp.is_empty()
            || timestamp.len() > DIGITS_MAX
            || !timestamp.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(AuthError::Malformed("time stamp"));
        }
        let mut signature = [0; 32];
        let text = only(headers, SIGNATURE)?;
        hex::decode_to_slice(text, &mut signature).map_err(|_| AuthError::WrongProof)?;
        Ok(Proof { timestamp: timestamp.to_owned(), signature })
    }

    /// Whether one of the keys signed this body for this purpose, not too long ago.
    pub fn check<'k>(
        &self,
        purpose: Purpose,
        body: &[u8],
        keys: impl Iterator<Item = &'k str>,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let text = signed_text(purpose, &self.timestamp, body);
        // Every key is tried, so that the time does not tell which one fits; `verify` compares in constant time.
        let fits =
            keys.fold(false, |fits, key| fits | hmac::verify(&hmac_key(key), &text, &self.signature).is_ok());
        if !fits {
            return Err(AuthError::WrongProof);
        }
        let signed_at = self.timestamp.parse().ok().and_then(|secs| Timestamp::from_second(secs).ok());
        let age = now.duration_since(signed_at.ok_or(AuthError::Malformed("time stamp"))?);
        if age.abs() > WINDOW { Err(AuthError::Stale) } else { Ok(()) }
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, AuthError> {
    let mut found = headers.get_all(name).iter();
    let value = found.next().ok_or(AuthError::MissingProof)?;
    if found.next().is_some() {
        return Err(AuthError::Malformed("a header comes twice"));
    }
    value.to_str().map_err(|_| AuthError::Malformed("header"))
}

fn hmac_key(key: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())
}

fn signed_text(purpose: Purpose, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [purpose.name().as_bytes(), b"\n", timestamp.as_bytes(), b"\n", body].concat()
}

/// Signs a body: the headers of [`TIMESTAMP`] and [`SIGNATURE`].
pub fn sign(purpose: Purpose, body: &[u8], key: &str, now: Timestamp) -> [(&'static str, String); 2] {
    let timestamp = now.as_second().to_string();
    let signature = hmac::sign(&hmac_key(key), &signed_text(purpose, &timestamp, body));
    [(TIMESTAMP, timestamp), (SIGNATURE, hex::encode(signature))]
}
