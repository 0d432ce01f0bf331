//! Service tokens: who calls, proved by an Ed25519 signature (`reliability.md` sections 7 and 8).
//!
//! A token is a JWT whose header's `alg` is exactly `EdDSA` and whose `kid` is the caller's name. Its times are the
//! machine's, never the business clock's, which a test may have moved by months.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tandem_proto::common::v1::Role;
use tandem_proto::reason::Reason;

use crate::clock::{Clock as _, SystemClock};
use crate::config::{ConfigError, IdentitySection};
use crate::fault::Fault;

/// Longest lifetime of a token (`reliability.md` section 7).
pub const LIFETIME_SECS_MAX: i64 = 300;
/// How far two machines' clocks may differ.
pub const SKEW_SECS: i64 = 30;
/// Longest token that is looked at: ours have about 300 bytes.
const TOKEN_BYTES_MAX: usize = 4096;
const ALGORITHM: &str = "EdDSA";

/// Who calls, as proved by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The caller's registered name.
    pub name: String,
    /// Its one role.
    pub role: Role,
}

/// The name of a role in tokens and configuration: `ROLE_USAGE_SOURCE` is `usage_source`.
pub fn role_name(role: Role) -> String {
    role.as_str_name().trim_start_matches("ROLE_").to_lowercase()
}

/// The role of a name; `None` when there is no such role.
pub fn role_from_name(name: &str) -> Option<Role> {
    let is_lower = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let role = Role::from_str_name(&format!("ROLE_{}", name.to_uppercase()))?;
    (is_lower && role != Role::Unspecified).then_some(role)
}

/// A private key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: SecretString,
}

/// Shows the public half only.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public_key()).finish()
    }
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate() -> Result<SigningKey, ConfigError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
            .map_err(|_| key_error("no randomness to make a key"))?;
        SigningKey::from_pkcs8(pkcs8.as_ref())
    }

    /// Reads a key: PEM or base64 of PKCS#8 (as `openssl genpkey -algorithm ed25519` writes it), or base64 of the
    /// 32-byte seed.
    pub fn from_secret(secret: &SecretString) -> Result<SigningKey, ConfigError> {
        let text: String = secret
            .expose_secret()
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
            .collect();
        let bytes = STANDARD.decode(text).map_err(|_| key_error("a key must be PEM or base64"))?;
        if bytes.len() != 32 {
            return SigningKey::from_pkcs8(&bytes);
        }
        // RFC 8410: the fixed head of a PKCS#8 document that holds an Ed25519 seed.
        let mut pkcs8 = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        pkcs8.extend_from_slice(&bytes);
        SigningKey::from_pkcs8(&pkcs8)
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<SigningKey, ConfigError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map_err(|_| key_error("a key must be an Ed25519 private key"))?;
        Ok(SigningKey { pair, pkcs8: SecretString::from(STANDARD.encode(pkcs8)) })
    }

    /// The public key as base64, as it stands in the configuration of those who are called.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.pair.public_key().as_ref())
    }

    /// The private key as base64 of PKCS#8, to be stored where only this process reads it.
    pub fn to_secret(&self) -> SecretString {
        self.pkcs8.clone()
    }
}

