//! Invoices (`domain.md` 2.10, 3.15, 5.5): what may be invoiced, who may ask for it, where an invoice stands.
//!
//! Invoiced is what was paid in cash, once: of a month of bills the part that cash paid, also when it repaid what was
//! owed, and of a prepaid card its price. So neither what vouchers nor what cards nor what a cloud paid ever is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tandem_proto::day::UsageDay;
use tandem_proto::ids::PrepaidCardId;
use tandem_proto::names;

/// On which day of the following month a month's bill is there ("after the 3rd", `domain.md` 4.1).
const GENERATED_ON_DAY: i32 = 4;
/// Most things on one invoice: ten years of months and as many cards fit, and a page of them can be read.
pub const SOURCES_MAX: usize = 200;

names! {
    /// Kinds of invoices.
    InvoiceKind: "vat_ordinary, vat_special, electronic_ordinary";
    /// On paper, for final consumers.
    VatOrdinary = "vat_ordinary";
    /// On paper, for deducting input tax.
    VatSpecial = "vat_special";
    /// A file.
    ElectronicOrdinary = "electronic_ordinary";
}

names! {
    /// Where an invoice stands.
    InvoiceState: "requested, issued, sent, rejected";
    /// Waits for an operator.
    Requested = "requested";
    /// Exists at the tax office.
    Issued = "issued";
    /// On its way to the customer.
    Sent = "sent";
    /// Refused; its amounts are free again.
    Rejected = "rejected";
}

names! {
    /// Kinds of what is invoiced.
    SourceKind: "card, month";
    /// A prepaid card.
    Card = "card";
    /// A month of bills.
    Month = "month";
}

/// What an invoice says beside title and taxpayer ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The kind.
    pub kind: InvoiceKind,
    /// May be empty unless the kind is VAT special, as the three that follow.
    pub bank: String,
    /// The account there.
    pub bank_account: String,
    /// The registered address.
    pub registered_address: String,
    /// The landline.
    pub landline: String,
}

impl Details {
    /// The fields that this kind needs and that are empty.
    pub fn missing(&self) -> Vec<&'static str> {
        if self.kind != InvoiceKind::VatSpecial {
            return Vec::new();
        }
        let fields = [
            ("bank", &self.bank),
            ("bank_account", &self.bank_account),
            ("registered_address", &self.registered_address),
            ("landline", &self.landline),
        ];
        fields.into_iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect()
    }
}

/// Where invoices are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The recipient's name.
    pub recipient: String,
    /// The recipient's phone.
    pub phone: String,
    /// May be empty when there is a postal address.
    pub email: String,
    /// The postal address; may be empty when there is an email address.
    pub postal: String,
}

impl Address {
    /// The field that an invoice of this kind needs and that is empty.
    pub fn missing_for(&self, kind: InvoiceKind) -> Option<&'static str> {
        match kind {
            InvoiceKind::ElectronicOrdinary => self.email.is_empty().then_some("email"),
            InvoiceKind::VatOrdinary | InvoiceKind::VatSpecial => self.postal.is_empty().then_some("address"),
        }
    }
}

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(i32);

/// A text or number that is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a month as YYYY-MM")]
pub struct BadMonth;

impl Month {
    /// The month a day is in.
    pub fn of(day: UsageDay) -> Month {
        Month(day.month())
    }

    /// Reads `yyyymm`.
    pub fn from_number(number: i32) -> Result<Month, BadMonth> {
        let first = number.checked_mul(100).and_then(|n| n.checked_add(1)).ok_or(BadMonth)?;
        UsageDay::from_number(first).map(Month::of).map_err(|_| BadMonth)
    }

    /// The month as a number that sorts, `yyyymm`.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its first day.
    pub fn first_day(self) -> UsageDay {
        // Only made from days, so the first of it is one.
        UsageDay::from_number(self.0 * 100 + 1)
            .unwrap_or_else(|_| UsageDay::of(Timestamp::MIN, &TimeZone::UTC))
    }

    /// The first day of the following month.
    pub fn end_day(self) -> UsageDay {
        // Every month has 28 days and none more than 31.
        Month::of(self.first_day().plus_days(31)).first_day()
    }

    /// Its last day.
    pub fn last_day(self) -> UsageDay {
        self.end_day().previous()
    }

    /// When its bill is there, in an account's zone: from the 4th of the following month on.
    pub fn generated_at(self, zone: &TimeZone) -> Timestamp {
        self.end_day().plus_days(GENERATED_ON_DAY - 1).start(zone)
    }

