//! Paging: how many rows a page has and where the next one starts.

/// Rows on a page when the caller does not say.
pub const DEFAULT_SIZE: u16 = 50;
/// Most rows on a page; a larger wish is read as this (`reliability.md` section 5).
pub const MAX_SIZE: u16 = 500;

/// A page token that did not come from us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be the `next_page_token` of the previous response, unchanged")]
pub struct BadToken;

/// One page of a list: rows after `after`, in the order of the list's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Most rows to return.
    pub size: u16,
    /// The key of the last row already seen; empty for the first page. Keys may have several parts.
    pub after: Vec<String>,
}

/// Separates the parts of a key inside a token; no key contains it.
const SEPARATOR: char = '\u{1f}';

impl Page {
    /// Reads a request's page fields. `parts` is how many parts this list's key has.
    pub fn from_request(size: i32, token: &str, parts: usize) -> Result<Page, BadToken> {
        let size = match size {
            ..=0 => DEFAULT_SIZE,
            n => u16::try_from(n).unwrap_or(MAX_SIZE).min(MAX_SIZE),
        };
        let after = if token.is_empty() { Vec::new() } else { decode(token).ok_or(BadToken)? };
        if !after.is_empty() && after.len() != parts {
            return Err(BadToken);
        }
        Ok(Page { size, after })
    }

    /// Cuts rows that were read one more than the page holds, and names the next page if there is one.
    pub fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> Vec<String>) -> (Vec<T>, String) {
        let size = usize::from(self.size);
        if rows.len() <= size {
            return (rows, String::new());
        }
        rows.truncate(size);
        let token = rows.last().map(|row| encode(&key(row))).unwrap_or_default();
        (rows, token)
    }

    /// How many rows to read: one more than the page holds, to learn whether there is a next page.
    pub fn limit(&self) -> u64 {
        u64::from(self.size) + 1
    }
}

fn encode(key: &[String]) -> String {
    let joined = key.join(&SEPARATOR.to_string());
    joined.bytes().map(|b| format!("{b:02x}")).collect()
}

fn decode(token: &str) -> Option<Vec<String>> {
    if !token.is_ascii() || !token.len().is_multiple_of(2) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..token.len()).step_by(2).map(|i| u8::from_str_radix(&token[i..i + 2], 16).ok()).collect();
    // PostgreSQL cannot hold a NUL in a text, so no key of ours has one.
    let text = String::from_utf8(bytes?).ok().filter(|text| !text.contains('\0'))?;
    Some(text.split(SEPARATOR).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_starts_after_the_last_row() {
        let page = Page::from_request(2, "", 2).unwrap();
        let (rows, token) = page.cut(vec![1, 2, 3], |n| vec![n.to_string(), "é".into()]);
        assert_eq!(rows, [1, 2]);
        assert_eq!(Page::from_request(2, &token, 2).unwrap().after, ["2", "é"]);
        assert_eq!(Page::from_request(2, &token, 1), Err(BadToken));
        assert_eq!(page.cut(vec![1, 2], |n| vec![n.to_string()]), (vec![1, 2], String::new()));
    }

    #[test]
    fn sizes_are_bounded_and_foreign_tokens_refused() {
        assert_eq!(Page::from_request(0, "", 1).unwrap().size, DEFAULT_SIZE);
        assert_eq!(Page::from_request(-3, "", 1).unwrap().size, DEFAULT_SIZE);
        assert_eq!(Page::from_request(100_000, "", 1).unwrap().size, MAX_SIZE);
        for bad in ["x", "zz", "é1", "ff", "6100"] {
            assert_eq!(Page::from_request(1, bad, 1), Err(BadToken));
        }
    }
}
