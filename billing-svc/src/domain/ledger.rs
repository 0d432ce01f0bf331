//! The double-entry ledger: transfers that add up to zero, balances that are folds over entries (I-01…I-07).
//!
//! Signs: a balance is what the account holds. `cash` is never below zero, `overdraft` never above it; `revenue` grows
//! with what was earned; `funding` and the clearings go down by what came in, or will come in, from outside. A transfer's
//! id is derived from its cause, so that a replay meets its own key. The accounts of a customer belong to that customer
//! alone: there is no row that everybody updates.

use tandem_proto::names;
use tandem_proto::vendor::Vendor;

names! {
    /// What a ledger account is.
    AccountKind: "cash, overdraft, revenue, funding, cloud_clearing";
    /// The customer's cash.
    Cash = "cash";
    /// What the customer owes.
    Overdraft = "overdraft";
    /// What was earned.
    Revenue = "revenue";
    /// Money that came in from outside.
    Funding = "funding";
    /// What a cloud will pay us.
    CloudClearing = "cloud_clearing";
}

/// One of a customer's ledger accounts.
///
/// Vouchers and prepaid cards will be further variants, one account for each lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// The customer's cash.
    Cash,
    /// What the customer owes.
    Overdraft,
    /// What was earned from the customer.
    Revenue,
    /// Money of the customer that came in from outside.
    Funding,
    /// What a cloud will pay us for the customer.
    CloudClearing(Vendor),
}

impl Account {
    /// Its kind.
    pub fn kind(self) -> AccountKind {
        match self {
            Account::Cash => AccountKind::Cash,
            Account::Overdraft => AccountKind::Overdraft,
            Account::Revenue => AccountKind::Revenue,
            Account::Funding => AccountKind::Funding,
            Account::CloudClearing(_) => AccountKind::CloudClearing,
        }
    }

    /// Its name inside the customer's ledger.
    pub fn name(self) -> String {
        match self {
            Account::CloudClearing(vendor) => format!("cloud_clearing:{vendor}"),
            other => other.kind().name().to_owned(),
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Account> {
        match name.split_once(':') {
            Some(("cloud_clearing", vendor)) => vendor.parse().ok().map(Account::CloudClearing),
            Some(_) => None,
            None => [Account::Cash, Account::Overdraft, Account::Revenue, Account::Funding]
                .into_iter()
                .find(|account| account.kind().name() == name),
        }
    }
}

/// What caused a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A bill was paid from the customer's balances when it was issued, or when it came back from a cloud.
    Bill(String),
    /// A bill was settled by a cloud.
    CloudBill(String),
    /// Money came in.
    Recharge(String),
}

impl Cause {
    /// The cause's name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Bill(_) => "bill",
            Cause::CloudBill(_) => "cloud_bill",
            Cause::Recharge(_) => "recharge",
        }
    }

    /// The id of the bill or recharge.
    pub fn id(&self) -> &str {
        match self {
            Cause::Bill(id) | Cause::CloudBill(id) | Cause::Recharge(id) => id,
        }
    }

    /// The id of the transfer it causes; the same cause always has the same.
    pub fn transfer_id(&self) -> String {
        format!("{}:{}", self.name(), self.id())
    }
}

/// Amounts that move between a customer's ledger accounts, in one currency, adding up to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What caused it.
    pub cause: Cause,
    legs: Vec<(Account, i64)>,
}

/// Legs that do not add up to zero, or do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a transfer's legs must add up to zero")]
pub struct Unbalanced;

impl Transfer {
    /// Makes a transfer; legs of nothing are left out.
    pub fn new(cause: Cause, legs: impl IntoIterator<Item = (Account, i64)>) -> Result<Transfer, Unbalanced> {
        let legs: Vec<_> = legs.into_iter().filter(|(_, minor)| *minor != 0).collect();
        let sum = legs.iter().try_fold(0_i64, |sum, (_, minor)| sum.checked_add(*minor));
        if sum == Some(0) { Ok(Transfer { cause, legs }) } else { Err(Unbalanced) }
    }

    /// The accounts and by how many minor units each changes.
    pub fn legs(&self) -> &[(Account, i64)] {
        &self.legs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_that_makes_money_is_refused() {
        let cause = || Cause::Bill("bil_1".into());
        assert_eq!(Transfer::new(cause(), [(Account::Cash, -5), (Account::Revenue, 4)]), Err(Unbalanced));
        assert_eq!(
            Transfer::new(cause(), [(Account::Cash, i64::MAX), (Account::Revenue, 1)]),
            Err(Unbalanced)
        );
        assert!(
            Transfer::new(cause(), [(Account::Cash, -5), (Account::Revenue, 5), (Account::Overdraft, 0)])
                .is_ok()
        );
    }

    #[test]
    fn account_names_read_back() {
        let clearings = Vendor::ALL.map(Account::CloudClearing);
        let plain = [Account::Cash, Account::Overdraft, Account::Revenue, Account::Funding];
        for account in plain.into_iter().chain(clearings) {
            assert_eq!(Account::parse(&account.name()), Some(account));
        }
    }
}
