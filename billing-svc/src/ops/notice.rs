//! Who is told when something happens to workspaces: the account, and each owner who is somebody else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tandem_proto::language::Language;

use crate::domain::account::BillingAccount;
use crate::domain::standing::Standing;
use crate::mail;
use crate::store::account::key;
use crate::store::workspace::Workspace;

/// A recipient of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipient {
    /// The address.
    pub(super) to: String,
    /// The language.
    pub(super) language: Language,
    /// Names of the workspaces that concern the recipient.
    pub(super) workspaces: Vec<String>,
    /// The earliest deadline among these workspaces, as text.
    pub(super) deadline: Option<String>,
    /// When that is.
    pub(super) lock_at: Option<Timestamp>,
    /// What a link for the recipient is about: `bac_…` for the account, `wks_…` for an owner.
    pub(super) subject: String,
}

impl Recipient {
    /// Whole days until the earliest deadline, begun ones counted.
    pub(super) fn days_left(&self, now: Timestamp) -> Option<i64> {
        Standing { lock_at: self.lock_at, ..Standing::ACTIVE }.days_left(now)
    }
}

/// One recipient for the account, naming every workspace, and one for each other owner's address, naming the owner's
/// own workspaces (`domain.md` 3.11 step 5).
pub(super) fn recipients(account: &BillingAccount, workspaces: &[Workspace]) -> Vec<Recipient> {
    let mut owners: BTreeMap<String, Vec<&Workspace>> = BTreeMap::new();
    for workspace in workspaces {
        let owner = key(&workspace.owner_email);
        if owner != key(&account.email) {
            owners.entry(owner).or_default().push(workspace);
        }
    }
    let all: Vec<&Workspace> = workspaces.iter().collect();
    let mut recipients = vec![recipient(&account.email, account.language, account.id.as_str(), &all)];
    for own in owners.values() {
        if let Some(first) = own.first() {
            recipients.push(recipient(&first.owner_email, first.language, first.id.as_str(), own));
        }
    }
    recipients
}

fn recipient(to: &str, language: Language, subject: &str, workspaces: &[&Workspace]) -> Recipient {
    let deadline = workspaces.iter().filter_map(|w| Some((w.standing.lock_at?, &w.time_zone))).min();
    Recipient {
        to: to.to_owned(),
        language,
        workspaces: workspaces.iter().map(|w| w.name.clone()).collect(),
        deadline: deadline.map(|(at, zone): (Timestamp, _)| mail::moment(at, zone)),
        lock_at: deadline.map(|(at, _)| at),
        subject: subject.to_owned(),
    }
}
