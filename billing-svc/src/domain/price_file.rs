//! Price lists as files: one line for an item and retention, one column for a zone and currency.
//!
//! The first line names the columns: `item`, `retention_days`, then any of `CN CNY`, `INTL CNY`, `CN USD`, `INTL USD`. A
//! dash or an empty cell is an item that is not sold there. Blank lines and lines that start with `#` are passed over.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tandem_proto::item::BillingItem;
use tandem_proto::money::{LineAmount, parse_micros};

use super::price::{Price, PriceKey, PriceList};
use super::price_check::{COLUMNS, Column, Entry, check};

/// Most faults that are told of one file.
const FAULTS_MAX: usize = 20;

/// What is wrong with a line of a price file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong, or what would be right.
    pub message: String,
}

/// A file that is no price list: its first faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(BadLine::to_string).collect::<Vec<_>>().join("; "))]
pub struct BadFile(pub Vec<BadLine>);

/// Reads a file's entries, each of them good and none twice. Fails with every bad line, at most twenty.
pub fn read(text: &str) -> Result<Vec<Entry>, BadFile> {
    let (mut entries, mut places, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    let mut columns: Option<Vec<Column>> = None;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
        let cells: Vec<&str> = text.split(',').map(|cell| cell.trim().trim_matches('"').trim()).collect();
        let Some(columns) = &columns else {
            match header(&cells) {
                Ok(found) => columns = Some(found),
                Err(message) => return Err(BadFile(vec![BadLine { line, message }])),
            }
            continue;
        };
        match row(&cells, columns) {
            Ok(found) => {
                places.extend(found.iter().map(|_| line));
                entries.extend(found);
            }
            Err(message) => bad.push(BadLine { line, message }),
        }
    }
    if columns.is_none() {
        bad.push(BadLine { line: 1, message: "the file has no header".to_owned() });
    }
    for (place, error) in check(&entries).err().unwrap_or_default() {
        let message = match error {
            super::price_check::BadEntry::Twice { first } => {
                format!("this item and retention stands in line {} already", places[first])
            }
            other => other.to_string(),
        };
        bad.push(BadLine { line: places[place], message });
    }
    bad.sort_by_key(|fault| fault.line);
    bad.dedup();
    bad.truncate(FAULTS_MAX);
    if bad.is_empty() { Ok(entries) } else { Err(BadFile(bad)) }
}

fn header(cells: &[&str]) -> Result<Vec<Column>, String> {
    let right = || {
        let names: Vec<String> = COLUMNS.iter().map(name).collect();
        format!("the first line must be item,retention_days, then one or more of {}", names.join(", "))
    };
    let [item, retention, prices @ ..] = cells else { return Err(right()) };
    if *item != "item" || *retention != "retention_days" || prices.is_empty() {
        return Err(right());
    }
    let mut columns = Vec::new();
    for cell in prices {
        let found = COLUMNS.into_iter().find(|column| name(column).eq_ignore_ascii_case(cell));
        match found.filter(|column| !columns.contains(column)) {
            Some(column) => columns.push(column),
            None => return Err(right()),
        }
    }
    Ok(columns)
}

fn name((zone, currency): &Column) -> String {
    format!("{} {currency}", zone.name())
}

fn row(cells: &[&str], columns: &[Column]) -> Result<Vec<Entry>, String> {
    let wanted = columns.len() + 2;
    let [item, retention, prices @ ..] = cells else { return Err(format!("{wanted} cells are wanted")) };
    if prices.len() != columns.len() {
        return Err(format!("{wanted} cells are wanted, a dash where the item is not sold"));
    }
    let item: BillingItem =
        item.parse().map_err(|_| "the first cell must be a billing item, such as LOG_COUNT".to_owned())?;
    let retention_days =
        retention.parse().map_err(|_| "the second cell must be whole days, or 0".to_owned())?;
    let mut entries = Vec::new();
    for (cell, (zone, currency)) in prices.iter().zip(columns) {
        if matches!(*cell, "-" | "\u{2013}" | "") {
            continue;
        }
        let micros = parse_micros(cell).ok_or_else(|| {
            format!("{} must be a decimal with at most six places", name(&(*zone, *currency)))
        })?;
        let key = PriceKey { zone: *zone, currency: *currency, item, retention_days };
        let unit_price = LineAmount { micros, currency: *currency };
        entries.push(Entry { key, price: Price { unit_size: item.unit_size(), unit_price } });
    }
    Ok(entries)
}

