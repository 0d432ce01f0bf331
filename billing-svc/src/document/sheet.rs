//! What stands on a document, before anything is placed.

use jiff::Timestamp;
use tandem_proto::language::Language;

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The language of its fixed texts.
    pub language: Language,
    /// What it is, such as "Daily bill".
    pub title: String,
    /// Its own number.
    pub number: String,
    /// When what it says came to be; stands in the file as its date.
    pub made_at: Timestamp,
    /// Whom it is for: the first line stands out.
    pub addressee: Vec<String>,
    /// What the addressee is called, such as "Bill to".
    pub addressee_label: String,
    /// Facts about it, beside the addressee.
    pub facts: Vec<Fact>,
    /// Its tables, one below the other.
    pub tables: Vec<Table>,
    /// Sums, to the right below the tables.
    pub totals: Vec<Total>,
    /// Tables below the sums.
    pub closing: Vec<Table>,
    /// Remarks at the end.
    pub notes: Vec<String>,
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its name.
    pub label: String,
    /// The value.
    pub value: String,
}

impl Fact {
    /// Makes a fact.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Fact {
        Fact { label: label.into(), value: value.into() }
    }
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// What it is.
    pub label: String,
    /// How much.
    pub value: String,
    /// Whether it is what the document is about.
    pub strong: bool,
}

/// Rows under columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What the table shows; may be empty.
    pub heading: String,
    /// Its columns; their shares are parts of the width.
    pub columns: Vec<Column>,
    /// Its rows, each with a cell for every column.
    pub rows: Vec<Row>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub head: String,
    /// Its part of the width.
    pub share: u16,
    /// Which side its cells stand at.
    pub align: Align,
}

impl Column {
    /// Makes a column.
    pub fn new(head: &str, share: u16, align: Align) -> Column {
        Column { head: head.to_owned(), share, align }
    }
}

/// Which side text stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// The left: words.
    Left,
    /// The right: numbers, so that their digits line up.
    Right,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How it looks.
    pub mood: Mood,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// One of many.
    Plain,
    /// Heads the rows that follow; never the last on a page.
    Group,
    /// Sums the rows before it.
    Sum,
}

/// A cell: a text, and in smaller letters below it what explains it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// What explains it; may be empty.
    pub detail: String,
}

impl Cell {
    /// A cell without explanation.
    pub fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), detail: String::new() }
    }

    /// A cell with an explanation.
    pub fn explained(text: impl Into<String>, detail: impl Into<String>) -> Cell {
        Cell { text: text.into(), detail: detail.into() }
    }
}
