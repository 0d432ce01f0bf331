//! Proving that nothing was changed, removed or put in.

use jiff::Timestamp;
use tandem_proto::names;

use super::row::{Head, Outcome, Row, Seal};
use super::store;
use crate::db::{Database, StoreError};

names! {
    /// What is wrong at a place.
    BreakKind: "row_changed, link_wrong, rows_missing, head_missing, key_unknown";
    /// The content is not what the hash was made of.
    RowChanged = "row_changed";
    /// The row does not hold the hash of the one before it.
    LinkWrong = "link_wrong";
    /// Rows are missing up to this number.
    RowsMissing = "rows_missing";
    /// A head that was noted is not there any more.
    HeadMissing = "head_missing";
    /// The hash was made with a key that is unknown here.
    KeyUnknown = "key_unknown";
}

/// A place where the audit is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The chain.
    pub chain: String,
    /// The row, or the last that is missing.
    pub number: i64,
    /// What is wrong.
    pub kind: BreakKind,
    /// When the row says it happened.
    pub at: Option<Timestamp>,
}

/// What a page of the proof found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Rows recomputed.
    pub rows: i64,
    /// Of these, rows hashed without a key.
    pub unkeyed: i64,
    /// What is broken.
    pub breaks: Vec<Break>,
    /// The last rows of chains that end here.
    pub heads: Vec<Head>,
    /// The last row looked at, when there are more.
    pub next: Option<(String, i64)>,
}

/// Proves the rows after a place, at most `limit` of them, and heads that the caller knows of.
pub async fn prove(
    db: &Database,
    after: Option<(String, i64)>,
    limit: i64,
    known: &[Head],
) -> Result<Proof, StoreError> {
    let (chain, number) = after.unwrap_or_default();
    // One more than are looked at, to know whether the last chain goes on.
    let mut rows = store::after(&db.read, &chain, number, limit.saturating_add(1)).await?;
    let more = i64::try_from(rows.len()).is_ok_and(|count| count > limit);
    let beyond = if more { rows.pop() } else { None };
    let before = match store::hash_of(&db.read, &chain, number).await? {
        Some(hash) => Some(Head { chain, number, hash }),
        // Its row has gone between two pages: the next row's link shows it.
        None if number > 0 => Some(Head { chain, number, hash: Vec::new() }),
        None => None,
    };
    let mut proof = check(db.audit().seal(), before, &rows);
    // The chain that goes on has its head on a later page.
    if proof.heads.last().map(|head| &head.chain) == beyond.as_ref().map(|row| &row.chain) {
        proof.heads.pop();
    }
    proof.next = more.then(|| rows.last().map(|row| (row.chain.clone(), row.number))).flatten();
    let anchors = rows.iter().filter(|row| row.record.outcome == Outcome::Anchor);
    let noted = anchors.flat_map(|row| row.record.note.lines().filter_map(Head::from_line));
    let noted: Vec<Head> = noted.chain(known.iter().cloned()).collect();
    let missing = store::missing(&db.read, &noted).await?;
    proof.breaks.extend(missing.into_iter().map(|head| Break {
        chain: head.chain,
        number: head.number,
        kind: BreakKind::HeadMissing,
        at: None,
    }));
    Ok(proof)
}

