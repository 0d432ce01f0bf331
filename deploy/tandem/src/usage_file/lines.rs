//! Lines of a file, bounded.

use std::io::{self, BufRead};

/// Longest line that is read; a point takes about 150 bytes, so a longer line is none.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// As it stands.
    Whole(Vec<u8>),
    /// Longer than [`LINE_BYTES_MAX`]; read over.
    TooLong,
}

/// Reads lines and counts them.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Lines<R> {
        Lines { reader, number: 0, bytes: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; `None` at the end of the file. Memory stays bounded whatever the file holds.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                if line.is_empty() && !too_long {
                    return Ok(None);
                }
                break;
            }
            let end = available.iter().position(|b| *b == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            too_long |= line.len() + part.len() > LINE_BYTES_MAX;
            if !too_long {
                line.extend_from_slice(part);
            }
            let used = end.map_or(available.len(), |at| at + 1);
            self.reader.consume(used);
            self.bytes = self.bytes.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            // Spreadsheets put a byte-order mark before the header.
            line.drain(..3);
        }
        Ok(Some(Line::Whole(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<Line> {
        Some(Line::Whole(text.as_bytes().to_vec()))
    }

    #[test]
    fn ends_of_every_kind_and_a_mark_are_taken_off() {
        let mut lines = Lines::new("\u{feff}a\r\n\nb".as_bytes());
        assert_eq!(lines.next().unwrap(), whole("a"));
        assert_eq!(lines.next().unwrap(), whole(""));
        assert_eq!(lines.next().unwrap(), whole("b"));
        assert_eq!((lines.number(), lines.bytes()), (3, 8));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn a_long_line_is_read_over_and_the_next_is_whole() {
        let text = format!("{}\nx\n", "y".repeat(LINE_BYTES_MAX * 3));
        let mut lines = Lines::new(io::BufReader::with_capacity(100, text.as_bytes()));
        assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
        assert_eq!(lines.next().unwrap(), whole("x"));
        assert_eq!(lines.next().unwrap(), None);
    }
}