/// Writes a list as a file that reads back to it.
pub fn write(list: &PriceList) -> String {
    let names: Vec<String> = COLUMNS.iter().map(name).collect();
    let mut text = format!("# Price list {}, in force from {}.\n", list.version, list.effective_day);
    let _ = writeln!(text, "item,retention_days,{}", names.join(","));
    let mut rows: BTreeMap<(BillingItem, i32), [Option<LineAmount>; 4]> = BTreeMap::new();
    for (key, price) in &list.prices {
        let row = rows.entry((key.item, key.retention_days)).or_default();
        if let Some(place) = COLUMNS.iter().position(|column| *column == (key.zone, key.currency)) {
            row[place] = Some(price.unit_price);
        }
    }
    for ((item, retention_days), prices) in rows {
        let cell = |price: Option<LineAmount>| match price {
            // A line amount prints as its decimal, a blank and its currency.
            Some(price) => price.to_string().split(' ').next().unwrap_or_default().to_owned(),
            None => "-".to_owned(),
        };
        let _ = writeln!(text, "{item},{retention_days},{}", prices.map(cell).join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use tandem_proto::item::PricingModel;

    use super::*;

    const HEADER: &str = "item,retention_days,CN CNY,INTL CNY,CN USD,INTL USD\n";

    fn faults(text: &str) -> Vec<(usize, String)> {
        read(text).unwrap_err().0.into_iter().map(|bad| (bad.line, bad.message)).collect()
    }

    #[test]
    fn columns_are_told_by_the_header_and_not_by_their_place() {
        let file = "\u{feff}# ours\r\nitem,retention_days,INTL USD,cn cny\r\n\r\n\"SMS\",0,-,\"1.5\"\r\n";
        let entries = read(file).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].key.zone, entries[0].key.currency), COLUMNS[0]);
        assert_eq!(entries[0].price.unit_price.micros, 1_500_000);
        for header in ["item,retention_days\n", "SMS,0,1,1,1,1\n", "item,retention_days,CN CNY,CN CNY\n", ""]
        {
            assert_eq!(faults(header).len(), 1, "{header}");
        }
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = format!(
            "{HEADER}NOPE,0,1,1,1,1\nSMS,0,1,1,1\nSMS,x,1,1,1,1\nTRIGGER,0,1,2,3,1.1234567\nSMS,7,1,-,-,-\n\
             REPORT,0,1,1,1,1\nREPORT,0,2,-,-,-\nCOLLECTOR,0,1,-,-,-\nLOG_COUNT,0,1,-,-,-\n"
        );
        let lines: Vec<usize> = faults(&text).iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 8, 9, 10]);
        assert!(faults(&text).iter().any(|(_, message)| message.contains("line 7 already")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_written_list_reads_back(picks in prop::collection::vec((0..BillingItem::ALL.len(), 1i32..400, 0usize..4, 0i64..1_000_000_000), 0..30)) {
            let mut list = PriceList {
                version: "v".into(),
                effective_day: "2026-04-01".parse().unwrap(),
                published_at: Timestamp::UNIX_EPOCH,
                prices: Default::default(),
            };
            for (item, days, column, micros) in picks {
                let item = BillingItem::ALL[item];
                let (zone, currency) = COLUMNS[column];
                let retention_days = match item.pricing_model() {
                    PricingModel::ByRetention => days,
                    PricingModel::Flat => 0,
                    PricingModel::StatisticsOnly => continue,
                };
                let price = Price { unit_size: item.unit_size(), unit_price: LineAmount { micros, currency } };
                list.prices.insert(PriceKey { zone, currency, item, retention_days }, price);
            }
            let entries = read(&write(&list)).unwrap();
            prop_assert_eq!(check(&entries).unwrap(), list.prices);
        }

        #[test]
        fn no_file_makes_the_reader_panic(text in "[A-Z_a-z0-9,.\\-\"\n# ]{0,200}") {
            let _ = read(&text);
            let _ = read(&format!("{HEADER}{text}"));
        }
    }
}
