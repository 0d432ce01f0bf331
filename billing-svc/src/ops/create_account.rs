//! Makes a billing account (`domain.md` 2.4, D19).

use jiff::Timestamp;
use secrecy::SecretString;
use tandem_proto::language::Language;
use tandem_proto::settlement::BillingRegion;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh;
use tandem_service_kit::{outbox, password, validate};

use crate::context::Context;
use crate::domain::account::{AccountStanding, BillingAccount, Company};
use crate::mail::{self, Letter};
use crate::store::account;

/// Longest address (`domain.md` D19).
const EMAIL_CHARS_MAX: usize = 254;
/// Costs of a handed-over hash that are still checked at sign-in: memory in KiB, passes, lanes.
const HASH_COST_MAX: (u32, u32, u32) = (65_536, 10, 4);

/// How the first password is known.
pub enum FirstPassword {
    /// Itself.
    Plain(SecretString),
    /// Its argon2id hash in PHC form, when the account is made together with a Console account.
    Hash(String),
}

/// What somebody wants an account to be.
pub struct Wish {
    /// 3–32 of `[A-Za-z0-9_.-]`, starting with a letter.
    pub username: String,
    /// Also a login name.
    pub email: String,
    /// Also a login name; may be empty.
    pub phone: String,
    /// The company.
    pub company: Company,
    /// Which Billing Center.
    pub region: BillingRegion,
    /// The language of its mails.
    pub language: Language,
    /// How the first password is known.
    pub password: FirstPassword,
}

/// An account that may be made: every field is right and the password is hashed.
pub struct NewAccount {
    account: BillingAccount,
    password_hash: String,
}

impl NewAccount {
    /// Which Billing Center it is for.
    pub fn region(&self) -> BillingRegion {
        self.account.region
    }
}

/// Checks every field and hashes the password; slow on purpose, so done before the transaction.
pub async fn prepare(wish: Wish, now: Timestamp) -> Result<NewAccount, Fault> {
    let Wish { username, email, phone, company, region, language, password } = wish;
    let account = BillingAccount {
        id: fresh(),
        region,
        username: checked_username(&username)?,
        email: checked_email("account.email", &email)?,
        phone: checked_phone("account.phone", &phone)?,
        company: checked_company(&company)?,
        currency: region.currency(),
        language,
        any_settlement_allowed: false,
        standing: AccountStanding::Good,
        arrears_since: None,
        created_at: now,
    };
    let password_hash = match password {
        FirstPassword::Hash(hash) => checked_hash(hash)?,
        FirstPassword::Plain(plain) => {
            password::check_policy(secrecy::ExposeSecret::expose_secret(&plain))?;
            password::hash(plain).await?
        }
    };
    Ok(NewAccount { account, password_hash })
}

/// Makes the account and welcomes it by mail.
///
/// Fails with `USERNAME_TAKEN`, `EMAIL_TAKEN`, `PHONE_TAKEN`: the first that applies.
pub async fn run(tx: &Tx, ctx: &Context, new: &NewAccount, now: Timestamp) -> Result<BillingAccount, Fault> {
    let made = &new.account;
    account::insert(tx, made, &new.password_hash).await??;
    let letter = Letter::Welcome { username: made.username.clone(), company: made.company.name.clone() };
    let key = format!("welcome:{}", made.id);
    let mail = mail::outgoing(&ctx.letterhead, &letter, &made.email, made.language, made.id.as_str(), &key);
    outbox::add(tx, &[mail], now).await?;
    Ok(made.clone())
}

fn checked_username(username: &str) -> Result<String, Fault> {
    let username = username.trim();
    let fits = (3..=32).contains(&username.len())
        && username.starts_with(|c: char| c.is_ascii_alphabetic())
        && username.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !fits {
        let right = "3–32 letters, digits, underscores, full stops and hyphens, starting with a letter";
        return Err(Fault::field("account.username", right));
    }
    Ok(username.to_owned())
}

