//! Billing Center accounts (`domain.md` 2.4).

use jiff::Timestamp;
use tandem_proto::ids::BillingAccountId;
use tandem_proto::language::Language;
use tandem_proto::money::Currency;
use tandem_proto::names;
use tandem_proto::settlement::BillingRegion;

names! {
    /// Whether an account owes anything (`domain.md` 5.6).
    AccountStanding: "good, arrears, overdue";
    /// Owes nothing.
    Good = "good";
    /// Owes something since less than 14 days.
    Arrears = "arrears";
    /// Owes something since 14 days or more.
    Overdue = "overdue";
}

/// The company behind an account.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A login for the Billing Center, and whom the bills go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingAccount {
    /// Opaque.
    pub id: BillingAccountId,
    /// Which Billing Center.
    pub region: BillingRegion,
    /// Unique in its region; never changes.
    pub username: String,
    /// Receives the mails.
    pub email: String,
    /// Also a login name.
    pub phone: Option<String>,
    /// The company.
    pub company: Company,
    /// What its bills are made in.
    pub currency: Currency,
    /// The language of its mails.
    pub language: Language,
    /// Whether any cloud may be chosen, whatever the site (rule R2).
    pub any_settlement_allowed: bool,
    /// Whether it owes anything.
    pub standing: AccountStanding,
    /// Since when it owes; `None` exactly when it owes nothing.
    pub arrears_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}