    /// The first month whose bill is not there yet.
    pub fn first_open(now: Timestamp, zone: &TimeZone) -> Month {
        let today = UsageDay::of(now, zone);
        let this = Month::of(today);
        let before = Month::of(this.first_day().previous());
        if before.generated_at(zone) <= now { this } else { before }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for Month {
    type Err = BadMonth;
    fn from_str(text: &str) -> Result<Month, BadMonth> {
        let shaped = text.len() == 7 && text.as_bytes().get(4) == Some(&b'-');
        let digits = shaped && text.bytes().enumerate().all(|(at, b)| at == 4 || b.is_ascii_digit());
        if !digits {
            return Err(BadMonth);
        }
        Month::from_number(text.replace('-', "").parse().map_err(|_| BadMonth)?)
    }
}

/// Something that may be invoiced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A month of bills.
    Month(Month),
    /// A prepaid card.
    Card(PrepaidCardId),
}

impl Source {
    /// Its kind.
    pub fn kind(&self) -> SourceKind {
        match self {
            Source::Month(_) => SourceKind::Month,
            Source::Card(_) => SourceKind::Card,
        }
    }

    /// Its id among its kind, as columns hold it.
    pub fn id(&self) -> String {
        match self {
            Source::Month(month) => month.to_string(),
            Source::Card(card) => card.as_str().to_owned(),
        }
    }

    /// Reads what columns hold; `None` when it is no id of the kind.
    pub fn from_columns(kind: SourceKind, id: &str) -> Option<Source> {
        match kind {
            SourceKind::Month => id.parse().ok().map(Source::Month),
            SourceKind::Card => id.parse().ok().map(Source::Card),
        }
    }
}

/// How much of something is invoiced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoiceable {
    /// What.
    pub source: Source,
    /// Minor units that were paid for it in cash.
    pub paid: i64,
    /// Minor units of it on invoices that were not rejected; never more than `paid`.
    pub invoiced: i64,
}

impl Invoiceable {
    /// What a request would take.
    pub fn open(&self) -> i64 {
        self.paid.saturating_sub(self.invoiced)
    }
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is for.
    pub source: Source,
    /// Minor units; above zero.
    pub amount: i64,
}

/// Why an invoice cannot be requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The cash balance is not above zero.
    #[error("the cash balance is not above zero")]
    NoCash,
    /// Nothing was chosen, or too much.
    #[error("between 1 and {SOURCES_MAX} have to be chosen")]
    Count,
    /// One was chosen twice.
    #[error("one was chosen twice")]
    Twice(Source),
    /// The month's bill is not there yet.
    #[error("the month's bill is not there yet")]
    NotGenerated(Month),
    /// Nothing of it is open.
    #[error("nothing of it is open")]
    NothingOpen(Source),
    /// The sum does not fit.
    #[error("the sum is out of range")]
    OutOfRange,
}

/// Decides what an invoice over the chosen sources is for: all that is open of each, in the order of the sources.
///
/// `found` says of each chosen source how much of it is invoiced; what it does not name was never paid. Invariant: the
/// lines add up to the returned amount, and no source's lines to more than was paid for it.
pub fn request(
    chosen: &[Source],
    found: &[Invoiceable],
    cash: i64,
    first_open: Month,
) -> Result<(Vec<Line>, i64), RequestError> {
    if chosen.is_empty() || chosen.len() > SOURCES_MAX {
        return Err(RequestError::Count);
    }
    let mut sources = BTreeSet::new();
    for source in chosen {
        if !sources.insert(source) {
            return Err(RequestError::Twice(source.clone()));
        }
        if let Source::Month(month) = source
            && *month >= first_open
        {
            return Err(RequestError::NotGenerated(*month));
        }
    }
    if cash <= 0 {
        return Err(RequestError::NoCash);
    }
    let (mut lines, mut amount) = (Vec::new(), 0_i64);
    for source in sources {
        let open = found.iter().find(|i| i.source == *source).map_or(0, Invoiceable::open);
        if open <= 0 {
            return Err(RequestError::NothingOpen(source.clone()));
        }
        amount = amount.checked_add(open).ok_or(RequestError::OutOfRange)?;
        lines.push(Line { source: source.clone(), amount: open });
    }
    Ok((lines, amount))
}

/// What an operator does with an invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It exists at the tax office.
    Issue,
    /// It is on its way.
    Send,
    /// It is refused.
    Reject,
}

/// The state after a step; `None` when the state does not allow it (`domain.md` 5.5).
///
/// What was issued but not sent may still be rejected: the tax office voids it.
pub fn after(state: InvoiceState, step: Step) -> Option<InvoiceState> {
    match (state, step) {
        (InvoiceState::Requested, Step::Issue) => Some(InvoiceState::Issued),
        (InvoiceState::Issued, Step::Send) => Some(InvoiceState::Sent),
        (InvoiceState::Requested | InvoiceState::Issued, Step::Reject) => Some(InvoiceState::Rejected),
        _ => None,
    }
}

#[cfg(test)]
#[path = "invoice_tests.rs"]
mod tests;
