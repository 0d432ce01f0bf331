//! The fields of a point, from text.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use tandem_proto::console::v1::{Measure, UsagePoint};
use tandem_proto::ids::WorkspaceId;
use tandem_proto::item::BillingItem;

/// The fields in the order of the documentation.
pub(super) const FIELDS: [&str; 7] =
    ["workspace_id", "hour", "item", "measure", "retention_days", "sub_key", "quantity"];
/// Longest sub key (`UsagePoint.sub_key`).
const SUB_KEY_CHARS_MAX: usize = 64;
/// How much of a wrong value is shown.
const SHOWN_CHARS_MAX: usize = 40;

/// The texts of one line; a missing one is empty.
#[derive(Debug, Default)]
pub(super) struct Texts<'a> {
    pub(super) values: [&'a str; 7],
}

/// Reads a point.
///
/// Fails with every field that is wrong and what would be right.
pub(super) fn point(
    texts: &Texts<'_>,
    default_workspace: Option<&WorkspaceId>,
) -> Result<UsagePoint, String> {
    let [workspace, hour, item, measure, retention, sub_key, quantity] = texts.values.map(str::trim);
    let mut problems = Vec::new();
    let workspace_id = match (workspace, default_workspace) {
        ("", Some(default)) => Some(default.to_string()),
        ("", None) => {
            problems.push(
                "workspace_id: is required; or name one for the whole file with --workspace".to_owned(),
            );
            None
        }
        (text, _) => {
            let read = text.parse::<WorkspaceId>().map(String::from);
            read.map_err(|error| problems.push(wrong("workspace_id", &error, text))).ok()
        }
    };
    let hour_start_time = whole_hour(hour).map_err(|problem| problems.push(problem)).ok();
    let item = field::<BillingItem>("item", item, &mut problems);
    let measure = match measure {
        "" => Some(Measure::Unspecified),
        "SPANS" => Some(Measure::Spans),
        "USER_EVENTS" => Some(Measure::UserEvents),
        other => {
            problems.push(wrong("measure", &"must be empty, SPANS or USER_EVENTS", other));
            None
        }
    };
    let retention_days = match retention {
        "" => Some(0),
        text => match text.parse::<i32>() {
            Ok(days) if days >= 0 => Some(days),
            _ => {
                problems.push(wrong("retention_days", &"must be a whole number of days, or empty", text));
                None
            }
        },
    };
    if sub_key.chars().count() > SUB_KEY_CHARS_MAX {
        problems.push(wrong("sub_key", &"must have at most 64 characters", sub_key));
    }
    let quantity = match quantity.parse::<i64>() {
        Ok(units) if units >= 0 => Some(units),
        _ => {
            let right = "must be a whole number of units, at least 0, without separators, such as 6000";
            problems.push(wrong("quantity", &right, quantity));
            None
        }
    };
    let read = (workspace_id, hour_start_time, item, measure, retention_days, quantity);
    let (Some(workspace_id), Some(hour), Some(item), Some(measure), Some(retention_days), Some(quantity)) =
        read
    else {
        return Err(problems.join("; "));
    };
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    Ok(UsagePoint {
        workspace_id,
        hour_start_time: Some(prost_types::Timestamp { seconds: hour.as_second(), nanos: 0 }),
        item: item.to_message().into(),
        measure: measure.into(),
        retention_days,
        sub_key: sub_key.to_owned(),
        quantity,
    })
}

fn field<T: FromStr<Err: Display>>(name: &str, text: &str, problems: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error: T::Err| problems.push(wrong(name, &error, text))).ok()
}

fn whole_hour(text: &str) -> Result<Timestamp, String> {
    let right = "must be a whole hour in RFC 3339, such as 2026-03-01T08:00:00Z or 2026-03-01T16:00:00+08:00";
    let time: Timestamp = text.parse().map_err(|_| wrong("hour", &right, text))?;
    // Zones with half-hour offsets write whole UTC half hours; whether the hour is whole where the site is, the service
    // knows.
    let whole = time.subsec_nanosecond() == 0 && time.as_second().rem_euclid(900) == 0;
    if whole { Ok(time) } else { Err(wrong("hour", &right, text)) }
}

fn wrong(field: &str, right: &dyn Display, text: &str) -> String {
    if text.is_empty() {
        return format!("{field}: {right}; it is empty");
    }
    let mut shown: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("{field}: {right}; this is `{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "wks_00000000000000000000000000000001";

    fn texts<'a>(hour: &'a str, item: &'a str, quantity: &'a str) -> Texts<'a> {
        Texts { values: [WORKSPACE, hour, item, "", "3", "", quantity] }
    }

    #[test]
    fn a_good_line_becomes_a_point() {
        let read = point(&texts("2026-03-01T16:00:00+08:00", "TIME_SERIES", "6000"), None).unwrap();
        assert_eq!(read.hour_start_time.map(|t| t.seconds), Some(1_772_352_000));
        assert_eq!((read.quantity, read.retention_days, read.workspace_id.as_str()), (6000, 3, WORKSPACE));
    }

    #[test]
    fn every_wrong_field_is_named_with_what_would_be_right() {
        let error = point(&texts("2026-03-01 08:20", "LOGS", "1.5"), None).unwrap_err();
        for part in
            ["hour: must be a whole hour", "item: must be a billing item", "quantity: must be a whole number"]
        {
            assert!(error.contains(part), "{error}");
        }
        let none = point(&Texts { values: [""; 7] }, None).unwrap_err();
        assert!(none.contains("--workspace") && none.contains("it is empty"), "{none}");
    }

    #[test]
    fn quantities_are_never_read_as_something_else() {
        for bad in ["-1", "1e3", "1,000", "9223372036854775808", "NaN", "0x10"] {
            assert!(
                point(&texts("2026-03-01T08:00:00Z", "TIME_SERIES", bad), None).is_err(),
                "accepted {bad}"
            );
        }
    }

    #[test]
    fn the_files_own_workspace_wins_over_the_one_named_for_it() {
        let other: WorkspaceId = "wks_00000000000000000000000000000002".parse().unwrap();
        let mut line = texts("2026-03-01T08:00:00Z", "SMS", "1");
        assert_eq!(point(&line, Some(&other)).unwrap().workspace_id, WORKSPACE);
        line.values[0] = "";
        assert_eq!(point(&line, Some(&other)).unwrap().workspace_id, other.as_str());
    }
}