/// Checks rows in the order of chain and number, the first of which may follow a row that was checked before.
fn check(seal: &Seal, before: Option<Head>, rows: &[Row]) -> Proof {
    let mut proof = Proof::default();
    let mut last: Option<Head> = before;
    for row in rows {
        let begins = Head { chain: row.chain.clone(), number: 0, hash: vec![0; 32] };
        let previous = match last.take() {
            Some(head) if head.chain == row.chain => head,
            Some(head) => {
                // The one before the first row was told with the page before.
                if proof.rows > 0 {
                    proof.heads.push(head);
                }
                begins
            }
            None => begins,
        };
        let mut broken = |number, kind| {
            let at = (kind != BreakKind::RowsMissing).then_some(row.record.at);
            proof.breaks.push(Break { chain: row.chain.clone(), number, kind, at });
        };
        if row.number != previous.number + 1 {
            broken(row.number - 1, BreakKind::RowsMissing);
        } else if row.prev_hash != previous.hash {
            broken(row.number, BreakKind::LinkWrong);
        }
        match seal.hash(&row.key_id, &row.chain, row.number, &row.prev_hash, &row.record) {
            None => broken(row.number, BreakKind::KeyUnknown),
            Some(hash) if row.hash != hash => broken(row.number, BreakKind::RowChanged),
            Some(_) => {}
        }
        proof.rows += 1;
        proof.unkeyed += i64::from(row.key_id.is_empty());
        last = Some(Head { chain: row.chain.clone(), number: row.number, hash: row.hash.clone() });
    }
    if proof.rows > 0 {
        proof.heads.extend(last);
    }
    proof
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chain::Audit;
    use super::super::row::tests::record;
    use super::*;

    fn chain(rows: usize) -> Vec<Row> {
        Audit::new(Seal::default()).borrow().append((0..rows).map(|n| record(&format!("r{n}"))))
    }

    fn kinds(rows: &[Row]) -> Vec<(i64, BreakKind)> {
        let proof = check(&Seal::default(), None, rows);
        proof.breaks.iter().map(|b| (b.number, b.kind)).collect()
    }

    #[test]
    fn a_chain_that_nobody_touched_is_sound() {
        let rows = chain(5);
        let proof = check(&Seal::default(), None, &rows);
        assert_eq!((proof.rows, proof.unkeyed, proof.breaks.len()), (5, 5, 0));
        assert_eq!(proof.heads.iter().map(|head| head.number).collect::<Vec<_>>(), [5]);
        // The second half after the first, as on a next page.
        let before = Head { chain: rows[1].chain.clone(), number: 2, hash: rows[1].hash.clone() };
        assert_eq!(check(&Seal::default(), Some(before), &rows[2..]).breaks, []);
    }

    #[test]
    fn a_row_that_was_removed_leaves_a_gap_also_at_the_front() {
        let rows = chain(4);
        assert_eq!(
            kinds(&[rows[0].clone(), rows[2].clone(), rows[3].clone()]),
            [(2, BreakKind::RowsMissing)]
        );
        assert_eq!(kinds(&rows[1..]), [(1, BreakKind::RowsMissing)]);
    }

    #[test]
    fn a_chain_that_was_written_anew_from_a_row_on_does_not_fit() {
        let rows = chain(4);
        let mut forged = rows.clone();
        forged[1].record.principal = "somebody".into();
        let hash = Seal::default().hash("", &rows[1].chain, 2, &rows[1].prev_hash, &forged[1].record);
        forged[1].hash = hash.unwrap().to_vec();
        assert_eq!(kinds(&forged), [(3, BreakKind::LinkWrong)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whatever is changed in whichever row shows at that row or the next.
        #[test]
        fn every_change_of_a_field_is_found(at in 0_usize..6, field in 0_usize..13) {
            let mut rows = chain(6);
            let row = &mut rows[at];
            match field {
                0 => row.record.at += jiff::SignedDuration::from_micros(1),
                1 => row.record.principal.push('x'),
                2 => row.record.role.push('x'),
                3 => row.record.method.push('x'),
                4 => row.record.request_id.push('x'),
                5 => row.record.digest.push(0),
                6 => row.record.objects[0].push('x'),
                7 => row.record.objects.push("x".into()),
                8 => row.record.objects.insert(0, "x".into()),
                9 => row.record.outcome = Outcome::Refused,
                10 => row.record.reason.push('x'),
                11 => row.record.attempts += 1,
                _ => row.record.note.push('x'),
            }
            prop_assert_eq!(kinds(&rows), [(i64::try_from(at).unwrap() + 1, BreakKind::RowChanged)]);
        }
    }
}
