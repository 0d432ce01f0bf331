//! The ways to reach whoever holds a billing account; both are login names as well (`domain.md` 2.4, 3.10).

use tandem_proto::names;

use super::account::BillingAccount;

names! {
    /// A way to reach somebody.
    ContactKind: "email, phone";
    /// By mail.
    Email = "email";
    /// By text message.
    Phone = "phone";
}

/// A mail address or phone number, in the spelling that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Which of the two.
    pub kind: ContactKind,
    /// The address or number.
    pub value: String,
}

impl Contact {
    /// What an account has now; `None` when it has no phone.
    pub fn present(account: &BillingAccount, kind: ContactKind) -> Option<Contact> {
        let value = match kind {
            ContactKind::Email => Some(account.email.clone()),
            ContactKind::Phone => account.phone.clone(),
        };
        Some(Contact { kind, value: value? })
    }

    /// The spelling that two are compared by.
    pub fn key(&self) -> String {
        self.value.trim().to_lowercase()
    }
}
