//! Which language a browser asks for (RFC 9110, 12.5.4).

use http::{HeaderMap, header};
use tandem_adapters::event::Market;
use tandem_proto::language::Language;

/// Ranges of a header that are looked at: browsers send fewer than ten.
const RANGES_MAX: usize = 32;

/// The language a market's buyers most likely read.
pub(super) fn of_market(market: Market) -> Language {
    match market {
        Market::China => Language::Zh,
        Market::International => Language::En,
    }
}

/// The one of our languages that the browser likes best; `None` when it names none of them.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Language> {
    let header = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let mut best = None;
    for range in header.split(',').take(RANGES_MAX) {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let Some(language) = language(tag) else { continue };
        let weight = parts.next().map_or(Some(1000), |q| weight(q.strip_prefix("q=")?)).unwrap_or(0);
        // Among equals the first counts.
        if weight > 0 && best.is_none_or(|(_, most)| weight > most) {
            best = Some((language, weight));
        }
    }
    best.map(|(language, _)| language)
}

fn language(tag: &str) -> Option<Language> {
    let first = tag.split('-').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("zh") {
        Some(Language::Zh)
    } else if first.eq_ignore_ascii_case("en") {
        Some(Language::En)
    } else {
        None
    }
}

/// A weight in thousandths: `0.8` is 800. `None` when it is not a weight.
fn weight(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{part:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn asked(text: &str) -> Option<Language> {
        let value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
        preferred(&HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, value)]))
    }

    #[test]
    fn the_heaviest_of_our_languages_wins() {
        for (header, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Some(Language::Zh)),
            ("en-GB, zh;q=0.5", Some(Language::En)),
            ("de, en;q=0.3, zh-TW;q=0.31", Some(Language::Zh)),
            ("EN", Some(Language::En)),
            ("fr, *", None),
            ("en;q=0", None),
            ("en;q=2", None),
            ("", None),
        ] {
            assert_eq!(asked(header), language, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_fall_over(text in "[ -~]{0,80}") {
            let _ = asked(&text);
        }
    }
}
