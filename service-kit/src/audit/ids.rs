//! What a request is about: the ids that stand in it. Ids have a prefix and 32 hexadecimal digits, so they are found
//! without knowing the message.

/// How much of a message is looked at: what it is about stands at its front.
const LOOKED_AT: usize = 4_096;
/// Digits of an id.
const DIGITS: usize = 32;
/// Bytes of an id's prefix with its underscore.
const PREFIX: usize = 4;
/// Most ids of one row.
pub(super) const OBJECTS_MAX: usize = 3;

/// The first different ids of a message, in their order; at most three.
pub(crate) type Objects = Vec<String>;

/// Finds the ids in an encoded message that stand not among those found before.
pub(crate) fn objects(mut found: Objects, message: &[u8]) -> Objects {
    let bytes = message.get(..LOOKED_AT).unwrap_or(message);
    let mut from = 0;
    while found.len() < OBJECTS_MAX
        && let Some(at) = bytes.get(from..).and_then(|rest| rest.iter().position(|b| *b == b'_'))
    {
        let underscore = from + at;
        from = underscore + 1;
        if let Some(id) = id_at(bytes, underscore) {
            from += DIGITS;
            if !found.iter().any(|other| other == id) {
                found.push(id.to_owned());
            }
        }
    }
    found
}

fn id_at(bytes: &[u8], underscore: usize) -> Option<&str> {
    let start = underscore.checked_sub(PREFIX - 1)?;
    let id = bytes.get(start..underscore + 1 + DIGITS)?;
    let (prefix, digits) = id.split_at(PREFIX);
    let hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    let is_id = prefix.iter().take(PREFIX - 1).all(u8::is_ascii_lowercase) && digits.iter().all(hex);
    is_id.then(|| std::str::from_utf8(id).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tandem_proto::common::v1::RedriveOutboxMessageRequest;

    use super::*;

    fn id(prefix: &str, digit: char) -> String {
        format!("{prefix}_{}", digit.to_string().repeat(32))
    }

    #[test]
    fn a_request_tells_what_it_is_about() {
        let request =
            RedriveOutboxMessageRequest { request_id: "obx_is_no_id".into(), message_id: id("obx", '1') };
        assert_eq!(objects(Vec::new(), &request.encode_to_vec()), [id("obx", '1')]);
        for none in [b"_".as_slice(), &[b'_'; 5_000], id("BAC", '1').as_bytes(), id("bac", 'g').as_bytes()] {
            assert_eq!(objects(Vec::new(), none), Objects::new());
        }
    }

    #[test]
    fn an_answer_fills_what_the_request_could_not_name() {
        let (asked, answered) =
            (id("aaa", '1'), [id("bbb", '2'), id("aaa", '1'), id("ccc", '3'), id("ddd", '4')]);
        let found = objects(objects(Vec::new(), asked.as_bytes()), answered.join(" ").as_bytes());
        assert_eq!(found, [id("aaa", '1'), id("bbb", '2'), id("ccc", '3')]);
    }
}
