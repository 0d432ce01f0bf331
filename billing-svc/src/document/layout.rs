//! Puts a sheet on pages: letterhead, addressee and facts, tables, sums, remarks, and a foot with "page n of m".

use tandem_proto::language::Language;

use super::brand::Brand;
use super::face::{Faces, faces};
use super::page::{Colour, GREY, HEIGHT, INK, INNER, LINE, Mark, Page, SIDE, Style, Twips, WIDTH};
use super::sheet::{Fact, Sheet, Total};
use super::text::{settable, wrap};
use super::{table, words};

/// The coloured bar at the top edge of each page.
const BAR: Twips = 110;
/// Where the first page's letterhead begins.
const HEAD_TOP: Twips = 620;
/// Where other pages' head line stands.
const RUNNING_HEAD: Twips = 620;
/// Where the content of other pages begins.
const RUNNING_TOP: Twips = 1_060;
/// Where content ends: 20 mm above the edge, for the foot.
const BOTTOM: Twips = HEIGHT - 1_134;
/// The baseline of the foot.
const FOOT: Twips = HEIGHT - 640;
/// Largest logo.
const LOGO_HEIGHT: Twips = 760;
const LOGO_WIDTH: Twips = 2_800;
/// What the brand's name and address have of the width; the title has the rest.
const BRAND_WIDTH: Twips = 5_400;
const GAP: Twips = 360;
/// What the addressee has of the width; the facts have the rest.
const ADDRESSEE_WIDTH: Twips = 4_300;
const FACT_LABEL_WIDTH: Twips = 1_340;
const TOTALS_WIDTH: Twips = 5_000;

pub(super) const fn style(size: Twips, bold: bool, colour: Colour) -> Style {
    Style { size, bold, colour }
}

const SMALL: Style = style(150, false, GREY);
const LABEL: Style = style(160, false, GREY);
const BODY: Style = style(180, false, INK);

/// Content that flows over pages.
pub(super) struct Flow<'a> {
    pub(super) faces: &'a Faces,
    pub(super) brand: &'a Brand,
    sheet: &'a Sheet,
    pages: Vec<Page>,
    /// Where the next thing stands.
    pub(super) y: Twips,
}

/// The pages of a sheet. There is always one.
pub(super) fn pages(sheet: &Sheet, brand: &Brand) -> Vec<Page> {
    let Some(faces) = faces() else { return Vec::new() };
    let mut flow = Flow { faces, brand, sheet, pages: Vec::new(), y: 0 };
    flow.first_page();
    for table in &sheet.tables {
        flow.y += GAP;
        table::set(&mut flow, table);
    }
    flow.totals(&sheet.totals);
    for table in &sheet.closing {
        flow.y += GAP;
        table::set(&mut flow, table);
    }
    flow.notes(&sheet.notes);
    flow.feet();
    flow.pages
}

