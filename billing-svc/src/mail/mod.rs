//! The mails of Billing: what they say, in the reader's language, under the name of whoever runs the service.
//!
//! Texts are files in `templates`, the first line of each is the subject. Nothing here sends.

mod template;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use tandem_proto::language::Language;
use tandem_proto::settlement::SettlementMethod;
use tandem_proto::vendor::Vendor;
use tandem_service_kit::config::MailSection;
use tandem_service_kit::mail::{self, Mail};
use tandem_service_kit::outbox::Outgoing;

use crate::domain::contact::ContactKind;
use crate::domain::deduction::Instrument;
use crate::domain::wallet::LotKind;

/// Most entries of a list in one mail: as many as somebody reads.
const LISTED_MAX: usize = 100;

/// Who mails are from.
#[derive(Debug, Clone)]
pub struct Letterhead {
    brand: String,
    support: String,
    portal: String,
    domain: String,
}

impl Letterhead {
    /// Takes it from the configuration.
    pub fn new(section: &MailSection) -> Letterhead {
        Letterhead {
            brand: section.brand_name.clone(),
            support: section.support_address.clone(),
            portal: section.portal_url.clone(),
            domain: section.message_id_domain.clone(),
        }
    }

    /// The address of the pages that mails link to; may be empty.
    pub fn portal(&self) -> &str {
        &self.portal
    }

    /// Where a reader can get help; may be empty.
    pub fn support(&self) -> &str {
        &self.support
    }
}

/// A bill, as a mail tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedBill {
    /// The usage day.
    pub day: String,
    /// The workspace's name.
    pub workspace: String,
    /// The amount.
    pub payable: String,
    /// What was paid at once.
    pub paid: String,
    /// What is owed.
    pub arrears: String,
}

/// A package, as a mail tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFacts {
    /// The offer's code.
    pub offer: String,
    /// How many times its base size.
    pub multiple: i64,
    /// The first usage day.
    pub first_day: String,
    /// The last usage day.
    pub last_day: String,
    /// What was charged for it.
    pub price: String,
}

/// What staff did to an account's cash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CashChange {
    /// Something was added.
    Credit,
    /// Something was taken.
    Debit,
    /// Money went back to the customer.
    Refund {
        /// The payment's reference.
        reference: String,
    },
}

/// A voucher or card, as a mail tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringCredit {
    /// What it is.
    pub kind: LotKind,
    /// Its number.
    pub id: String,
    /// What is left.
    pub left: String,
    /// The last usage day whose bill it pays.
    pub last_day: String,
}

