//! Rows under named columns.

use serde_json::{Map, Value};

use super::{Cell, Style};

/// Rows under named columns; a column's name is also its key in JSON.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Makes a table without rows.
    pub fn new(columns: &[&'static str]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Makes a table of one row.
    pub fn of_one(values: Vec<(&'static str, Cell)>) -> Table {
        let (columns, row) = values.into_iter().unzip();
        Table { columns, rows: vec![row] }
    }

    /// Adds a row. A row of another length than the columns is cut or filled up with absent values.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut row: Vec<Cell> = cells.into_iter().collect();
        row.resize(self.columns.len(), Cell::Absent);
        self.rows.push(row);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// An array of objects.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.to_json()));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    /// Aligned columns, one line a row; says so when there are no rows.
    pub fn to_text(&self, style: Style) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", style.dim("none"));
        }
        let texts: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::to_text).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|c| texts.iter().map(|row| width(&row[c])).chain([self.columns[c].len()]).max().unwrap_or(0))
            .collect();
        let right: Vec<bool> =
            (0..self.columns.len()).map(|c| self.rows.iter().any(|row| row[c].is_right_aligned())).collect();
        let heads = self.columns.iter().map(|name| name.replace('_', " ").to_uppercase()).collect::<Vec<_>>();
        let mut lines = vec![style.bold(&line(&heads, &widths, &right))];
        lines.extend(texts.iter().map(|row| line(row, &widths, &right)));
        lines.join("\n") + "\n"
    }

    /// Each row as lines of name and value.
    pub fn to_record_text(&self, style: Style) -> String {
        let widest = self.columns.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            for (name, cell) in self.columns.iter().zip(row) {
                let label = format!("{:<widest$}", name.replace('_', " "));
                text.push_str(&format!("{}  {}\n", style.dim(&label), cell.to_text()));
            }
        }
        text
    }
}

fn line(texts: &[String], widths: &[usize], right: &[bool]) -> String {
    let mut line = String::new();
    for ((text, wide), right) in texts.iter().zip(widths).zip(right) {
        let blanks = " ".repeat(wide.saturating_sub(width(text)));
        if !line.is_empty() {
            line.push_str("  ");
        }
        if *right {
            line.push_str(&blanks);
        }
        line.push_str(text);
        if !*right {
            line.push_str(&blanks);
        }
    }
    line.trim_end().to_owned()
}

/// Columns a text takes on a terminal: Chinese characters and full-width forms take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["name", "count_seen"]);
        table.row([Cell::text("林的茶馆"), Cell::Number(7)]);
        table.row([Cell::text("b"), Cell::Number(1200)]);
        let text = table.to_text(Style::PLAIN);
        assert_eq!(text, "NAME      COUNT SEEN\n林的茶馆           7\nb               1200\n");
    }

    #[test]
    fn a_script_gets_the_same_names() {
        let mut table = Table::new(&["id", "at"]);
        table.row([Cell::text("x")]);
        assert_eq!(table.to_json(), serde_json::json!([{ "id": "x", "at": null }]));
        assert!(Table::new(&["id"]).to_text(Style::PLAIN).contains("none"));
    }

    #[test]
    fn a_record_names_each_value() {
        let table = Table::of_one(vec![("cash", Cell::Number(5)), ("overdraft", Cell::Absent)]);
        assert_eq!(table.to_record_text(Style::PLAIN), "cash       5\noverdraft  -\n");
    }
}
