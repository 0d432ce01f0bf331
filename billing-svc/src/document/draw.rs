//! Writes pages as a PDF file. The only place with fractions: what was placed in whole twips becomes points.

#![expect(
    clippy::float_arithmetic,
    reason = "the file format measures in fractions of points; no money is here"
)]

use jiff::tz::TimeZone;
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::geom::{PathBuilder, Point, Rect, Size, Transform};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Stroke};
use krilla::surface::Surface;
use krilla::text::{GlyphId, KrillaGlyph};
use krilla::{Document, SerializeSettings};
use tandem_proto::language::Language;

use super::RenderError;
use super::brand::Brand;
use super::face::faces;
use super::page::{Colour, HEIGHT, Mark, Page, Style, Twips, WIDTH};
use super::sheet::Sheet;
use super::text::settable;

/// How thick the outline is that makes a regular letter bold, in parts of its size.
const THICKENED: f32 = 0.028;

/// Writes the file.
pub(super) fn write(pages: &[Page], sheet: &Sheet, brand: &Brand) -> Result<Vec<u8>, RenderError> {
    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_B).finish();
    let configuration = configuration.map_err(|_| failed("no archive form"))?;
    let mut document =
        Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    let size = PageSettings::from_wh(points(WIDTH), points(HEIGHT)).ok_or_else(|| failed("no page"))?;
    for page in pages {
        let mut started = document.start_page_with(size.clone());
        let mut surface = started.surface();
        for mark in &page.marks {
            draw(&mut surface, mark, brand).ok_or_else(|| failed("a mark has no place"))?;
        }
        surface.finish();
        started.finish();
    }
    document.set_metadata(metadata(sheet, brand));
    document.finish().map_err(|error| failed(&format!("{error:?}")))
}

fn failed(what: &str) -> RenderError {
    RenderError(what.to_owned())
}

/// The date is the document's own, so that the same document gives the same bytes.
fn metadata(sheet: &Sheet, brand: &Brand) -> Metadata {
    let made = sheet.made_at.to_zoned(TimeZone::UTC);
    let part = |part: i8| u8::try_from(part).unwrap_or(0);
    let date = DateTime::new(u16::try_from(made.year()).unwrap_or(0))
        .month(part(made.month()))
        .day(part(made.day()))
        .hour(part(made.hour()))
        .minute(part(made.minute()))
        .second(part(made.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0);
    let language = match sheet.language {
        Language::Zh => "zh-CN",
        Language::En => "en",
    };
    Metadata::new()
        .title(settable(&format!("{} {}", sheet.title, sheet.number)))
        .authors(vec![settable(&brand.name)])
        .language(language.to_owned())
        .creation_date(date)
}

/// Twips as points. A page is 16 838 twips high, so a 16-bit number holds every place.
fn points(twips: Twips) -> f32 {
    let twips = i16::try_from(twips).unwrap_or(if twips < 0 { i16::MIN } else { i16::MAX });
    f32::from(twips) / 20.0
}

fn fill([red, green, blue]: Colour) -> Fill {
    Fill {
        paint: rgb::Color::new(red, green, blue).into(),
        opacity: NormalizedF32::ONE,
        rule: Default::default(),
    }
}

fn draw(surface: &mut Surface<'_>, mark: &Mark, brand: &Brand) -> Option<()> {
    match mark {
        Mark::Text { x, y, style, text } => text_line(surface, (*x, *y), *style, text),
        Mark::Box { x, y, width, height, colour } => {
            let rect = Rect::from_xywh(points(*x), points(*y), points(*width), points(*height))?;
            let mut path = PathBuilder::new();
            path.push_rect(rect);
            surface.set_stroke(None);
            surface.set_fill(Some(fill(*colour)));
            surface.draw_path(&path.finish()?);
            Some(())
        }
        Mark::Logo { x, y, width, height } => {
            let logo = brand.logo.clone()?;
            surface.push_transform(&Transform::from_translate(points(*x), points(*y)));
            surface.draw_image(logo, Size::from_wh(points(*width), points(*height))?);
            surface.pop();
            Some(())
        }
    }
}

fn text_line(surface: &mut Surface<'_>, (x, y): (Twips, Twips), style: Style, text: &str) -> Option<()> {
    let (face, thickened) = faces()?.of(text, style.bold);
    let glyphs: Vec<KrillaGlyph> = text
        .char_indices()
        .map(|(at, c)| {
            let glyph = face.glyph(c);
            let advance = f32::from(glyph.width) / f32::from(face.units.max(1));
            let range = at..at + c.len_utf8();
            KrillaGlyph::new(GlyphId::new(glyph.id.to_u32()), advance, 0.0, 0.0, 0.0, range, None)
        })
        .collect();
    let size = points(style.size);
    let fill = fill(style.colour);
    let stroke =
        thickened.then(|| Stroke { paint: fill.paint.clone(), width: size * THICKENED, ..Stroke::default() });
    surface.set_fill(Some(fill));
    surface.set_stroke(stroke);
    surface.draw_glyphs(Point::from_xy(points(x), points(y)), &glyphs, face.font.clone(), text, size, false);
    Some(())
}
