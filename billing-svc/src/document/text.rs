//! Text in lines: where a line may end, in Chinese and in Latin writing.

use super::face::Faces;
use super::page::{Style, Twips};

/// Never the first of a line.
const CLOSING: &str = "，。、；：？！）】》」』〉〕〗”’…—·％%℃,.;:?!)]}»";
/// Never the last of a line.
const OPENING: &str = "（【《「『〈〔〖“‘￥$([{«";
/// A line may end behind one of these: ids and addresses are made of long words.
const BREAKING: &str = "-_/@·";
/// Longest text of one cell that is set; far above every field that is accepted.
const CHARS_MAX: usize = 2_000;

/// A text as it is set: without what has no shape or would turn the direction of writing.
pub(super) fn settable(text: &str) -> String {
    text.chars().filter_map(settable_char).take(CHARS_MAX).collect()
}

fn settable_char(c: char) -> Option<char> {
    match c {
        '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => None,
        '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => None,
        // Nobody knows what a private character is, nor may a file for the archive hold one.
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => Some('\u{fffd}'),
        '\u{00a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => Some(' '),
        c if c.is_control() => Some(' '),
        c => Some(c),
    }
}

/// Breaks a text into lines that are at most so wide. An empty text has no lines.
///
/// Invariant: the lines without blanks are the text without blanks: nothing is lost.
pub(super) fn wrap(faces: &Faces, text: &str, style: Style, width: Twips) -> Vec<String> {
    let text = settable(text);
    let chars: Vec<char> = text.trim().chars().collect();
    let mut lines = Vec::new();
    let mut start = 0;
    while start < chars.len() {
        let end = line_end(faces, &chars, start, style, width);
        let line: String = chars.get(start..end).unwrap_or_default().iter().collect();
        lines.push(line.trim_end().to_owned());
        start = end;
        while chars.get(start) == Some(&' ') {
            start += 1;
        }
    }
    lines
}

/// Where the line that begins at `start` ends: at the last place that fits and may be an end, else at the last that
/// fits, and never before one character.
fn line_end(faces: &Faces, chars: &[char], start: usize, style: Style, width: Twips) -> usize {
    let fits = |end: usize| {
        let line: String = chars.get(start..end).unwrap_or_default().iter().collect();
        faces.width(line.trim_end(), style) <= width
    };
    // The width grows with the length, so the last length that fits is found by halving.
    let (mut low, mut high) = (start + 1, chars.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    if low == chars.len() {
        return low;
    }
    let Some(end) = (start + 1..=low).rev().find(|end| may_end(chars, *end)) else { return low };
    // A word that no line holds has to be broken anyway: then this line is used up first.
    let next = (low + 1..=chars.len()).find(|end| may_end(chars, *end)).unwrap_or(chars.len());
    let word: String = chars.get(end..next).unwrap_or_default().iter().collect();
    if faces.width(word.trim_end(), style) > width && !chars.get(..end).is_some_and(|c| c.ends_with(&[' '])) {
        low
    } else {
        end
    }
}

/// Whether a line may end before the character at `at`.
fn may_end(chars: &[char], at: usize) -> bool {
    let (Some(&before), Some(&after)) = (at.checked_sub(1).and_then(|at| chars.get(at)), chars.get(at))
    else {
        return true;
    };
    if before == ' ' || after == ' ' {
        return true;
    }
    if CLOSING.contains(after) || OPENING.contains(before) {
        return false;
    }
    is_wide(before) || is_wide(after) || BREAKING.contains(before)
}

/// Whether a character is written without blanks between words.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::face::faces;
    use super::super::page::INK;
    use super::*;

    const STYLE: Style = Style { size: 200, bold: false, colour: INK };

    fn lines(text: &str, width: Twips) -> Vec<String> {
        wrap(faces().unwrap(), text, STYLE, width)
    }

    #[test]
    fn lines_end_where_they_may() {
        // Ten Chinese characters of 10 points are 2 000 twips wide.
        assert_eq!(lines("一二三四五六七八九十一二三", 2_000), ["一二三四五六七八九十", "一二三"]);
        assert_eq!(lines("一二三四五六七八九十，一二", 2_000), ["一二三四五六七八九", "十，一二"]);
        assert_eq!(lines("一二三四五六七八九（十一）", 2_000), ["一二三四五六七八九", "（十一）"]);
        assert_eq!(lines("one two three", 900), ["one two", "three"]);
        assert_eq!(lines("", 900), [""; 0]);
        assert_eq!(lines("  \u{202e} ", 900), [""; 0]);
        let id = "bil_0198d9ca4e1a7e1c8d5f0a3b2c4d5e6f";
        assert_eq!(lines(id, 1_800).concat(), id);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn nothing_is_lost_and_nothing_is_too_wide(text in "[ -~一-龥，。（）é😀\u{202e}\u{0}]{0,120}", width in 300i32..4_000) {
            let lines = lines(&text, width);
            let faces = faces().unwrap();
            for line in &lines {
                prop_assert!(!line.is_empty());
                prop_assert!(faces.width(line, STYLE) <= width || line.chars().count() == 1, "{line:?}");
            }
            let plain = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(plain(&lines.concat()), plain(&settable(&text)));
        }
    }
}
