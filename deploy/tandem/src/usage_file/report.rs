//! What became of a file.

use serde_json::{Value, json};

/// Most refused lines that are remembered by name; all are counted.
const NAMED_MAX: usize = 1_000;

/// A line that was not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// Its number in the file, from 1.
    pub line: u64,
    /// A name from the list of reasons; `INVALID_LINE` when the line itself could not be read.
    pub reason: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What became of a file. The four counts add up to its points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Points that were new.
    pub accepted: u64,
    /// Points that were there already with the same quantity.
    pub duplicate: u64,
    /// Points that replaced another quantity.
    pub replaced: u64,
    /// Lines that were not recorded.
    pub refused: u64,
    /// The first of them, in the order of the file.
    pub named: Vec<RefusedLine>,
}

impl Report {
    /// Counts a refused line, and remembers it while there is room.
    pub fn refuse(&mut self, line: RefusedLine) {
        self.refused += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(line);
        }
    }

    /// All lines that said something.
    pub fn total(&self) -> u64 {
        self.accepted + self.duplicate + self.replaced + self.refused
    }

    /// The sums, as people read them.
    pub fn summary(&self) -> String {
        format!(
            "accepted {} + duplicate {} + replaced {} + refused {} = {}",
            self.accepted,
            self.duplicate,
            self.replaced,
            self.refused,
            self.total()
        )
    }

    /// The report for scripts.
    pub fn to_json(&self) -> Value {
        let lines = self.named.iter();
        let lines = lines.map(|l| json!({ "line": l.line, "reason": l.reason, "message": l.message }));
        json!({
            "accepted": self.accepted, "duplicate": self.duplicate, "replaced": self.replaced,
            "refused": self.refused, "total": self.total(), "refused_lines": lines.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_refused_lines_are_counted_and_the_first_are_named() {
        let mut report = Report { accepted: 2, ..Report::default() };
        for line in 0..1_500 {
            report.refuse(RefusedLine { line, reason: String::new(), message: String::new() });
        }
        assert_eq!((report.refused, report.named.len(), report.total()), (1_500, 1_000, 1_502));
        assert_eq!(report.summary(), "accepted 2 + duplicate 0 + replaced 0 + refused 1500 = 1502");
    }
}
