//! Pages that a buyer sees. Each is whole in itself: one style sheet inside, nothing loaded from anywhere, no script, no
//! form, and headers that hold the browser to it.

mod language;
mod texts;
mod unlock;

pub(crate) use unlock::UnlockPage;

use std::fmt::Write as _;

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tandem_adapters::Connection;
use tandem_proto::language::Language;

use crate::config::BrandSection;

const STYLE: &str = include_str!("page.css");

/// What a buyer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// The link was genuine and new: here is the ticket.
    Arrived {
        /// `lnd_…`.
        ticket: String,
        /// Until when the ticket can be used.
        valid_until: Timestamp,
        /// The purchase is bound already, so that signing in is enough.
        already_bound: bool,
    },
    /// The link is genuine, but too old.
    LinkExpired,
    /// The link has opened a ticket before.
    LinkUsed,
    /// The link is not one the vendor made.
    LinkInvalid,
    /// Nobody has announced this purchase.
    PurchaseUnknown,
    /// The vendor is still preparing the purchase.
    PurchasePending,
    /// The vendor has frozen the purchase.
    PurchaseSuspended,
    /// The purchase has ended.
    PurchaseEnded,
    /// Nothing can be said now.
    TryLater,
}

impl Page {
    /// One word for logs and metric labels.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Page::Arrived { .. } => "arrived",
            Page::LinkExpired => "link_expired",
            Page::LinkUsed => "link_used",
            Page::LinkInvalid => "link_invalid",
            Page::PurchaseUnknown => "purchase_unknown",
            Page::PurchasePending => "purchase_pending",
            Page::PurchaseSuspended => "purchase_suspended",
            Page::PurchaseEnded => "purchase_ended",
            Page::TryLater => "try_later",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Page::Arrived { .. } => StatusCode::OK,
            Page::LinkExpired | Page::LinkInvalid => StatusCode::FORBIDDEN,
            Page::LinkUsed | Page::PurchaseEnded => StatusCode::GONE,
            Page::PurchaseUnknown => StatusCode::NOT_FOUND,
            Page::PurchasePending | Page::PurchaseSuspended => StatusCode::CONFLICT,
            Page::TryLater => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Writes pages.
pub(crate) struct Pages {
    brand: BrandSection,
    headers: [(HeaderName, HeaderValue); 8],
}

impl Pages {
    /// Prepares what every page shares.
    pub(crate) fn new(brand: BrandSection) -> Pages {
        let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        // Base64 and fixed text are always a header's value; without a policy nothing at all would be allowed.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let fixed = HeaderValue::from_static;
        let headers = [
            (header::CONTENT_TYPE, fixed("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CACHE_CONTROL, fixed("no-store")),
            (header::REFERRER_POLICY, fixed("no-referrer")),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (header::X_FRAME_OPTIONS, fixed("DENY")),
            (header::VARY, fixed("accept-language")),
            (HeaderName::from_static("x-robots-tag"), fixed("noindex")),
        ];
        Pages { brand, headers }
    }

    /// Shows a page in the language the browser asks for, or else the market's.
    pub(crate) fn show(&self, page: &Page, connection: &Connection, asked: &HeaderMap) -> Response {
        let language = language::preferred(asked).unwrap_or(language::of_market(connection.market));
        let html = self.html(page, connection.vendor.title(language), language);
        let mut response = (page.status(), html).into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        if page.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }

    fn html(&self, page: &Page, cloud: &str, language: Language) -> String {
        let fill = |text: &str| escape(&text.replace("{cloud}", cloud).replace("{brand}", &self.brand.name));
        let (text, labels) = (texts::text(page, language), texts::labels(language));
        let mut html = String::new();
        // Writing to a String does not fail.
        for paragraph in text.body {
            let _ = writeln!(html, "<p>{}</p>", fill(paragraph));
        }
        if let Page::Arrived { ticket, valid_until, .. } = page {
            let until = valid_until.strftime("%Y-%m-%d %H:%M:%S");
            let _ = writeln!(html, "<p>{}</p>\n<p class=\"ticket\">{}</p>", labels.ticket, escape(ticket));
            let _ = writeln!(html, "<p>{} {until}</p>", labels.valid_until);
            if !self.brand.console_url.is_empty() {
                let address = escape(&self.brand.console_url);
                let _ = writeln!(
                    html,
                    "<p><a class=\"next\" href=\"{address}\" rel=\"noreferrer\">{}</a></p>",
                    fill(labels.console)
                );
            }
        }
        self.shell(&fill(text.title), &html, language)
    }

    /// A whole page around a body; both are markup already.
    fn shell(&self, title: &str, body: &str, language: Language) -> String {
        let code = match language {
            Language::Zh => "zh-CN",
            Language::En => "en",
        };
        let brand = escape(&self.brand.name);
        format!(
            "<!doctype html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title} · {brand}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <p class=\"brand\">{brand}</p>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

/// Makes a text safe between tags and inside quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(name: &str) -> Pages {
        Pages::new(BrandSection {
            name: name.to_owned(),
            console_url: "https://console.example.com/?a=1&b=2".to_owned(),
        })
    }

    fn every_page() -> Vec<Page> {
        let arrived = |already_bound| Page::Arrived {
            ticket: "lnd_1".to_owned(),
            valid_until: Timestamp::UNIX_EPOCH,
            already_bound,
        };
        vec![
            arrived(false),
            arrived(true),
            Page::LinkExpired,
            Page::LinkUsed,
            Page::LinkInvalid,
            Page::PurchaseUnknown,
            Page::PurchasePending,
            Page::PurchaseSuspended,
            Page::PurchaseEnded,
            Page::TryLater,
        ]
    }

    #[test]
    fn every_page_is_whole_in_both_languages() {
        for page in every_page() {
            for language in [Language::Zh, Language::En] {
                let html = pages("Acme").html(&page, "Nimbus", language);
                assert!(!html.contains("{brand}") && !html.contains("{cloud}"), "{html}");
                assert!(html.contains("Acme") && !html.contains("<script") && !html.contains("src="));
                let is_open = matches!(page, Page::Arrived { .. });
                assert_eq!(html.contains("lnd_1"), is_open);
                assert_eq!(html.contains("1970-01-01 00:00:00"), is_open);
                assert_eq!(html.contains("https://console.example.com/?a=1&amp;b=2"), is_open);
            }
        }
    }

    #[test]
    fn names_cannot_become_markup() {
        let html = pages("<b>\"'&").html(&Page::LinkUsed, "<i>", Language::En);
        assert!(!html.contains("<b>") && !html.contains("<i>"));
        assert!(html.contains("&lt;b&gt;&quot;&#39;&amp;"));
    }

    #[test]
    fn the_policy_allows_this_style_sheet_and_nothing_else() {
        let pages = pages("Acme");
        let policy = pages.headers.iter().find(|(name, _)| *name == header::CONTENT_SECURITY_POLICY).unwrap();
        let policy = policy.1.to_str().unwrap();
        let html = pages.html(&Page::LinkUsed, "", Language::En);
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        assert!(policy.contains(&STANDARD.encode(Sha256::digest(style.as_bytes()))));
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    }
}
