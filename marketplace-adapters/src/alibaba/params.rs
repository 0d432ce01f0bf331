//! A callback's parameters, decoded strictly: what could be read in two ways is refused before it is hashed
//! (`vendors/alibaba.md` 4, 11; `reliability.md` 6).

use http::{Method, header};
use percent_encoding::percent_decode;

use super::signature::Pairs;
use crate::delivery::Delivery;
use crate::error::AuthError;

/// Longest query or form that is read.
pub(super) const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Longest value of one parameter, decoded.
pub(super) const VALUE_BYTES_MAX: usize = 2 * 1024;

/// Parameters whose value we act on. They never hold the separators of the hashed text.
const KNOWN: [&str; 13] = [
    "action",
    "aliUid",
    "expiredOn",
    "instanceId",
    "isRefund",
    "orderBizId",
    "orderId",
    "productCode",
    "requestId",
    "skuId",
    "timeStamp",
    "token",
    "trial",
];

/// Whether we act on this parameter's value.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Decodes the parameters of a callback.
pub(super) fn decode(delivery: &Delivery, accept_post_form: bool) -> Result<Pairs, AuthError> {
    let mut pairs = Pairs::new();
    if delivery.query.len().saturating_add(delivery.body.len()) > QUERY_BYTES_MAX {
        return Err(AuthError::Malformed("too long"));
    }
    decode_into(&mut pairs, delivery.query.as_bytes())?;
    match delivery.method {
        Method::GET => {}
        Method::POST if accept_post_form => {
            let kind =
                delivery.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
                return Err(AuthError::Malformed("not a form"));
            }
            decode_into(&mut pairs, &delivery.body)?;
        }
        _ => return Err(AuthError::MethodNotAllowed),
    }
    Ok(pairs)
}

fn decode_into(pairs: &mut Pairs, raw: &[u8]) -> Result<(), AuthError> {
    if raw.is_empty() {
        return Ok(());
    }
    for piece in raw.split(|b| *b == b'&') {
        let cut =
            piece.iter().position(|b| *b == b'=').ok_or(AuthError::Malformed("a name without value"))?;
        let (name, value) = (decode_text(&piece[..cut])?, decode_text(&piece[cut + 1..])?);
        check(&name, &value)?;
        if pairs.insert(name, value).is_some() {
            return Err(AuthError::Malformed("a name twice"));
        }
    }
    Ok(())
}

fn decode_text(raw: &[u8]) -> Result<String, AuthError> {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let digits = rest.get(at + 1..at + 3).ok_or(AuthError::Malformed("a broken escape"))?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(AuthError::Malformed("a broken escape"));
        }
        rest = &rest[at + 3..];
    }
    let spaced: Vec<u8> = raw.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let text = percent_decode(&spaced).decode_utf8().map_err(|_| AuthError::Malformed("not UTF-8"))?;
    Ok(text.into_owned())
}

fn check(name: &str, value: &str) -> Result<(), AuthError> {
    if name.is_empty() || name.contains(['&', '=']) {
        return Err(AuthError::Malformed("a name that is none"));
    }
    if name.chars().chain(value.chars()).any(char::is_control) {
        return Err(AuthError::Malformed("a control character"));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(AuthError::Malformed("a value too long"));
    }
    if is_known(name) && value.contains(['&', '=']) {
        return Err(AuthError::Malformed("a separator in a known field"));
    }
    // The hashed text does not show where a value ends. A field we do not know could swallow one we do, under the
    // same token; free text such as a site's name may still hold separators.
    let swallows =
        value.split('&').skip(1).any(|part| part.split_once('=').is_some_and(|(n, _)| is_known(n)));
    if swallows { Err(AuthError::Malformed("a field inside a field")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::signature::encode;
    use super::*;

    fn read(query: &str) -> Result<Pairs, AuthError> {
        decode(&Delivery::get("/", query), false)
    }

    #[test]
    fn a_space_arrives_in_two_forms() {
        assert_eq!(read("a=x+y"), read("a=x%20y"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bad in [
            "a=1&a=2",
            "a=1&%61=2",
            "a",
            "=1",
            "a=%",
            "a=%2",
            "a=%zz",
            "a=%ff",
            "a=1&&b=2",
            "&a=1",
            "a=1&",
            "a=%00",
            "a=x%0ay",
            "a%26b=1",
            "a%3Db=1",
            "instanceId=1%26isRefund%3Dtrue",
            "instanceId=1%3D1",
            "Count=2%26action%3DexpiredInstance",
        ] {
            assert!(matches!(read(bad), Err(AuthError::Malformed(_))), "accepted {bad}");
        }
        assert!(read("siteName=x%26a%3Db").is_ok());
    }

    #[test]
    fn limits_hold() {
        assert!(read(&format!("a={}", "x".repeat(VALUE_BYTES_MAX))).is_ok());
        assert!(read(&format!("a={}", "x".repeat(VALUE_BYTES_MAX + 1))).is_err());
        let long = (0..6).map(|n| format!("a{n}={}", "x".repeat(1500))).collect::<Vec<_>>().join("&");
        assert!(read(&long).is_err());
    }

    #[test]
    fn methods_and_forms() {
        let mut delivery = Delivery::get("/", "a=1");
        delivery.method = Method::POST;
        delivery.body = bytes::Bytes::from_static(b"b=2");
        assert_eq!(decode(&delivery, false), Err(AuthError::MethodNotAllowed));
        assert!(decode(&delivery, true).is_err(), "no content type");
        delivery.headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"),
        );
        assert_eq!(decode(&delivery, true).unwrap().len(), 2);
        delivery.body = bytes::Bytes::from_static(b"a=2");
        assert!(decode(&delivery, true).is_err(), "the same name in query and form");
        delivery.method = Method::DELETE;
        assert_eq!(decode(&delivery, true), Err(AuthError::MethodNotAllowed));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn decoding_undoes_encoding(pairs in proptest::collection::btree_map("[a-zA-Z_]{1,12}", "[^\\p{Cc}&=]{0,40}", 0..6)) {
            let query = pairs.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect::<Vec<_>>().join("&");
            prop_assert_eq!(read(&query), Ok(pairs));
        }

        #[test]
        fn no_input_makes_it_fall_over(query in "[a-z=&%+0-9\\PC]{0,200}") {
            let _ = read(&query);
        }
    }
}
