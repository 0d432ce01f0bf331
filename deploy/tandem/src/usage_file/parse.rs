//! Points from lines of either format.

use std::path::Path;

use clap::ValueEnum;
use serde_json::{Map, Value};
use tandem_proto::console::v1::UsagePoint;
use tandem_proto::ids::WorkspaceId;

use super::fields::{self, FIELDS, Texts};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::failure::{Attempt as _, Failure, Result};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, the first line names the columns.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// The format that a file's name says; `None` when it says none.
    pub fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            _ => None,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Ndjson => "ndjson",
        }
    }
}

/// A line that is no point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What a line was.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A point.
    Point {
        /// The line's number, from 1.
        line: u64,
        /// The point.
        point: UsagePoint,
    },
    /// Something else.
    Bad(BadLine),
}

/// Reads points from a file; blank lines are passed over.
#[derive(Debug)]
pub struct Parser<R> {
    lines: Lines<R>,
    /// Which field each column of a CSV file holds; `None` for JSON.
    columns: Option<Vec<usize>>,
    workspace: Option<WorkspaceId>,
}

impl<R: std::io::BufRead> Parser<R> {
    /// Starts on a file, reading the header line of CSV.
    ///
    /// `workspace` is taken where a line names none. Fails when the header names an unknown column or lacks one.
    pub fn new(reader: R, format: Format, workspace: Option<WorkspaceId>) -> Result<Parser<R>> {
        let mut lines = Lines::new(reader);
        let columns = match format {
            Format::Ndjson => None,
            Format::Csv => {
                let header = match lines.next().attempt(|| "reading the file".to_owned())? {
                    Some(Line::Whole(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    Some(Line::TooLong) | None => String::new(),
                };
                Some(columns(&header, workspace.is_some())?)
            }
        };
        Ok(Parser { lines, columns, workspace })
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    /// The next line that is not blank; `None` at the end.
    pub fn read(&mut self) -> Result<Option<Parsed>> {
        loop {
            let Some(line) = self.lines.next().attempt(|| "reading the file".to_owned())? else {
                return Ok(None);
            };
            let number = self.lines.number();
            let bad = |message: String| Ok(Some(Parsed::Bad(BadLine { line: number, message })));
            let bytes = match line {
                Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Whole(bytes) => bytes,
                Line::TooLong => return bad(format!("must have at most {LINE_BYTES_MAX} bytes")),
            };
            let Ok(text) = std::str::from_utf8(&bytes) else { return bad("must be UTF-8".to_owned()) };
            let read = match &self.columns {
                Some(columns) => csv_line(text, columns, self.workspace.as_ref()),
                None => json_line(text, self.workspace.as_ref()),
            };
            return match read {
                Ok(point) => Ok(Some(Parsed::Point { line: number, point })),
                Err(message) => bad(message),
            };
        }
    }
}

/// Which field each column of the header holds.
fn columns(header: &str, has_workspace: bool) -> Result<Vec<usize>> {
    let expected = || format!("the first line of a CSV file names its columns: {}", FIELDS.join(","));
    let mut columns = Vec::new();
    for name in record(header).map_err(|_| Failure::failed(expected()))?.iter() {
        let place = FIELDS.iter().position(|field| *field == name.trim());
        let place = place.ok_or_else(|| {
            Failure::failed(format!("line 1: no column is called `{name}`; {}", expected()))
        })?;
        if columns.contains(&place) {
            return Err(Failure::failed(format!("line 1: the column `{name}` comes twice; {}", expected())));
        }
        columns.push(place);
    }
    let required = ["hour", "item", "quantity"].into_iter().chain((!has_workspace).then_some("workspace_id"));
    for name in required {
        if !columns.iter().any(|place| FIELDS[*place] == name) {
            return Err(Failure::failed(format!("line 1: the column `{name}` is missing; {}", expected())));
        }
    }
    Ok(columns)
}

/// One line of CSV. Points hold no line breaks, so a quote that is left open cannot swallow the lines after it.
fn record(text: &str) -> Result<csv::StringRecord, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(text.len().max(1))
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).map_err(|error| format!("is not CSV: {error}"))?;
    Ok(record)
}

fn csv_line(text: &str, columns: &[usize], workspace: Option<&WorkspaceId>) -> Result<UsagePoint, String> {
    let record = record(text)?;
    if record.len() != columns.len() {
        return Err(format!("must have {} columns as the header; it has {}", columns.len(), record.len()));
    }
    let mut texts = Texts::default();
    for (place, value) in columns.iter().zip(record.iter()) {
        texts.values[*place] = value;
    }
    fields::point(&texts, workspace)
}

fn json_line(text: &str, workspace: Option<&WorkspaceId>) -> Result<UsagePoint, String> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(
        |_| r#"must be a JSON object such as {"hour":"2026-03-01T08:00:00Z","item":"SMS","quantity":3}"#,
    )?;
    let mut values: [String; 7] = std::array::from_fn(|_| String::new());
    for (name, value) in object {
        let place = FIELDS.iter().position(|field| *field == name);
        let place =
            place.ok_or_else(|| format!("no field is called `{name}`; there are {}", FIELDS.join(", ")))?;
        values[place] = match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(format!("{name}: must be a text or a number"));
            }
        };
    }
    fields::point(&Texts { values: std::array::from_fn(|i| values[i].as_str()) }, workspace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORKSPACE: &str = "wks_00000000000000000000000000000001";

    fn parse(text: &[u8], format: Format) -> Vec<Parsed> {
        let mut parser = Parser::new(text, format, None).unwrap();
        std::iter::from_fn(|| parser.read().unwrap()).collect()
    }

    #[test]
    fn both_formats_say_the_same() {
        let csv = format!(
            "workspace_id,hour,item,measure,retention_days,sub_key,quantity\n\
             {WORKSPACE},2026-03-01T08:00:00Z,APM_TRACE,SPANS,3,\"a,b\",9007199254740993\n"
        );
        let json = format!(
            r#"{{"workspace_id":"{WORKSPACE}","hour":"2026-03-01T08:00:00Z","item":"APM_TRACE","measure":"SPANS",
            "retention_days":3,"sub_key":"a,b","quantity":9007199254740993}}"#
        );
        let (csv, json) =
            (parse(csv.as_bytes(), Format::Csv), parse(json.replace('\n', "").as_bytes(), Format::Ndjson));
        let point = |parsed: &[Parsed]| match parsed {
            [Parsed::Point { point, .. }] => point.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(point(&csv), point(&json));
        assert_eq!(point(&csv).quantity, 9_007_199_254_740_993);
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_still_go() {
        let text = format!(
            "quantity,item,hour,workspace_id\n7,SMS,2026-03-01T08:00:00Z,{WORKSPACE}\n\n7,SMS\n\
             \"7,SMS,2026-03-01T08:00:00Z,{WORKSPACE}\n8,SMS,2026-03-01T09:00:00Z,{WORKSPACE}\n"
        );
        let parsed = parse(text.as_bytes(), Format::Csv);
        let lines: Vec<_> = parsed
            .iter()
            .map(|p| match p {
                Parsed::Point { line, point } => (*line, point.quantity),
                Parsed::Bad(bad) => (bad.line, -1),
            })
            .collect();
        assert_eq!(lines, [(2, 7), (4, -1), (5, -1), (6, 8)]);
    }

    #[test]
    fn a_wrong_header_is_refused_before_anything_goes() {
        for header in ["", "hour,item", "hour,item,quantity", "hour,hour,item,quantity,workspace_id", "when"]
        {
            assert!(Parser::new(header.as_bytes(), Format::Csv, None).is_err(), "accepted {header:?}");
        }
        let workspace = Some(WORKSPACE.parse().unwrap());
        assert!(Parser::new("hour,item,quantity".as_bytes(), Format::Csv, workspace).is_ok());
    }

    #[test]
    fn json_numbers_keep_their_digits_or_are_refused() {
        for (quantity, good) in [("3", true), ("3.0", false), ("3e2", false), ("\"3\"", true), ("[3]", false)]
        {
            let text = format!(
                r#"{{"workspace_id":"{WORKSPACE}","hour":"2026-03-01T08:00:00Z","item":"SMS","quantity":{quantity}}}"#
            );
            let parsed = parse(text.as_bytes(), Format::Ndjson);
            assert_eq!(matches!(parsed.as_slice(), [Parsed::Point { .. }]), good, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_bytes_make_either_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let count = bytes.split(|b| *b == b'\n').count();
            prop_assert!(parse(&bytes, Format::Ndjson).len() <= count);
            let mut text = b"workspace_id,hour,item,measure,retention_days,sub_key,quantity\n".to_vec();
            text.extend(&bytes);
            prop_assert!(parse(&text, Format::Csv).len() <= count);
            if let Ok(mut parser) = Parser::new(bytes.as_slice(), Format::Csv, None) {
                while parser.read().unwrap().is_some() {}
            }
        }

        #[test]
        fn what_was_written_is_read_back(hour in 0i64..600_000, item in 0usize..17, days in 0i32..400,
            sub_key in "[a-z\",; é]{0,20}", quantity in 0i64..) {
            let item = tandem_proto::item::BillingItem::ALL[item];
            let time = jiff::Timestamp::from_second(hour * 3600).unwrap();
            let mut text = b"workspace_id,hour,item,retention_days,sub_key,quantity\n".to_vec();
            let mut writer = csv::Writer::from_writer(&mut text);
            let row = [WORKSPACE, &time.to_string(), item.name(), &days.to_string(), &sub_key, &quantity.to_string()];
            writer.write_record(row).unwrap();
            drop(writer);
            match parse(&text, Format::Csv).as_slice() {
                [Parsed::Point { line: 2, point }] => {
                    prop_assert_eq!(point.quantity, quantity);
                    prop_assert_eq!(point.sub_key.as_str(), sub_key.trim());
                    prop_assert_eq!(point.item, i32::from(item.to_message()));
                    prop_assert_eq!(point.hour_start_time.map(|t| t.seconds), Some(hour * 3600));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
