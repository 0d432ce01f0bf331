//! The chains of this process: borrowed by one transaction at a time, given back when it has committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gather::Gathered;
use super::row::{Head, Record, Row, Seal};
use crate::fresh::fresh_uuid;

/// What the audit of a process keeps in memory.
#[derive(Debug)]
pub(crate) struct Audit {
    instance: String,
    seal: Seal,
    pool: Mutex<Pool>,
    pub(super) gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Chains that nobody writes to.
    free: Vec<Head>,
    /// Chains begun so far.
    begun: usize,
    /// Heads that no anchor holds yet, by chain.
    unanchored: BTreeMap<String, Head>,
}

/// A chain in the hands of one transaction.
#[derive(Debug)]
pub(crate) struct Borrowed {
    audit: Arc<Audit>,
    head: Head,
}

impl Audit {
    /// Starts without chains.
    pub(crate) fn new(seal: Seal) -> Arc<Audit> {
        let instance = fresh_uuid().simple().to_string();
        Arc::new(Audit { instance, seal, pool: Mutex::default(), gathered: Mutex::default() })
    }

    /// The keys of hashes.
    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The front of this process's chains' names; names of later processes sort after it.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Hands out a chain that nobody else writes to.
    pub(crate) fn borrow(self: &Arc<Audit>) -> Borrowed {
        let mut pool = self.pool();
        let head = pool.free.pop().unwrap_or_else(|| {
            let chain = format!("{}-{}", self.instance, pool.begun);
            pool.begun += 1;
            Head { chain, number: 0, hash: vec![0; 32] }
        });
        Borrowed { audit: Arc::clone(self), head }
    }

    /// The heads that no anchor holds yet.
    pub(super) fn unanchored(&self) -> Vec<Head> {
        self.pool().unanchored.values().cloned().collect()
    }

    /// Forgets heads that an anchor holds now, unless their chains have gone on, and the anchor's own.
    pub(super) fn anchored(&self, heads: &[Head], anchor: &str) {
        let mut pool = self.pool();
        for head in heads {
            if pool.unanchored.get(&head.chain) == Some(head) {
                pool.unanchored.remove(&head.chain);
            }
        }
        pool.unanchored.remove(anchor);
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrowed {
    /// Puts records behind one another at the chain's end.
    pub(crate) fn append(&mut self, records: impl IntoIterator<Item = Record>) -> Vec<Row> {
        let key_id = self.audit.seal.key_id();
        let place = |record: Record| {
            let number = self.head.number + 1;
            let hash = self.audit.seal.hash(&key_id, &self.head.chain, number, &self.head.hash, &record);
            // The key is one of the seal's own, so there is a hash.
            let hash = hash.map(Vec::from).unwrap_or_default();
            let prev_hash = std::mem::replace(&mut self.head.hash, hash.clone());
            self.head.number = number;
            Row { chain: self.head.chain.clone(), number, record, key_id: key_id.clone(), prev_hash, hash }
        };
        records.into_iter().map(place).collect()
    }

    /// The chain's name.
    pub(crate) fn chain(&self) -> &str {
        &self.head.chain
    }

    /// Gives the chain back: what was appended has been committed. A chain that is dropped instead ends where it is,
    /// because nobody knows whether it was.
    pub(crate) fn committed(self) {
        let mut pool = self.audit.pool();
        pool.unanchored.insert(self.head.chain.clone(), self.head.clone());
        pool.free.push(self.head);
    }
}