/// A monthly bill, as a mail tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthInMail {
    /// The month.
    pub month: String,
    /// The amount.
    pub payable: String,
    /// What paid it, and how much.
    pub paid: Vec<(Instrument, String)>,
    /// What clouds have still to take over.
    pub in_cloud: String,
    /// What is owed.
    pub arrears: String,
    /// How many workspaces it is for.
    pub workspaces: i64,
    /// What the items cost; `None` is what rounding added.
    pub items: Vec<(Option<&'static str>, String)>,
}

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// A code that proves control of an account.
    VerificationCode {
        /// Whose account.
        username: String,
        /// Six digits.
        code: String,
        /// How long it is good.
        minutes: i64,
    },
    /// A billing account was made.
    Welcome {
        /// Its name.
        username: String,
        /// Its company.
        company: String,
    },
    /// Bills were issued.
    BillsIssued {
        /// Which.
        bills: Vec<IssuedBill>,
    },
    /// An account owes something since now.
    ArrearsStarted {
        /// How much.
        amount: String,
        /// When its workspaces are locked.
        lock_day: String,
        /// The address of an unlock link; may be empty.
        link: String,
    },
    /// Vouchers and cards are about to expire.
    CreditExpiring {
        /// Which.
        credits: Vec<ExpiringCredit>,
    },
    /// A countdown is near its end.
    WorkspaceLockSoon {
        /// Their names.
        workspaces: Vec<String>,
        /// How many days are left.
        days: i64,
        /// When the first of them is locked.
        deadline: String,
        /// The address of an unlock link; may be empty.
        link: String,
    },
    /// Workspaces were locked.
    WorkspaceLocked {
        /// Their names.
        workspaces: Vec<String>,
    },
    /// A countdown or lock was ended.
    WorkspaceUnlocked {
        /// Their names.
        workspaces: Vec<String>,
    },
    /// Staff unlocked workspaces although nothing was paid.
    WorkspaceUnlockedForNow {
        /// Their names.
        workspaces: Vec<String>,
        /// What is still owed.
        amount: String,
        /// Until when they are in use whatever is owed.
        until: String,
        /// When they are locked unless it is paid.
        lock_day: String,
    },
    /// Staff changed an account's cash.
    CashChanged {
        /// How.
        change: CashChange,
        /// By how much.
        amount: String,
    },
    /// Nothing is owed any more, but what was locked waits for an operator.
    DebtSettled {
        /// The names of the locked ones.
        workspaces: Vec<String>,
    },
    /// Workspaces were dissolved by their owner.
    WorkspaceDissolved {
        /// Their names.
        workspaces: Vec<String>,
    },
    /// A cloud subscription ended and its workspaces fell back (`domain.md` 3.11).
    SubscriptionEnded {
        /// The cloud.
        vendor: Vendor,
        /// The cloud account's number.
        cloud_account: String,
        /// The workspaces' names.
        workspaces: Vec<String>,
        /// How they are settled now.
        method: SettlementMethod,
        /// When they are locked, if they are going to be.
        deadline: Option<String>,
    },
    /// A cloud subscription was frozen.
    SubscriptionSuspended {
        /// The cloud.
        vendor: Vendor,
        /// The cloud account's number.
        cloud_account: String,
        /// The workspaces' names.
        workspaces: Vec<String>,
        /// When they are locked unless it goes on.
        deadline: Option<String>,
    },
    /// A workspace costs more than somebody wants to hear of (`domain.md` 3.16).
    SpendAlert {
        /// The workspace's name.
        workspace: String,
        /// The item's name; empty for the workspace's total.
        item: String,
        /// The month or day.
        period: String,
        /// The threshold.
        threshold: String,
        /// What was spent so far.
        spent: String,
    },
    /// Packages were bought.
    PackagesOrdered {
        /// Which.
        packages: Vec<PackageFacts>,
        /// What was charged in all.
        charged: String,
    },
    /// A package is about to end.
    PackageEndsSoon {
        /// The offer's code.
        offer: String,
        /// The last usage day.
        last_day: String,
        /// How many days are left after today.
        days: i64,
    },
    /// The company was verified.
    CompanyVerified {
        /// Its name.
        company: String,
    },
    /// The company was not verified, or is not any more.
    CompanyRejected {
        /// Its name.
        company: String,
        /// Why.
        reason: String,
    },
    /// An invoice was issued.
    InvoiceIssued {
        /// Its title.
        title: String,
        /// What it is for.
        amount: String,
        /// Its number.
        number: String,
    },
    /// An invoice was sent.
    InvoiceSent {
        /// Its title.
        title: String,
        /// What it is for.
        amount: String,
        /// Its number.
        number: String,
        /// How to find the consignment; may be empty.
        tracking: String,
    },
    /// An invoice was refused.
    InvoiceRejected {
        /// Its title.
        title: String,
        /// What it was for.
        amount: String,
        /// Why.
        reason: String,
    },
    /// The customer changed a workspace's method.
    SettlementChanged {
        /// The workspace's name.
        workspace: String,
        /// How it was settled.
        old_method: SettlementMethod,
        /// How it is settled now.
        method: SettlementMethod,
    },
    /// A requested change of the method has expired: its purchase was not made in time (D11).
    ChangeExpired {
        /// The workspace's name.
        workspace: String,
        /// What was wanted.
        method: SettlementMethod,
    },
    /// A code that agrees to moving a workspace to another billing account (D10).
    MoveCode {
        /// The workspace's name.
        workspace: String,
        /// Who pays now: a username.
        from: String,
        /// Who is to pay: a username.
        to: String,
        /// Six digits.
        code: String,
        /// How long it is good.
        minutes: i64,
    },
    /// A workspace was moved to another billing account.
    WorkspaceMoved {
        /// Its name.
        workspace: String,
        /// Who paid: a username.
        from: String,
        /// Who pays: a username.
        to: String,
        /// The first usage day that the new account pays for.
        first_day: String,
    },
    /// An account's mail address or phone was changed.
    ContactChanged {
        /// Whose account.
        username: String,
        /// Which of the two.
        kind: ContactKind,
    },
    /// An account's password was changed.
    PasswordChanged {
        /// Whose account.
        username: String,
    },
    /// A month's bill was generated.
    MonthlyBill(MonthInMail),
}

