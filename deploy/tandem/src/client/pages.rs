//! Reads lists page by page.

use std::future::Future;

use crate::failure::{Failure, Result};

/// Rows asked for at a time: the most the services give (`reliability.md` 5.2).
pub const PAGE_SIZE: i32 = 500;

/// The rows of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows, in the service's order.
    pub rows: Vec<T>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// Collects the rows of all pages, at most `limit`.
///
/// `page` gets a page token, empty for the first, and returns rows and the next token. Fails when a service hands the
/// same token out twice, which would never end.
pub async fn all_pages<T, F>(limit: usize, mut page: impl FnMut(String) -> F) -> Result<Listed<T>>
where
    F: Future<Output = Result<(Vec<T>, String), tonic::Status>>,
{
    let mut rows = Vec::new();
    let mut token = String::new();
    loop {
        let (found, next) = page(token.clone()).await?;
        rows.extend(found);
        if next.is_empty() || rows.len() >= limit {
            let more = !next.is_empty() || rows.len() > limit;
            rows.truncate(limit);
            return Ok(Listed { rows, more });
        }
        if next == token {
            return Err(Failure::failed("the service repeats a page token"));
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_rows_come_in_order_up_to_the_limit() {
        let page = |token: String| async move {
            let at: u32 = token.parse().unwrap_or(0);
            Ok((vec![at, at + 1], if at < 4 { (at + 2).to_string() } else { String::new() }))
        };
        let all = all_pages(100, page).await.unwrap();
        assert_eq!(all, Listed { rows: vec![0, 1, 2, 3, 4, 5], more: false });
        assert_eq!(all_pages(3, page).await.unwrap(), Listed { rows: vec![0, 1, 2], more: true });
        assert!(!all_pages(6, page).await.unwrap().more);
        let stuck = |_| async { Ok((vec![1], "same".to_owned())) };
        assert!(all_pages(100, stuck).await.is_err());
    }
}