impl Flow<'_> {
    /// Places something on the current page.
    pub(super) fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.marks.push(mark);
        }
    }

    /// Places a line of text whose top is at `y`.
    pub(super) fn line(&mut self, x: Twips, y: Twips, style: Style, text: &str) {
        if !text.is_empty() {
            self.mark(Mark::Text { x, y: y + style.ascent(), style, text: text.to_owned() });
        }
    }

    /// Places a line of text that ends at `right`.
    pub(super) fn line_right(&mut self, right: Twips, y: Twips, style: Style, text: &str) {
        self.line(right - self.faces.width(text, style), y, style, text);
    }

    /// Places a hairline.
    pub(super) fn rule(&mut self, x: Twips, y: Twips, width: Twips, height: Twips, colour: Colour) {
        self.mark(Mark::Box { x, y, width, height, colour });
    }

    /// Places wrapped text and returns where it ends.
    fn paragraph(&mut self, x: Twips, y: Twips, width: Twips, style: Style, text: &str) -> Twips {
        let mut y = y;
        for line in wrap(self.faces, text, style, width) {
            self.line(x, y, style, &line);
            y += style.leading();
        }
        y
    }

    /// Places wrapped text at the right side and returns where it ends.
    fn paragraph_right(&mut self, right: Twips, y: Twips, width: Twips, style: Style, text: &str) -> Twips {
        let mut y = y;
        for line in wrap(self.faces, text, style, width) {
            self.line_right(right, y, style, &line);
            y += style.leading();
        }
        y
    }

    /// Whether so much still fits on the page.
    pub(super) fn fits(&self, height: Twips) -> bool {
        self.y + height <= BOTTOM
    }

    /// How much still fits on the page.
    pub(super) fn space(&self) -> Twips {
        BOTTOM - self.y
    }

    /// Goes on to a new page under a short head.
    pub(super) fn next_page(&mut self) {
        self.start_page();
        let (sheet, head) = (self.sheet, style(160, false, GREY));
        let title = one_line(self.faces, &format!("{} {}", sheet.title, sheet.number), head, INNER / 2);
        let brand = one_line(self.faces, &self.brand.name.clone(), head, INNER / 2 - GAP);
        self.line(SIDE, RUNNING_HEAD, head, &brand);
        self.line_right(WIDTH - SIDE, RUNNING_HEAD, head, &title);
        self.rule(SIDE, RUNNING_HEAD + 260, INNER, 10, LINE);
        self.y = RUNNING_TOP;
    }

    fn start_page(&mut self) {
        self.pages.push(Page::default());
        let colour = self.brand.colour;
        self.rule(0, 0, WIDTH, BAR, colour);
    }

    fn first_page(&mut self) {
        self.start_page();
        let below = self.letterhead().max(self.title()) + 240;
        self.rule(SIDE, below, INNER, 10, LINE);
        let top = below + 300;
        self.y = self.addressee(top).max(self.facts(top)) + 80;
    }

    fn letterhead(&mut self) -> Twips {
        let brand = self.brand;
        let mut y = HEAD_TOP;
        if let Some((width, height)) = brand.logo.as_ref().map(|logo| scaled(logo.size())) {
            self.mark(Mark::Logo { x: SIDE, y, width, height });
            y += height + 140;
        }
        y = self.paragraph(SIDE, y, BRAND_WIDTH, style(280, true, INK), &brand.name);
        y += 40;
        for line in &brand.address {
            y = self.paragraph(SIDE, y, BRAND_WIDTH, SMALL, line);
        }
        y
    }

    fn title(&mut self) -> Twips {
        let (sheet, width) = (self.sheet, INNER - BRAND_WIDTH - GAP);
        let title = style(440, true, self.brand.text_colour());
        let y = self.paragraph_right(WIDTH - SIDE, HEAD_TOP - 100, width, title, &sheet.title);
        self.paragraph_right(WIDTH - SIDE, y, width, SMALL, &sheet.number)
    }

    fn addressee(&mut self, top: Twips) -> Twips {
        let sheet = self.sheet;
        let mut y = self.paragraph(SIDE, top, ADDRESSEE_WIDTH, LABEL, &sheet.addressee_label) + 20;
        for (at, line) in sheet.addressee.iter().enumerate() {
            let look = if at == 0 { style(240, true, INK) } else { BODY };
            y = self.paragraph(SIDE, y, ADDRESSEE_WIDTH, look, line);
            y += if at == 0 { 50 } else { 0 };
        }
        y
    }

    fn facts(&mut self, top: Twips) -> Twips {
        let left = SIDE + ADDRESSEE_WIDTH + GAP;
        let value_left = left + FACT_LABEL_WIDTH + 100;
        let mut y = top;
        for Fact { label, value } in &self.sheet.facts {
            if value.is_empty() {
                continue;
            }
            let label_end = self.paragraph(left, y + 14, FACT_LABEL_WIDTH, LABEL, label);
            let value_end = self.paragraph(value_left, y, WIDTH - SIDE - value_left, BODY, value);
            y = label_end.max(value_end) + 30;
        }
        y
    }

    /// Sums stay together on one page unless they are more than a page.
    fn totals(&mut self, totals: &[Total]) {
        let right = WIDTH - SIDE;
        let left = right - TOTALS_WIDTH;
        let look = |total: &Total, brand: &Brand| {
            if total.strong { style(240, true, brand.text_colour()) } else { BODY }
        };
        let height: Twips = totals.iter().map(|t| look(t, self.brand).leading() + 200).sum();
        if !self.fits(height + GAP) && height < BOTTOM - RUNNING_TOP {
            self.next_page();
        } else {
            self.y += GAP - 100;
        }
        for total in totals {
            let look = look(total, self.brand);
            let value_width = self.faces.width(&total.value, look);
            let label = wrap(self.faces, &total.label, look, TOTALS_WIDTH - value_width - 200);
            let lines = Twips::try_from(label.len().max(1)).unwrap_or(1);
            if !self.fits(lines * look.leading()) {
                self.next_page();
            }
            if total.strong {
                let colour = self.brand.colour;
                self.rule(left, self.y, TOTALS_WIDTH, 20, colour);
                self.y += 80;
            }
            let y = self.y;
            self.line_right(right, y, look, &settable(&total.value));
            for (at, line) in (0..).zip(&label) {
                self.line(left, y + at * look.leading(), look, line);
            }
            self.y += lines * look.leading() + if total.strong { 80 } else { 30 };
        }
    }

    fn notes(&mut self, notes: &[String]) {
        self.y += GAP;
        for note in notes {
            for line in wrap(self.faces, note, LABEL, INNER) {
                if !self.fits(LABEL.leading()) {
                    self.next_page();
                }
                let y = self.y;
                self.line(SIDE, y, LABEL, &line);
                self.y += LABEL.leading();
            }
            self.y += 60;
        }
    }

    fn feet(&mut self) {
        let count = self.pages.len();
        let language = self.sheet.language;
        let name = one_line(self.faces, &self.brand.name, SMALL, INNER * 2 / 3);
        for number in 1..=count {
            let text = of_pages(number, count, language);
            let width = self.faces.width(&text, SMALL);
            let marks = [
                Mark::Box { x: SIDE, y: FOOT - 260, width: INNER, height: 10, colour: LINE },
                Mark::Text { x: SIDE, y: FOOT, style: SMALL, text: name.clone() },
                Mark::Text { x: WIDTH - SIDE - width, y: FOOT, style: SMALL, text },
            ];
            if let Some(page) = self.pages.get_mut(number - 1) {
                page.marks.extend(marks);
            }
        }
    }
}

fn of_pages(number: usize, count: usize, language: Language) -> String {
    words::of_pages(language).replace("{n}", &number.to_string()).replace("{m}", &count.to_string())
}

/// The first line of a text, with an ellipsis when there is more. Only for heads and feet, which repeat what stands in
/// full on the first page.
fn one_line(faces: &Faces, text: &str, style: Style, width: Twips) -> String {
    let lines = wrap(faces, text, style, width - faces.width("…", style));
    match lines.as_slice() {
        [] => String::new(),
        [line] => line.clone(),
        [line, ..] => format!("{line}…"),
    }
}

/// A logo's size on paper: as large as fits.
fn scaled((width, height): (u32, u32)) -> (Twips, Twips) {
    let (width, height) = (i64::from(width.max(1)), i64::from(height.max(1)));
    let (most, high) = (i64::from(LOGO_WIDTH), i64::from(LOGO_HEIGHT));
    let (w, h) = if width * high > most * height {
        (most, most * height / width)
    } else {
        (high * width / height, high)
    };
    (Twips::try_from(w.max(1)).unwrap_or(LOGO_WIDTH), Twips::try_from(h.max(1)).unwrap_or(LOGO_HEIGHT))
}
