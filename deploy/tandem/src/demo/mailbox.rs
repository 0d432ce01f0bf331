//! Reads the mail files that the services write: what a customer finds in the mailbox.
//!
//! It reads what our mailer writes and no more: one text part, encoded as 7bit, 8bit, quoted-printable or base64.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::failure::{Attempt as _, Result};

/// A mail, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The sender, with name.
    pub from: String,
    /// The recipient's address.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The stable Message-ID.
    pub message_id: String,
    /// The text.
    pub body: String,
}

impl Mail {
    /// Reads a file's content. Headers that are missing are empty.
    pub fn parse(content: &[u8]) -> Mail {
        let text = String::from_utf8_lossy(content).replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        // A line that starts with a blank goes on with the header before it.
        let head = head.replace("\n ", " ").replace("\n\t", " ");
        let header = |name: &str| {
            let found = head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            });
            found.unwrap_or_default()
        };
        let body = match header("Content-Transfer-Encoding").to_ascii_lowercase().as_str() {
            "base64" => decode_base64(body),
            "quoted-printable" => decode_quoted(&body.replace("=\n", "")),
            _ => body.to_owned(),
        };
        Mail {
            from: decode_words(&header("From")),
            to: header("To").trim_matches(['<', '>']).to_owned(),
            subject: decode_words(&header("Subject")),
            message_id: header("Message-ID"),
            body: body.replace("\r\n", "\n").trim_end().to_owned(),
        }
    }

    /// The six digits of a verification code, when there are any.
    pub fn code(&self) -> Option<&str> {
        self.body.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 6)
    }
}

fn decode_base64(text: &str) -> String {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(compact).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn decode_quoted(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let pair = more.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| *first == b'=').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Decodes the encoded words of a header (RFC 2047); blanks between two of them belong to neither.
fn decode_words(text: &str) -> String {
    let mut decoded = String::new();
    let mut rest = text;
    let mut after_word = false;
    while let Some((before, from)) = rest.split_once("=?") {
        if !(after_word && before.trim().is_empty()) {
            decoded.push_str(before);
        }
        let mut parts = from.splitn(3, '?');
        let (_charset, kind, tail) = (parts.next(), parts.next(), parts.next());
        let Some((kind, (word, more))) = kind.zip(tail.and_then(|tail| tail.split_once("?="))) else {
            decoded.push_str("=?");
            rest = from;
            continue;
        };
        decoded.push_str(&match kind.to_ascii_lowercase().as_str() {
            "b" => decode_base64(word),
            _ => decode_quoted(&word.replace('_', " ")),
        });
        rest = more;
        after_word = true;
    }
    decoded.push_str(rest);
    decoded
}

/// The folder that mail is written to, and which of it was seen.
#[derive(Debug)]
pub struct Mailbox {
    folder: PathBuf,
    seen: BTreeSet<PathBuf>,
}

impl Mailbox {
    /// Opens the folder; what is in it already counts as seen.
    pub fn open(folder: PathBuf) -> Result<Mailbox> {
        let mut mailbox = Mailbox { folder, seen: BTreeSet::new() };
        mailbox.unseen()?;
        Ok(mailbox)
    }

    /// The mails that came since the last look, oldest first.
    pub fn unseen(&mut self) -> Result<Vec<Mail>> {
        let attempt = || format!("reading the mail folder {}", self.folder.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).attempt(attempt)? {
            let path = entry.attempt(attempt)?.path();
            // The mailer writes under a name with a leading dot first.
            let whole = path.extension().is_some_and(|ext| ext == "eml")
                && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
            if whole && !self.seen.contains(&path) {
                let content = std::fs::read(&path).attempt(attempt)?;
                let written = path.metadata().and_then(|meta| meta.modified()).attempt(attempt)?;
                found.push((written, path, Mail::parse(&content)));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        self.seen.extend(found.iter().map(|(_, path, _)| path.clone()));
        Ok(found.into_iter().map(|(_, _, mail)| mail).collect())
    }
}

#[cfg(test)]
mod tests {
    use tandem_service_kit::config::MailSection;
    use tandem_service_kit::mail::{Mail as Sent, Mailer};

    use super::*;

    #[tokio::test]
    async fn what_the_mailer_writes_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let section = MailSection { directory: folder.path().to_owned(), ..MailSection::default() };
        let mailer = Mailer::new(&section).unwrap();
        let mut mailbox = Mailbox::open(folder.path().to_owned()).unwrap();
        let long = "验证码为：482913，十分钟内有效。".repeat(12);
        for (number, (subject, text)) in [
            ("【Tandem】注册账号验证码，请查收，并在十分钟内填写，谢谢您的使用与支持", long.as_str()),
            ("plain = text_1", "Code: 482913.\nÜber\n"),
        ]
        .into_iter()
        .enumerate()
        {
            let sent = Sent {
                message_id: format!("code.{number}@tandem.localhost"),
                from: None,
                to: "lin@tea.example".to_owned(),
                subject: subject.to_owned(),
                text: text.to_owned(),
            };
            mailer.send(&sent, "2026-03-01T08:00:00Z".parse().unwrap()).await.unwrap();
            let read = mailbox.unseen().unwrap();
            assert_eq!(read.len(), 1);
            assert_eq!((read[0].to.as_str(), read[0].subject.as_str()), ("lin@tea.example", subject));
            assert_eq!(read[0].body, text.trim_end());
            assert_eq!(read[0].code(), Some("482913"));
            assert!(mailbox.unseen().unwrap().is_empty());
        }
    }

    #[test]
    fn odd_mails_do_no_harm() {
        for odd in [
            "",
            "\n\n",
            "Subject: =?utf-8?b?",
            "Subject: =?x\n\n=",
            "Content-Transfer-Encoding: base64\n\n!!",
        ] {
            let mail = Mail::parse(odd.as_bytes());
            assert_eq!(mail.code(), None);
        }
    }
}
