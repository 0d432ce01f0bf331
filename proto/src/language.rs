//! The languages customers read.

use crate::names;

names! {
    /// The language of pages and mails.
    Language: "zh, en";
    /// Chinese.
    Zh = "zh";
    /// English.
    En = "en";
}
