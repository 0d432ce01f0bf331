//! Printable documents: a sheet of plain data becomes the bytes of a PDF.
//!
//! Nothing here knows a database, the network or the clock, so the same sheet and brand give the same bytes. `bill`,
//! `month` and `invoice` say what stands on each document, `layout` puts it on pages, `draw` writes them. The files are
//! PDF/A-2b: they hold their fonts and can be kept for as long as books have to be.

mod bill;
mod brand;
mod draw;
mod face;
mod invoice;
mod layout;
mod month;
mod page;
mod sheet;
mod table;
mod text;
mod words;

pub use bill::bill;
pub use brand::{Brand, BrandSection};
pub use invoice::invoice;
pub use month::{MonthSheet, month};
pub use sheet::{Align, Cell, Column, Fact, Mood, Row, Sheet, Table, Total};

/// Why a document could not be made. Every text can be printed, so this is a fault of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document could not be made: {0}")]
pub struct RenderError(pub(crate) String);

/// Makes the PDF of a sheet.
///
/// Text that is too wide wraps, tables go on over pages under a repeated head, characters that the font lacks show as
/// a box: nothing is cut.
pub fn render(sheet: &Sheet, brand: &Brand) -> Result<Vec<u8>, RenderError> {
    draw::write(&layout::pages(sheet, brand), sheet, brand)
}

#[cfg(test)]
mod tests;