fn key_error(message: &str) -> ConfigError {
    ConfigError::Secret { name: "identity.key".to_owned(), message: message.to_owned() }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
    /// Critical extensions: we know none, so a token that has any is refused (RFC 7515, 4.1.11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: String,
    aud: Audience,
    iat: i64,
    exp: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Makes tokens in one caller's name.
#[derive(Debug)]
pub struct Signer {
    name: String,
    role: Role,
    key: SigningKey,
}

impl Signer {
    /// Makes a signer.
    pub fn new(name: impl Into<String>, role: Role, key: SigningKey) -> Signer {
        Signer { name: name.into(), role, key }
    }

    /// The caller's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Makes a token of the signer's own role, from now, for at most [`LIFETIME_SECS_MAX`].
    pub fn token_now(&self, audiences: &[&str]) -> String {
        self.token(audiences, self.role, LIFETIME_SECS_MAX, real_now())
    }

    /// Makes a token. A lifetime above [`LIFETIME_SECS_MAX`] is cut to it.
    pub fn token(&self, audiences: &[&str], role: Role, lifetime_secs: i64, real_now: Timestamp) -> String {
        let aud = match audiences {
            [one] => Audience::One((*one).to_owned()),
            many => Audience::Many(many.iter().map(|audience| (*audience).to_owned()).collect()),
        };
        let iat = real_now.as_second();
        let exp = iat + lifetime_secs.clamp(0, LIFETIME_SECS_MAX);
        let claims = Claims { sub: self.name.clone(), role: role_name(role), aud, iat, exp };
        let header = Header {
            alg: ALGORITHM.to_owned(),
            kid: self.name.clone(),
            typ: Some("JWT".to_owned()),
            crit: None,
        };
        sign(&self.key, &encode(&header), &encode(&claims))
    }
}

fn encode(part: &impl Serialize) -> String {
    // These two structs hold texts and numbers only, which JSON can always say.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}

fn sign(key: &SigningKey, header: &str, claims: &str) -> String {
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.pair.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

/// Why a token was refused. It is logged, not sent: callers learn only `TOKEN_INVALID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of the expected shape.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with another algorithm, or with none.
    #[error("the token's algorithm is not EdDSA")]
    Algorithm,
    /// No caller of this name is registered.
    #[error("the token's caller is unknown")]
    UnknownCaller,
    /// The signature is not the caller's.
    #[error("the token's signature is wrong")]
    Signature,
    /// Not valid yet, not any more, or for too long.
    #[error("the token's times are wrong")]
    Times,
    /// Meant for another service.
    #[error("the token is for another audience")]
    Audience,
    /// The role is not the one registered for the caller.
    #[error("the token's role is not the caller's")]
    Role,
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Fault {
        tracing::info!(error = %error, "refused a token: {error}");
        Fault::new(Reason::TokenInvalid)
    }
}

struct Known {
    role: Role,
    keys: Vec<Vec<u8>>,
}

/// Checks tokens for one audience against the registered callers.
///
/// A caller sends the same token with every call until it expires, so proved signatures are remembered by the digest of
/// the whole token: checking one costs as much as the rest of a small call. Times are checked at every call.
pub struct Verifier {
    callers: HashMap<String, Known>,
    audience: String,
    proved: RwLock<HashMap<[u8; 32], (String, Claims)>>,
}

/// Most proved tokens that are remembered: far more than there are callers, each with a token or two.
const PROVED_MAX: usize = 1_024;

impl Verifier {
    /// Starts with no callers, which refuses everybody.
    pub fn new(audience: impl Into<String>) -> Verifier {
        Verifier { callers: HashMap::new(), audience: audience.into(), proved: RwLock::default() }
    }

    /// Registers a caller's public key (base64); a second key of the same caller is accepted beside the first.
    ///
    /// Fails when the key is malformed, or when the caller was registered with another role.
    pub fn register(&mut self, name: &str, role: Role, public_key: &str) -> Result<(), ConfigError> {
        let fail = |message: &str| ConfigError::Key {
            origin: format!("identity.callers, {name}"),
            message: message.to_owned(),
        };
        let key = STANDARD.decode(public_key.trim()).ok().filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| fail("a public key must be base64 of 32 bytes"))?;
        if name.is_empty() || role == Role::Unspecified {
            return Err(fail("a caller needs a name and a role"));
        }
        let known = self.callers.entry(name.to_owned()).or_insert_with(|| Known { role, keys: Vec::new() });
        if known.role != role {
            return Err(fail("a caller has exactly one role"));
        }
        known.keys.push(key);
        Ok(())
    }

    /// Checks a token at the machine's time.
    pub fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        self.verify_at(token, real_now())
    }

    /// Checks a token: signature first, then times, audience and role.
    pub fn verify_at(&self, token: &str, real_now: Timestamp) -> Result<Caller, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((name, claims)) = self.proved.read().unwrap_or_else(PoisonError::into_inner).get(&digest)
            && let Some(known) = self.callers.get(name)
        {
            return self.check(name, known, claims, real_now.as_second());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode(header)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let known = self.callers.get(&header.kid).ok_or(TokenError::UnknownCaller)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let proved = known
            .keys
            .iter()
            .any(|key| UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature).is_ok());
        if !proved {
            return Err(TokenError::Signature);
        }
        let claims: Claims = decode(claims)?;
        let caller = self.check(&header.kid, known, &claims, real_now.as_second())?;
        self.remember(digest, header.kid, claims, real_now.as_second());
        Ok(caller)
    }

    fn remember(&self, digest: [u8; 32], name: String, claims: Claims, now: i64) {
        let mut proved = self.proved.write().unwrap_or_else(PoisonError::into_inner);
        if proved.len() >= PROVED_MAX {
            proved.retain(|_, (_, claims)| claims.exp > now);
        }
        if proved.len() < PROVED_MAX {
            proved.insert(digest, (name, claims));
        }
    }

    fn check(&self, name: &str, known: &Known, claims: &Claims, now: i64) -> Result<Caller, TokenError> {
        let lifetime = claims.exp.checked_sub(claims.iat).ok_or(TokenError::Times)?;
        let early = claims.iat > now.saturating_add(SKEW_SECS);
        let late = claims.exp <= now.saturating_sub(SKEW_SECS);
        if !(0..=LIFETIME_SECS_MAX).contains(&lifetime) || early || late {
            return Err(TokenError::Times);
        }
        let meant = match &claims.aud {
            Audience::One(audience) => *audience == self.audience,
            Audience::Many(audiences) => audiences.contains(&self.audience),
        };
        if !meant {
            return Err(TokenError::Audience);
        }
        if claims.sub != name {
            return Err(TokenError::UnknownCaller);
        }
        if role_from_name(&claims.role) != Some(known.role) {
            return Err(TokenError::Role);
        }
        Ok(Caller { name: name.to_owned(), role: known.role })
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

impl IdentitySection {
    /// The verifier of this process's callers.
    pub fn verifier(&self) -> Result<Verifier, ConfigError> {
        let mut verifier = Verifier::new(&self.audience);
        for caller in &self.callers {
            let role = configured_role(&caller.role, &caller.name)?;
            for key in &caller.public_keys {
                verifier.register(&caller.name, role, key)?;
            }
        }
        Ok(verifier)
    }

    /// The signer of this process's own calls; `None` when no key is configured.
    pub fn signer(&self) -> Result<Option<Signer>, ConfigError> {
        let Some(key) = &self.key else { return Ok(None) };
        let key = SigningKey::from_secret(&key.resolve()?)?;
        Ok(Some(Signer::new(&self.name, configured_role(&self.role, &self.name)?, key)))
    }
}

fn configured_role(role: &str, name: &str) -> Result<Role, ConfigError> {
    role_from_name(role).ok_or_else(|| ConfigError::Key {
        origin: format!("identity, {name}"),
        message: format!("there is no role `{role}`"),
    })
}

/// The machine's time: tokens must not follow a business clock that a test has moved.
pub fn real_now() -> Timestamp {
    SystemClock::new().now()
}

#[cfg(test)]
mod tests;
