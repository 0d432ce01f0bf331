//! Comma-separated values that spreadsheets read: UTF-8 with a byte order mark, lines end in CR LF (RFC 4180), exact
//! decimals, and no text that a spreadsheet would run as a formula.

use std::fmt::Display;

use tandem_proto::money::{LineAmount, MICROS_PER_MINOR, Money};

/// Tells a spreadsheet that the file is UTF-8; without it many read the machine's own code page.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// What makes a spreadsheet read a cell as a formula, its full-width forms included.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Lines of cells, growing.
#[derive(Debug, Default)]
pub struct Csv {
    text: String,
    begun: bool,
}

impl Csv {
    /// A file that begins: the mark and the names of the columns.
    pub fn with_columns(columns: &[&str]) -> Csv {
        let mut csv = Csv { text: BYTE_ORDER_MARK.to_owned(), begun: false };
        columns.iter().for_each(|name| csv.exact(name));
        csv.end_line();
        csv
    }

    /// A text that came from somewhere: guarded and quoted.
    pub fn text(&mut self, value: &str) {
        let guard = value.trim_start_matches([' ', '\n', '\u{a0}', '\u{3000}']).starts_with(FORMULA);
        let guarded = if guard { format!("'{value}") } else { value.to_owned() };
        self.separate();
        if guarded.contains([',', '"', '\r', '\n', ';', '\t']) || guarded != guarded.trim() {
            self.text.push('"');
            self.text.push_str(&guarded.replace('"', "\"\""));
            self.text.push('"');
        } else {
            self.text.push_str(&guarded);
        }
    }

    /// A number, a day or a name of ours: as it prints. It must hold no separator.
    pub fn exact(&mut self, value: impl Display) {
        self.separate();
        self.text.push_str(&value.to_string());
    }

    /// What may be missing; then the cell is empty.
    pub fn maybe(&mut self, value: Option<impl Display>) {
        match value {
            Some(value) => self.exact(value),
            None => self.separate(),
        }
    }

    /// Money as a decimal with two places, without its currency.
    pub fn money(&mut self, money: Money) {
        self.exact(decimal(i128::from(money.minor) * i128::from(MICROS_PER_MINOR), 2));
    }

    /// An amount as a decimal with six places, without its currency.
    pub fn amount(&mut self, amount: LineAmount) {
        self.exact(decimal(i128::from(amount.micros), 6));
    }

    /// Ends the line.
    pub fn end_line(&mut self) {
        self.text.push_str("\r\n");
        self.begun = false;
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes what there is.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            self.text.push(',');
        }
    }
}

/// Millionths as a decimal with `places` places, 2 or 6.
fn decimal(micros: i128, places: usize) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let digits = format!("{rest:06}");
    format!("{sign}{whole}.{}", digits.get(..places).unwrap_or(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tandem_proto::money::Currency;

    fn line(cells: &[&str]) -> String {
        let mut csv = Csv::default();
        cells.iter().for_each(|cell| csv.text(cell));
        csv.end_line();
        csv.take()
    }

    /// Reads a file back as RFC 4180 says.
    fn read(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
        let (mut quoted, mut chars) = (false, text.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    cell.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\r' if !quoted && chars.peek() == Some(&'\n') => {
                    chars.next();
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                c => cell.push(c),
            }
        }
        rows
    }

    #[test]
    fn formulas_are_disarmed_and_numbers_are_not() {
        for evil in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1", "\u{ff1d}1", "\u{3000}@x"]
        {
            let cells = read(&line(&["a", evil]));
            assert_eq!(cells[0][1], format!("'{evil}"), "{evil:?}");
        }
        let mut csv = Csv::default();
        csv.money(Money { minor: -5, currency: Currency::Cny });
        csv.amount(LineAmount { micros: -14_500, currency: Currency::Cny });
        csv.money(Money { minor: i64::MIN, currency: Currency::Usd });
        csv.maybe(None::<i32>);
        csv.end_line();
        assert_eq!(csv.take(), "-0.05,-0.014500,-92233720368547758.08,\r\n");
    }

    #[test]
    fn a_file_begins_with_the_mark_and_its_columns() {
        assert_eq!(Csv::with_columns(&["day", "amount"]).take().as_bytes(), b"\xef\xbb\xbfday,amount\r\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn every_text_reads_back(cells in prop::collection::vec(".{0,12}|[=+@,\"\r\n\t; -]{0,6}|[\u{4e00}-\u{9fff}]{0,4}", 1..6)) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let rows = read(&line(&cells));
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(rows[0].len(), cells.len());
            for (got, given) in rows[0].iter().zip(&cells) {
                let disarmed = format!("'{given}");
                prop_assert!(got == given || *got == disarmed, "{:?} became {:?}", given, got);
                let first = got.trim_start_matches([' ', '\n', '\u{a0}', '\u{3000}']).chars().next();
                prop_assert!(!first.is_some_and(|c| FORMULA.contains(&c)), "{:?}", got);
            }
        }
    }
}
