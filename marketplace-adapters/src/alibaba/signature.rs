//! Proofs: the callback token, and both signatures of the vendor's own interface, made and checked.
//!
//! Nothing here knows what a parameter means.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use subtle::ConstantTimeEq;

/// Parameters by name; the order of the map is the order the vendor sorts by, code unit by code unit.
pub type Pairs = BTreeMap<String, String>;

/// What RFC 3986 leaves as it is (`vendors/alibaba.md` 9, step 2).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How far a signed call's date may lie from the receiver's clock (`vendors/alibaba.md` 10).
pub const DATE_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The scheme name of the current signature.
pub const ACS3: &str = "ACS3-HMAC-SHA256";

/// Headers that must be among the signed ones; without them a part of the call could be exchanged.
const MUST_SIGN: [&str; 6] =
    ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];

/// Percent-encodes as the vendor does: a space is `%20`, a star `%2A`.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Joins parameters, encoded, in the vendor's order.
pub fn encode_pairs(pairs: &Pairs) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// The text a callback's token is made over, before the key is added (`vendors/alibaba.md` 4.1, steps 1–4).
fn token_text(pairs: &Pairs) -> String {
    let named = pairs.iter().filter(|(name, _)| *name != "token");
    named.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn token_bytes(pairs: &Pairs, key: &str) -> [u8; 16] {
    Md5::digest(format!("{}&key={key}", token_text(pairs))).into()
}

/// Makes the token of a callback (`vendors/alibaba.md` 4.1).
pub fn token(pairs: &Pairs, key: &str) -> String {
    hex::encode(token_bytes(pairs, key))
}

/// Whether `token` is the callback's token under any of the keys, in constant time.
///
/// Takes upper-case hexadecimal digits too (policy case in the vectors); anything that is not 32 of them is wrong.
pub fn token_fits<'k>(pairs: &Pairs, token: &str, keys: impl Iterator<Item = &'k str>) -> bool {
    let mut received = [0_u8; 16];
    if hex::decode_to_slice(token, &mut received).is_err() {
        return false;
    }
    // Every key is tried, so that the time does not tell which one fits.
    keys.fold(false, |fits, key| fits | bool::from(token_bytes(pairs, key).ct_eq(&received)))
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// The text the old signature is made over (`vendors/alibaba.md` 9, steps 2–4).
pub fn rpc_string_to_sign(method: &str, pairs: &Pairs) -> String {
    let signed: Pairs =
        pairs.iter().filter(|(name, _)| *name != "Signature").map(|(n, v)| (n.clone(), v.clone())).collect();
    format!("{method}&%2F&{}", encode(&encode_pairs(&signed)))
}

/// The old signature, base64 (`vendors/alibaba.md` 9, step 5).
pub fn rpc_signature(method: &str, pairs: &Pairs, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, format!("{secret}&").as_bytes());
    STANDARD.encode(hmac::sign(&key, rpc_string_to_sign(method, pairs).as_bytes()))
}

/// A call as the current signature sees it.
#[derive(Debug, Clone)]
pub struct Acs3Call<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The query, decoded.
    pub query: &'a Pairs,
    /// The headers that are signed, names in lower case.
    pub headers: &'a Pairs,
    /// The body.
    pub body: &'a [u8],
}

impl Acs3Call<'_> {
    /// The canonical request (`vendors/alibaba.md` 10, step 2).
    pub fn canonical_request(&self) -> String {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        format!(
            "{}\n{}\n{}\n{headers}\n{}\n{}",
            self.method,
            self.path,
            encode_pairs(self.query),
            self.signed_headers(),
            sha256_hex(self.body)
        )
    }

    /// The names of the signed headers.
    pub fn signed_headers(&self) -> String {
        self.headers.keys().map(String::as_str).collect::<Vec<_>>().join(";")
    }

    /// The text that is signed (`vendors/alibaba.md` 10, step 3).
    pub fn string_to_sign(&self) -> String {
        format!("{ACS3}\n{}", sha256_hex(self.canonical_request().as_bytes()))
    }

    /// The signature, lower-case hexadecimal (`vendors/alibaba.md` 10, step 4).
    pub fn signature(&self, secret: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hex::encode(hmac::sign(&key, self.string_to_sign().as_bytes()))
    }

    /// The `authorization` header (`vendors/alibaba.md` 10, step 5).
    pub fn authorization(&self, access_key_id: &str, secret: &str) -> String {
        let signed = self.signed_headers();
        format!(
            "{ACS3} Credential={access_key_id},SignedHeaders={signed},Signature={}",
            self.signature(secret)
        )
    }
}

