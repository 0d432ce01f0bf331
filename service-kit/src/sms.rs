//! Text messages: written to the outbox with their cause, sent at most once by each id. The way that is built in writes
//! files, for trials and for machines that hand them on; without it text messages are off.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, SmsMode, SmsSection};
use crate::mail::{file_name, write_file};
use crate::outbox::{Claimed, Failure, Handler, Outgoing};

/// The topic of text messages in the outbox.
pub const TOPIC: &str = "sms";

/// A text message, as it waits in the outbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sms {
    /// One for each event and recipient, the same at each try.
    pub id: String,
    /// The recipient's number.
    pub to: String,
    /// The text: one line.
    pub text: String,
}

// It holds a code and a number: nothing for logs.
impl std::fmt::Debug for Sms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sms").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Puts a text message into the outbox's form; its id keeps it from being added twice.
pub fn outgoing(sms: &Sms, aggregate_id: impl Into<String>) -> Outgoing {
    Outgoing {
        topic: TOPIC,
        aggregate_id: aggregate_id.into(),
        dedupe_key: Some(format!("{TOPIC}:{}", sms.id)),
        // A struct of texts can always be said in JSON.
        payload: serde_json::to_vec(sms).unwrap_or_default(),
    }
}

/// Delivers text messages from the outbox as files.
#[derive(Debug)]
pub struct SmsHandler {
    folder: PathBuf,
}

impl SmsHandler {
    /// Makes the handler for [`TOPIC`]; `None` when text messages are off.
    ///
    /// Fails when the folder cannot be made.
    pub fn new(section: &SmsSection) -> Result<Option<SmsHandler>, ConfigError> {
        match section.mode {
            SmsMode::Off => Ok(None),
            SmsMode::File => {
                std::fs::create_dir_all(&section.directory)
                    .map_err(|source| ConfigError::Read { path: section.directory.clone(), source })?;
                Ok(Some(SmsHandler { folder: section.directory.clone() }))
            }
        }
    }
}

#[async_trait::async_trait]
impl Handler for SmsHandler {
    async fn deliver(&self, message: &Claimed) -> Result<(), Failure> {
        let sms: Sms = serde_json::from_slice(&message.payload)
            .map_err(|_| Failure::Refused("the stored text message cannot be read".to_owned()))?;
        let line = |text: &str| text.replace(char::is_control, " ");
        let content = format!("To: {}\n{}\n", line(&sms.to), line(&sms.text));
        let written = write_file(&self.folder, &file_name(&sms.id, "txt"), content.as_bytes()).await;
        written.map_err(|error| Failure::Retry(format!("the file cannot be written: {}", error.kind())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(payload: Vec<u8>) -> Claimed {
        Claimed {
            id: "obx_1".to_owned(),
            topic: TOPIC.to_owned(),
            aggregate_id: "bac_1".to_owned(),
            dedupe_key: None,
            payload,
            traceparent: None,
            attempts: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn the_same_message_makes_one_file_of_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let section = SmsSection { mode: SmsMode::File, directory: folder.path().join("sms") };
        let handler = SmsHandler::new(&section).unwrap().unwrap();
        let sms = Sms { id: "a@b".into(), to: "+8613800000001".into(), text: "code\n123456".into() };
        let out = outgoing(&sms, "bac_1");
        for _ in 0..2 {
            handler.deliver(&claimed(out.payload.clone())).await.unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(&section.directory).unwrap().collect();
        assert_eq!(files.len(), 1);
        let text = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
        assert_eq!(text, "To: +8613800000001\ncode 123456\n");
        assert!(matches!(handler.deliver(&claimed(b"x".to_vec())).await, Err(Failure::Refused(_))));
        assert!(!format!("{sms:?}").contains("123456"));
    }

    #[test]
    fn without_a_way_there_is_no_handler() {
        assert!(SmsHandler::new(&SmsSection::default()).unwrap().is_none());
    }
}
