//! Mails a verification code (`domain.md` D18).

use jiff::Timestamp;
use tandem_service_kit::db::Tx;
use tandem_service_kit::fault::Fault;
use tandem_service_kit::fresh::fresh_uuid;
use tandem_service_kit::mail::{Mail, outgoing};
use tandem_service_kit::{outbox, verification};

use super::Context;
use crate::domain::account::email_key;
use crate::domain::workspace::Language;
use crate::store;

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Registering a Console account.
    Register,
    /// Setting a new password.
    ChangePassword,
    /// Dissolving a workspace.
    DissolveWorkspace,
}

impl Purpose {
    /// Its name beside stored codes.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Register => "register",
            Purpose::ChangePassword => "change_password",
            Purpose::DissolveWorkspace => "dissolve_workspace",
        }
    }
}

/// Whom a code is for: accounts of different sites are independent, hence the site.
pub fn address_key(site: &str, email: &str) -> String {
    format!("{site}:{}", email_key(email))
}

/// Makes a code and puts its mail into the outbox.
///
/// An address without an account is sent a code for registering only, but gets the same answer, so that addresses cannot
/// be probed. Fails with `SITE_NOT_FOUND` and `CODE_TOO_SOON`.
pub async fn run(
    tx: &Tx,
    context: &Context,
    purpose: Purpose,
    site: &str,
    email: &str,
    language: Language,
    now: Timestamp,
) -> Result<(), Fault> {
    let site = context.site(site)?;
    let address = address_key(&site.code, email);
    let code = verification::issue(tx, purpose.name(), &address, now).await?;
    if purpose != Purpose::Register && store::account::find_by_email(tx, &site.code, email).await?.is_none() {
        return Ok(());
    }
    let (subject, text) = content(&context.mail.brand_name, purpose, code.digits(), language);
    let message_id = format!("code.{}@{}", fresh_uuid().simple(), context.mail.message_id_domain);
    let mail = Mail { message_id, from: None, to: email.to_owned(), subject, text };
    outbox::add(tx, &[outgoing(&mail, address)], now).await?;
    Ok(())
}

fn content(brand: &str, purpose: Purpose, code: &str, language: Language) -> (String, String) {
    let minutes = verification::GOOD_FOR.as_secs() / 60;
    match language {
        Language::Zh => {
            let what = match purpose {
                Purpose::Register => "注册账号",
                Purpose::ChangePassword => "修改密码",
                Purpose::DissolveWorkspace => "解散工作空间（不可恢复）",
            };
            let text = format!(
                "您好，\n\n您正在{what}，验证码为：{code}\n\n验证码在 {minutes} 分钟内有效，只能使用一次。如非本人操作，请忽略此邮件。\n\n{brand}\n"
            );
            (format!("【{brand}】{what}验证码"), text)
        }
        Language::En => {
            let what = match purpose {
                Purpose::Register => "register an account",
                Purpose::ChangePassword => "change your password",
                Purpose::DissolveWorkspace => "dissolve a workspace for good",
            };
            let text = format!(
                "Hello,\n\nyour code to {what} is: {code}\n\nIt is valid for {minutes} minutes and works once. If you did not ask for it, ignore this mail.\n\n{brand}\n"
            );
            (format!("{brand}: your verification code"), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_bring_brand_and_code() {
        for language in [Language::Zh, Language::En] {
            for purpose in [Purpose::Register, Purpose::ChangePassword, Purpose::DissolveWorkspace] {
                let (subject, text) = content("Tandem", purpose, "123456", language);
                assert!(subject.contains("Tandem") && text.contains("123456") && text.contains("10"));
            }
        }
        assert_ne!(address_key("cn1", "A@b.c"), address_key("cn2", "a@b.c"));
    }
}
