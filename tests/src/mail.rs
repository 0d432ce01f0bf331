//! The mails that a system has sent.

use std::collections::BTreeMap;

use mailparse::MailHeaderMap as _;

use crate::configs::{mail_folder, sms_folder};
use crate::system::{Service, System};

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its Message-ID.
    pub id: String,
    /// The recipient's address.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
}

impl Mail {
    /// The six digits in it, if there are any.
    pub fn code(&self) -> Option<String> {
        let words = self.text.split(|c: char| !c.is_ascii_digit());
        words.into_iter().find(|word| word.len() == 6).map(str::to_owned)
    }
}

impl System {
    /// Every mail so far, by file name.
    pub fn mails(&self) -> anyhow::Result<BTreeMap<String, Mail>> {
        let mut mails = BTreeMap::new();
        for service in [Service::Console, Service::Billing] {
            let Ok(entries) = std::fs::read_dir(mail_folder(self.folder(), service)) else { continue };
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "eml") {
                    mails.insert(path.display().to_string(), read(&std::fs::read(&path)?)?);
                }
            }
        }
        Ok(mails)
    }

    /// The mails to one address.
    pub fn mails_to(&self, address: &str) -> anyhow::Result<Vec<Mail>> {
        Ok(self.mails()?.into_values().filter(|mail| mail.to == address).collect())
    }

    /// The text messages to a number.
    pub fn texts_to(&self, number: &str) -> anyhow::Result<Vec<String>> {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(sms_folder(self.folder()))? {
            let text = std::fs::read_to_string(entry?.path())?;
            texts.extend(text.strip_prefix(&format!("To: {number}\n")).map(str::to_owned));
        }
        Ok(texts)
    }

    /// Does something that mails a code to an address, and returns the code.
    pub async fn code_to<T, E>(
        &self,
        address: &str,
        act: impl Future<Output = Result<T, E>>,
    ) -> anyhow::Result<String>
    where
        anyhow::Error: From<E>,
    {
        let before = self.mails()?;
        act.await?;
        self.eventually("a code is mailed", async || {
            let mails = self.mails()?;
            let mut new =
                mails.iter().filter(|(name, mail)| mail.to == address && !before.contains_key(*name));
            Ok(new.find_map(|(_, mail)| mail.code()))
        })
        .await
    }
}

fn read(bytes: &[u8]) -> anyhow::Result<Mail> {
    let parsed = mailparse::parse_mail(bytes)?;
    let header = |name: &str| parsed.headers.get_first_value(name).unwrap_or_default();
    Ok(Mail {
        id: header("Message-ID"),
        to: header("To").trim_matches(['<', '>']).to_owned(),
        subject: header("Subject"),
        text: parsed.get_body()?,
    })
}
