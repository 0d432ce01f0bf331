//! Rows and their hashes. Nothing here reads the clock or a database.

use jiff::Timestamp;
use ring::hmac;
use sha2::{Digest as _, Sha256};
use tandem_proto::names;

use super::ids::OBJECTS_MAX;

names! {
    /// How an attempt ended.
    Outcome: "accepted, repeated, refused, failed, anchor";
    /// It had its effect.
    Accepted = "accepted";
    /// It had been made before.
    Repeated = "repeated";
    /// It changed nothing.
    Refused = "refused";
    /// It broke off; perhaps it had an effect.
    Failed = "failed";
    /// No attempt: heads of chains.
    Anchor = "anchor";
}

/// A SHA-256 sized hash.
pub(super) type Hash = [u8; 32];

/// What a row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was decided.
    pub at: Timestamp,
    /// Who called; empty when nobody was proved.
    pub principal: String,
    /// The caller's role by name; empty when nobody was proved.
    pub role: String,
    /// The method's path.
    pub method: String,
    /// The caller's name for the call.
    pub request_id: String,
    /// SHA-256 of the request; empty when it was not read.
    pub digest: Vec<u8>,
    /// The first three different ids that the request, then its answer, names.
    pub objects: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused or failed.
    pub reason: String,
    /// How many attempts it stands for.
    pub attempts: i64,
    /// Further words.
    pub note: String,
}

/// A record at its place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The chain.
    pub chain: String,
    /// Its place, from 1.
    pub number: i64,
    /// What it tells.
    pub record: Record,
    /// Which key its hash was made with; empty for none.
    pub key_id: String,
    /// Hash of the row before.
    pub prev_hash: Vec<u8>,
    /// Hash of this row.
    pub hash: Vec<u8>,
}

/// How far a chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The chain.
    pub chain: String,
    /// The last row's number; 0 before the first.
    pub number: i64,
    /// The last row's hash.
    pub hash: Vec<u8>,
}

impl Head {
    /// As it stands in an anchor's note.
    pub fn line(&self) -> String {
        format!("{}:{}:{}", self.chain, self.number, hex::encode(&self.hash))
    }

    /// Reads a line of an anchor's note.
    pub fn from_line(line: &str) -> Option<Head> {
        let (rest, hash) = line.rsplit_once(':')?;
        let (chain, number) = rest.rsplit_once(':')?;
        Some(Head { chain: chain.to_owned(), number: number.parse().ok()?, hash: hex::decode(hash).ok()? })
    }
}

/// The keys of hashes: the first makes new ones, the others check older ones. Without any, hashes are plain.
#[derive(Clone, Default)]
pub(crate) struct Seal(Vec<(String, hmac::Key)>);

/// Shows the names of the keys only.
impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl Seal {
    /// Takes secrets, the one for new rows first.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Seal {
        let key = |secret: &[u8]| {
            let named = Sha256::new().chain_update(b"tandem audit key").chain_update(secret).finalize();
            (hex::encode(&named[..8]), hmac::Key::new(hmac::HMAC_SHA256, secret))
        };
        Seal(secrets.into_iter().map(key).collect())
    }

    /// The name of the key for new rows; empty for none.
    pub(super) fn key_id(&self) -> String {
        self.0.first().map(|(id, _)| id.clone()).unwrap_or_default()
    }

    /// Hashes a row under a key; `None` when the key is unknown here.
    pub(super) fn hash(
        &self,
        key_id: &str,
        chain: &str,
        number: i64,
        prev: &[u8],
        record: &Record,
    ) -> Option<Hash> {
        let content = content(key_id, chain, number, prev, record);
        if key_id.is_empty() {
            return Some(Sha256::digest(&content).into());
        }
        let (_, key) = self.0.iter().find(|(id, _)| id == key_id)?;
        hmac::sign(key, &content).as_ref().try_into().ok()
    }
}

/// Ids as columns hold them: empty where there is none.
pub(super) fn place(objects: &[String]) -> [&str; OBJECTS_MAX] {
    std::array::from_fn(|n| objects.get(n).map(String::as_str).unwrap_or_default())
}

/// Every field with its length before it, so that no two different rows have the same content.
fn content(key_id: &str, chain: &str, number: i64, prev: &[u8], record: &Record) -> Vec<u8> {
    // Taken apart in full: a new field that is forgotten here does not compile.
    let Record { at, principal, role, method, request_id, digest, objects, outcome, reason, attempts, note } =
        record;
    let (number, at, attempts) =
        (number.to_be_bytes(), at.as_microsecond().to_be_bytes(), attempts.to_be_bytes());
    let [first, second, third] = place(objects);
    let parts: [&[u8]; 18] = [
        b"tandem audit row 1",
        key_id.as_bytes(),
        chain.as_bytes(),
        &number,
        prev,
        &at,
        principal.as_bytes(),
        role.as_bytes(),
        method.as_bytes(),
        request_id.as_bytes(),
        digest,
        first.as_bytes(),
        second.as_bytes(),
        third.as_bytes(),
        outcome.name().as_bytes(),
        reason.as_bytes(),
        &attempts,
        note.as_bytes(),
    ];
    let mut content = Vec::with_capacity(512);
    for part in parts {
        content.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        content.extend_from_slice(part);
    }
    content
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record of nothing in particular.
    pub(in crate::audit) fn record(request_id: &str) -> Record {
        Record {
            at: Timestamp::from_second(1_772_323_200).unwrap(),
            principal: "portal".into(),
            role: "portal".into(),
            method: "/x.Y/Pay".into(),
            request_id: request_id.into(),
            digest: vec![1, 2, 3],
            objects: vec!["bac_1".into()],
            outcome: Outcome::Accepted,
            reason: String::new(),
            attempts: 1,
            note: String::new(),
        }
    }

    #[test]
    fn a_head_survives_its_line() {
        let head = Head { chain: "ab-0".into(), number: 7, hash: vec![9; 32] };
        assert_eq!(Head::from_line(&head.line()), Some(head));
        for bad in ["", "x", "a:b:00", "a:1:xyz"] {
            assert_eq!(Head::from_line(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_who_has_the_key_makes_its_hash() {
        let (keyed, other) = (Seal::new([b"secret".as_slice()]), Seal::new([b"another".as_slice()]));
        let id = keyed.key_id();
        let hash = keyed.hash(&id, "c", 1, &[0; 32], &record("a"));
        assert!(hash.is_some());
        assert_eq!(other.hash(&id, "c", 1, &[0; 32], &record("a")), None);
        assert_ne!(hash, Seal::default().hash("", "c", 1, &[0; 32], &record("a")));
        let rotated = Seal::new([b"new".as_slice(), b"secret".as_slice()]);
        assert_eq!(rotated.hash(&id, "c", 1, &[0; 32], &record("a")), hash);
        assert!(!format!("{keyed:?}").contains("secret"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whatever text moves from one field to its neighbour, the hash differs.
        #[test]
        fn no_two_rows_have_the_same_content(text in "[a-z]{1,12}", cut in 0_usize..13, other in 0_usize..13) {
            let split = |at: usize| {
                let (left, right) = text.split_at(at.min(text.len()));
                Record { principal: left.into(), role: right.into(), ..record("a") }
            };
            let hash = |record: &Record| Seal::default().hash("", "c", 1, &[0; 32], record);
            let (one, two) = (split(cut), split(other));
            prop_assert_eq!(one == two, hash(&one) == hash(&two));
        }
    }
}
