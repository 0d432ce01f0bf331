//! What may stand in a Console account (`domain.md` 2.2, D19).

use jiff::Timestamp;
use tandem_proto::ids::ConsoleAccountId;

/// Longest email address in characters.
pub const EMAIL_MAX: usize = 254;

/// A company behind an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Company {
    /// Its name.
    pub name: String,
    /// May be empty.
    pub industry: String,
    /// May be empty.
    pub region: String,
    /// May be empty.
    pub description: String,
}

/// How far registration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Steps 1 and 2 are done.
    Registered,
    /// It has had a workspace.
    Activated,
}

impl Stage {
    /// Its number in schema and tables.
    pub fn number(self) -> i32 {
        match self {
            Stage::Registered => 1,
            Stage::Activated => 2,
        }
    }

    /// The stage of a number.
    pub fn from_number(number: i32) -> Option<Stage> {
        match number {
            1 => Some(Stage::Registered),
            2 => Some(Stage::Activated),
            _ => None,
        }
    }
}

/// A login for the Console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: ConsoleAccountId,
    /// The site's code.
    pub site: String,
    /// As written at registration.
    pub email: String,
    /// Offered as the billing account's username.
    pub username: String,
    /// An argon2id hash in PHC form.
    pub password_hash: String,
    /// With an optional leading `+`; may be empty.
    pub phone: String,
    /// Its company.
    pub company: Company,
    /// How far registration has come.
    pub stage: Stage,
    /// When it was made, and the agreements accepted.
    pub created_at: Timestamp,
}

/// Whether a username is 3–32 of `[A-Za-z0-9_.-]`, starting with a letter (D19).
pub fn is_username(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (3..=32).contains(&text.len())
        && text.bytes().all(good)
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Whether a text is 5–20 digits with an optional leading `+`.
pub fn is_phone(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (5..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text can be an email address: something, one `@`, a name with a dot or an address literal's host; at most
/// 254 characters, no blanks. The mailed code proves the rest.
pub fn is_email(text: &str) -> bool {
    let visible =
        text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '\\'));
    let Some((local, host)) = text.split_once('@') else { return false };
    let labels = host.split('.');
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let local_good = (1..=64).contains(&local.len()) && !local.starts_with('.') && !local.ends_with('.');
    visible
        && text.len() <= EMAIL_MAX
        && local_good
        && !local.contains("..")
        && host.contains('.')
        && labels.clone().all(label)
}

/// The form in which addresses are compared: without regard to case (`domain.md` 2.2).
pub fn email_key(email: &str) -> String {
    email.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_the_domain() {
        for good in ["abc", "A-b_c.9", &"a".repeat(32)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["ab", "9abc", "a b c", &"a".repeat(33), "", "名字名字"] {
            assert!(!is_username(bad), "{bad}");
        }
        assert!(is_phone("+8613800000000") && is_phone("12345"));
        assert!(!is_phone("1234") && !is_phone("+12 345") && !is_phone("++12345"));
        assert!(is_email("Li.Wei+x@mail.example.com"));
        for bad in
            ["", "a", "a@b", "@b.c", "a@b.c d", "a@@b.c", "a@.c", "a@b..c", "a@b.c\n", ".a@b.c", "a<b@c.d"]
        {
            assert!(!is_email(bad), "{bad:?}");
        }
        assert!(!is_email(&format!("{}@{}.com", "a".repeat(64), "b".repeat(250))));
        assert_eq!(email_key("A@B.C"), "a@b.c");
    }
}