/// Puts a letter to a recipient into the outbox's form.
///
/// The Message-ID is one for each event and recipient (I-29), and keeps a mail from being added twice. `aggregate` is
/// what the mail is about: mails about the same thing leave in order.
pub fn outgoing(
    letterhead: &Letterhead,
    letter: &Letter,
    to: &str,
    language: Language,
    aggregate: &str,
    event_key: &str,
) -> Outgoing {
    let (subject, text) = template::render(letterhead, letter, language);
    let message_id = message_id(letterhead, event_key, to);
    mail::outgoing(&Mail { message_id, from: None, to: to.to_owned(), subject, text }, aggregate)
}

/// The one name of what an event tells a recipient, by whatever channel (I-29).
pub fn message_id(letterhead: &Letterhead, event_key: &str, to: &str) -> String {
    format!("{}@{}", digest(&[event_key, &to.to_lowercase()]), letterhead.domain)
}

/// A code as a text message says it: one line, under the brand's name.
pub fn code_text(letterhead: &Letterhead, code: &str, minutes: i64, language: Language) -> String {
    template::code_text(letterhead, code, minutes, language)
}

/// An instant as a reader of a place understands it.
pub fn moment(at: Timestamp, zone_name: &str) -> String {
    let zone = tandem_proto::day::zone(zone_name).unwrap_or(TimeZone::UTC);
    let name = if zone == TimeZone::UTC { "UTC" } else { zone_name };
    format!("{} ({name})", at.to_zoned(zone).strftime("%Y-%m-%d %H:%M"))
}

/// Length before each part, so that no two different keys give the same Message-ID.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..20])
}

fn method_title(method: SettlementMethod, language: Language) -> &'static str {
    match (method, language) {
        (SettlementMethod::BillingCenter, Language::Zh) => "计费中心结算",
        (SettlementMethod::BillingCenter, Language::En) => "the Billing Center",
        (SettlementMethod::Cloud(vendor), _) => vendor.title(language),
    }
}

fn instrument_title(instrument: Instrument, language: Language) -> &'static str {
    match (instrument, language) {
        (Instrument::GeneralVoucher, Language::Zh) => "代金券",
        (Instrument::GeneralVoucher, Language::En) => "vouchers",
        (Instrument::DiscountVoucher, Language::Zh) => "优惠代金券",
        (Instrument::DiscountVoucher, Language::En) => "discount vouchers",
        (Instrument::PrepaidCard, Language::Zh) => "储值卡",
        (Instrument::PrepaidCard, Language::En) => "prepaid cards",
        (Instrument::Cash, Language::Zh) => "现金",
        (Instrument::Cash, Language::En) => "cash",
        (Instrument::Cloud, Language::Zh) => "云账号",
        (Instrument::Cloud, Language::En) => "the cloud account",
    }
}

#[cfg(test)]
mod tests;
