//! How results are shown: one table or record per answer, aligned for people, JSON for scripts.

mod cell;
mod style;
mod table;

pub use cell::Cell;
pub use style::Style;
pub use table::Table;

use std::io::{IsTerminal as _, Write as _};

use crate::failure::{Attempt as _, Result};

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of tables.
    pub json: bool,
    /// Colours; only ever on a terminal.
    pub style: Style,
}

impl Output {
    /// The form for this process's standard output.
    pub fn new(json: bool) -> Output {
        Output { json, style: Style::of_stdout() }
    }

    /// Writes a list.
    pub fn table(&self, table: &Table) -> Result<()> {
        if self.json { self.value(&table.to_json()) } else { self.text(&table.to_text(self.style)) }
    }

    /// Writes a list that may have been cut off.
    pub fn list(&self, table: &Table, more: bool) -> Result<()> {
        self.table(table)?;
        if more { self.say(&self.style.dim("there are more; ask with a larger --limit")) } else { Ok(()) }
    }

    /// Writes one object: a table of one row, shown as name and value in lines.
    pub fn record(&self, table: &Table) -> Result<()> {
        if !self.json {
            return self.text(&table.to_record_text(self.style));
        }
        match table.to_json() {
            serde_json::Value::Array(rows) => self.value(&rows.into_iter().next().unwrap_or_default()),
            other => self.value(&other),
        }
    }

    /// Writes a JSON value as one document.
    pub fn value(&self, value: &serde_json::Value) -> Result<()> {
        let text = serde_json::to_string_pretty(value).attempt(|| "writing JSON".to_owned())?;
        self.text(&format!("{text}\n"))
    }

    /// Writes a line for people; nothing in JSON form.
    pub fn say(&self, line: &str) -> Result<()> {
        if self.json { Ok(()) } else { self.text(&format!("{line}\n")) }
    }

    fn text(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // `tandem bill list | head` is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            other => other.attempt(|| "writing to standard output".to_owned()),
        }
    }
}

/// Whether progress can be drawn: standard error is a terminal.
pub fn progress_is_seen() -> bool {
    std::io::stderr().is_terminal()
}
