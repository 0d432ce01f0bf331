//! Small checks of request fields; each failure names the field and what would be right.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;

use crate::clock::whole_micros;
use crate::fault::Fault;

/// Longest `request_id` (`reliability.md` 2.1).
pub const REQUEST_ID_MAX: usize = 255;

/// Checks that a text is there and returns it without surrounding blanks.
///
/// A NUL is refused: PostgreSQL cannot hold one in a text, and would fail a whole statement for it.
pub fn required<'a>(field: &str, value: &'a str) -> Result<&'a str, Fault> {
    let value = value.trim();
    if value.is_empty() {
        return Err(Fault::field(field, "is required"));
    }
    if value.contains('\0') {
        return Err(Fault::field(field, "must not contain control characters"));
    }
    Ok(value)
}

/// Checks a required text's length in characters, and that it has no control characters.
pub fn text<'a>(field: &str, value: &'a str, max_chars: usize) -> Result<&'a str, Fault> {
    let value = required(field, value)?;
    if value.chars().count() > max_chars {
        return Err(Fault::field(field, format!("at most {max_chars} characters")));
    }
    if value.chars().any(char::is_control) {
        return Err(Fault::field(field, "must not contain control characters"));
    }
    Ok(value)
}

/// Checks a text that may be left out, such as a filter's, and that is only compared: its length does not matter.
///
/// A NUL is refused, as [`required`] does.
pub fn maybe<'a>(field: &str, value: &'a str) -> Result<&'a str, Fault> {
    if value.trim().is_empty() { Ok("") } else { required(field, value) }
}

/// Checks a `request_id`: 1–255 printable ASCII characters (`reliability.md` 2.1).
pub fn request_id(value: &str) -> Result<&str, Fault> {
    let printable = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if value.trim().is_empty() || value.len() > REQUEST_ID_MAX || !printable {
        return Err(Fault::field(
            "request_id",
            "1–255 printable ASCII characters, the same in every repetition",
        ));
    }
    Ok(value)
}

/// Parses a field; the type's own error says what would be right.
pub fn parse<T: FromStr<Err: Display>>(field: &str, value: &str) -> Result<T, Fault> {
    value.parse().map_err(|error: T::Err| Fault::field(field, error.to_string()))
}

/// Reads a required time, cut to microseconds.
pub fn timestamp(field: &str, value: Option<prost_types::Timestamp>) -> Result<Timestamp, Fault> {
    let value = value.ok_or_else(|| Fault::field(field, "is required"))?;
    if !(0..1_000_000_000).contains(&value.nanos) {
        return Err(Fault::field(field, "nanos must be between 0 and 999999999"));
    }
    let time = Timestamp::new(value.seconds, value.nanos);
    time.map(whole_micros).map_err(|_| Fault::field(field, "must lie between the years -9999 and 9999"))
}

/// Writes a time as a message.
pub fn to_message(time: Timestamp) -> prost_types::Timestamp {
    let mut seconds = time.as_second();
    let mut nanos = time.subsec_nanosecond();
    // Before 1970 jiff counts the fraction backwards; the message always counts it forwards.
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_survives_the_message(micros in -62_135_596_800_000_000_i64..=253_402_300_799_000_000) {
            let time = Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(timestamp("t", Some(to_message(time))), Ok(time));
        }

        #[test]
        fn no_text_makes_a_check_panic(value in ".*") {
            let _ = text("f", &value, 10);
            let _ = request_id(&value);
        }
    }

    #[test]
    fn bad_fields_are_named() {
        assert_eq!(required("a", "  ").unwrap_err().fields[0].0, "a");
        assert!(required("a", "a\0b").is_err());
        assert_eq!(text("a", " né ", 2), Ok("né"));
        assert!(text("a", "née", 2).is_err());
        assert!(text("a", "n\u{7}e", 9).is_err());
        assert!(
            request_id("").is_err() && request_id("  ").is_err() && request_id(&"x".repeat(256)).is_err()
        );
        assert!(request_id("a\n").is_err());
        assert!(request_id(&"x".repeat(255)).is_ok());
        assert!(parse::<tandem_proto::ids::BillId>("bill_id", "x").unwrap_err().fields[0].1.contains("bil_"));
        assert!(timestamp("t", Some(prost_types::Timestamp { seconds: 0, nanos: -1 })).is_err());
        assert!(timestamp("t", Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 })).is_err());
    }
}