/// Why a signed call is refused by its receiver; the vendor's side, used by the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A part of the signature is not there.
    Incomplete,
    /// The access key is not known.
    UnknownKey,
    /// The signature does not fit.
    Mismatch,
    /// The announced digest of the body does not fit the body.
    ContentMismatch,
    /// The date is outside the window.
    Expired,
    /// The number used once was used before.
    NonceUsed,
}

impl Refusal {
    /// The vendor's HTTP status and error code.
    pub fn code(self) -> (u16, &'static str) {
        match self {
            Refusal::Incomplete => (400, "IncompleteSignature"),
            Refusal::UnknownKey => (404, "InvalidAccessKeyId.NotFound"),
            Refusal::Mismatch | Refusal::ContentMismatch => (400, "SignatureDoesNotMatch"),
            Refusal::Expired => (400, "InvalidTimeStamp.Expired"),
            Refusal::NonceUsed => (400, "SignatureNonceUsed"),
        }
    }
}

/// What a receiver knows when it checks a signed call.
pub struct Receiver<'a> {
    /// The access key id it has issued.
    pub access_key_id: &'a str,
    /// The secret that belongs to it.
    pub secret: &'a str,
    /// Its clock.
    pub now: Timestamp,
    /// Whether it has seen this number before.
    pub nonce_seen: &'a dyn Fn(&str) -> bool,
}

impl Receiver<'_> {
    /// Checks the old signature over query and form parameters together; returns the number used once.
    pub fn check_rpc(&self, method: &str, pairs: &Pairs) -> Result<String, Refusal> {
        let get = |name: &str| pairs.get(name).map(String::as_str).ok_or(Refusal::Incomplete);
        if get("SignatureMethod")? != "HMAC-SHA1" || get("SignatureVersion")? != "1.0" {
            return Err(Refusal::Incomplete);
        }
        let (key_id, nonce, date, signature) =
            (get("AccessKeyId")?, get("SignatureNonce")?, get("Timestamp")?, get("Signature")?);
        if key_id != self.access_key_id {
            return Err(Refusal::UnknownKey);
        }
        let expected = rpc_signature(method, pairs, self.secret);
        if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(Refusal::Mismatch);
        }
        self.check_use(nonce, date)
    }

    /// Checks the current signature; `headers` are all that came, names in lower case. Returns the number used once.
    pub fn check_acs3(&self, call: &Acs3Call<'_>) -> Result<String, Refusal> {
        let get = |name: &str| call.headers.get(name).map(String::as_str).ok_or(Refusal::Incomplete);
        let parts = get("authorization")?.strip_prefix(ACS3).ok_or(Refusal::Incomplete)?.trim_start();
        let part = |name: &str| {
            parts
                .split(',')
                .find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='))
                .ok_or(Refusal::Incomplete)
        };
        let (key_id, names, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
        if key_id != self.access_key_id {
            return Err(Refusal::UnknownKey);
        }
        let mut signed = Pairs::new();
        for name in names.split(';') {
            signed.insert(name.to_owned(), get(name)?.to_owned());
        }
        if MUST_SIGN.iter().any(|name| !signed.contains_key(*name)) {
            return Err(Refusal::Incomplete);
        }
        if get("x-acs-content-sha256")? != sha256_hex(call.body) {
            return Err(Refusal::ContentMismatch);
        }
        let expected = Acs3Call { headers: &signed, ..call.clone() }.signature(self.secret);
        if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(Refusal::Mismatch);
        }
        self.check_use(get("x-acs-signature-nonce")?, get("x-acs-date")?)
    }

    fn check_use(&self, nonce: &str, date: &str) -> Result<String, Refusal> {
        let date: Timestamp = date.parse().map_err(|_| Refusal::Expired)?;
        if self.now.duration_since(date).abs() > DATE_WINDOW {
            return Err(Refusal::Expired);
        }
        if (self.nonce_seen)(nonce) { Err(Refusal::NonceUsed) } else { Ok(nonce.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_the_known_answer() {
        // `reliability.md` 6.
        let pairs: Pairs = ["1", "2", "3"].map(|n| (format!("p{n}"), n.to_owned())).into_iter().collect();
        assert_eq!(token(&pairs, "isvkey"), "691b1c2be27485a87fb000de6f89f1d3");
    }

    #[test]
    fn encodes_what_is_not_unreserved() {
        assert_eq!(encode("a b*c~d/演"), "a%20b%2Ac~d%2F%E6%BC%94");
    }
}
