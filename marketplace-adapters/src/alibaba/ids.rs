//! Forms of ids (`vendors/alibaba.md` 3) and what to tell a customer who typed another one.

use crate::error::IdProblem;

const ACCOUNT_HINT: &str =
    "16 digits, shown in the menu behind the picture at the top right when the main account is signed in";
const INSTANCE_HINT: &str = "6 to 19 digits, shown among the purchased services in the marketplace";

fn is_number(text: &str, digits: std::ops::RangeInclusive<usize>) -> bool {
    digits.contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the text can be a main account's id.
pub(super) fn is_account(text: &str, strict: bool) -> bool {
    is_number(text, if strict { 16..=16 } else { 5..=19 })
}

/// Whether the text can be a purchase's number: an instance id or an `orderBizId`.
pub(super) fn is_instance(text: &str) -> bool {
    is_number(text, 6..=19) && text.parse::<i64>().is_ok()
}

/// Whether the text can be an order's number.
pub(super) fn is_order(text: &str) -> bool {
    is_number(text, 9..=19)
}

/// Whether the text can be the id of a message.
pub(super) fn is_message(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Checks what a customer typed.
///
/// A sub-user's id never equals the buyer's `aliUid`: it has more digits, and a sub-user's login name holds an at sign.
pub(super) fn check(account: &str, instance: &str, strict: bool) -> Result<(), IdProblem> {
    if !is_account(account, strict) {
        let sub_user = account.contains('@') || is_number(account, 17..=19);
        return Err(if sub_user {
            IdProblem::MainAccountRequired { hint: ACCOUNT_HINT }
        } else {
            IdProblem::BadAccount { hint: ACCOUNT_HINT }
        });
    }
    if is_instance(instance) { Ok(()) } else { Err(IdProblem::BadInstance { hint: INSTANCE_HINT }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_type_instead() {
        assert_eq!(check("1744500000000021", "1551234567", true), Ok(()));
        for sub_user in ["204195741430123456", "20419574143012345", "mary@1744500000000021.onaliyun.com"] {
            let problem = check(sub_user, "1551234567", true).unwrap_err();
            assert!(matches!(problem, IdProblem::MainAccountRequired { .. }), "{sub_user}");
            assert!(problem.to_string().contains("main account"));
        }
        for bad in [
            "",
            "174450000000002",
            "0744500000000021",
            "17445000000000２1",
            "1744500000000021 ",
            "-744500000000021",
        ] {
            assert!(matches!(check(bad, "1551234567", true), Err(IdProblem::BadAccount { .. })), "{bad:?}");
        }
        for bad in ["", "12345", "0551234567", "9999999999999999999", "155123456x"] {
            assert!(
                matches!(check("1744500000000021", bad, true), Err(IdProblem::BadInstance { .. })),
                "{bad:?}"
            );
        }
        assert_eq!(check("12345678901", "1551234567", false), Ok(()));
    }
}
