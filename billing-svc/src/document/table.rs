//! Tables that go on over pages: the head is repeated, a row is never cut, a group's head never stands alone.

use super::face::Faces;
use super::layout::{Flow, style};
use super::page::{GREY, INK, INNER, LINE, SIDE, Style, Twips};
use super::sheet::{Align, Cell, Column, Mood, Row, Table};
use super::text::wrap;

/// Free space left and right inside a cell.
const PAD: Twips = 90;
/// Free space above and below a row's text.
const ROW_PAD: Twips = 64;
const HEADING: Style = style(210, true, INK);
const HEAD: Style = style(160, true, INK);
const TEXT: Style = style(175, false, INK);
const STRONG: Style = style(175, true, INK);
const DETAIL: Style = style(145, false, GREY);

/// A column as it is placed.
struct Place {
    x: Twips,
    width: Twips,
    align: Align,
}

/// A row in lines: for each cell its lines with how they look.
struct Lines {
    mood: Mood,
    cells: Vec<Vec<(String, Style)>>,
}

/// Sets a table where the flow stands.
pub(super) fn set(flow: &mut Flow<'_>, table: &Table) {
    let places = places(&table.columns);
    let head = head_lines(flow.faces, table, &places);
    let rows: Vec<Lines> = table.rows.iter().map(|row| row_lines(flow.faces, row, &places)).collect();
    let heading = if table.heading.is_empty() { 0 } else { HEADING.leading() + 60 };
    let begin = heading + height(&head) + together(&rows, 0);
    if !flow.fits(begin) {
        flow.next_page();
    }
    if !table.heading.is_empty() {
        let y = flow.y;
        flow.line(SIDE, y, HEADING, &table.heading);
        flow.y += heading;
    }
    set_head(flow, &head, &places);
    let mut top = flow.y;
    for (at, row) in rows.iter().enumerate() {
        // A row that is taller than a page gains nothing by another empty one.
        if !flow.fits(together(&rows, at)) && flow.y > top {
            flow.next_page();
            set_head(flow, &head, &places);
            top = flow.y;
        }
        set_row(flow, row, &head, &places);
    }
    flow.rule(SIDE, flow.y, INNER, 10, LINE);
}

/// How much has to fit for a row: a group's head with the row after it.
fn together(rows: &[Lines], at: usize) -> Twips {
    let Some(row) = rows.get(at) else { return 0 };
    let next = rows.get(at + 1).filter(|_| row.mood == Mood::Group);
    height(row) + next.map_or(0, height)
}

fn places(columns: &[Column]) -> Vec<Place> {
    let shares: Twips = columns.iter().map(|c| Twips::from(c.share)).sum();
    let mut x = SIDE;
    columns
        .iter()
        .map(|column| {
            let width = INNER * Twips::from(column.share) / shares.max(1);
            let place = Place { x: x + PAD, width: width - 2 * PAD, align: column.align };
            x += width;
            place
        })
        .collect()
}

fn head_lines(faces: &Faces, table: &Table, places: &[Place]) -> Lines {
    let cells = table.columns.iter().zip(places);
    let cells = cells.map(|(column, place)| styled(wrap(faces, &column.head, HEAD, place.width), HEAD));
    Lines { mood: Mood::Plain, cells: cells.collect() }
}

fn row_lines(faces: &Faces, row: &Row, places: &[Place]) -> Lines {
    let look = if row.mood == Mood::Plain { TEXT } else { STRONG };
    let cells = places.iter().enumerate().map(|(at, place)| {
        let Some(cell) = row.cells.get(at) else { return Vec::new() };
        // What the cells to the right leave free belongs to the head of a group.
        let spare = at == 0 && row.mood == Mood::Group;
        let width = if spare { group_width(row, places) } else { place.width };
        let Cell { text, detail } = cell;
        let mut lines = styled(wrap(faces, text, look, width), look);
        lines.extend(styled(wrap(faces, detail, DETAIL, width), DETAIL));
        lines
    });
    Lines { mood: row.mood, cells: cells.collect() }
}

/// The width of a group's first cell: up to the next cell that says something.
fn group_width(row: &Row, places: &[Place]) -> Twips {
    let used = |at: &usize| row.cells.get(*at).is_some_and(|cell| !cell.text.is_empty());
    let next = (1..places.len()).find(used);
    let end = next.and_then(|at| places.get(at)).map_or(SIDE + INNER, |place| place.x - PAD);
    places.first().map_or(INNER, |first| end - PAD - first.x)
}

fn styled(lines: Vec<String>, style: Style) -> Vec<(String, Style)> {
    lines.into_iter().map(|line| (line, style)).collect()
}

fn cell_height(cell: &[(String, Style)]) -> Twips {
    cell.iter().map(|(_, style)| style.leading()).sum()
}

fn height(row: &Lines) -> Twips {
    let tallest = row.cells.iter().map(|cell| cell_height(cell)).max().unwrap_or(0);
    tallest.max(TEXT.leading()) + 2 * ROW_PAD
}

fn set_head(flow: &mut Flow<'_>, head: &Lines, places: &[Place]) {
    let height = height(head);
    let (tint, colour) = (flow.brand.tint(), flow.brand.colour);
    flow.rule(SIDE, flow.y, INNER, height, tint);
    flow.rule(SIDE, flow.y + height - 20, INNER, 20, colour);
    set_cells(flow, &head.cells, places);
    flow.y += height;
}

/// Sets a row; one that is taller than a page goes on over pages, line by line.
fn set_row(flow: &mut Flow<'_>, row: &Lines, head: &Lines, places: &[Place]) {
    let mut cells = row.cells.clone();
    loop {
        let rest = Lines { mood: row.mood, cells };
        let height = height(&rest);
        if flow.fits(height) || flow.space() <= 2 * ROW_PAD + TEXT.leading() {
            set_band(flow, row.mood, height);
            set_cells(flow, &rest.cells, places);
            flow.y += height;
            return;
        }
        let space = flow.space() - 2 * ROW_PAD;
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for cell in rest.cells {
            let mut used = 0;
            let fitting = cell.iter().take_while(|(_, style)| {
                used += style.leading();
                used <= space
            });
            let (first, second) = cell.split_at(fitting.count());
            now.push(first.to_vec());
            later.push(second.to_vec());
        }
        set_cells(flow, &now, places);
        flow.next_page();
        set_head(flow, head, places);
        cells = later;
    }
}

fn set_band(flow: &mut Flow<'_>, mood: Mood, height: Twips) {
    match mood {
        Mood::Plain => flow.rule(SIDE, flow.y + height, INNER, 6, LINE),
        Mood::Group => flow.rule(SIDE, flow.y, INNER, height, [0xf4, 0xf5, 0xf7]),
        Mood::Sum => flow.rule(SIDE, flow.y, INNER, 10, GREY),
    }
}

fn set_cells(flow: &mut Flow<'_>, cells: &[Vec<(String, Style)>], places: &[Place]) {
    for (cell, place) in cells.iter().zip(places) {
        let mut y = flow.y + ROW_PAD;
        for (line, style) in cell {
            match place.align {
                Align::Left => flow.line(place.x, y, *style, line),
                Align::Right => flow.line_right(place.x + place.width, y, *style, line),
            }
            y += style.leading();
        }
    }
}
