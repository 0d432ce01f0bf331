//! Attempts without an effect of their own, gathered and written in batches; and the anchors.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::attempt::fold;
use super::chain::Audit;
use super::row::{Head, Outcome, Record};
use super::store;
use crate::db::{Database, StoreError};

/// Most rows that wait; a thousand of them are a few hundred kilobytes. More are counted.
const WAITING_MAX: usize = 10_000;
/// Most rows written in one transaction.
const TOGETHER_MAX: usize = 500;
/// How often the heads of chains that went on are noted.
const ANCHOR_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// Most heads in one anchor.
const HEADS_MAX: usize = 64;
/// The method that anchors stand under.
const ANCHOR_METHOD: &str = "anchor";
/// The reason of a row that counts what found no room.
const OVERFLOW: &str = "AUDIT_OVERFLOW";

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    records: Vec<Record>,
    many: HashMap<(String, String, Outcome, String), usize>,
    lost: i64,
    anchored_at: Option<Timestamp>,
}

impl Audit {
    /// Takes an attempt. One of `many` alike is added to the row that waits for the others.
    pub(super) fn gather(&self, mut record: Record, many: bool) {
        let mut gathered = self.gathered();
        if many {
            let like =
                (record.principal.clone(), record.method.clone(), record.outcome, record.reason.clone());
            let place = gathered.many.get(&like).copied();
            if let Some(waiting) = place.and_then(|place| gathered.records.get_mut(place)) {
                waiting.attempts = waiting.attempts.saturating_add(record.attempts);
                waiting.digest = fold(&waiting.digest, "", &record.digest);
                waiting.at = record.at;
                return;
            }
            record.digest = fold(&[], "", &record.digest);
            let place = gathered.records.len();
            gathered.many.insert(like, place);
        }
        if gathered.records.len() < WAITING_MAX {
            gathered.records.push(record);
        } else {
            gathered.lost = gathered.lost.saturating_add(record.attempts);
        }
    }

    /// Writes a bounded number of gathered attempts, and an anchor when one is due. Returns how many rows wait now that
    /// were too many for one batch: those that come meanwhile belong to the next one, or the busiest callers would be
    /// written one by one.
    pub(super) async fn write(self: &Arc<Audit>, db: &Database, now: Timestamp) -> Result<usize, StoreError> {
        let many = self.gathered().records.len();
        let written = self.write_gathered(db, now).await?;
        let last = self.gathered().anchored_at;
        match last {
            None => self.anchor_others(db, now).await?,
            // A clock that was moved back must not silence the anchors.
            Some(last) if now < last || now.duration_since(last) >= ANCHOR_EVERY => {
                self.anchor(db, now).await?
            }
            Some(_) => 0,
        };
        Ok(many.saturating_sub(written))
    }

    /// Writes everything that waits and the last heads.
    pub(super) async fn finish(self: &Arc<Audit>, db: &Database, now: Timestamp) -> Result<(), StoreError> {
        while self.write_gathered(db, now).await? > 0 {}
        self.anchor(db, now).await?;
        Ok(())
    }

    async fn write_gathered(self: &Arc<Audit>, db: &Database, now: Timestamp) -> Result<usize, StoreError> {
        let records = self.take(now);
        if records.is_empty() {
            return Ok(0);
        }
        let count = records.len();
        let written = async {
            let tx = db.begin().await?;
            tx.record(records.clone()).await?;
            tx.commit().await
        };
        match written.await {
            Ok(()) => Ok(count),
            Err(error) => {
                self.give_back(records);
                Err(error)
            }
        }
    }

    fn take(&self, now: Timestamp) -> Vec<Record> {
        let mut gathered = self.gathered();
        let count = gathered.records.len().min(TOGETHER_MAX);
        let rest = gathered.records.split_off(count);
        let mut records = std::mem::replace(&mut gathered.records, rest);
        // Places have moved; what comes now begins rows of its own.
        gathered.many.clear();
        if gathered.lost > 0 && gathered.records.is_empty() {
            let attempts = std::mem::take(&mut gathered.lost);
            let note = String::from("attempts that found no room in the queue");
            records.push(Record { attempts, note, ..nobody(now, "", Outcome::Refused, OVERFLOW) });
        }
        records
    }

    /// Puts back what could not be written, before what came later; the newest make room.
    fn give_back(&self, mut records: Vec<Record>) {
        let mut gathered = self.gathered();
        gathered.many.clear();
        records.append(&mut gathered.records);
        let over = records.split_off(records.len().min(WAITING_MAX));
        let lost: i64 = over.iter().map(|record| record.attempts).sum();
        gathered.lost = gathered.lost.saturating_add(lost);
        gathered.records = records;
    }

    /// Notes the heads of chains that earlier or other processes wrote, as this one finds them when it starts.
    async fn anchor_others(self: &Arc<Audit>, db: &Database, now: Timestamp) -> Result<usize, StoreError> {
        let heads = store::newest_heads(&db.read, self.instance(), HEADS_MAX).await?;
        self.note(db, &heads, now).await?;
        self.gathered().anchored_at = Some(now);
        Ok(usize::from(!heads.is_empty()))
    }

    /// Notes the heads of this process's chains that went on since they were noted last.
    pub(super) async fn anchor(
        self: &Arc<Audit>,
        db: &Database,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let heads = self.unanchored();
        for some in heads.chunks(HEADS_MAX) {
            self.note(db, some, now).await?;
        }
        self.gathered().anchored_at = Some(now);
        Ok(heads.len().div_ceil(HEADS_MAX))
    }

    async fn note(
        self: &Arc<Audit>,
        db: &Database,
        heads: &[Head],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if heads.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = heads.iter().map(Head::line).collect();
        let note = lines.join("\n");
        let attempts = i64::try_from(heads.len()).unwrap_or(i64::MAX);
        let tx = db.begin().await?;
        let record = Record { attempts, note, ..nobody(now, ANCHOR_METHOD, Outcome::Anchor, "") };
        let chain = tx.record(vec![record]).await?;
        tx.commit().await?;
        self.anchored(heads, &chain);
        // The log is another place: whoever cuts the table does not reach it.
        tracing::info!(audit.heads = lines.join(" "), "noted the heads of {} audit chains", heads.len());
        Ok(())
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nobody(at: Timestamp, method: &str, outcome: Outcome, reason: &str) -> Record {
    Record {
        at,
        principal: String::new(),
        role: String::new(),
        method: method.to_owned(),
        request_id: String::new(),
        digest: Vec::new(),
        objects: Vec::new(),
        outcome,
        reason: reason.to_owned(),
        attempts: 1,
        note: String::new(),
    }
}
