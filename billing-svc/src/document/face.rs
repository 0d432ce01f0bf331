//! The fonts: which characters they have, and how wide those are.
//!
//! The regular face is a part of Noto Sans CJK SC that has what names and addresses in Chinese and in Latin, Greek and
//! Cyrillic letters are made of; the bold one only has Latin letters and the words of our own headings. See
//! `data/fonts/README.md`.

use std::sync::LazyLock;

use krilla::text::Font;
use skrifa::charmap::Charmap;
use skrifa::raw::TableProvider as _;
use skrifa::raw::tables::hmtx::Hmtx;
use skrifa::{FontRef, GlyphId, MetadataProvider as _};

use super::page::{Style, Twips};

static REGULAR: &[u8] = include_bytes!("../../data/fonts/NotoSansCJKsc-Regular-subset.otf");
static BOLD: &[u8] = include_bytes!("../../data/fonts/NotoSansCJKsc-Bold-subset.otf");

/// Stands for a character that a font lacks: a box is seen, nothing would be overlooked.
const MISSING: char = '\u{25a1}';

static FACES: LazyLock<Option<Faces>> =
    LazyLock::new(|| Some(Faces { regular: Face::new(REGULAR)?, bold: Face::new(BOLD)? }));

/// Both faces.
pub(super) struct Faces {
    regular: Face,
    bold: Face,
}

/// One face.
pub(super) struct Face {
    /// As it is written into a file.
    pub(super) font: Font,
    chars: Charmap<'static>,
    widths: Hmtx<'static>,
    /// Units in the size of the font.
    pub(super) units: u16,
}

/// A character with its glyph and width in font units.
pub(super) struct Glyph {
    /// The glyph.
    pub(super) id: GlyphId,
    /// Its width in font units.
    pub(super) width: u16,
}

/// The shipped faces; `None` when they cannot be read, which a test rules out.
pub(super) fn faces() -> Option<&'static Faces> {
    FACES.as_ref()
}

impl Faces {
    /// The face that a text is set in, and whether it has to be thickened because the bold one lacks a character.
    pub(super) fn of(&self, text: &str, bold: bool) -> (&Face, bool) {
        match bold {
            true if text.chars().all(|c| self.bold.has(c)) => (&self.bold, false),
            bold => (&self.regular, bold),
        }
    }

    /// How wide a text is.
    pub(super) fn width(&self, text: &str, style: Style) -> Twips {
        let (face, _) = self.of(text, style.bold);
        let units: i64 = text.chars().map(|c| i64::from(face.glyph(c).width)).sum();
        // Rounded up, so that what fits by this measure fits on paper.
        let scaled = (units * i64::from(style.size)).div_ceil_by(i64::from(face.units.max(1)));
        Twips::try_from(scaled).unwrap_or(Twips::MAX)
    }
}

/// Division that rounds up; both are zero or above.
trait DivCeil {
    fn div_ceil_by(self, by: Self) -> Self;
}

impl DivCeil for i64 {
    fn div_ceil_by(self, by: i64) -> i64 {
        (self + by - 1) / by
    }
}

impl Face {
    fn new(data: &'static [u8]) -> Option<Face> {
        let font = FontRef::new(data).ok()?;
        let units = font.head().ok()?.units_per_em();
        Some(Face {
            font: Font::new(data.into(), 0)?,
            chars: font.charmap(),
            widths: font.hmtx().ok()?,
            units,
        })
    }

    fn has(&self, c: char) -> bool {
        self.chars.map(c).is_some_and(|id| id != GlyphId::NOTDEF)
    }

    /// The glyph of a character, or the one that stands for what is missing.
    pub(super) fn glyph(&self, c: char) -> Glyph {
        let mapped = self.chars.map(c).filter(|id| *id != GlyphId::NOTDEF);
        let id = mapped.or_else(|| self.chars.map(MISSING)).unwrap_or(GlyphId::NOTDEF);
        Glyph { id, width: self.widths.advance(id).unwrap_or(self.units) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_faces_have_what_customers_type() {
        let faces = faces().unwrap();
        let typed = "上海某某信息技术有限公司（分公司）北京市海淀区中关村大街1号A座-3层；镕喆淼鑫堃赟珺昇翀 \
                     Müller & Søn GmbH, S.L. «Ёлка» Ελλας ￥€£$ 臺灣有限公司 株式会社サンプル ①№℃％";
        for c in typed.chars() {
            assert!(faces.regular.has(c), "{c} is missing");
        }
        assert!(faces.regular.has(MISSING) && faces.bold.has(MISSING));
        assert!(!faces.regular.has('\u{1f600}'));
        for c in ' '..='~' {
            assert!(faces.bold.has(c), "{c} is missing in bold");
        }
    }

    #[test]
    fn digits_are_of_one_width() {
        let faces = faces().unwrap();
        for face in [&faces.regular, &faces.bold] {
            let widths: Vec<u16> = ('0'..='9').map(|c| face.glyph(c).width).collect();
            assert!(widths.windows(2).all(|two| two[0] == two[1]), "{widths:?}");
        }
    }
}