/// Checks a mail address's shape; whether it exists is found out by mailing to it.
pub fn checked_email(field: &str, email: &str) -> Result<String, Fault> {
    let email = email.trim();
    let wrong = || Fault::field(field, format!("a mail address of at most {EMAIL_CHARS_MAX} characters"));
    let (local, domain) = email.split_once('@').ok_or_else(wrong)?;
    let host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let fits = email.chars().count() <= EMAIL_CHARS_MAX
        && !local.is_empty()
        && local.len() <= 64
        && local.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"\"<>()[]\\,;:@".contains(c))
        && !domain.starts_with(['.', '-'])
        && !domain.ends_with(['.', '-'])
        && !domain.contains("..")
        && domain.contains('.')
        && domain.chars().all(host);
    if fits { Ok(email.to_owned()) } else { Err(wrong()) }
}

/// A phone number in the spelling it is compared by; `None` when there is none.
pub(super) fn plain_phone(phone: &str) -> Option<String> {
    let plain: String = phone.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    (!plain.is_empty()).then_some(plain)
}

/// Checks a phone number's shape and returns it in the spelling it is compared by; `None` when there is none.
pub fn checked_phone(field: &str, phone: &str) -> Result<Option<String>, Fault> {
    let Some(plain) = plain_phone(phone) else { return Ok(None) };
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    if !(5..=20).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::field(field, "5–20 digits, with or without a leading +"));
    }
    Ok(Some(plain))
}

fn checked_company(company: &Company) -> Result<Company, Fault> {
    let optional = |field: &str, value: &str, most: usize| {
        if value.trim().is_empty() {
            Ok(String::new())
        } else {
            validate::text(field, value, most).map(str::to_owned)
        }
    };
    Ok(Company {
        name: validate::text("account.company.name", &company.name, 128)?.to_owned(),
        industry: optional("account.company.industry", &company.industry, 64)?,
        region: optional("account.company.region", &company.region, 64)?,
        description: optional("account.company.description", &company.description, 512)?,
    })
}

/// Accepts an argon2id hash whose check costs no more than one of ours may.
fn checked_hash(hash: String) -> Result<String, Fault> {
    let wrong = || Fault::field("account.password_hash", "an argon2id hash in PHC form, of ordinary cost");
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", "argon2id", "v=19", costs, salt, digest] = parts.as_slice() else { return Err(wrong()) };
    let cost = |name: &str| {
        let value = costs.split(',').find_map(|cost| cost.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<u32>().ok()).ok_or_else(wrong)
    };
    let (memory, passes, lanes) = HASH_COST_MAX;
    let cheap = (8..=memory).contains(&cost("m")?)
        && (1..=passes).contains(&cost("t")?)
        && (1..=lanes).contains(&cost("p")?);
    let base64 = |text: &str, sizes: std::ops::RangeInclusive<usize>| {
        sizes.contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    };
    if !cheap || !base64(salt, 11..=86) || !base64(digest, 22..=86) {
        return Err(wrong());
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_documented_form() {
        for good in ["abc", "Li.si_9-x", &"a".repeat(32)] {
            assert!(checked_username(good).is_ok(), "{good}");
        }
        for bad in ["ab", "1ab", "a b", "a@b.c", "ab\u{e9}", &"a".repeat(33), ""] {
            assert!(checked_username(bad).is_err(), "{bad}");
        }
        for good in ["a@b.co", "li.si+x@kunde.com.cn"] {
            assert!(checked_email("e", good).is_ok(), "{good}");
        }
        for bad in
            ["", "a", "a@b", "@b.co", "a@@b.co", "a b@c.de", "a@.co", "a@b..co", "a@b.co\r\nx", "<a@b.co>"]
        {
            assert!(checked_email("e", bad).is_err(), "{bad}");
        }
        assert_eq!(checked_phone("p", "+86 138-0000 0000"), Ok(Some("+8613800000000".to_owned())));
        assert_eq!(checked_phone("p", " "), Ok(None));
        assert!(checked_phone("p", "12a45").is_err() && checked_phone("p", "123").is_err());
    }

    #[tokio::test]
    async fn a_hash_is_taken_over_unless_it_is_none_or_too_dear() {
        let hash = password::hash(SecretString::from("Secret-123".to_owned())).await.unwrap();
        assert!(checked_hash(hash.clone()).is_ok());
        for bad in [
            String::new(),
            "secret".to_owned(),
            hash.replace("argon2id", "argon2i"),
            hash.replace("m=19456", "m=4000000"),
            hash.replace("t=2", "t=999"),
            hash.replace("p=1", ""),
        ] {
            assert!(checked_hash(bad.clone()).is_err(), "{bad}");
        }
    }
}
