//! What was measured: the table people read and the file machines read.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::stats::{Spread, ratio, spread};

/// Whether a greater ratio is good or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// The ratio has to reach the floor.
    Higher,
    /// The ratio must not pass the floor, which then is a ceiling.
    Lower,
}

/// One thing that was measured in pairs: ours, and what it is held against.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// What the ratio has to reach, or must not pass.
    pub(crate) floor: f64,
    /// Which of the two.
    pub(crate) better: Better,
    /// The unit of both sides.
    pub(crate) unit: &'static str,
    /// Ours and the reference, measured one after the other.
    pub(crate) pairs: Vec<(f64, f64)>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    ratio: f64,
    floor: f64,
    better: Better,
    ours: f64,
    reference: f64,
    unit: &'a str,
}

struct Summary {
    ratio: Spread,
    ours: f64,
    reference: f64,
}

impl Measure {
    fn summary(&self) -> Option<Summary> {
        Some(Summary {
            ratio: spread(self.pairs.iter().map(|(ours, reference)| ratio(*ours, *reference)))?,
            ours: spread(self.pairs.iter().map(|(ours, _)| *ours))?.median,
            reference: spread(self.pairs.iter().map(|(_, reference)| *reference))?.median,
        })
    }

    fn is_met(&self, ratio: f64) -> bool {
        match self.better {
            Better::Higher => ratio >= self.floor,
            Better::Lower => ratio <= self.floor,
        }
    }
}

/// Lays the measures out as a table. Ratios are medians of the pairs' ratios, with the least and the greatest beside.
pub(crate) fn table(measures: &[Measure]) -> String {
    let head = ["name", "ours", "reference", "unit", "ratio", "min", "max", "n", "floor", "met"];
    let mut rows: Vec<Vec<String>> = vec![head.iter().map(|text| (*text).to_owned()).collect()];
    for measure in measures {
        let Some(summary) = measure.summary() else { continue };
        let sign = match measure.better {
            Better::Higher => "≥",
            Better::Lower => "≤",
        };
        rows.push(vec![
            measure.name.to_owned(),
            short(summary.ours),
            short(summary.reference),
            measure.unit.to_owned(),
            format!("{:.2}", summary.ratio.median),
            format!("{:.2}", summary.ratio.min),
            format!("{:.2}", summary.ratio.max),
            measure.pairs.len().to_string(),
            format!("{sign} {}", measure.floor),
            if measure.is_met(summary.ratio.median) { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    lay_out(&rows)
}

fn short(number: f64) -> String {
    if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.3}") }
}

fn lay_out(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let mut text = String::new();
    for row in rows {
        text.push('\n');
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Names to the left, numbers to the right. Writing to a String cannot fail.
            let _ = match index {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
    }
    text.push('\n');
    text
}

/// Writes the measures as a JSON list.
pub(crate) fn write_json(path: &Path, measures: &[Measure]) -> anyhow::Result<()> {
    let lines: Vec<Line<'_>> = measures
        .iter()
        .filter_map(|measure| {
            let summary = measure.summary()?;
            Some(Line {
                name: measure.name,
                ratio: summary.ratio.median,
                floor: measure.floor,
                better: measure.better,
                ours: summary.ours,
                reference: summary.reference,
                unit: measure.unit,
            })
        })
        .collect();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, serde_json::to_string_pretty(&lines)? + "\n")?;
    Ok(())
}

/// Says what the machine has and how busy it was before, because both colour every number.
pub(crate) fn machine() -> String {
    let cores =
        std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| cores.to_string());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!("{cores} cores shared by service, generator and database; load before: {load}")
}

/// Prints a line for people.
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(better: Better, pairs: &[(f64, f64)]) -> Measure {
        Measure { name: "x", floor: 0.8, better, unit: "rows/s", pairs: pairs.to_vec() }
    }

    #[test]
    fn the_table_shows_a_missed_floor() {
        let table = table(&[measure(Better::Higher, &[(7.0, 10.0), (9.0, 10.0), (7.5, 10.0)])]);
        assert!(table.contains("0.75") && table.contains("0.70") && table.contains("0.90"), "{table}");
        assert!(table.contains("≥ 0.8") && table.contains("NO"), "{table}");
        assert!(measure(Better::Lower, &[]).is_met(0.75));
    }

    #[test]
    fn the_file_is_a_list_of_ratios() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/bench.json");
        write_json(&path, &[measure(Better::Lower, &[(1.0, 2.0)]), measure(Better::Lower, &[])]).unwrap();
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let wanted = serde_json::json!([{
            "name": "x", "ratio": 0.5, "floor": 0.8, "better": "lower", "ours": 1.0, "reference": 2.0, "unit": "rows/s"
        }]);
        assert_eq!(read, wanted);
    }
}
