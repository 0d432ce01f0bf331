//! What must be true at the end of every story, whatever happened.

use serde_json::{Map, Value, json};

use super::stage::Stage;
use crate::commands::{bill, ledger};
use crate::failure::{Failure, Result};
use crate::output::Cell;

/// The proofs of a story: each is told at once, and all are looked at before it ends.
pub struct Proofs<'a> {
    stage: &'a Stage,
    broken: Vec<String>,
    found: Map<String, Value>,
}

impl<'a> Proofs<'a> {
    /// Begins with none.
    pub fn begin(stage: &'a Stage) -> Result<Proofs<'a>> {
        stage.teller.step("The proofs")?;
        Ok(Proofs { stage, broken: Vec::new(), found: Map::new() })
    }

    /// Tells whether something holds.
    pub fn note(&mut self, holds: bool, what: &str) -> Result<()> {
        if !holds {
            self.broken.push(what.to_owned());
        }
        self.stage.teller.proof(holds, what)
    }

    /// Keeps what a proof found, for scripts.
    pub fn keep(&mut self, name: &str, found: Value) {
        self.found.insert(name.to_owned(), found);
    }

    /// The ledger adds up to zero in every currency, and every balance is the sum of its entries.
    pub async fn ledger(&mut self) -> Result<()> {
        let sums = ledger::prove(&self.stage.operator, "").await?;
        for sum in &sums.sums {
            let amount = Cell::money(Some(sum)).to_text();
            let what = format!("the ledger's {} entries add up to {amount}", sums.entry_count);
            self.note(sum.minor_units == 0, &what)?;
        }
        self.note(!sums.sums.is_empty(), &format!("{} currencies are in use", sums.sums.len()))?;
        let differ = sums.differences.len();
        self.note(differ == 0, &format!("{differ} balances differ from their entries"))?;
        let table = ledger::sums_table(&sums).to_json();
        self.keep("ledger", json!({ "entries": sums.entry_count, "different": differ, "sums": table }));
        Ok(())
    }

    /// Every daily bill is what its usage and its price list make.
    pub async fn bills(&mut self) -> Result<()> {
        let bills = bill::prove(&self.stage.operator, "", "", |_| {}).await?;
        let what = format!("{} bills recomputed from usage, {} differences", bills.proved, bills.different);
        self.note(bills.proved > 0 && bills.different == 0, &what)?;
        self.keep("bills", json!({ "proved": bills.proved, "different": bills.different }));
        Ok(())
    }

    /// What was found; fails when anything does not hold.
    pub fn end(self) -> Result<Value> {
        if self.broken.is_empty() {
            return Ok(Value::Object(self.found));
        }
        Err(Failure::Proof(self.broken.join("; ")))
    }
}
